"""Label Studio: the answers of a folder as tasks with predictions, to be imported."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from data.masks import read_index_mask
from model.runtime.brush import brush_regions
from model.runtime.journal import TASKS_FILE
from model.runtime.whole import writing_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.runtime.formats import LabelStudioConfig
    from model.runtime.journal import Entry
    from model.runtime.manifest import Manifest


def write_tasks(out: Path, manifest: Manifest, entries: Sequence[Entry], config: LabelStudioConfig) -> Path:
    """Write ``out/label_studio.json`` whole or not at all: a task a picture, with a brush for every class.

    Args:
        out: Folder of the answers.
        manifest: Of the model.
        entries: Pictures that are done; their label maps are read from ``out``.
        config: Names in the project.

    Returns:
        The file.
    """
    path = out / TASKS_FILE
    names = manifest.labels.names
    labels = dict(enumerate(names))
    with writing_whole(path) as file:
        file.write(b"[")
        for number, entry in enumerate(entries):
            label_map = read_index_mask(out / entry.label_map)
            scores = {i: entry.confidences[name] for i, name in enumerate(names) if name in entry.confidences}
            result = []
            for region, rle in brush_regions(label_map, labels, scores, config.brush, config.image):
                region["value"]["rle"] = rle.tolist()
                result.append(region)
            score = sum(share * entry.confidences.get(name, 0.0) for name, share in entry.classes.items())
            prediction = {"model_version": manifest.version, "score": round(score, 6), "result": result}
            task = {"data": {config.key: config.address(entry.picture)}, "predictions": [prediction]}
            file.write((b",\n" if number else b"\n") + json.dumps(task).encode())
        file.write(b"\n]\n")
    return path
