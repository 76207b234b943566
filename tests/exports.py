"""Tiny exports in the layouts of the labelling tools, made by the tests that import them."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

from PIL import Image

from data.imports.config import ImportConfig
from data.imports.folder import import_export
from data.masks import read_index_mask
from data.sources.folder import FolderSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from data.imports.report import ImportReport


def write_pictures(folder: Path, sizes: Mapping[str, tuple[int, int]]) -> Path:
    """Grey pictures of the given widths and heights, by name."""
    for name, (width, height) in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height), (90, 90, 90)).save(folder / name)
    return folder


def write_json(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def coco(images: list[dict[str, Any]], annotations: list[dict[str, Any]], names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "info": {},
        "licenses": [],
        "images": images,
        "annotations": [{"id": place, "iscrowd": 0, **one} for place, one in enumerate(annotations, 1)],
        "categories": [{"id": key, "name": name, "supercategory": ""} for key, name in names.items()],
    }


def square(left: float, top: float, right: float, bottom: float) -> list[float]:
    """A rectangle as COCO's polygon."""
    return [left, top, right, top, right, bottom, left, bottom]


def zipped(folder: Path, path: Path) -> Path:
    """A folder as a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in sorted(folder.rglob("*")):
            archive.write(member, member.relative_to(folder).as_posix())
    return path


def imported(export: Path, out: Path, **settings: Any) -> ImportReport:
    return import_export(export, out, ImportConfig(**settings))


def masks(out: Path) -> dict[str, NDArray[np.uint8]]:
    """The masks of an imported folder, by the name of their picture, as they stand in their files."""
    return {
        path.relative_to(out / "masks").with_suffix("").as_posix(): read_index_mask(path)
        for path in sorted((out / "masks").rglob("*.png"))
    }


def samples(out: Path) -> dict[str, NDArray[np.uint8]]:
    """What training sees of an imported folder: label maps by name."""
    source = FolderSource(out, val_fraction=0.5)
    return {
        sample.name: sample.label_map
        for split in ("train", "val", "test")
        for sample in (source.load(split, index) for index in range(len(source.names(split))))
    }
