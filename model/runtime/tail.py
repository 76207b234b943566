"""The last step of a network in compiled code: coarse scores to a label map and a confidence (tail.c)."""

from __future__ import annotations

import ctypes
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    Labels = tuple[NDArray[np.uint8], NDArray[np.uint8]]

STRIP_BYTES: Final = 4 << 20
"""Of the scores of all classes that a dense last step holds at once: they stay in the processor's cache."""

_WORTH_SHARING: Final = 1 << 20
"""Scores of all classes, at the picture's size, below which waking another thread costs more than it saves."""

_LOG = logging.getLogger(__name__)
_POINTER, _NUMBER = ctypes.c_void_p, ctypes.c_long


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
        library = compiled()
        if library is None:
            raise RuntimeError("the last step is not compiled on this machine")
        self._label = library.fcn_label
        # (C, k, k) by phase: (i, j, C, neighbour), above and left before below and right.
        by_phase = phases(kernels).transpose(1, 3, 0, 2, 4)
        self._weights = np.ascontiguousarray(by_phase.reshape(factor, factor, -1, 4), dtype=np.float32)
        above, below = (np.maximum(sign * self._weights, 0).sum(axis=3) for sign in (1, -1))
        sums = [part for side in (above, below) for part in (side.min(axis=(0, 1)), side.max(axis=(0, 1)))]
        self._sums = np.ascontiguousarray(np.stack(sums, axis=1), dtype=np.float32)
        self._factor = factor
        self._team = Team(threads)

    def run(self, scores: NDArray[np.float32]) -> Labels:
        """See ``Tail.run``."""
        scores = np.ascontiguousarray(scores, dtype=np.float32)
        classes, height, width = scores.shape
        labels, confidences = empty(height * self._factor, width * self._factor)

        def part(first: int, last: int) -> None:
            sizes = (classes, height, width, self._factor, first, last)
            arrays = (address(array) for array in (scores, self._weights, self._sums))
            self._label(*arrays, *sizes, address(labels), address(confidences))

        self._team.share(part, height + 1, scores.size * self._factor**2)
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
        library = compiled()
        if library is None:
            raise RuntimeError("the last step is not compiled on this machine")
        self._label = library.fcn_label_phases
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
                arrays = (address(found[0]), address(labels), address(confidences))
                sizes = (classes, height, width, self._factor, first, count)
                self._team.share(self._part(arrays, sizes), count, found[0].size)
        return labels, confidences

    def _part(self, arrays: tuple[int, int, int], sizes: tuple[int, ...]) -> Callable[[int, int], None]:
        def part(first: int, last: int) -> None:
            self._label(arrays[0], *sizes, first, last, *arrays[1:])

        return part


class Team:
    """Threads that share the rows of a picture.

    Args:
        threads: With the caller's own.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._others = ThreadPoolExecutor(threads - 1, "tail") if threads > 1 else None

    def share(self, part: Callable[[int, int], None], rows: int, scores: int) -> None:
        """Do all rows.

        Args:
            part: Does the rows from one to before another, holding no lock.
            rows: How many there are.
            scores: Of all classes at the picture's size: how much work it is.
        """
        if self._others is None or scores < _WORTH_SHARING:
            part(0, rows)
            return
        ends = [rows * index // self._threads for index in range(self._threads + 1)]
        waiting = [self._others.submit(part, *ends[index : index + 2]) for index in range(1, self._threads)]
        part(*ends[:2])
        for one in waiting:
            one.result()


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


def empty(height: int, width: int) -> Labels:
    """A label map and a confidence to be filled."""
    return np.empty((height, width), dtype=np.uint8), np.empty((height, width), dtype=np.uint8)


def address(array: NDArray[Any]) -> int:
    """Where an array's first entry lies."""
    return array.ctypes.data


@cache
def compiled() -> ctypes.CDLL | None:
    """The library of tail.c; None where the installation found no compiler, or it was made on another machine."""
    folder = Path(__file__).parent
    for suffix in EXTENSION_SUFFIXES:
        path = folder / f"_tail{suffix}"
        if not path.is_file():
            continue
        try:
            library = ctypes.CDLL(str(path))
            library.fcn_label.argtypes = [*[_POINTER] * 3, *[_NUMBER] * 6, *[_POINTER] * 2]
            library.fcn_label_phases.argtypes = [_POINTER, *[_NUMBER] * 8, *[_POINTER] * 2]
        except (OSError, AttributeError) as error:
            _LOG.warning("%s cannot be used (%s): the last upsampling runs inside the graph, slower", path, error)
            return None
        return library
    _LOG.warning(
        "model/runtime/tail.c is not compiled here: the last upsampling runs inside the graph, slower; "
        "with a C compiler (gcc or clang) there, install the package again"
    )
    return None
