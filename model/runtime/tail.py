"""The last step of a network in compiled code: coarse scores to a label map and a confidence (tail.c)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

from model.runtime.library import address, library
from model.runtime.team import Team

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    Labels = tuple[NDArray[np.uint8], NDArray[np.uint8]]

STRIP_BYTES: Final = 4 << 20
"""Of the scores of all classes that a dense last step holds at once: they stay in the processor's cache."""

_WORTH_SHARING: Final = 1 << 20
"""Scores of all classes, at the picture's size, from which on a second thread saves more than waking it costs."""


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


class FilterTail:
    """A filter a class: bilinear interpolation, or a transposed convolution in as many groups as classes.

    Args:
        kernels: Of the transposed convolution with stride ``factor``, shape (C, k, k), k = 2 ``factor``.
        factor: Pixels a coarse score covers, a side; even.
        threads: That share a picture.
    """

    def __init__(self, kernels: NDArray[np.float32], factor: int, threads: int) -> None:
        self._label = library().fcn_label
        # (C, k, k) by phase: (i, j, C, neighbour), above and left before below and right.
        by_phase = phases(kernels).transpose(1, 3, 0, 2, 4)
        self._weights = np.ascontiguousarray(by_phase.reshape(factor, factor, -1, 4), dtype=np.float32)
        self._sums = filter_sums(kernels)
        self._factor = factor
        self._team = Team(threads)

    def run(self, scores: NDArray[np.float32]) -> Labels:
        """See ``Tail.run``."""
        scores = np.ascontiguousarray(scores, dtype=np.float32)
        classes, height, width = scores.shape
        labels, confidences = empty(height * self._factor, width * self._factor)
        given = (address(scores), address(self._weights), address(self._sums), classes, height, width, self._factor)
        self._team.share(
            lambda turn: self._label(*given, turn, address(labels), address(confidences)),
            alone=scores.size * self._factor**2 < _WORTH_SHARING,
        )
        return labels, confidences


class DenseTail:
    """A filter for each pair of classes: a matrix product, done by the engine in strips of rows.

    Args:
        convolve: Padded scores (1, C, r + 1, w + 2) to the scores of every phase, (1, s s C, r, w + 1), by the
            convolution with ``phase_kernels``; they are used within the block.
        factor: Pixels a coarse score covers, a side; even.
        threads: That share a picture.
    """

    def __init__(
        self, convolve: Callable[[NDArray[np.float32]], AbstractContextManager[Any]], factor: int, threads: int
    ) -> None:
        self._label = library().fcn_label_phases
        self._convolve = convolve
        self._factor = factor
        self._team = Team(threads)

    def run(self, scores: NDArray[np.float32]) -> Labels:
        """See ``Tail.run``."""
        classes, height, width = scores.shape
        labels, confidences = empty(height * self._factor, width * self._factor)
        padded = np.pad(scores, ((0, 0), (1, 1), (1, 1)), mode="edge")[None]
        rows = max(1, STRIP_BYTES // (4 * classes * self._factor**2 * (width + 1)))
        for first in range(0, height + 1, rows):
            strip = np.ascontiguousarray(padded[:, :, first : min(first + rows, height + 1) + 1])
            count = strip.shape[2] - 1
            with self._convolve(strip) as found:
                given = (address(found[0]), classes, height, width, self._factor, first, count)
                self._team.share(
                    partial(self._share, given, (labels, confidences)), alone=found[0].size < _WORTH_SHARING
                )
        return labels, confidences

    def _share(self, given: tuple[int, ...], outputs: Labels, turn: int) -> None:
        self._label(*given, turn, *map(address, outputs))


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


def phase_kernels(kernels: NDArray[np.float32]) -> NDArray[np.float32]:
    """The convolution that works out every phase.

    Args:
        kernels: Of the transposed convolution, shape (C in, C out, k, k), k = 2 s.

    Returns:
        Shape (s s C out, C in, 2, 2).
    """
    inputs, outputs, size, _ = kernels.shape
    factor = size // 2
    by_phase = phases(kernels).transpose(2, 4, 1, 0, 3, 5)
    return np.ascontiguousarray(by_phase.reshape(factor * factor * outputs, inputs, 2, 2))


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
