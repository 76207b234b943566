"""Exact signed distances of plane figures, in pixels: negative inside, positive outside.

Only + - * / and the square root are used. IEEE 754 defines these to the last bit, so a figure has the
same pixels on every machine; sin, cos and matrix products differ between processors.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Point = tuple[float, float]

_COS72: Final = (math.sqrt(5) - 1) / 4
_SIN72: Final = math.sqrt(10 + 2 * math.sqrt(5)) / 4


def disc(x: NDArray[np.float64], y: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Signed distance to a disc about the origin.

    Args:
        x: Coordinates; x and y broadcast against each other, here and below.
        y: Coordinates.
        radius: Above 0.
    """
    return np.sqrt(x * x + y * y) - radius


def ring(x: NDArray[np.float64], y: NDArray[np.float64], radius: float, width: float) -> NDArray[np.float64]:
    """Signed distance to a band of ``width`` about the circle of ``radius``."""
    return np.abs(disc(x, y, radius)) - width / 2


def polyline(
    x: NDArray[np.float64], y: NDArray[np.float64], points: Sequence[Point], width: float
) -> NDArray[np.float64]:
    """Signed distance to a stroke of ``width`` with round ends and joints through ``points`` (two or more)."""
    squares = [_squared_segment(x, y, start, end) for start, end in itertools.pairwise(points)]
    return np.sqrt(functools.reduce(np.minimum, squares)) - width / 2


def polygon(x: NDArray[np.float64], y: NDArray[np.float64], corners: Sequence[Point]) -> NDArray[np.float64]:
    """Signed distance to a simple polygon, convex or not.

    Distance to the nearest edge, with the sign from the parity of the edges that a ray from the point
    crosses (the even-odd rule).
    """
    nearest = _squared_segment(x, y, corners[-1], corners[0])
    inside = np.zeros(nearest.shape, dtype=np.bool_)
    for start, end in zip([corners[-1], *corners[:-1]], corners, strict=True):
        nearest = np.minimum(nearest, _squared_segment(x, y, start, end))
        spans = (start[1] > y) != (end[1] > y)
        side = (end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0])
        inside ^= spans & ((side > 0) == (end[1] > start[1]))
    distance = np.sqrt(nearest)
    return np.where(inside, -distance, distance)


def regular_pentagon(radius: float) -> list[Point]:
    """Corners of a regular pentagon about the origin, in turn."""
    cos144, sin144 = 2 * _COS72 * _COS72 - 1, 2 * _SIN72 * _COS72
    circle = [(1.0, 0.0), (_COS72, _SIN72), (cos144, sin144), (cos144, -sin144), (_COS72, -_SIN72)]
    return [(radius * x, radius * y) for x, y in circle]


def star(radius: float, waist: float) -> list[Point]:
    """Corners of a five-pointed star about the origin: tips at ``radius``, notches at ``waist * radius``."""
    tips = regular_pentagon(radius)
    notches = [(-x * waist, -y * waist) for x, y in (tips[3], tips[4], tips[0], tips[1], tips[2])]
    return [point for pair in zip(tips, notches, strict=True) for point in pair]


def _squared_segment(x: NDArray[np.float64], y: NDArray[np.float64], start: Point, end: Point) -> NDArray[np.float64]:
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    from_x, from_y = x - start[0], y - start[1]
    length = along_x * along_x + along_y * along_y
    share = np.clip((from_x * along_x + from_y * along_y) / max(length, 1e-12), 0.0, 1.0)
    off_x, off_y = from_x - along_x * share, from_y - along_y * share
    return off_x * off_x + off_y * off_y
