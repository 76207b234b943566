"""Grids and charts as SVG, in the colours and letters of the comparison's report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from model.compare.svg import FAINT, INK, STYLED, TAPS, figure, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from model.explain.blocks import Chart, Grid, Row

SMALL: Final = 0.13
"""Side of a cell of a pattern, inches."""

CELL_HEIGHT: Final = 0.26
LETTER: Final = 0.078
SIGN: Final = 0.34
TITLE: Final = 0.26
MARGIN: Final = 0.06
MOST_COLUMNS: Final = 26
"""Of a grid whose numbers are shown; wider ones are patterns."""


@dataclass(frozen=True)
class Plate:
    """A figure of the page.

    Attributes:
        name: Identifier in the page.
        svg: The picture, as an ``<svg>`` element.
        caption: What is seen.
        width: Inches at which its letters are as large as the text's small print.
        has_cells: Holds numbers in cells, which may not become too small; anything else may shrink on a phone.
    """

    name: str
    svg: str
    caption: str
    width: float
    has_cells: bool


@STYLED
def draw_row(row: Row, name: str) -> Plate:
    """Grids side by side."""
    widths = [SIGN if isinstance(item, str) else _width(item) for item in row.items]
    gaps = [
        0.0 if isinstance(left, str) or isinstance(right, str) else 0.3
        for left, right in zip(row.items, row.items[1:], strict=False)
    ]
    width = sum(widths) + sum(gaps) + 2 * MARGIN
    tallest = max(grid.values.shape[0] * _cell(grid)[1] for grid in row.grids)
    height = TITLE + tallest + 2 * MARGIN
    drawn, ax = _canvas(width, height)
    middle = TITLE + MARGIN + tallest / 2
    left = MARGIN
    for item, wide, gap in zip(row.items, widths, [*gaps, 0.0], strict=True):
        if isinstance(item, str):
            ax.text(left + SIGN / 2, middle, item, ha="center", va="center", fontsize=12, color=INK)
        else:
            _draw_grid(ax, item, left, middle)
        left += wide + gap
    return Plate(name, to_svg(drawn, name, row.caption), row.caption, width, not all(map(_is_pattern, row.grids)))


@STYLED
def draw_chart(chart: Chart, name: str) -> Plate:
    """Lines, named at their ends by a legend."""
    drawn, (ax,) = figure(5.2, 3.0)
    for line in chart.lines:
        colour = TAPS[line.colour] if line.colour >= 0 else INK
        label = line.label or "_nolegend_"
        if line.dots:
            ax.plot(line.x, line.y, "o", color=colour, label=label)
        elif chart.logarithmic:
            ax.plot(line.x, line.y, "o-", color=colour, label=label)
        else:
            ax.plot(line.x, line.y, color=colour, label=label, linewidth=1.1 if line.colour >= 0 else 1.9)
    if chart.logarithmic:
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xticks(chart.lines[0].x, [f"×{place:g}" for place in chart.lines[0].x])
        ticks = [10.0**power for power in range(3, 9)]
        ax.set_yticks(ticks, ["1 000", "10 000", "100 000", "1 M", "10 M", "100 M"])
        ax.minorticks_off()
    ax.grid(visible=True)
    ax.set_xlabel(chart.x_label)
    ax.set_ylabel(chart.y_label)
    ax.legend(loc="best", fontsize=8)
    return Plate(name, to_svg(drawn, name, chart.caption), chart.caption, 5.2, has_cells=False)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes in inches from the upper left corner, without any decoration."""
    drawn = Figure(figsize=(width, height))
    ax = drawn.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.set_xlim(0, width)
    ax.set_ylim(height, 0)
    return drawn, ax


def _is_pattern(grid: Grid) -> bool:
    return grid.show == "pattern" or grid.values.shape[1] > MOST_COLUMNS


def _cell(grid: Grid) -> tuple[float, float]:
    """Width and height of a cell, inches."""
    if _is_pattern(grid):
        return SMALL, SMALL
    rows, columns = grid.values.shape
    letters = max(len(grid.cell(row, column)) for row in range(rows) for column in range(columns))
    return max(CELL_HEIGHT, 0.12 + LETTER * letters), CELL_HEIGHT


def _width(grid: Grid) -> float:
    return max(float(grid.values.shape[1]) * _cell(grid)[0], 0.1 * len(grid.title))


def _draw_grid(ax: Axes, grid: Grid, left: float, middle: float) -> None:
    rows, columns = grid.values.shape
    wide, high = _cell(grid)
    pattern = _is_pattern(grid)
    top = middle - rows * high / 2
    # An empty title would still be an element of its own.
    if grid.title:
        ax.text(left, top - 0.08, grid.title, ha="left", va="bottom", fontsize=8.5, fontweight="bold")
    for row in range(rows):
        for column in range(columns):
            colour = int(grid.colours[row, column])
            corner = (left + column * wide, top + row * high)
            if colour >= 0:
                shade = TAPS[colour % len(TAPS)]
                ax.add_patch(Rectangle(corner, wide, high, color=shade, alpha=0.9 if pattern else 0.3, linewidth=0))
            if not pattern:
                faint = grid.blank and colour < 0
                ax.text(
                    corner[0] + wide / 2,
                    corner[1] + high / 2,
                    grid.cell(row, column),
                    ha="center",
                    va="center_baseline",
                    fontsize=8.5,
                    color=INK,
                    alpha=0.4 if faint else 1.0,
                )
    if not pattern:
        for row in range(1, rows):
            ax.plot([left, left + columns * wide], [top + row * high] * 2, color=FAINT, linewidth=0.5)
        for column in range(1, columns):
            ax.plot([left + column * wide] * 2, [top, top + rows * high], color=FAINT, linewidth=0.5)
    ax.add_patch(Rectangle((left, top), columns * wide, rows * high, fill=False, edgecolor=INK, linewidth=0.8))
