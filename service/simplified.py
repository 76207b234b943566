"""Simplified: the borders of polygons brought to fewer corners, as far as the polygons of a class stay apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from service.rings import Rings

_BUDGET: Final = 500_000_000
"""Rings times corners of all polygons that are simplified: GEOS looks at every ring for every corner; some 2 s."""

_ROUNDS: Final = 4


def simplified(
    closed: NDArray[np.int32], rings: Rings, tolerance: float, check: Callable[[], None]
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """Simplify polygons after Douglas and Peucker (1973); the polygons of a class stay valid together.

    Args:
        closed: Points of all rings one after the other, each ring's first one again at its end, shape (P, 2).
        rings: The same rings, open.
        tolerance: In pixels, above 0.
        check: Called between steps; what it raises ends the work.

    Returns:
        Points of the new rings, shape (Q, 2); the ring of each, shape (Q,); the polygon of each ring. A polygon's first
        ring is the outer one.
    """
    sizes = np.diff(rings.begins) + 1
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
    return points.astype(np.int32), line, owner


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
