"""The example of the first chapters: what a person asked to see, or a 2x2 kernel over a 3x3 picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import ConfigError
from model.convolution import convolution_size, input_sizes
from model.explain.blocks import size
from model.transposed import count_entries

if TYPE_CHECKING:
    from numpy.typing import NDArray

LARGEST: Final = 4096
"""Entries of a matrix that is worked out and shown; larger ones are counted."""

LARGEST_NUMBER: Final = 1e100
"""Of a kernel, so that its square is still a number."""

LARGEST_KERNEL: Final = 1024
"""Side of a kernel."""


@dataclass(frozen=True)
class Example:
    """A convolution of one channel.

    Attributes:
        kernel: Shape (kh, kw).
        input_size: Height and width of the picture.
        stride: Between positions of the kernel.
        padding: Zeros around the picture.
        dilation: Between taps.

    Raises:
        ConfigError: on construction, where these make no convolution.
    """

    kernel: NDArray[np.float64]
    input_size: tuple[int, int]
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        if self.kernel.ndim != 2 or max(self.kernel.shape, default=0) > LARGEST_KERNEL:
            raise ConfigError(
                f"a kernel of {size(self.kernel.shape)}: give a side, or rows of numbers, {LARGEST_KERNEL} to a side "
                "at most"
            )
        if not (np.abs(self.kernel) <= LARGEST_NUMBER).all():
            raise ConfigError(f"the kernel holds numbers that are not finite or beyond {LARGEST_NUMBER:g}")
        convolution_size(self.input_size, self.kernel_size, self.stride, self.padding, self.dilation)

    @property
    def kernel_size(self) -> tuple[int, int]:
        """Height and width of the kernel."""
        return self.kernel.shape[0], self.kernel.shape[1]

    @property
    def output_size(self) -> tuple[int, int]:
        """Of the convolution."""
        return convolution_size(self.input_size, self.kernel_size, self.stride, self.padding, self.dilation)

    @property
    def shape(self) -> tuple[int, int]:
        """Of the matrix."""
        (rows, columns), (height, width) = self.output_size, self.input_size
        return rows * columns, height * width

    @property
    def entries(self) -> int:
        """Of the matrix that are not zero by structure."""
        return count_entries(self.input_size, self.kernel_size, self.stride, self.padding, self.dilation)

    @property
    def is_shown(self) -> bool:
        """Whether the matrix is small enough to be worked out."""
        return self.shape[0] * self.shape[1] <= LARGEST

    @property
    def output_padding(self) -> tuple[int, int]:
        """What the transposed convolution needs to come back to ``input_size``."""
        first, second = (
            side - input_sizes(output, taps, self.stride, self.padding, self.dilation).stop + self.stride
            for side, output, taps in zip(self.input_size, self.output_size, self.kernel_size, strict=True)
        )
        return first, second


def read_kernel(kernel: int | list[list[float]]) -> NDArray[np.float64]:
    """A side to a square kernel of 1, 2, 3, ...; rows of numbers as they are.

    Raises:
        ConfigError: rows of different lengths, or a side that is none.
    """
    if isinstance(kernel, int):
        if not 1 <= kernel <= LARGEST_KERNEL:
            raise ConfigError(f"kernel is {kernel}: a side from 1 to {LARGEST_KERNEL}, or rows like [[1,2],[3,4]]")
        return np.arange(1.0, kernel**2 + 1).reshape(kernel, kernel)
    if not kernel or not kernel[0] or len({len(row) for row in kernel}) > 1:
        raise ConfigError(
            f"kernel has rows of {', '.join(str(len(row)) for row in kernel) or 'no'} numbers: give all as many"
        )
    return np.asarray(kernel, dtype=np.float64)
