"""The last step of a network in bf16, where the processor multiplies that in pairs (tail_bf16.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from model.runtime.library import library
from model.runtime.tail import CompiledTail, filter_sums, phases

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LANES: Final = 16

_MOST_ALONE: Final = 1 << 21
"""See ``CompiledTail``: 0.7 ms of one processor."""


class Bf16Tail(CompiledTail):
    """A filter a class, or one for each pair of classes. Scores and filters are rounded to bf16.

    Args:
        kernels: Of the transposed convolution with stride ``factor``, shape (C, k, k), or (C in, C out, k, k) with a
            filter for each pair of classes; k = 2 ``factor``.
        factor: Pixels a coarse score covers, a side; a multiple of 4.
        threads: That share a picture.
    """

    def __init__(self, kernels: NDArray[np.float32], factor: int, threads: int) -> None:
        dense = kernels.ndim == 4
        label = library().fcn_label_dense_bf16 if dense else library().fcn_label_bf16
        filters = [filters_by_phase(kernels)] if dense else [filters_by_phase(kernels), filter_sums(kernels)]
        super().__init__(label, filters, factor**2 * (len(kernels) if dense else 1), factor, threads, _MOST_ALONE)


def filters_by_phase(kernels: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Filters in the order in which tail_bf16.c reads them.

    Args:
        kernels: Shape (C, k, k) or (C in, C out, k, k), k = 2 s, s a multiple of 4.

    Returns:
        Pairs of a left weight (lower half) and a right one: shape (s s / 16, C, 2, 16), or
        (s s / 16, C out, C in, 2, 16) by the sixteen phases, the class, above or below, and the phase.
    """
    if kernels.ndim == 4:
        kernels = kernels.swapaxes(0, 1)
    by_phase = np.moveaxis(phases(kernels), (-4, -2), (0, 1))  # (s, s, ..., above or below, left or right)
    vectors = by_phase.reshape(-1, _LANES, *by_phase.shape[2:])
    left, right = np.moveaxis(bf16(np.moveaxis(vectors, 1, -2)), -1, 0)
    return np.ascontiguousarray(left | right << 16)


def bf16(values: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Sixteen bits of each value, rounded to the nearest, to the even one of two."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return np.right_shift(bits + 0x7FFF + (bits >> 16 & 1), 16, dtype=np.uint32)
