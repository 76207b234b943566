"""Classes: the labels of an export as classes of a label map, in order, without those that mean nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import ConfigError, LabelError
from data.imports.painting import UNLABELLED
from data.labels import IGNORE_INDEX, IGNORE_NAMES, LabelMap

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from data.imports.config import ImportConfig
    from data.imports.export import Export

_IGNORE: Final = "ignore"


@dataclass(frozen=True)
class Classes:
    """What becomes of the labels of an export.

    Attributes:
        names: Of the classes, in order, as labels.txt can hold them.
        index: The label of a painted map for every name in the export that is wanted: a class or 255.
        unlabelled: What pixels become that no shape covers: a class, 255, or None for a class in front of all.
        in_front: Name of that class.
    """

    names: tuple[str, ...]
    index: Mapping[str, int]
    unlabelled: int | None
    in_front: str

    def label_map(self, *, in_front: bool) -> LabelMap:
        """The label map, with or without the class in front.

        Raises:
            LabelError: it has no class or too many.
        """
        return LabelMap.from_names((self.in_front, *self.names) if in_front else self.names)

    def table(self, *, in_front: bool) -> NDArray[np.uint8]:
        """The final label of every painted one, shape (256,)."""
        found = np.arange(256, dtype=np.uint8)
        if in_front:
            found[: len(self.names)] += 1
        found[UNLABELLED] = 0 if in_front else IGNORE_INDEX if self.unlabelled is None else self.unlabelled
        found[IGNORE_INDEX] = IGNORE_INDEX
        return found


def choose_classes(export: Export, config: ImportConfig) -> Classes:
    """Take the labels that are wanted; void and its kin mean ignored, as in CVAT's labelmap.txt.

    Raises:
        ConfigError: a wanted class is none of the export's.
        LabelError: no class is left, or more than 8-bit labels can tell.
    """
    wanted = list(config.classes) or export.labels
    if unknown := [name for name in wanted if name not in export.labels]:
        raise ConfigError(
            f"classes names {unknown[0]!r}, which the export has not; it has {', '.join(export.labels) or 'none'}"
        )
    names: list[str] = []
    index: dict[str, int] = {}
    for label in wanted:
        if label.strip().lower() in IGNORE_NAMES:
            index[label] = IGNORE_INDEX
            export.notes[f"label {label!r} means ignored"] = 1
            continue
        name = _plain(label, export.notes)
        if name not in names:
            names.append(name)
        index[label] = names.index(name)
    if not names:
        raise LabelError(f"the {export.kind} export names no class: is it empty, or of other kinds of annotations?")
    if len(names) >= UNLABELLED:
        raise LabelError(f"the export has {len(names)} classes; {UNLABELLED - 1} are possible: choose with --classes")
    folded = [name.casefold() for name in names]
    unlabelled: int | None = None
    if config.unlabelled.lower() == _IGNORE:
        unlabelled = IGNORE_INDEX
    elif config.unlabelled.casefold() in folded:
        unlabelled = folded.index(config.unlabelled.casefold())
    return Classes(tuple(names), index, unlabelled, config.unlabelled)


def _plain(label: str, notes: Counter[str]) -> str:
    """A name as labels.txt can hold it."""
    name = " ".join(label.replace(":", "-").split()).lstrip("#").strip()
    if not name:
        raise LabelError(f"class {label!r} has no name that labels.txt could hold: rename it in the labelling tool")
    if name != label:
        notes[f"class {label!r} is called {name!r}"] = 1
    return name
