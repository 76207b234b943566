"""Tree: the files below a folder, links followed and hidden names left out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def files_below(root: Path, *, but: Collection[str] = ()) -> Iterator[Path]:
    """Every file below a folder, folder by folder and by name; a link that leads back to its parent is entered once.

    Args:
        root: The folder.
        but: Names of folders that are not entered.

    Raises:
        OSError: a folder cannot be opened.
    """
    seen: set[str] = set()
    for place, folders, files in os.walk(root, onerror=_raise, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")) and name not in but)
        yield from (Path(place) / name for name in sorted(files) if not name.startswith("."))


def _raise(error: OSError) -> None:
    # os.walk leaves out what it cannot open, and its files with it, unless told to raise.
    raise error
