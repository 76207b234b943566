"""Recognise: which tool wrote an export, and what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from data.errors import DataError
from data.imports.coco import looks_like_coco, read_coco
from data.imports.cvat import looks_like_masks, read_cvat_masks, read_cvat_xml
from data.imports.fields import read_json
from data.imports.label_studio import looks_like_tasks, read_tasks
from data.sources.splits import IMAGE_FOLDERS

if TYPE_CHECKING:
    from pathlib import Path

    from data.imports.config import ImportConfig
    from data.imports.export import Export


def read_export(place: Path, config: ImportConfig) -> Export:
    """Read an export of whatever kind.

    Args:
        place: One file, or the folder that a zip file was unpacked into.
        config: Its ``kind`` says what is expected.

    Raises:
        DataError: there is nothing that could be read, or something of several kinds.
    """
    folder = place if place.is_dir() else place.parent
    if place.is_dir() and config.kind in ("auto", "cvat"):
        for candidate in [folder, *_folders(folder)]:
            if looks_like_masks(candidate):
                return read_cvat_masks(candidate)
    files = [place] if place.is_file() else _files(folder)
    lists = [path for path in files if path.suffix.lower() == ".xml"] if config.kind in ("auto", "cvat") else []
    if lists:
        if len(lists) > 1:
            raise DataError(f"{folder} holds {lists[0].name} and {lists[1].name}: import one export at a time")
        return _with_roots(read_cvat_xml(lists[0], config), lists[0])
    if config.kind == "cvat":
        raise DataError(f"{place} holds neither annotations.xml nor labelmap.txt with SegmentationClass/ of CVAT")
    documents = [(path, read_json(path)) for path in files if path.suffix.lower() == ".json"]
    objects = [(path, document) for path, document in documents if looks_like_coco(document)]
    tasks = [(path, document) for path, document in documents if looks_like_tasks(document)]
    if config.kind != "label-studio" and objects:
        if any(_has_segments(document) for _, document in objects):
            raise DataError(
                f"{objects[0][0].name} is COCO panoptic, which is not read: take the instances or stuff file"
            )
        # Beside the instances COCO ships captions and key points of the same pictures.
        chosen = [(path, document) for path, document in objects if path.name.startswith("instances")] or objects
        return _with_roots(read_coco(chosen, config), *(path for path, _ in chosen))
    if config.kind != "coco" and tasks:
        if len(tasks) > 1:
            raise DataError(f"{folder} holds {tasks[0][0].name} and {tasks[1][0].name}: import one export at a time")
        return _with_roots(read_tasks(*tasks[0], config), tasks[0][0])
    raise DataError(_unknown(place, documents, config))


def _unknown(place: Path, documents: list[tuple[Path, object]], config: ImportConfig) -> str:
    wanted = "an export of COCO, CVAT or Label Studio" if config.kind == "auto" else f"an export of {config.kind}"
    if not documents:
        return f"{place} holds no .json or .xml file: it is not {wanted}"
    path, document = documents[0]
    shown = ", ".join(sorted(map(str, document))[:6]) if isinstance(document, dict) else type(document).__name__
    return f"{path} is not {wanted}: it holds {shown or 'nothing'}"


def _has_segments(document: object) -> bool:
    annotations = document.get("annotations") if isinstance(document, dict) else None
    first = annotations[0] if isinstance(annotations, list) and annotations else None
    return isinstance(first, dict) and "segments_info" in first


def _with_roots(export: Export, *files: Path) -> Export:
    """Where an export's pictures lie in the way of its kind: in images/ beside its files, or just beside them."""
    roots = {}
    for path in files:
        # annotations/instances_train.json has its pictures in ../images or ../train2017.
        above = path.parent.parent if path.parent.name.lower() == "annotations" else path.parent
        inner = [folder for folder in _folders(above) if folder.name.lower() in IMAGE_FOLDERS]
        roots.update(dict.fromkeys(inner or [above]))
    export.roots = [root for root in roots if not any(root != other and root.is_relative_to(other) for other in roots)]
    return export


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    """Lists in a folder, in ``annotations/`` below it, or in folders of subsets."""
    found = []
    for place in [folder, *_folders(folder)]:
        found += sorted(
            path
            for path in place.iterdir()
            if path.suffix.lower() in (".json", ".xml") and not path.name.startswith(".")
        )
    return found
