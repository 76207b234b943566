"""The last step of a network in compiled code: coarse scores to a label map and a confidence (tail_f32.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from model.runtime.library import address, forms, library
from model.runtime.team import Team

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Labels = tuple[NDArray[np.uint8], NDArray[np.uint8]]

_OUTPUTS: Final = 6
"""Classes whose dense filters lie together, as tail_f32.h has it."""

_TOGETHER: Final = 4
"""Columns of phases whose filters lie together, as tail_f32.h has it."""

_MOST_ALONE: Final = 1 << 20
"""See ``CompiledTail``; in 32-bit."""


class Tail(Protocol):
    """Labels every pixel from the coarse scores of one picture. Safe to call from several threads at once."""

    def run(self, scores: NDArray[np.float32]) -> Labels:
        """Upsample, and tell the class of the largest score and its softmax.

        Args:
            scores: Shape (C, h, w).

        Returns:
            Label map and confidence, both (s h, s w) uint8; 255 is a probability of 1.
        """
        ...


class CompiledTail:
    """A function of the library and its filters.

    Args:
        label: The function, as tail_f32.h and tail_bf16.c have it.
        filters: In the order in which it reads them, and what else stands between scores and sizes.
        filters_a_score: That every coarse score is multiplied by, each of four weights.
        factor: Pixels a coarse score covers, a side.
        threads: That share a picture.
        most_alone: Filters worked out from which on a second thread saves more than waking it costs.
    """

    def __init__(
        self,
        label: Callable[..., object],
        filters: list[NDArray[Any]],
        filters_a_score: int,
        factor: int,
        threads: int,
        most_alone: int,
    ) -> None:
        self._label = label
        self._filters = filters
        self._filters_a_score = filters_a_score
        self._factor = factor
        self._team = Team(threads)
        self._most_alone = most_alone

    def run(self, scores: NDArray[np.float32]) -> Labels:
        """See ``Tail.run``."""
        scores = np.ascontiguousarray(scores, dtype=np.float32)
        labels, confidences = empty(scores.shape[1] * self._factor, scores.shape[2] * self._factor)
        given = (*map(address, (scores, *self._filters)), *scores.shape, self._factor)
        self._team.share(
            lambda turn: self._label(*given, turn, address(labels), address(confidences)),
            alone=scores.size * self._filters_a_score < self._most_alone,
        )
        return labels, confidences


class F32Tail(CompiledTail):
    """A filter a class, as bilinear interpolation and transposed convolutions by groups have it, or one for each pair.

    Args:
        kernels: Of the transposed convolution with stride ``factor``, shape (C, k, k), or (C in, C out, k, k) with a
            filter for each pair of classes; k = 2 ``factor``.
        factor: Pixels a coarse score covers, a side; a multiple of 4.
        threads: That share a picture.
        form: Machine code, of ``forms()``; by default the fastest that this processor runs.
    """

    def __init__(self, kernels: NDArray[np.float32], factor: int, threads: int, form: str | None = None) -> None:
        dense = kernels.ndim == 4
        label = getattr(library(), f"fcn_label{'_dense' * dense}_{form or forms()[0]}")
        filters = [dense_filters(kernels)] if dense else [filters_in_turn(kernels), filter_sums(kernels)]
        super().__init__(label, filters, factor**2 * (len(kernels) if dense else 1), factor, threads, _MOST_ALONE)


def filters_in_turn(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Filters of single classes in the order in which tail_f32.h reads them.

    Args:
        kernels: Shape (C, k, k), k = 2 s, s a multiple of 4.

    Returns:
        Shape (s, s / 4, C, 4, 4): row and column of the phase, four columns together; above and left come before below
        and right.
    """
    by_phase = phases(kernels).transpose(1, 3, 0, 2, 4)
    factor, _, classes = by_phase.shape[:3]
    together = by_phase.reshape(factor, factor // _TOGETHER, _TOGETHER, classes, 4).swapaxes(2, 3)
    return np.ascontiguousarray(together, dtype=np.float32)


def dense_filters(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Filters of pairs of classes in the order in which tail_f32.h reads them.

    Args:
        kernels: Shape (C in, C out, k, k), k = 2 s.

    Returns:
        Shape (s, s, C out / 6, C in, 4, 6): six classes out together, the last ones filled up with nothing.
    """
    by_phase = phases(kernels).transpose(2, 4, 1, 0, 3, 5)
    factor, _, outputs, inputs = by_phase.shape[:4]
    full = np.zeros((factor, factor, -(-outputs // _OUTPUTS) * _OUTPUTS, inputs, 4), dtype=np.float32)
    full[:, :, :outputs] = by_phase.reshape(factor, factor, outputs, inputs, 4)
    return np.ascontiguousarray(np.moveaxis(full.reshape(factor, factor, -1, _OUTPUTS, inputs, 4), 3, 5))


def phases(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The small filters that a transposed convolution is made of.

    Args:
        kernels: Shape (..., k, k), k = 2 s, s the stride.

    Returns:
        Shape (..., s, 2, s, 2): row of the phase, above or below, column of the phase, left or right.
    """
    *others, size, _ = kernels.shape
    halves = kernels.reshape(*others, 2, size // 2, 2, size // 2)
    # A kernel's first half is what a score gives to the pixels above and left of it: those see it below and right.
    flipped = np.flip(halves, (-4, -2))
    return np.moveaxis(flipped, (-4, -3, -2, -1), (-3, -4, -1, -2))


def filter_sums(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """What bounds the scores that a class can have in a cell.

    Args:
        kernels: Shape (C, k, k).

    Returns:
        Shape (C, 4): the least and the most, over all phases, that the weights above nothing come to, and those below.
    """
    by_phase = phases(kernels)
    above, below = (np.maximum(sign * by_phase, 0).sum(axis=(2, 4)) for sign in (1, -1))
    sums = [part for side in (above, below) for part in (side.min(axis=(1, 2)), side.max(axis=(1, 2)))]
    return np.ascontiguousarray(np.stack(sums, axis=1), dtype=np.float32)


def empty(height: int, width: int) -> Labels:
    """A label map and a confidence to be filled."""
    return np.empty((height, width), dtype=np.uint8), np.empty((height, width), dtype=np.uint8)
