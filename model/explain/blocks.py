"""What a chapter of the explanation is made of, for the terminal, the page and the text alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from model.convolution import Sides, matrix_entries

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Grid:
    """A small picture, a kernel or a matrix.

    Attributes:
        title: Above it.
        values: Shape (rows, columns).
        colours: Same shape: which colour a cell has, -1 for none. In a matrix that is the kernel's tap, counted
            row by row, so that the eye can follow it.
        show: ``values``; ``names`` of taps, w00, w01, ...; or the ``pattern`` alone.
        taps_across: Width of the kernel, for names.
        blank: Show nothing but a dot where there is no colour: a zero by structure.
    """

    title: str
    values: NDArray[np.float64]
    colours: NDArray[np.intp]
    show: Literal["values", "names", "pattern"] = "values"
    taps_across: int = 1
    blank: bool = False

    def cell(self, row: int, column: int) -> str:
        """What stands in a cell; nothing in a pattern."""
        colour = int(self.colours[row, column])
        if self.blank and colour < 0:
            return "·"
        if self.show == "names":
            down, across = divmod(colour, self.taps_across)
            return f"w{down}{across}" if max(down, across) < 10 else f"w{down},{across}"
        return "" if self.show == "pattern" else number(float(self.values[row, column]))


@dataclass(frozen=True)
class Row:
    """Grids side by side with signs between.

    Attributes:
        items: Grids and signs, in reading order.
        caption: What is seen, in whole sentences.
    """

    items: tuple[Grid | str, ...]
    caption: str

    @property
    def grids(self) -> list[Grid]:
        """Without the signs."""
        return [item for item in self.items if isinstance(item, Grid)]


@dataclass(frozen=True)
class Table:
    """Words and numbers in columns; the first holds words."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Line:
    """Of a chart; ``colour`` as in a grid, -1 for ink; dots alone where ``dots``."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    colour: int
    dots: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over an axis, logarithmic both ways where ``logarithmic``; the page alone shows it."""

    x_label: str
    y_label: str
    lines: tuple[Line, ...]
    caption: str
    logarithmic: bool = False


Block = str | Row | Table | Chart
"""A string is a paragraph; words in backticks are code."""


@dataclass(frozen=True)
class Chapter:
    """A heading and what stands below it; ``name`` is its identifier in the page."""

    name: str
    title: str
    blocks: tuple[Block, ...]


def number(value: float) -> str:
    """Four digits at most, no zeros at the end: 37, 0.75, 5.062, 1.2e+06."""
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.1e}"
    text = f"{value:.4g}" if abs(value) < 1e4 else f"{value:.0f}"
    return "0" if text == "-0" else text


def count(value: int) -> str:
    """In groups of three; what is too long to be read as 1.2 × 10^13."""
    if value < 10**10:
        return f"{value:,}".replace(",", " ")
    power = len(str(value)) - 1
    return f"{value / 10**power:.1f} × 10^{power}"


def size(sides: tuple[int, ...]) -> str:
    """2×3."""
    return "×".join(str(side) for side in sides)


def picture(title: str, values: NDArray[np.float64]) -> Grid:
    """A picture without colours."""
    return Grid(title, values, np.full(values.shape, -1))


def by_value(title: str, values: NDArray[np.float64]) -> Grid:
    """A picture with a colour for each of its values, the largest first; zeros have none."""
    ranks = np.unique(-np.round(values, 9), return_inverse=True)[1].reshape(values.shape)
    return Grid(title, values, np.where(values == 0, -1, ranks))


def kernel_grid(title: str, kernel: NDArray[np.float64], *, names: bool = False) -> Grid:
    """A kernel, every tap in its colour."""
    taps = np.arange(kernel.size).reshape(kernel.shape)
    return Grid(title, kernel, taps, "names" if names else "values", kernel.shape[1])


def matrix_grid(
    title: str,
    kernel: NDArray[np.float64],
    input_size: tuple[int, int],
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    *,
    show: Literal["values", "names", "pattern"] = "values",
    transposed: bool = False,
) -> Grid:
    """The matrix of a convolution, or its transpose, every entry in the colour of its tap.

    Raises:
        ConfigError: the kernel does not fit.
    """
    (place, pixel, tap), outputs = matrix_entries(kernel.shape, input_size, stride, padding, dilation)
    colours = np.full((outputs[0] * outputs[1], input_size[0] * input_size[1]), -1, dtype=np.intp)
    colours[place, pixel] = tap
    values = np.where(colours < 0, 0.0, kernel.ravel()[colours])
    if transposed:
        values, colours = values.T, colours.T
    return Grid(title, values, colours, show, kernel.shape[1], blank=True)
