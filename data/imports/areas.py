"""Areas: what shapes in an export cover of their picture, outlines by the rule of COCO's tools."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
from pycocotools import mask as codec

from data.errors import DataError
from data.imports.runs import counts_of_text, decode_brush, mask_of_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LONGEST_OUTLINE: Final = 4_000_000
"""Most pixels along an outline. Each takes some hundred bytes while it is filled."""

_TOLERANCE: Final = 1.0
"""Pixels by which an outline may leave its picture without being told: a click at its edge."""


@dataclass(frozen=True)
class Cover:
    """Pixels that a shape covers, as a mask of a part of the picture.

    Attributes:
        top: First row of the part.
        left: First column of it.
        mask: Shape (h, w), within the picture.
        cut: Whether the shape goes beyond the picture.
    """

    top: int
    left: int
    mask: NDArray[np.bool_]
    cut: bool = False


class Area(Protocol):
    """Something that covers pixels of a picture."""

    def cover(self, height: int, width: int) -> Cover:
        """The pixels covered of a picture of that size.

        Raises:
            DataError: the shape is damaged, or is of another size.
        """
        ...


@dataclass(frozen=True)
class Outline:
    """Closed outlines; what is within one of them is covered.

    Attributes:
        parts: Corners x, y of each, shape (N, 2), in pixels or percent of the picture's sides.
        percent: Whether they are percent.
        degrees: They are turned clockwise by these, as a screen shows them.
        centre: Point x, y about which they are turned.
    """

    parts: tuple[NDArray[np.float64], ...]
    percent: bool = False
    degrees: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)

    def cover(self, height: int, width: int) -> Cover:
        """As ``pycocotools`` fills them, which CVAT and Label Studio use too."""
        scale = np.asarray([width, height]) / 100 if self.percent else np.ones(2)
        # Turned once the sides are pixels: percent of a picture's two sides are not of one length.
        parts = [
            _turned(part * scale, self.degrees, np.asarray(self.centre) * scale)
            for part in self.parts
            if len(part) >= 3
        ]
        if not parts:
            return _NOTHING
        if sum(_length(part) for part in parts) > _LONGEST_OUTLINE:
            raise DataError(f"its outline is longer than {_LONGEST_OUTLINE} pixels: it is damaged, or far too large")
        lowest, highest = np.min([part.min(0) for part in parts], 0), np.max([part.max(0) for part in parts], 0)
        cut = bool((lowest < -_TOLERANCE).any() or (highest > np.asarray([width, height]) + _TOLERANCE).any())
        encoded = codec.merge(codec.frPyObjects([part.ravel().tolist() for part in parts], height, width))
        return _columns(counts_of_text(encoded["counts"].decode("ascii")), height, width, cut)


@dataclass(frozen=True)
class ColumnRuns:
    """A mask of the whole picture in run lengths that go down its columns, as COCO has them.

    Attributes:
        counts: Lengths.
        height: Of the mask.
        width: Of the mask.
    """

    counts: NDArray[np.int64]
    height: int
    width: int

    def cover(self, height: int, width: int) -> Cover:
        """Just the mask."""
        if (self.height, self.width) != (height, width):
            raise DataError(f"its mask is {self.width}x{self.height}; the picture is {width}x{height}")
        return _columns(self.counts, height, width, cut=False)


@dataclass(frozen=True)
class BoxedRuns:
    """A mask of a part of the picture in run lengths along its rows, as CVAT has them.

    Attributes:
        counts: Lengths.
        left: First column of the part.
        top: First row.
        width: Of the part.
        height: Of the part.
    """

    counts: NDArray[np.int64]
    left: int
    top: int
    width: int
    height: int

    def cover(self, height: int, width: int) -> Cover:
        """What of the mask lies within the picture."""
        if min(self.width, self.height) < 1 or self.width * self.height > 4 * width * height:
            raise DataError(f"its mask is {self.width}x{self.height}; the picture is {width}x{height}")
        mask = mask_of_counts(self.counts, self.height, self.width)
        top, left = max(0, self.top), max(0, self.left)
        bottom, right = min(height, self.top + self.height), min(width, self.left + self.width)
        inside = mask[top - self.top : max(top, bottom) - self.top, left - self.left : max(left, right) - self.left]
        return Cover(top, left, inside, cut=int(mask.sum()) != int(inside.sum()))


@dataclass(frozen=True)
class Brush:
    """A brush of Label Studio, of the whole picture.

    Attributes:
        data: Its bytes.
    """

    data: NDArray[np.uint8]

    def cover(self, height: int, width: int) -> Cover:
        """Pixels that it covers by half or more."""
        return Cover(0, 0, decode_brush(self.data, height * width).reshape(height, width) > 127)


def box(left: float, top: float, right: float, bottom: float) -> NDArray[np.float64]:
    """Corners of an upright rectangle, shape (4, 2)."""
    return np.asarray([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> NDArray[np.float64]:
    """An ellipse as an outline of 128 corners."""
    angles = np.arange(128) * (2 * math.pi / 128)
    return np.stack([x + radius_x * np.cos(angles), y + radius_y * np.sin(angles)], axis=1)


_NOTHING: Final = Cover(0, 0, np.zeros((0, 0), dtype=np.bool_))


def _turned(part: NDArray[np.float64], degrees: float, centre: NDArray[np.float64]) -> NDArray[np.float64]:
    if not degrees:
        return part
    angle = math.radians(degrees)
    matrix = np.asarray([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    found: NDArray[np.float64] = (part - centre) @ matrix + centre
    return found


def _length(part: NDArray[np.float64]) -> float:
    """Pixels along a closed outline."""
    return float(np.abs(part - np.roll(part, 1, axis=0)).max(axis=1).sum())


def _columns(counts: NDArray[np.int64], height: int, width: int, cut: bool) -> Cover:
    """The columns that runs down the columns cover: masks of small shapes stay small."""
    if counts.size and int(counts.min()) < 0:
        raise DataError("run lengths are damaged: one is negative")
    ends = np.cumsum(counts)
    if not counts.size or int(ends[-1]) != height * width:
        total = int(ends[-1]) if counts.size else 0
        raise DataError(f"run lengths cover {total} pixels; {width}x{height} = {width * height} are expected")
    inside = np.flatnonzero(counts[1::2]) * 2 + 1
    if not inside.size:
        return Cover(0, 0, _NOTHING.mask, cut)
    first, last = int(inside[0]), int(inside[-1])
    start, end = int(ends[first] - counts[first]), int(ends[last])
    left, right = start // height, -(-end // height)
    flat = np.zeros((right - left) * height, dtype=np.bool_)
    runs = np.arange(first, last + 1)
    flat[start - left * height : end - left * height] = np.repeat((runs % 2).astype(np.bool_), counts[first : last + 1])
    return Cover(0, left, flat.reshape(right - left, height).T, cut)
