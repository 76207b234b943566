"""Polygons: the pieces of every class as a MultiPolygon, their borders simplified as far as they stay valid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import shapely

from service.rings import rings_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from service.rings import Rings

Coordinates = list[list[list[list[int]]]]
"""Polygons, of rings (the outer one first), of points, of x and y; the last point of a ring is its first again."""

_BUDGET: Final = 500_000_000
"""Rings times corners of all polygons that are simplified: GEOS looks at every ring for every corner; some 2 s."""

_ROUNDS: Final = 4


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
    closed = np.insert(rings.points, rings.begins[1:], rings.points[rings.begins[:-1]], axis=0)
    sizes = np.diff(rings.begins) + 1
    if not tolerance:
        return _nested(closed, sizes, rings.outer, rings.labels)
    polygons = shapely.polygons(
        shapely.linearrings(closed.astype(np.float64), indices=np.repeat(np.arange(sizes.size), sizes)),
        indices=np.cumsum(rings.outer) - 1,
    )
    labels = rings.labels[rings.outer]
    simpler = _simplified(polygons, rings, tolerance)
    check()
    for label in np.unique(labels):
        here = labels == label
        simpler[here] = _apart(simpler[here], polygons[here])
        check()
    lines, owner = shapely.get_rings(simpler, return_index=True)
    points, line = shapely.get_coordinates(lines, return_index=True)
    outer = np.diff(owner, prepend=-1) > 0
    return _nested(points.astype(np.int32), np.bincount(line), outer, labels[owner])


def _simplified(polygons: NDArray[np.object_], rings: Rings, tolerance: float) -> NDArray[np.object_]:
    """Each polygon simplified by itself; those with the most rings and corners stay as they are beyond the budget."""
    owner = np.cumsum(rings.outer) - 1
    cost = np.bincount(owner) * np.bincount(owner, np.diff(rings.begins))
    order = np.argsort(cost, kind="stable")
    cheap = order[np.cumsum(cost[order]) <= _BUDGET]
    simpler = polygons.copy()
    simpler[cheap] = shapely.simplify(polygons[cheap], tolerance, preserve_topology=True)
    return simpler


def _apart(simpler: NDArray[np.object_], exact: NDArray[np.object_]) -> NDArray[np.object_]:
    """Polygons of one class of which no two overlap: those that do get their own borders back.

    Args:
        simpler: Simplified, each valid by itself.
        exact: The same ones with their own borders, which do not overlap.
    """
    for turn in range(_ROUNDS):
        if shapely.is_valid(shapely.multipolygons(simpler)):
            return simpler
        again = _in_conflict(simpler, with_corners=turn > 0)
        if not again.size:
            break
        simpler[again] = exact[again]
    return exact


def _in_conflict(polygons: NDArray[np.object_], *, with_corners: bool) -> NDArray[np.int64]:
    """Polygons whose sides meet a side of another polygon elsewhere than at a corner of both, or also there.

    By sides and not by polygons: a large polygon compared as a whole with all the small ones in its
    bounding box would take minutes.
    """
    lines, owner = shapely.get_rings(polygons, return_index=True)
    points, line = shapely.get_coordinates(lines, return_index=True)
    sides = np.stack((points[:-1], points[1:]), axis=1)[line[:-1] == line[1:]]
    owner = owner[line[:-1][line[:-1] == line[1:]]]
    segments = shapely.linestrings(sides)
    one, other = shapely.STRtree(segments).query(segments, predicate="intersects")
    strange = (one < other) & (owner[one] != owner[other])
    one, other = one[strange], other[strange]
    if not with_corners:
        at_corner = (sides[one][:, :, None] == sides[other][:, None, :]).all(axis=3).any(axis=(1, 2))
        one, other = one[~at_corner], other[~at_corner]
    return np.union1d(owner[one], owner[other])


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
