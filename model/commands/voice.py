"""Voice: how commands speak to the person at the terminal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from pathlib import Path

console = Console()


def say(*lines: str) -> None:
    """Print lines as they are: a path may hold brackets, which are no markup, and is not broken at the edge."""
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def quoted(path: Path) -> str:
    """A path as a shell takes it, for commands that are offered to be copied."""
    return shlex.quote(str(path))
