"""Runs: a label map as stretches of equal labels along its rows, and the connected pieces that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from data.bands import bands
from service.errors import invalid_option

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_RUNS: Final = 4_000_000
"""Most runs that are worked on, at some 250 bytes each. Label maps of photographs have 10 to 100 a row."""


@dataclass(frozen=True)
class Touches:
    """Where runs touch: pairs of runs side by side or one above the other.

    Attributes:
        first: Index of one run, shape (n,), int32.
        second: Of the other, which begins later.
        length: Pixel sides that they share, shape (n,), int32.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    length: NDArray[np.int32]


@dataclass(frozen=True)
class Runs:
    """A label map as its runs, from left to right and from top to bottom.

    Attributes:
        shape: Height and width of the label map.
        starts: Index of each run's first pixel in the flat label map, shape (n,), int32, ascending.
        labels: Of each run, shape (n,), uint8.
    """

    shape: tuple[int, int]
    starts: NDArray[np.int32]
    labels: NDArray[np.uint8]

    @classmethod
    def of(cls, label_map: NDArray[np.uint8]) -> Runs:
        """The runs of a label map, shape (H, W).

        Raises:
            ServiceError: 422, more than ``MAX_RUNS``, as noise of many megapixels has.
        """
        height, width = label_map.shape
        found, total = [], 0
        for top, bottom in bands(label_map.shape):
            band = label_map[top:bottom]
            begins = np.ones(band.shape, dtype=np.bool_)
            np.not_equal(band[:, 1:], band[:, :-1], out=begins[:, 1:])
            places = np.flatnonzero(begins)
            total += places.size
            if total > MAX_RUNS:
                raise invalid_option(
                    [f"the label map of this picture falls into more than {MAX_RUNS} pieces of rows"],
                    "Ask for a smaller answer with resize, or without min_area and masks=polygon.",
                )
            found.append((places + top * width).astype(np.int32))
        starts = np.concatenate(found)
        return cls((height, width), starts, np.ascontiguousarray(label_map).ravel()[starts])

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Pixels of each run, shape (n,)."""
        return np.diff(self.starts, append=np.int32(self.shape[0] * self.shape[1]))

    def at(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The runs of some pixels, given by their indices in the flat label map."""
        return np.searchsorted(self.starts, places, side="right") - 1

    def touches(self) -> tuple[Touches, Touches]:
        """Pairs of runs that touch with a side: those of one label, and those of two."""
        height, width = self.shape
        starts = self.starts
        in_first_row = int(np.searchsorted(starts, width))
        in_last_row = starts.size - int(np.searchsorted(starts, (height - 1) * width))
        # Every pixel below the first row, with the run above it and its own: both change at known places.
        above, own = starts[: starts.size - in_last_row] + np.int32(width), starts[in_first_row:]
        merged = np.sort(np.concatenate((above, own)), kind="stable")  # two ascending halves: merged in one go
        places = merged[np.diff(merged, prepend=np.int32(-1)) > 0]
        upper = (np.searchsorted(above, places, side="right") - 1).astype(np.int32)
        lower = (np.searchsorted(own, places, side="right") - 1 + in_first_row).astype(np.int32)
        length = np.diff(places, append=np.int32(height * width))
        same = self.labels[upper] == self.labels[lower]
        left = np.flatnonzero(starts[1:] % width).astype(np.int32)
        return (
            Touches(upper[same], lower[same], length[same]),
            Touches(
                np.concatenate((left, upper[~same])),
                np.concatenate((left + np.int32(1), lower[~same])),
                np.concatenate((np.ones(left.size, dtype=np.int32), length[~same])),
            ),
        )


def pieces(count: int, touches: Touches) -> NDArray[np.int32]:
    """The connected piece of every run: runs of one label that touch, directly or by way of others.

    Every root hooks on to the lowest root that it touches, then all paths are shortened (Shiloach and
    Vishkin, "An O(log n) parallel connectivity algorithm", 1982): a few rounds of array operations.

    Args:
        count: Number of runs.
        touches: Of runs of one label.

    Returns:
        For each run the first run of its piece, shape (count,).
    """
    parent = np.arange(count, dtype=np.int32)
    first, second = touches.first, touches.second
    while first.size:
        one, other = parent[first], parent[second]
        apart = one != other
        first, second, one, other = first[apart], second[apart], one[apart], other[apart]
        np.minimum.at(parent, np.maximum(one, other), np.minimum(one, other))
        while True:
            further = parent[parent]
            if np.array_equal(further, parent):
                break
            parent = further
    return parent
