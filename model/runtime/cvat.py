"""CVAT: the answers of a folder as its "Segmentation mask 1.1", to be uploaded as annotations or trained on."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from data.drawing import encode_png
from data.errors import DataError
from data.labels import voc_palette
from data.masks import read_index_mask
from model.runtime.journal import CVAT, CVAT_PARTS, remove
from model.runtime.whole import write_whole, writing_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from data.labels import LabelMap
    from model.runtime.journal import Entry

_BACKGROUND: Final = "background"


def write_cvat(out: Path, labels: LabelMap, entries: Sequence[Entry]) -> Path:
    """Write the folder ``out/cvat`` and, for upload, the same as ``out/cvat.zip``.

    ``SegmentationClass`` has the classes in the colours of ``labelmap.txt``, ``SegmentationObject`` an instance for
    each class but ``background``: CVAT makes a shape of every instance, and asks for a label for each. With the
    pictures in ``cvat/JPEGImages`` the folder is a data set to train on.

    Args:
        out: Folder of the answers.
        labels: The classes.
        entries: Pictures that are done; their label maps are read from ``out``.

    Returns:
        The folder. It is written beside its place first, and a run that is broken off leaves the former one.

    Raises:
        LabelError: a class has a name that means the ignored colour in ``labelmap.txt``.
        DataError: a picture's name cannot stand in a list of names.
    """
    for entry in entries:
        if not _listable(entry.stem):
            raise DataError(f"the picture {entry.picture!r} has a name that CVAT's lists cannot hold: rename it")
    painted = _with_distinct_colours(labels)
    instances = np.array(voc_palette(256), dtype=np.uint8)[_instance_ids(labels)]
    partial, folder = out / f".{CVAT}.partial", out / CVAT
    remove(partial)
    try:
        partial.mkdir(parents=True)
        painted.write_cvat(partial / "labelmap.txt")
        listed = "".join(f"{entry.stem}\n" for entry in entries)
        write_whole(partial / "ImageSets" / "Segmentation" / "default.txt", listed.encode())
        for entry in entries:
            label_map = read_index_mask(out / entry.label_map)
            for part, colours in (("SegmentationClass", painted.colour_table), ("SegmentationObject", instances)):
                write_whole(partial / part / f"{entry.stem}.png", encode_png(colours[label_map]))
        _pack(partial, out / f"{CVAT}.zip")
        folder.mkdir(exist_ok=True)
        for part in CVAT_PARTS:
            remove(folder / part)
            if (partial / part).exists():
                (partial / part).rename(folder / part)
    finally:
        remove(partial)
    return folder


def _listable(name: str) -> bool:
    """Whether a line of a UTF-8 text can hold a name, and is no comment."""
    plain = not any("\ud800" <= character <= "\udfff" for character in name)
    return plain and name.strip() == name and name.splitlines() == [name] and not name.startswith("#")


def _with_distinct_colours(labels: LabelMap) -> LabelMap:
    """The label map, with VOC's colours where its own would not tell the classes apart."""
    if len({*labels.palette, labels.ignore_colour}) == labels.num_classes + 1:
        return labels
    palette = voc_palette(256)
    return replace(labels, palette=tuple(palette[: labels.num_classes]), ignore_colour=palette[255])


def _instance_ids(labels: LabelMap) -> list[int]:
    """The instance of every 8-bit label; 0 is none."""
    return [
        index + 1 if index < labels.num_classes and labels.names[index].lower() != _BACKGROUND else 0
        for index in range(256)
    ]


def _pack(folder: Path, path: Path) -> None:
    with writing_whole(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for member in sorted(folder.rglob("*")):
            if member.is_file():
                archive.write(member, member.relative_to(folder).as_posix())
