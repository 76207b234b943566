"""Survey: what the training pictures hold: pixels of each class, how wide its pieces are, sizes of the pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from data.bands import bands, count_pixels
from data.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.sources.source import Source, Split

MOST_PICTURES: Final = 400
"""Read at most, spread evenly over the split: enough for shares, and an export stays short on any data set."""


@dataclass(frozen=True)
class Survey:
    """What was counted.

    Attributes:
        pictures: In the split.
        counted: Of them read.
        pixels: Of each class, shape (C,).
        ignored: Pixels without a label.
        widths: Typical width of each class's pieces in pixels, shape (C,): twice the area over the length of all
            borders, which is the width of a strip; NaN where the class does not occur.
        smallest: Height and width of the smallest picture by area.
        largest: Of the largest.
    """

    pictures: int
    counted: int
    pixels: NDArray[np.int64]
    ignored: int
    widths: NDArray[np.float64]
    smallest: tuple[int, int]
    largest: tuple[int, int]


def survey(source: Source, split: Split = "train") -> Survey:
    """Count a split's label maps.

    Args:
        source: Labelled pictures.
        split: With one picture at least.

    Raises:
        DataError: a sample is faulty.
    """
    pictures = len(source.names(split))
    counted = min(pictures, MOST_PICTURES)
    pixels, borders = np.zeros(256, dtype=np.int64), np.zeros(256, dtype=np.int64)
    sizes = set()
    for number in range(counted):
        target = source.load(split, number * pictures // counted).label_map
        sizes.add((target.shape[0], target.shape[1]))
        pixels += count_pixels(target)
        for top, bottom in bands(target.shape):
            below, here = target[top + 1 : bottom + 1], target[top : min(bottom, len(target) - 1)]
            for one, other in ((below, here), (target[top:bottom, 1:], target[top:bottom, :-1])):
                differ = one != other
                for side in (one, other):
                    borders += np.bincount(side[differ], minlength=256)
    classes = source.label_map.num_classes
    widths = np.divide(2.0 * pixels, borders, out=np.full(256, np.nan), where=borders > 0)
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    return Survey(
        pictures, counted, pixels[:classes], int(pixels[IGNORE_INDEX]), widths[:classes], ordered[0], ordered[-1]
    )
