"""The last step of a network with dense kernels, its matrix product done by the engine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.runtime.library import address, forms, library
from model.runtime.tail import empty, phases
from model.runtime.team import Team

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from model.runtime.tail import Labels

STRIP_BYTES: Final = 4 << 20
"""Of the scores of all classes that are held at once: they stay in the processor's cache."""

_WORTH_SHARING: Final = 1 << 20
"""Scores of all classes, at the picture's size, from which on a second thread saves more than waking it costs."""


class EngineTail:
    """A filter for each pair of classes, on processors whose units for tiles the engine knows to use.

    The matrix product is worked out in strips of rows; what is left of the step is compiled.

    Args:
        convolve: Padded scores (1, C, r + 1, w + 2) to the scores of every phase, (1, s s C, r, w + 1), by the
            convolution with ``phase_kernels``; they are used within the block.
        factor: Pixels a coarse score covers, a side; even.
        threads: That share a picture.
    """

    def __init__(
        self, convolve: Callable[[NDArray[np.float32]], AbstractContextManager[Any]], factor: int, threads: int
    ) -> None:
        self._label = getattr(library(), f"fcn_label_phases_{forms()[0]}")
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
