"""Polygons: the pieces of every class as a MultiPolygon, their borders simplified as far as they stay valid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from service.rings import rings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


Coordinates = list[list[list[list[int]]]]
"""Polygons, of rings (the outer one first), of points, of x and y; the last point of a ring is its first again."""


def polygons_of(
    label_map: NDArray[np.uint8], tolerance: float, check: Callable[[], None] = lambda: None
) -> dict[int, Coordinates]:
    """The MultiPolygon of every class that is present, in pixels; (0, 0) is the corner of the first pixel.

    Outer rings have a positive area in (x, y), holes a negative, as RFC 7946 (3.1.6) has it. Every
    MultiPolygon is valid (OGC 06-103r4): rings neither cross nor overlap, and touch in points at most.

    Args:
        label_map: Shape (H, W); label 255 is left out.
        tolerance: Of the simplification after Douglas and Peucker (1973), in pixels; 0 leaves it out, and the
            polygons then cover the pixels of their class and no others.
        check: Called between steps; what it raises ends the work.

    Raises:
        ServiceError: 422, the label map is noise and has too many corners.
    """
    rings = rings_of(label_map)
    check()
    if not rings.labels.size:
        return {}
    points, sizes = rings.points, np.diff(rings.begins)
    if tolerance:
        from service.simplified import simplified  # noqa: PLC0415 - GEOS is loaded once somebody asks for it

        kept, sizes = simplified(rings, tolerance, check)
        points = points[kept]
    ends = np.cumsum(sizes)
    closed = np.insert(points, ends, points[ends - sizes], axis=0)
    return _nested(closed, sizes + 1, rings.outer, rings.labels)


def _nested(
    points: NDArray[np.int32], sizes: NDArray[np.int64], outer: NDArray[np.bool_], labels: NDArray[np.uint8]
) -> dict[int, Coordinates]:
    """Rings as nested lists by class; ``sizes`` are their points, with the first one again at the end."""
    listed = points.tolist()
    result: dict[int, Coordinates] = {}
    ends = np.cumsum(sizes).tolist()
    for end, size, is_outer, label in zip(ends, sizes.tolist(), outer.tolist(), labels.tolist(), strict=True):
        polygons = result.setdefault(label, [])
        if is_outer:
            polygons.append([])
        polygons[-1].append(listed[end - size : end])
    return result
