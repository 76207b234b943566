"""COCO: the answers of a folder as one JSON file with a mask for every class of every picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as codec

from data.masks import read_index_mask
from model.runtime.journal import COCO_FILE
from model.runtime.whole import writing_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from model.runtime.journal import Entry
    from model.runtime.manifest import Manifest


def write_coco(out: Path, manifest: Manifest, entries: Sequence[Entry]) -> Path:
    """Write ``out/coco.json`` whole or not at all.

    Categories are the classes in their order, from 1: COCO keeps 0 free. Masks are compressed run lengths and
    stand as ``iscrowd``, as COCO has it for regions that are not one object each.

    Args:
        out: Folder of the answers.
        manifest: Of the model.
        entries: Pictures that are done; their label maps are read from ``out``.

    Returns:
        The file.
    """
    path = out / COCO_FILE
    names = manifest.labels.names
    info = {"description": f"Segmented by {manifest.name}", "version": manifest.version}
    categories = [{"id": index + 1, "name": name, "supercategory": ""} for index, name in enumerate(names)]
    images = [
        {"id": number, "file_name": entry.picture, "width": entry.width, "height": entry.height}
        for number, entry in enumerate(entries, 1)
    ]
    head = {"info": info, "licenses": [], "categories": categories, "images": images}
    with writing_whole(path) as file:
        # One picture at a time: the masks of thousands need not fit into memory.
        file.write(json.dumps(head).encode()[:-1] + b', "annotations": [')
        for number, annotation in enumerate(_annotations(out, names, entries), 1):
            file.write((b",\n" if number > 1 else b"\n") + json.dumps({"id": number, **annotation}).encode())
        file.write(b"\n]}\n")
    return path


def _annotations(out: Path, names: Sequence[str], entries: Sequence[Entry]) -> Iterator[dict[str, Any]]:
    for image_id, entry in enumerate(entries, 1):
        # Once a picture: run lengths go down the columns, and turning every mask takes far longer.
        columns = np.asfortranarray(read_index_mask(out / entry.label_map))
        for index, name in enumerate(names):
            if name not in entry.classes:
                continue
            encoded = codec.encode((columns == index).view(np.uint8))
            annotation = {
                "image_id": image_id,
                "category_id": index + 1,
                "iscrowd": 1,
                "area": int(codec.area(encoded)),
                "bbox": [float(side) for side in codec.toBbox(encoded)],
                "segmentation": {"size": [entry.height, entry.width], "counts": encoded["counts"].decode("ascii")},
            }
            if name in entry.confidences:
                annotation["score"] = entry.confidences[name]
            yield annotation
