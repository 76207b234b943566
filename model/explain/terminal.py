"""The explanation in a terminal, every number of the kernel in its colour; and as plain text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

from rich import box
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from model.explain.blocks import Chart, Grid, Row, Table
from model.explain.lesson import TITLE

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from model.explain.blocks import Block, Chapter

COLOURS: Final = ("#e0662a", "#3d8fe0", "#2fa36f", "#a873e0", "#b8942c", "#dc5f96", "#2aa5b3", "#86a02f", "#c4645a")
"""Legible on a light and on a dark ground; the page has its own pairs."""

WIDEST: Final = 100


def print_lesson(chapters: list[Chapter], console: Console) -> None:
    """Print all chapters, as wide as the console and no wider than is read with ease."""
    if isinstance(console.file, io.TextIOWrapper):
        console.file.reconfigure(errors="replace")  # a terminal that has no Greek and no arrows is no fault
    width = min(console.width, WIDEST)
    console.print(Text(TITLE, style="bold"), width=width)
    for index, chapter in enumerate(chapters):
        console.print()
        console.print(Text.assemble((f"{index + 1}  ", "dim"), (chapter.title, "bold underline")), width=width)
        for block in chapter.blocks:
            drawn = _render(block, width)
            if drawn is not None:
                console.print()
                console.print(drawn, width=width)


def _render(block: Block, width: int) -> RenderableType | None:
    if isinstance(block, str):
        return paragraph(block)
    if isinstance(block, Row):
        return _row(block, width)
    return None if isinstance(block, Chart) else _table(block)


def paragraph(text: str) -> Text:
    """A paragraph with its code in bold."""
    parts = text.split("`")
    return Text.assemble(*((part, "bold" if index % 2 else "") for index, part in enumerate(parts)))


def _row(row: Row, width: int) -> RenderableType:
    """Side by side as far as they fit, the rest below."""
    texts = [item if isinstance(item, str) else grid_text(item, width - 4) for item in row.items]
    lines: list[list[str | Text]] = [[]]
    room = width - 2
    for text in texts:
        wide = (len(text) if isinstance(text, str) else _width(text)) + 2
        if lines[-1] and wide > room:
            lines.append([])
            room = width - 2
        lines[-1].append(text)
        room -= wide
    drawn = RichTable.grid()
    for line in lines:
        beside = RichTable.grid(padding=(0, 2, 0, 0))
        for _ in line:
            beside.add_column(vertical="middle")
        beside.add_row(*line)
        drawn.add_row(beside)
    return _with_caption(drawn, row.caption)


def _with_caption(drawn: RichTable, caption: str) -> RenderableType:
    outer = RichTable.grid()
    outer.add_row(Padding(drawn, (0, 0, 0, 2)))
    outer.add_row(Padding(Text(caption, style="italic"), (0, 0, 0, 2)))
    return outer


def grid_text(grid: Grid, width: int) -> Text:
    """A grid as lines, its title above; a pattern where its numbers would be wider than ``width``."""
    rows, columns = grid.values.shape
    cells = [[grid.cell(row, column) for column in range(columns)] for row in range(rows)]
    side = max((len(cell) for line in cells for cell in line), default=1)
    pattern = grid.show == "pattern" or (side + 1) * columns + 4 > width
    text = Text(f"{grid.title}\n" if grid.title else "", style="dim")
    if pattern and columns + 4 > width:
        text.append(f"{rows} rows, {columns} columns: too wide for this terminal, --out makes a page of it")
        return text
    for row in range(rows):
        text.append("│ ")
        for column in range(columns):
            colour = int(grid.colours[row, column])
            cell = ("■" if colour >= 0 else "·") if pattern else cells[row][column].rjust(side)
            style = f"not dim bold {COLOURS[colour % len(COLOURS)]}" if colour >= 0 else _plain(grid)
            text.append(cell, style=style)
            if not pattern and column < columns - 1:
                text.append(" ")
        text.append(" │\n" if row < rows - 1 else " │")
    return text


def _plain(grid: Grid) -> str:
    return "dim" if grid.blank else "not dim"


def _width(text: Text) -> int:
    return max(len(line) for line in text.plain.splitlines())


def _table(table: Table) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False)
    for index, title in enumerate(table.header):
        drawn.add_column(title, justify="left" if not index else "right")
    for row in table.rows:
        drawn.add_row(*row)
    return drawn
