"""Journal: which pictures of a folder are done, so that a run that was broken off goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Final

from data.errors import BundleError, ConfigError
from model.runtime.bundle import MANIFEST_FILE, MODEL_FILE, Manifest
from model.runtime.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
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

    @property
    def stem(self) -> str:
        """Path of the answer within a folder of answers, without an ending."""
        return self.label_map.removeprefix(f"{LABEL_MAPS}/").removesuffix(".png")


class Journal:
    """The file ``predictions.jsonl`` of an output folder; the last line on a picture counts.

    Args:
        root: The output folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / JOURNAL_FILE
        self._entries: dict[str, Entry] = {}
        text = self._path.read_text(encoding="utf-8", errors="replace") if self._path.exists() else ""
        for line in text.splitlines():
            entry = _parse(line)
            if entry is not None:
                self._entries[entry.picture] = entry
        if text and not text.endswith("\n"):  # broken off within a line
            with self._path.open("a", encoding="utf-8") as file:
                file.write("\n")

    def done(self, picture: str, path: Path, label_map: str, opacity: float | None) -> bool:
        """Whether a picture's answers stand, whole and up to date.

        Args:
            picture: Its name.
            path: Its file.
            label_map: Where its answer would be written now.
            opacity: Of the overlay that is wanted, or None when none is.
        """
        entry = self._entries.get(picture)
        try:
            status = path.stat()
        except OSError:
            return False  # whoever reads it will say why it cannot be read
        if entry is None or (entry.bytes, entry.modified_ns) != (status.st_size, status.st_mtime_ns):
            return False
        if entry.label_map != label_map or not (self._root / label_map).is_file():
            return False
        if opacity is None:
            return True
        return entry.overlay is not None and entry.opacity == opacity and (self._root / entry.overlay).is_file()

    def entries(self, pictures: Iterable[str]) -> list[Entry]:
        """The lines on these pictures, in their order; those without one are left out."""
        return [self._entries[name] for name in pictures if name in self._entries]

    def add(self, entry: Entry) -> None:
        """Note a picture whose answers are on the disk; what it had under other names is removed."""
        former = self._entries.get(entry.picture)
        if former is not None:
            taken = {path for other in self._entries.values() if other is not former for path in _paths(other)}
            self._remove(set(_paths(former)) - set(_paths(entry)) - taken)
        self._entries[entry.picture] = entry
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(entry)) + "\n")

    def clear(self) -> None:
        """Remove every answer that is noted here, the notes, and what was made of them for other tools."""
        self._remove({path for entry in self._entries.values() for path in _paths(entry)})
        for name in (COCO_FILE, TASKS_FILE, f"{CVAT}.zip"):
            (self._root / name).unlink(missing_ok=True)
        for part in CVAT_PARTS:
            remove(self._root / CVAT / part)
        self._entries.clear()
        self._path.unlink(missing_ok=True)

    def _remove(self, paths: set[str]) -> None:
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
        former = _former(manifest_path)
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


def _former(manifest_path: Path) -> str | None:
    try:
        return Manifest.from_json(manifest_path.read_text(encoding="utf-8", errors="replace")).version
    except BundleError:
        return None


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it; a link is removed and not what it leads to."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _paths(entry: Entry) -> list[str]:
    return [path for path in (entry.label_map, entry.overlay) if path is not None]


def _parse(line: str) -> Entry | None:
    """An entry, or None for a line that is none: its picture is then done again."""
    try:
        return Entry(**json.loads(line))
    except (ValueError, TypeError):
        return None
