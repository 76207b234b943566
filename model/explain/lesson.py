"""All chapters of the explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.explain.checkerboard import checkerboard_chapter
from model.explain.costs import costs_chapter
from model.explain.geometry import geometry_chapter
from model.explain.interpolation import interpolation_chapter
from model.explain.learning import learning_chapter
from model.explain.worked import convolution_chapter, transpose_chapter

if TYPE_CHECKING:
    from model.explain.blocks import Chapter
    from model.explain.example import Example

TITLE = "A transposed convolution is a matrix, transposed"


def chapters(example: Example) -> list[Chapter]:
    """From the matrix to what its transpose costs."""
    return [
        convolution_chapter(example),
        transpose_chapter(example),
        geometry_chapter(),
        interpolation_chapter(),
        checkerboard_chapter(example),
        learning_chapter(),
        costs_chapter(example),
    ]
