"""The explanation as files: explain.html, one page that needs nothing else, and explain.md."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from data.errors import RunError
from model.compare import svg
from model.explain.blocks import Chart, Row, Table
from model.explain.figures import draw_chart, draw_row
from model.explain.lesson import TITLE
from model.explain.terminal import grid_text

if TYPE_CHECKING:
    from model.explain.blocks import Block, Chapter

TEXT_WIDTH = 110


def write_page(chapters: list[Chapter], folder: Path, command: str) -> Path:
    """Write explain.html and explain.md.

    Args:
        chapters: Of ``lesson.chapters``.
        folder: Made where it is missing.
        command: That shows the same, told in the page.

    Returns:
        Path of explain.html.

    Raises:
        RunError: the folder cannot be written.
    """
    path = folder / "explain.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "explain.md").write_text(markdown(chapters, command), encoding="utf-8")
        path.write_text(html(chapters, command), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error.strerror}): give another folder") from error
    return path


def html(chapters: list[Chapter], command: str) -> str:
    """The page."""
    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    styles = [Path(svg.__file__).parent / "report.css", here / "explain.css"]
    return environment.get_template("explain.html.jinja").render(
        title=TITLE,
        command=command,
        chapters=[
            (chapter, [_block(block, f"{chapter.name}-{index}") for index, block in enumerate(chapter.blocks)])
            for chapter in chapters
        ],
        css=Markup("\n".join(path.read_text(encoding="utf-8") for path in styles)),  # noqa: S704  our own files
    )


def _block(block: Block, name: str) -> tuple[str, Any]:
    """Kind and content, for the template."""
    if isinstance(block, str):
        parts = [
            Markup("<code>{}</code>").format(part) if index % 2 else escape(part)
            for index, part in enumerate(block.split("`"))
        ]
        return "paragraph", Markup("").join(parts)
    if isinstance(block, Table):
        return "table", block
    plate = draw_chart(block, name) if isinstance(block, Chart) else draw_row(block, name)
    return "figure", (plate, Markup(plate.svg))  # noqa: S704  drawn here, words escaped by matplotlib


def markdown(chapters: list[Chapter], command: str) -> str:
    """The explanation as text, grids as they stand in a terminal without colours."""
    parts = [f"# {TITLE}", f"`{command}`"]
    for number, chapter in enumerate(chapters, 1):
        parts.append(f"## {number}. {chapter.title}")
        for block in chapter.blocks:
            if isinstance(block, str):
                parts.append(block)
            elif isinstance(block, Table):
                parts.append(_markdown_table(block))
            elif isinstance(block, Row):
                grids = [item if isinstance(item, str) else grid_text(item, TEXT_WIDTH).plain for item in block.items]
                parts += ["```\n" + beside(grids) + "\n```", block.caption]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    lines = ["| " + " | ".join(table.header) + " |", "| --- |" + " ---: |" * (len(table.header) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in table.rows)])


def beside(texts: list[str]) -> str:
    """Texts side by side, each in the middle of the tallest's height."""
    parted = [text.split("\n") for text in texts]
    tallest = max(map(len, parted))
    columns = []
    for lines in parted:
        wide = max(map(len, lines))
        above = (tallest - len(lines)) // 2
        filled = [""] * above + lines + [""] * (tallest - len(lines) - above)
        columns.append([line.ljust(wide) for line in filled])
    return "\n".join("  ".join(parts).rstrip() for parts in zip(*columns, strict=True))
