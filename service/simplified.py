"""Simplified: the borders of polygons brought to fewer corners, as far as the polygons of a class stay apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from service.rings import Rings

_FINEST: Final = 0.75
"""Least tolerance that is tried, in pixels: below, the steps of a slanted border stay as they are."""

_BUDGET: Final = 500_000
"""Corners of a class that are looked at in all rounds, some 10 microseconds each; beyond, its borders stay exact."""


def simplified(
    rings: Rings, tolerance: float, check: Callable[[], None]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Simplify borders after Douglas and Peucker (1973); the polygons of a class stay valid together.

    Each ring is simplified by itself. Where sides of one class then cross, or one has passed over a corner, those
    sides alone are done again at half the tolerance, in the end as they were.

    Args:
        rings: Exact ones.
        tolerance: In pixels, above 0.
        check: Called between steps; what it raises ends the work.

    Returns:
        Which of the rings' points are kept, shape (n,), and how many of each ring, shape (r,).
    """
    tolerances = [tolerance]
    while tolerances[-1] / 2 >= _FINEST:
        tolerances.append(tolerances[-1] / 2)
    kept = np.ones(len(rings.points), dtype=np.bool_)
    firsts = np.flatnonzero(np.diff(rings.labels, prepend=-1))
    for first, end in zip(firsts, [*firsts[1:], rings.labels.size], strict=True):
        begins = rings.begins[first : end + 1]
        here = slice(begins[0], begins[-1])
        borders = _Borders(rings.points[here], begins - begins[0], rings.outer[first:end])
        kept[here] = _apart(borders, tolerances, check)
    return kept, np.add.reduceat(kept, rings.begins[:-1], dtype=np.int64)


def _apart(borders: _Borders, tolerances: list[float], check: Callable[[], None]) -> NDArray[np.bool_]:
    """Points of one class that are kept: as few as the tolerances give where its polygons stay valid."""
    kept = borders.corners(tolerances[0])
    finer: list[NDArray[np.bool_]] = []
    level = np.zeros(kept.size, dtype=np.int8)
    unseen, new = np.ones_like(kept), np.ones_like(kept)
    spent = 0
    while spent < _BUDGET:
        check()
        blamed = borders.collapsed(kept)
        if not blamed.any():
            spent += int((kept & unseen).sum())
            blamed = borders.in_conflict(kept, unseen, new)
            unseen[:] = new[:] = False
        if not blamed.any():
            if borders.valid(kept):
                return kept
            spent += int(kept.sum())
            blamed = borders.in_conflict(kept, at_corners=True)
        if not blamed.any() or level[blamed].min() > len(tolerances):
            break
        level[blamed] += 1
        while len(finer) < min(level.max(), len(tolerances) - 1):
            finer.append(borders.corners(tolerances[len(finer) + 1]))
        before = kept.copy()
        for number, corners in enumerate(finer, 1):
            kept |= corners & (level == number)
        kept |= level >= len(tolerances)
        unseen |= blamed
        new |= kept & ~before
    return np.ones_like(kept)


@dataclass(frozen=True)
class _Sides:
    """What is left of the rings of a class.

    Attributes:
        starts: The point at which each side begins, shape (s,).
        ends: At which it ends.
        of_point: The side that each point begins or was dropped for, shape (n,).
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    of_point: NDArray[np.int64]


class _Borders:
    """The rings of one class.

    Args:
        points: Shape (n, 2).
        begins: Where each ring begins, and the end of the last, shape (r + 1,).
        outer: Which rings are no holes, shape (r,).
    """

    def __init__(self, points: NDArray[np.int32], begins: NDArray[np.int64], outer: NDArray[np.bool_]) -> None:
        self.points = points.astype(np.float64)
        self._begins = begins
        self._ring = np.repeat(np.arange(outer.size), np.diff(begins))
        self._polygon = np.cumsum(outer) - 1

    def corners(self, tolerance: float) -> NDArray[np.bool_]:
        """Which points are left of each ring by itself, its first one always; of a small ring that may be all."""
        lines = shapely.linestrings(
            np.insert(self.points, self._begins[1:], self.points[self._begins[:-1]], axis=0),
            indices=np.repeat(np.arange(self._begins.size - 1), np.diff(self._begins) + 1),
        )
        found, ring = shapely.get_coordinates(
            shapely.simplify(lines, tolerance, preserve_topology=False), return_index=True
        )
        # No ring meets a point twice.
        kept: NDArray[np.bool_] = np.isin(self._keys(self._ring, self.points), self._keys(ring, found))
        kept[self._begins[:-1]] = True
        return kept

    def collapsed(self, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Points of the rings of which a line or a point is left."""
        return np.repeat(np.add.reduceat(kept, self._begins[:-1], dtype=np.int64) < 3, np.diff(self._begins))

    def valid(self, kept: NDArray[np.bool_]) -> bool:
        """Whether what is left makes a valid MultiPolygon."""
        rings = shapely.linearrings(self.points[kept], indices=self._ring[kept])
        return bool(shapely.is_valid(shapely.multipolygons(shapely.polygons(rings, indices=self._polygon))))

    def in_conflict(
        self,
        kept: NDArray[np.bool_],
        unseen: NDArray[np.bool_] | None = None,
        new: NDArray[np.bool_] | None = None,
        *,
        at_corners: bool = False,
    ) -> NDArray[np.bool_]:
        """Points of the sides that are to blame, the first of each side with those dropped after it.

        Args:
            kept: No ring is collapsed.
            unseen: Points of sides that are looked at beside all others; by default all.
            new: Likewise of corners.
            at_corners: Sides are to blame, too, for meeting another ring in a corner.
        """
        starts = np.flatnonzero(kept)
        last = np.cumsum(np.add.reduceat(kept, self._begins[:-1], dtype=np.int64)) - 1
        ends = np.roll(starts, -1)
        ends[last] = self._begins[:-1]
        sides = _Sides(starts, ends, np.cumsum(kept) - 1)
        old = np.zeros(starts.size, dtype=np.bool_)
        asked, fresh = (~old if mask is None else mask[starts] for mask in (unseen, new))
        blamed = self._crossing(sides, asked, at_corners=at_corners)
        blamed |= self._passed_over(sides, asked, fresh, at_corners=at_corners)
        return blamed[sides.of_point]

    def _crossing(self, sides: _Sides, asked: NDArray[np.bool_], *, at_corners: bool) -> NDArray[np.bool_]:
        """Sides that meet another elsewhere than at a corner of both, or one of another ring there as well.

        By sides and not by polygons: a large polygon compared as a whole with all the small ones in its
        bounding box would take minutes.
        """
        points = np.stack((self.points[sides.starts], self.points[sides.ends]), axis=1)
        segments = shapely.linestrings(points)
        which = np.flatnonzero(asked)
        one, other = shapely.STRtree(segments).query(segments[which], predicate="intersects")
        one = which[one]
        apart = (points[one][:, :, None] != points[other][:, None, :]).any(axis=3).all(axis=(1, 2))
        if at_corners:
            ring = self._ring[sides.starts]
            apart |= ring[one] != ring[other]
        found = np.zeros(asked.size, dtype=np.bool_)
        found[one[apart]] = found[other[apart]] = True
        return found

    def _passed_over(
        self, sides: _Sides, asked: NDArray[np.bool_], fresh: NDArray[np.bool_], *, at_corners: bool
    ) -> NDArray[np.bool_]:
        """Sides with a corner between them and the border that they stand for, or on that border as well."""
        found = np.zeros(asked.size, dtype=np.bool_)
        sizes = np.bincount(sides.of_point)
        for shorter, corners in (
            (np.flatnonzero((sizes > 1) & asked), np.arange(asked.size)),
            (np.flatnonzero((sizes > 1) & ~asked), np.flatnonzero(fresh)),
        ):
            if not shorter.size or not corners.size:
                continue
            taken = np.isin(sides.of_point, shorter)
            ends = self.points[sides.ends[shorter]]
            between = shapely.polygons(
                shapely.linearrings(
                    np.insert(self.points[taken], np.cumsum(sizes[shorter]), ends, axis=0),
                    indices=np.repeat(np.arange(shorter.size), sizes[shorter] + 1),
                )
            )
            tree = shapely.STRtree(shapely.points(self.points[sides.starts[corners]]))
            area, corner = tree.query(between, predicate="intersects" if at_corners else "contains_properly")
            side, corner = shorter[area], sides.starts[corners[corner]]
            own = (corner == sides.starts[side]) | (corner == sides.ends[side])
            found[side[~own]] = True
        return found

    def _keys(self, ring: NDArray[np.int64], points: NDArray[np.float64]) -> NDArray[np.int64]:
        """A number for each point of each ring."""
        width, height = self.points.max(axis=0).astype(np.int64) + 1
        x, y = points.astype(np.int64).T
        numbers: NDArray[np.int64] = (ring * height + y) * width + x
        return numbers
