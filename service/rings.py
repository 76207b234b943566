"""Rings: the borders of a label map's pieces as closed lines along the sides of its pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.bands import bands
from data.labels import IGNORE_INDEX
from service.errors import invalid_option
from service.runs import Runs, pieces

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_CORNERS: Final = 2_000_000
"""Most corners that are answered: some 20 MB of JSON."""


@dataclass(frozen=True)
class Rings:
    """Rings by class, piece by piece; each piece's outer ring stands before its holes.

    No ring crosses or touches itself, and those of one class meet in corners at most, so that they make
    valid polygons (OGC 06-103r4, 6.1.11). Outer rings have a positive area in (x, y), holes a negative.

    Attributes:
        points: Corners, (x, y) from the top left corner of the first pixel, shape (n, 2), int32; the last one
            of a ring is not its first again.
        begins: Where each ring begins in ``points``, and the end of the last, shape (r + 1,).
        labels: Class of each ring, shape (r,).
        outer: Which rings are no holes, shape (r,).
    """

    points: NDArray[np.int32]
    begins: NDArray[np.int64]
    labels: NDArray[np.uint8]
    outer: NDArray[np.bool_]


@dataclass(frozen=True)
class _Corners:
    """Corners of borders, by class, row and column.

    Where two pixels of a class meet in a point alone, its border passes twice: such a point stands here
    twice, first for the side on its left, then for that on its right.

    Attributes:
        labels: Class, uint8.
        x: Column, int32.
        y: Row, int32.
        below: Whether the pixel to the lower right is of the class.
        from_above: Whether the side on the left or right leads on upwards; told of points that stand here twice,
            for others meaningless.
        twice: Which those are.
    """

    labels: NDArray[np.uint8]
    x: NDArray[np.int32]
    y: NDArray[np.int32]
    below: NDArray[np.bool_]
    from_above: NDArray[np.bool_]
    twice: NDArray[np.bool_]


def rings_of(label_map: NDArray[np.uint8]) -> Rings:
    """The borders of all pieces (4 neighbours) of all classes; pixels of label 255 belong to none.

    Args:
        label_map: Shape (H, W).

    Raises:
        ServiceError: 422, the label map is noise and has more corners than are answered.
    """
    height, width = label_map.shape
    runs = Runs.of(label_map)
    piece = pieces(runs.starts.size, runs.touches()[0])
    corners = _corners(label_map, runs, piece)
    if not corners.labels.size:
        none = np.zeros(0, dtype=np.int32)
        return Rings(none.reshape(0, 2), np.zeros(1, np.int64), none.astype(np.uint8), none.astype(np.bool_))
    # Along a row, sides of a border lie between its first and second corner, third and fourth, and so on;
    # along a column likewise. So every corner has one neighbour in its row and one in its column.
    column_order = np.argsort(
        ((corners.labels.astype(np.int64) * (width + 1) + corners.x) * (height + 1) + corners.y) * 2
        + (corners.twice & ~corners.from_above)
    )
    in_column = np.empty(column_order.size, dtype=np.int64)
    in_column[column_order[0::2]] = column_order[1::2]
    in_column[column_order[1::2]] = column_order[0::2]
    # With the class on the right hand (y points down): rightwards along its upper sides, back along the lower.
    left = np.arange(0, corners.labels.size, 2)
    rightwards = corners.below[left]
    begin, end = np.where(rightwards, left, left + 1), np.where(rightwards, left + 1, left)
    ring, place = _in_order(in_column[end] >> 1)
    heads = np.flatnonzero(place == 0)
    sides = np.bincount(ring, minlength=left.size)[heads]
    area = np.bincount(ring, (corners.x[begin] - corners.x[end]) * corners.y[begin].astype(np.float64))[heads]
    inside = (corners.y[left[heads]] - ~rightwards[heads]).astype(np.int64) * width + corners.x[left[heads]]
    order = np.lexsort((area < 0, piece[runs.at(inside)], corners.labels[left[heads]]))
    begins = np.concatenate(([0], np.cumsum(2 * sides[order])))
    target = np.empty(left.size, dtype=np.int64)
    target[heads[order]] = begins[:-1]
    target = target[ring] + 2 * place
    points = np.empty((corners.labels.size, 2), dtype=np.int32)
    for offset, corner in ((0, begin), (1, end)):
        points[target + offset, 0] = corners.x[corner]
        points[target + offset, 1] = corners.y[corner]
    return Rings(points, begins, corners.labels[left[heads[order]]], area[order] > 0)


def _corners(label_map: NDArray[np.uint8], runs: Runs, piece: NDArray[np.int32]) -> _Corners:
    height, width = label_map.shape
    found: list[tuple[NDArray[Any], ...]] = []
    total = 0
    for top, bottom in bands((height + 1, width)):
        # The pixels around the points of rows top to bottom, with a rim that belongs to no class.
        around = np.full((bottom - top + 1, width + 2), IGNORE_INDEX, dtype=np.uint8)
        first, last = max(top - 1, 0), min(bottom, height)
        around[first - top + 1 : last - top + 1, 1:-1] = label_map[first:last]
        a, b, c, d = around[:-1, :-1], around[:-1, 1:], around[1:, :-1], around[1:, 1:]
        y, x = np.nonzero(((a != b) | (c != d)) & ((a != c) | (b != d)))
        block = np.stack([a[y, x], b[y, x], c[y, x], d[y, x]], axis=1)
        same = block[:, :, None] == block[:, None, :]
        count = same.sum(axis=2)
        opposite = same[:, :, 0] == same[:, :, 3]
        turns = (block != IGNORE_INDEX) & ((count != 2) | opposite)
        for later in range(1, 4):  # one class once a point
            turns[:, later] &= ~same[:, later, :later].any(axis=1)
        point, which = np.nonzero(turns)
        total += point.size
        if total > MAX_CORNERS:
            raise invalid_option(
                [f"the borders in this picture have more than {MAX_CORNERS} corners"],
                "Ask for masks=rle, for fewer classes, for a larger min_area, or for a smaller answer with resize.",
            )
        found.append(
            (
                block[point, which],
                x[point].astype(np.int32),
                (y[point] + top).astype(np.int32),
                same[point, which, 3],
                same[point, which, 0],
                count[point, which] == 2,
            )
        )
    labels, columns, rows, lower_right, upper_left, twice = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    # Two pixels that meet in this point alone belong to one polygon if they hang together elsewhere: then the
    # border goes between the other two pixels, and touches itself nowhere. Else it goes round each pixel.
    upper = (rows.astype(np.int64) - 1) * width + columns - upper_left
    lower = rows.astype(np.int64) * width + columns - ~upper_left
    one_piece = np.zeros(labels.size, dtype=np.bool_)
    one_piece[twice] = piece[runs.at(upper[twice])] == piece[runs.at(lower[twice])]
    source = np.repeat(np.arange(labels.size), np.where(twice, 2, 1))
    second = np.diff(source, prepend=-1) == 0
    # The side on the left leads on upwards round an upper left pixel, or between two that are joined the other way.
    from_above = (upper_left ^ one_piece)[source] ^ second
    order = np.argsort(labels[source], kind="stable")
    source = source[order]
    return _Corners(
        labels[source], columns[source], rows[source], lower_right[source], from_above[order], twice[source]
    )


def _in_order(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cycles of a permutation, by doubling: every round looks twice as far.

    Args:
        following: For each element the next of its cycle, shape (n,).

    Returns:
        The lowest element of each one's cycle, and the steps from there, shape (n,) each.
    """
    lowest = np.arange(following.size)
    jump = following
    while True:
        further = np.minimum(lowest, lowest[jump])
        if np.array_equal(further, lowest):
            break
        lowest, jump = further, jump[jump]
    head = lowest == np.arange(following.size)
    left = np.where(head, 0, 1)
    goal = np.where(head, np.arange(following.size), following)
    while not head[goal].all():
        left += left[goal]
        goal = goal[goal]
    length = np.bincount(lowest, minlength=following.size)[lowest]
    return lowest, (length - left) % length
