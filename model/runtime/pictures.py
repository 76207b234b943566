"""Pictures: those of a file or folder, in a fixed order, each with a name for its answer that no other has."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data.errors import DataError
from data.pixels import ENDINGS
from model.runtime.journal import ANSWERS, JOURNAL_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


_PARTS: Final = attrgetter("parts")
"""Paths are ordered by it, and faster than by themselves."""


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


def find_pictures(root: Path, skip: Collection[Path] = ()) -> Iterator[Picture]:
    """The pictures of a folder and its subfolders, sorted by name; or the one file that is given.

    Files are told by their endings, in any case; hidden files and folders are passed over, links are
    followed, and the answers of an earlier run are not segmented again. An answer is named after its
    picture without the ending (``a.jpg`` gives ``a``), as masks are, unless two pictures of a folder would
    share the name: then each keeps its ending (``a.jpg``, ``a.png``).

    They are found while they are asked for; the names of one folder are held in memory at a time.

    Args:
        root: Folder or file.
        skip: Folders that are not entered.

    Raises:
        DataError: there is no such place, no picture in it, or a folder that cannot be read.
    """
    if root.is_file():
        yield Picture(root, root.name, root.stem)
        return
    if not root.is_dir():
        raise DataError(f"{root} does not exist: give a picture or a folder of pictures")
    walk = _walk(root, {folder.resolve() for folder in skip})
    first = next(walk, None)
    if first is None:
        raise DataError(f"{root} holds no picture ({', '.join(sorted(ENDINGS))}): give a folder with pictures in it")
    yield first
    yield from walk


def _walk(root: Path, skip: Collection[Path]) -> Iterator[Picture]:
    seen = {root.resolve(), *skip}  # a link to a folder above would go round for ever
    levels = [_level(root, [Path()], seen)]
    while levels:
        found = next(levels[-1], None)
        if found is None:
            levels.pop()
        elif isinstance(found, Picture):
            yield found
        else:
            levels.append(_level(root, found, seen))


def _level(root: Path, folders: Sequence[Path], seen: set[Path]) -> Iterator[Picture | list[Path]]:
    """Pictures and subfolders of a folder by name, relative to ``root``.

    Folders whose names differ in case alone are one: their answers may be written to a disk that knows no
    difference.
    """
    pictures: list[Path] = []
    subfolders: dict[str, list[Path]] = {}
    for folder in folders:
        files, entered = _entries(root / folder)
        pictures += [folder / name for name in files]
        for name in entered:
            subfolders.setdefault(name.casefold(), []).append(folder / name)
    stems = dict(zip(pictures, _stems(pictures), strict=True))
    # A folder is looked at when its turn comes: pictures at a million places are not held at once.
    grouped = {min(group): sorted(group) for group in subfolders.values()}
    for path in sorted([*pictures, *grouped], key=_PARTS):
        if path in stems:
            yield Picture(root / path, path.as_posix(), stems[path])
            continue
        new = []
        for folder in grouped[path]:
            place = (root / folder).resolve()
            if place not in seen:
                seen.add(place)
                new.append(folder)
        yield new


def _entries(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the pictures and of the subfolders that are entered."""
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from None
    answers = ANSWERS if any(entry.name == JOURNAL_FILE for entry in entries) else ()
    subfolders = [entry.name for entry in entries if entry.name not in answers and _is_dir(entry)]
    # A broken link is listed, and reported when it is read; a pipe or device would block the reader.
    pictures = [
        entry.name
        for entry in entries
        if Path(entry.name).suffix.lower() in ENDINGS
        and ((entry.is_symlink() and not _is_dir(entry)) or entry.is_file())
    ]
    return pictures, subfolders


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that goes round


def _stems(names: list[Path]) -> list[str]:
    short = [name.with_suffix("").as_posix() for name in names]
    # Compared without case: the answers may be written to a disk that knows no difference.
    counts = Counter(stem.casefold() for stem in short)
    mixed = [stem if counts[stem.casefold()] == 1 else name.as_posix() for stem, name in zip(short, names, strict=True)]
    if len({stem.casefold() for stem in mixed}) == len(mixed):
        return mixed
    return [name.as_posix() for name in names]  # "a.jpg", "a.png" and "a.jpg.tif" stand side by side
