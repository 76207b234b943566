"""Journal: which pictures of a folder are done, so that a run that was broken off goes on where it stopped."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from data.errors import BundleError, ConfigError
from model.runtime.bundle import MANIFEST_FILE, MODEL_FILE, Manifest
from model.runtime.lines import LineIndex
from model.runtime.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from model.runtime.bundle import Bundle

JOURNAL_FILE: Final = "predictions.jsonl"
LABEL_MAPS: Final = "label_maps"
OVERLAYS: Final = "overlays"

COCO_FILE: Final = "coco.json"
TASKS_FILE: Final = "label_studio.json"
CVAT: Final = "cvat"
CVAT_PARTS: Final = ("labelmap.txt", "ImageSets", "SegmentationClass", "SegmentationObject")
"""What an export for CVAT holds; the folder may hold a person's own pictures beside it."""

ANSWERS: Final = (LABEL_MAPS, OVERLAYS, CVAT)
"""Folders whose pictures are answers and are not segmented themselves."""


@dataclass(frozen=True)
class Entry:
    """One picture that is done; one line of JSON.

    Attributes:
        picture: Its name within the folder of pictures.
        bytes: Size of its file, which tells with the next whether it has changed since.
        modified_ns: Time of its last change, in nanoseconds.
        width: In pixels.
        height: In pixels.
        label_map: Path of the answer within the output folder.
        overlay: Path of the overlay within it, or None.
        opacity: Of the overlay.
        classes: Share of the pixels of each class present, by name, 0 to 1.
        confidences: Mean probability over the pixels of each class present, by name, 0 to 1; empty in a line
            of an earlier version.
        tta: Test-time augmentation in a few words; empty for one plain pass.
    """

    picture: str
    bytes: int
    modified_ns: int
    width: int
    height: int
    label_map: str
    overlay: str | None
    opacity: float
    classes: dict[str, float]
    confidences: dict[str, float] = field(default_factory=dict)
    tta: str = ""

    @property
    def stem(self) -> str:
        """Path of the answer within a folder of answers, without an ending."""
        return self.label_map.removeprefix(f"{LABEL_MAPS}/").removesuffix(".png")


class Journal:
    """The file ``predictions.jsonl`` of an output folder; the last line on a picture counts.

    What is held in memory is where lines stand, 16 bytes a line: a journal of 100 million pictures fits.
    Safe to ask from several threads at once; one process at a time adds.

    Args:
        root: The output folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / JOURNAL_FILE
        self._index = LineIndex((entry.picture, offset) for offset, entry in self._lines())
        self._left_behind: set[str] = set()
        if self._path.exists() and not _ends_with_a_line(self._path):  # broken off within one
            with self._path.open("ab") as file:
                file.write(b"\n")

    def done(self, picture: str, path: Path, label_map: str, opacity: float | None, tta: str = "") -> bool:
        """Whether a picture's answers stand, whole and up to date.

        Args:
            picture: Its name.
            path: Its file.
            label_map: Where its answer would be written now.
            opacity: Of the overlay that is wanted, or None when none is.
            tta: Test-time augmentation that is wanted, in the words of an entry.
        """
        entry = self._find(picture)
        if entry is None or entry.label_map != label_map or entry.tta != tta:
            return False
        try:
            status = path.stat()
        except OSError:
            return False  # whoever reads it will say why it cannot be read
        if (entry.bytes, entry.modified_ns) != (status.st_size, status.st_mtime_ns):
            return False
        if not (self._root / label_map).is_file():
            return False
        if opacity is None:
            return True
        return entry.overlay is not None and entry.opacity == opacity and (self._root / entry.overlay).is_file()

    def entries(self, pictures: Iterable[str]) -> Iterator[Entry]:
        """The lines on these pictures, in their order; those without one are left out."""
        self._index = LineIndex((entry.picture, offset) for offset, entry in self._lines())
        for picture in pictures:
            entry = self._find(picture)
            if entry is not None:
                yield entry

    def add(self, entries: Sequence[Entry]) -> None:
        """Note pictures whose answers are on the disk; what one had before under its name is removed."""
        for entry in entries:
            former = self._find(entry.picture)
            if former is not None:
                paths = set(_paths(former)) - set(_paths(entry))
                if former.stem == entry.stem:
                    self._remove(paths)
                else:
                    self._left_behind |= paths  # it may be another's by now: see settle
        with self._path.open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(vars(entry)) + "\n" for entry in entries))

    def settle(self) -> None:
        """Remove what pictures had under other names, as before a twin came (``a.jpg`` beside ``a.png``)."""
        if not self._left_behind:
            return
        index = LineIndex((entry.picture, offset) for offset, entry in self._lines())
        for entry in self._read(index.offsets()):
            self._left_behind.difference_update(_paths(entry))
        self._remove(self._left_behind)
        self._left_behind.clear()

    def clear(self) -> None:
        """Remove every answer that is noted here, the notes, and what was made of them for other tools."""
        for entry in self._read(self._index.offsets()):
            self._remove(_paths(entry))
        for name in (COCO_FILE, TASKS_FILE, f"{CVAT}.zip"):
            (self._root / name).unlink(missing_ok=True)
        for part in CVAT_PARTS:
            remove(self._root / CVAT / part)
        self._index = LineIndex()
        self._path.unlink(missing_ok=True)

    def _lines(self) -> Iterator[tuple[int, Entry]]:
        """Offset and entry of every line that is one."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            offset = 0
            for line in file:
                entry = _parse(line)
                if entry is not None:
                    yield offset, entry
                offset += len(line)

    def _find(self, picture: str) -> Entry | None:
        offset = self._index.find(picture)
        if offset is None:
            return None
        (entry,) = self._read([offset])
        return entry if entry.picture == picture else None

    def _read(self, offsets: Iterable[int]) -> Iterator[Entry]:
        with self._path.open("rb") as file:
            for offset in offsets:
                file.seek(offset)
                entry = _parse(file.readline())
                if entry is None:
                    raise ConfigError(f"{self._path} was changed while it was read: start again")
                yield entry

    def _remove(self, paths: Iterable[str]) -> None:
        for path in paths:
            place = (self._root / path).resolve()
            # The file may have been edited: nothing outside the folder is ever removed.
            if place.is_relative_to(self._root.resolve()):
                place.unlink(missing_ok=True)


def open_journal(out: Path, bundle: Bundle, overwrite: bool) -> Journal:
    """Make an output folder one of this model, or refuse.

    Args:
        out: The output folder; made when missing.
        bundle: Its manifest is written into the folder.
        overwrite: Remove what another model has left there.

    Raises:
        ConfigError: it is a bundle, holds another model's answers, or label maps of unknown origin.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file: name a folder for the answers")
    if (out / MODEL_FILE).exists():
        raise ConfigError(f"{out} is a bundle: name another folder for the answers")
    journal = Journal(out)
    manifest_path = out / MANIFEST_FILE
    if manifest_path.exists():
        former = version_of(out)
        if former != bundle.manifest.version:
            if not overwrite:
                raise ConfigError(
                    f"{out} holds the answers of model version {former or 'unknown'}, not of "
                    f"{bundle.manifest.version}: name another folder, or do all of it again with --overwrite"
                )
            journal.clear()
    elif any((out / name).is_dir() and any((out / name).iterdir()) for name in (LABEL_MAPS, OVERLAYS)):
        raise ConfigError(f"{out} holds {LABEL_MAPS} or {OVERLAYS} that were not made here: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(manifest_path, bundle.manifest.to_json().encode("utf-8"))
    return journal


def version_of(out: Path) -> str | None:
    """Version of the model whose answers a folder holds; None where that cannot be told."""
    try:
        return Manifest.from_json((out / MANIFEST_FILE).read_text(encoding="utf-8", errors="replace")).version
    except (OSError, BundleError):
        return None


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it; a link is removed and not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _paths(entry: Entry) -> list[str]:
    return [path for path in (entry.label_map, entry.overlay) if path is not None]


def _ends_with_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _parse(line: bytes) -> Entry | None:
    """An entry, or None for a line that is none: its picture is then done again."""
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
