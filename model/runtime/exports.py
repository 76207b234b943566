"""Exports: the answers of a folder for another tool, each form whole or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.runtime.coco import write_coco
from model.runtime.cvat import write_cvat
from model.runtime.label_studio import write_tasks

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.runtime.formats import FolderFormat, LabelStudioConfig
    from model.runtime.journal import Entry
    from model.runtime.manifest import Manifest


def refuse_export(form: FolderFormat, manifest: Manifest) -> None:
    """Refuse before any work what could not be written after it.

    Raises:
        LabelError: a class has a name that the form keeps for something else.
    """
    if form == "cvat":
        manifest.labels.refuse_cvat_names()


def write_export(
    form: FolderFormat, out: Path, manifest: Manifest, entries: Sequence[Entry], label_studio: LabelStudioConfig
) -> Path | None:
    """Make of label maps what another tool imports.

    Args:
        form: Of the export; ``png`` is none, as the label maps are PNGs.
        out: Folder of the answers.
        manifest: Of the model.
        entries: Pictures that are done, in order.
        label_studio: Names in a project, for that form.

    Returns:
        The file or folder, or None.

    Raises:
        DataError: a label map was altered, or a picture's name is none that the tool could read.
        OSError: the folder cannot be written.
    """
    match form:
        case "cvat":
            return write_cvat(out, manifest.labels, entries)
        case "coco":
            return write_coco(out, manifest, entries)
        case "label-studio":
            return write_tasks(out, manifest, entries, label_studio)
        case "png":
            return None
