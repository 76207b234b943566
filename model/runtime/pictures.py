"""Pictures: those of a file or folder, in a fixed order, each with a name for its answer that no other has."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from data.errors import DataError
from data.pixels import ENDINGS
from model.runtime.journal import ANSWERS, JOURNAL_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@dataclass(frozen=True)
class Picture:
    """One file to segment.

    Attributes:
        path: Where it is.
        name: Its path within the folder that was given, with ``/``.
        stem: Path of its answer within a folder of answers, without an ending.
    """

    path: Path
    name: str
    stem: str


def find_pictures(root: Path, skip: Collection[Path] = ()) -> list[Picture]:
    """The pictures of a folder and its subfolders, sorted by name; or the one file that is given.

    Files are told by their endings, in any case; hidden files and folders are passed over, links are
    followed, and the answers of an earlier run are not segmented again. An answer is named after its
    picture without the ending (``a.jpg`` gives ``a``), as masks are, unless two pictures would share
    the name: then each keeps its ending (``a.jpg``, ``a.png``).

    Args:
        root: Folder or file.
        skip: Folders that are not entered.

    Raises:
        DataError: there is no such place, or no picture in it.
    """
    if root.is_file():
        return [Picture(root, root.name, root.stem)]
    if not root.is_dir():
        raise DataError(f"{root} does not exist: give a picture or a folder of pictures")
    paths = sorted(_walk(root, {folder.resolve() for folder in skip}))
    if not paths:
        raise DataError(f"{root} holds no picture ({', '.join(sorted(ENDINGS))}): give a folder with pictures in it")
    names = [path.relative_to(root) for path in paths]
    stems = _stems(names)
    return [Picture(path, name.as_posix(), stem) for path, name, stem in zip(paths, names, stems, strict=True)]


def _walk(root: Path, skip: Collection[Path]) -> Iterator[Path]:
    seen = {root.resolve()}  # a link to a folder above would go round for ever
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=_unreadable):
        entered = []
        answers = ANSWERS if JOURNAL_FILE in files else ()
        for name in subfolders:
            place = (Path(folder) / name).resolve()
            if not name.startswith(".") and name not in answers and place not in seen and place not in skip:
                seen.add(place)
                entered.append(name)
        subfolders[:] = entered
        for name in files:
            path = Path(folder) / name
            # A broken link is listed, and reported when it is read; a pipe or device would block the reader.
            if not name.startswith(".") and path.suffix.lower() in ENDINGS and (path.is_file() or path.is_symlink()):
                yield path


def _unreadable(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}")


def _stems(names: list[Path]) -> list[str]:
    short = [name.with_suffix("").as_posix() for name in names]
    # Compared without case: the answers may be written to a disk that knows no difference.
    counts = Counter(stem.casefold() for stem in short)
    mixed = [stem if counts[stem.casefold()] == 1 else name.as_posix() for stem, name in zip(short, names, strict=True)]
    if len({stem.casefold() for stem in mixed}) == len(mixed):
        return mixed
    return [name.as_posix() for name in names]  # "a.jpg", "a.png" and "a.jpg.tif" stand side by side
