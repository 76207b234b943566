"""Painting: the shapes of one picture laid over each other, as a label map."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import DataError
from data.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from data.imports.areas import Cover
    from data.imports.export import LabelledPicture, Order, Shape

UNLABELLED: Final = 254
"""What no shape covers, while it is not settled what becomes of it."""


@dataclass
class Painting:
    """What came of one picture.

    Attributes:
        label_map: Indices of the export's classes, ``UNLABELLED`` or 255, shape (H, W), uint8.
        shapes: Number of shapes of each class.
        overlapped: Pixels on which shapes of different classes lie.
        cut: Shapes that go beyond the picture.
        empty: Shapes that cover no pixel of it.
        left_out: Shapes of classes that are not wanted.
        disputed: Pixels on which annotators differ.
    """

    label_map: NDArray[np.uint8]
    shapes: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    overlapped: int = 0
    cut: int = 0
    empty: int = 0
    left_out: int = 0
    disputed: int = 0


def paint(picture: LabelledPicture, size: tuple[int, int], classes: Mapping[str, int], order: Order) -> Painting:
    """Lay the shapes of a picture over each other.

    What is to be ignored lies lowest: an object in a crowd is still that object. Above it lie the shapes by their
    layer, then in the export's order or, by area, the larger ones lower.

    Args:
        picture: Its shapes, once an annotator.
        size: Height and width of the picture.
        classes: Index of every class that is wanted.
        order: Which shapes lie on top.

    Raises:
        DataError: a shape is damaged or of another size; the message names it.
    """
    painting = Painting(np.full(size, UNLABELLED, dtype=np.uint8))
    for place, shapes in enumerate(picture.versions):
        canvas = painting.label_map if not place else np.full(size, UNLABELLED, dtype=np.uint8)
        _lay(shapes, canvas, classes, order, painting)
        if place:
            differs = canvas != painting.label_map
            painting.disputed += int(np.count_nonzero(differs))
            painting.label_map[differs] = IGNORE_INDEX
    return painting


def _lay(
    shapes: Sequence[Shape], canvas: NDArray[np.uint8], classes: Mapping[str, int], order: Order, painting: Painting
) -> None:
    height, width = canvas.shape
    found: list[tuple[Shape, int, Cover]] = []
    for shape in shapes:
        if shape.label is not None and shape.label not in classes:
            painting.left_out += 1
            continue
        try:
            cover = shape.area.cover(height, width)
        except DataError as error:
            raise DataError(f"{shape.where}: {error}") from None
        label = IGNORE_INDEX if shape.label is None else classes[shape.label]
        painting.cut += cover.cut
        painting.empty += not cover.mask.any()
        painting.shapes[label] += 1
        found.append((shape, label, cover))
    areas = [-int(np.count_nonzero(cover.mask)) if order == "area" else 0 for _, _, cover in found]
    upwards = sorted(
        range(len(found)),
        key=lambda place: (found[place][1] != IGNORE_INDEX, found[place][0].layer, areas[place], place),
    )
    for place in upwards:
        _, label, cover = found[place]
        rows, columns = cover.mask.shape
        part = canvas[cover.top : cover.top + rows, cover.left : cover.left + columns]
        below = part[cover.mask]
        painting.overlapped += int(np.count_nonzero((below < UNLABELLED) & (below != label)))
        part[cover.mask] = label
