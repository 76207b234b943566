"""Bands: a large picture in pieces of rows, so that what is computed beside it stays small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAND_PIXELS: Final = 4_000_000
"""Pixels worked on at once: the wide integers of a blend or a count then stay near 100 MB for any picture."""


def bands(shape: tuple[int, ...], pixels: int | None = None) -> list[tuple[int, int]]:
    """First row and end of every band.

    Args:
        shape: Height and width, then anything.
        pixels: About as many in one band; at least one row is taken.
    """
    height, width = shape[:2]
    rows = max(1, (pixels or BAND_PIXELS) // width)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]


def count_pixels(label_map: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of every label, shape (256,)."""
    counts = np.zeros(256, dtype=np.int64)
    for top, bottom in bands(label_map.shape):
        counts += np.bincount(label_map[top:bottom].ravel(), minlength=256)
    return counts
