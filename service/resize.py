"""Resize: a segmentation at another size, every class voting with the area that it covers."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from data.bands import bands
from model.runtime.predictor import Segmentation

_BAND: Final = 1_000_000
"""Pixels of the source, or votes, held at once: some 20 bytes each."""


def resized(segmentation: Segmentation, height: int, width: int) -> Segmentation:
    """The segmentation at another size.

    On a side that shrinks, a new pixel gets the class that covers most of its area (of equal ones the
    lower id), and as confidence the mean over its area. Nearest neighbours would take one pixel of
    many and lose thin things at random. On a side that grows, pixels are repeated.

    Args:
        segmentation: Of any size; the same object is given back when nothing changes.
        height: At least 1.
        width: At least 1.
    """
    old_height, old_width = segmentation.label_map.shape
    labels, confidence = _shrunk(segmentation, min(height, old_height), min(width, old_width))
    rows, columns = _nearest(labels.shape[0], height), _nearest(labels.shape[1], width)
    if height > old_height:
        labels, confidence = labels.take(rows, axis=0), confidence.take(rows, axis=0)
    if width > old_width:
        labels, confidence = labels.take(columns, axis=1), confidence.take(columns, axis=1)
    return segmentation if labels is segmentation.label_map else Segmentation(labels, confidence)


def resized_picture(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The picture at another size: means of areas where it shrinks, linear between pixels where it grows.

    Args:
        image: RGB, shape (H, W, 3).
        height: At least 1.
        width: At least 1.
    """
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    kind = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(image).resize((width, height), kind))


_Part = tuple[NDArray[np.int64], NDArray[np.int64]]
"""For every old pixel a new one, and how many units they have in common."""


class _Axis:
    """How the pixels of a side that shrinks fall into those of the new one.

    A unit is such that an old pixel has as many of them as there are new pixels, and a new one as many
    as there are old ones: all shares are whole numbers. An old pixel lies in one new pixel or in two.

    Args:
        old: Pixels of the old side.
        new: Pixels of the new side, at most as many.
    """

    def __init__(self, old: int, new: int) -> None:
        self.old, self.new = old, new
        begin = np.arange(old, dtype=np.int64) * new
        first = begin // old
        inside = np.minimum((first + 1) * old - begin, new)
        # The two new pixels that an old one may lie in, and its units in each.
        self.parts = ((first, inside), (first + 1, new - inside))

    def source(self, begin: int, end: int) -> tuple[int, int]:
        """Old pixels that lie, in part at least, in the new ones from ``begin`` up to ``end``."""
        return begin * self.old // self.new, -(-end * self.old // self.new)


def _shrunk(segmentation: Segmentation, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    labels, confidence = segmentation.label_map, segmentation.confidence
    if labels.shape == (height, width):
        return labels, confidence
    down, across = _Axis(labels.shape[0], height), _Axis(labels.shape[1], width)
    present = np.flatnonzero(sum(np.bincount(labels[a:b].ravel(), minlength=256) for a, b in bands(labels.shape)))
    compact = np.zeros(256, dtype=np.int64)
    compact[present] = np.arange(present.size)
    new_labels = np.empty((height, width), dtype=np.uint8)
    new_confidence = np.empty((height, width), dtype=np.uint8)
    area = down.old * across.old
    for top, bottom in bands((height, width * present.size), _BAND):
        cells = (bottom - top) * width
        votes = np.zeros(cells * present.size)
        sums = np.zeros(cells)
        first, last = down.source(top, bottom)
        for begin, end in bands((last - first, labels.shape[1]), _BAND):
            rows = slice(first + begin, first + end)
            classes = compact[labels[rows]]
            for row_part in down.parts:
                for column_part in across.parts:
                    there, here, cell, units = _meetings(row_part, column_part, rows, top, bottom, width)
                    where = np.ix_(there, here)
                    ballots = (cell * present.size + classes[where]).ravel()
                    votes += np.bincount(ballots, units.ravel(), minlength=votes.size)
                    sums += np.bincount(cell.ravel(), (units * confidence[rows][where]).ravel(), minlength=cells)
        new_labels[top:bottom] = present[votes.reshape(-1, present.size).argmax(axis=1)].reshape(-1, width)
        new_confidence[top:bottom] = np.floor(sums / area + 0.5).reshape(-1, width)
    return new_labels, new_confidence


def _meetings(
    row_part: _Part, column_part: _Part, rows: slice, top: int, bottom: int, width: int
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64], NDArray[np.float64]]:
    """Which old pixels of some rows meet new ones in rows ``top`` to ``bottom``, which, and in how many units.

    Returns:
        The old pixels' rows (from the first one given) and columns, and for each pair the number of the
        new pixel (from the first in row ``top``) and their units in common.
    """
    new_rows, row_units = row_part[0][rows], row_part[1][rows]
    new_columns, column_units = column_part
    there = np.flatnonzero((row_units > 0) & (new_rows >= top) & (new_rows < bottom))
    here = np.flatnonzero(column_units)
    cell = (new_rows[there, None] - top) * width + new_columns[None, here]
    units = np.multiply.outer(row_units[there], column_units[here]).astype(np.float64)
    return there, here, cell, units


def _nearest(old: int, new: int) -> NDArray[np.int64]:
    """The old pixel under the middle of every new one."""
    return (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)
