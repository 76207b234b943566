"""Label Studio: tasks in JSON, with brushes, polygons, rectangles and ellipses in percent of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

import numpy as np

from data.errors import DataError
from data.imports.areas import Area, Brush, Outline, box, ellipse
from data.imports.export import Export, LabelledPicture, Shape
from data.imports.fields import lengths, listed, mapped, number, points, text, whole
from data.pixels import ENDINGS

if TYPE_CHECKING:
    from pathlib import Path

    from data.imports.config import ImportConfig

_LOCAL: Final = "/local-files/"
_BUCKETS: Final = frozenset({"s3", "gs", "azure-blob"})
_KINDS: Final = ("brush", "polygon", "rectangle", "ellipse", "keypoint", "vector", "bitmask")


def looks_like_tasks(document: object) -> bool:
    """Whether a JSON document is a list of tasks."""
    return isinstance(document, list) and bool(document) and all(isinstance(task, dict) for task in document)


def read_tasks(path: Path, document: object, config: ImportConfig) -> Export:
    """Read the tasks of one file.

    Classes are in the order of their names: an export does not tell that of the project.

    Args:
        path: Of the file.
        document: What it holds.
        config: Whose annotations count, and what to do with rectangles.

    Raises:
        DataError: it is something else throughout. Faults of tasks and regions stand in the export.
    """
    export = Export("Label Studio")
    for place, task in enumerate(listed(document, str(path)), 1):
        where = f"{path.name}: task {task.get('id', place)}"
        if "data" not in task:
            raise DataError(f"{where} has no data: export the project as JSON, not as JSON-MIN or CSV")
        try:
            picture = LabelledPicture(where, address_of(task["data"], where))
        except DataError as error:
            export.faults.append(str(error))
            continue
        export.pictures.append(picture)
        try:
            for annotation in _chosen(task, where, config, export):
                picture.versions.append(_shapes(annotation, where, picture, config, export))
        except DataError as error:
            picture.faults.append(str(error))
    named = {shape.label for picture in export.pictures for shapes in picture.versions for shape in shapes}
    export.labels = sorted(name for name in named if name is not None)
    return export


def address_of(data: object, where: str) -> str:
    """Path of a task's picture: what is left of its address without host, bucket or storage.

    Raises:
        DataError: it has none, or several.
    """
    values = [value for value in mapped(data, f"{where}: data").values() if isinstance(value, str)]
    found = {path for path in map(_path_of, values) if path.lower().endswith(tuple(ENDINGS))}
    if len(found) == 1:
        return found.pop()
    if any(value.startswith("data:") for value in values):
        raise DataError(f"{where} holds its picture itself as a data: URL: save it as a file and name that")
    raise DataError(f"{where}: data names {len(found)} pictures; one is expected (a path that ends in .jpg, .png, ...)")


def _path_of(address: str) -> str:
    scheme, _, rest = address.partition("://")
    if rest and scheme.lower() in _BUCKETS:
        return rest
    if _LOCAL in address and "?d=" in address:
        return unquote(address.partition("?d=")[2], errors="surrogateescape")
    if rest or address.startswith("/"):
        return unquote(urlsplit(address).path, errors="surrogateescape")
    return address


def _chosen(task: dict[str, Any], where: str, config: ImportConfig, export: Export) -> list[dict[str, Any]]:
    """The annotations that count, and those of a model where they are wanted and no person's are there."""
    every = listed(task.get("annotations", task.get("completions")) or [], f"{where}: annotations")
    annotations = [mapped(annotation, f"{where}: annotation") for annotation in every]
    kept = [one for one in annotations if not (one.get("was_cancelled") or one.get("skipped"))]
    if len(kept) < len(annotations):
        export.notes["cancelled annotations, left out"] += len(annotations) - len(kept)
    predictions = [one for one in task.get("predictions") or [] if isinstance(one, dict)]
    if not kept and predictions:
        if not config.predictions:
            export.notes["tasks have predictions alone, left out (--predictions takes them)"] += 1
            return []
        kept = predictions
    if len(kept) > 1:
        export.notes[f"tasks have several annotations: {_TAKEN[config.annotators]} (--annotators)"] += 1
    if config.annotators == "agree":
        return kept
    if config.annotators == "first":
        return kept[:1]
    # A person marked one as the truth, or else the one changed last counts; times are ISO 8601, which sorts as text.
    kept.sort(
        key=lambda one: (bool(one.get("ground_truth")), str(one.get("updated_at") or one.get("created_at") or ""))
    )
    return kept[-1:]


_TAKEN: Final = {
    "latest": "the one marked as ground truth, else the latest is taken",
    "first": "the first is taken",
    "agree": "pixels on which they differ are ignored",
}


def _shapes(
    annotation: dict[str, Any], where: str, picture: LabelledPicture, config: ImportConfig, export: Export
) -> list[Shape]:
    regions = listed(annotation.get("result"), f"{where}, annotation {annotation.get('id', '?')}: result")
    shapes, labelled, bare = [], set(), {}
    for place, record in enumerate(regions, 1):
        region = mapped(record, f"{where}: region {place}")
        shown = f"{where}, annotation {annotation.get('id', '?')}: region {region.get('id', place)}"
        kind = str(region.get("type", ""))
        value = region.get("value")
        if not isinstance(value, dict) or not (kind.startswith(_KINDS) or kind == "labels"):
            continue  # choices, texts, relations: nothing that covers pixels
        try:
            names = _names(value, shown)
            if not names:
                bare[str(region.get("id", place))] = shown
                continue
            labelled.add(str(region.get("id", place)))
            if len(names) > 1:
                export.notes["regions have several labels: the first is taken"] += 1
            area = _area(value, kind, shown, config, export)
            _note_size(region, shown, picture)
        except DataError as error:
            picture.faults.append(str(error))
            continue
        if area is not None:
            shapes.append(Shape(shown, names[0], area))
    # A region of two tags stands twice: as a shape, and as the same shape with its label.
    export.notes["regions without a label, left out"] += len(bare.keys() - labelled)
    return shapes


def _names(value: dict[str, Any], where: str) -> list[str]:
    for key, names in value.items():
        if key.endswith("labels") and isinstance(names, list) and names:
            return [text(name, f"{where}: {key}") for name in names]
    return []


def _area(value: dict[str, Any], kind: str, where: str, config: ImportConfig, export: Export) -> Area | None:
    def side(name: str) -> float:
        return number(value.get(name), f"{where}: {name}")

    if "rle" in value:
        data = lengths(listed(value["rle"], f"{where}: rle"), where)
        if int(data.max()) > 255:
            raise DataError(f"{where}: rle holds {int(data.max())}; bytes from 0 to 255 are expected")
        return Brush(data.astype(np.uint8))
    if "points" in value:
        corners = [point for corner in listed(value["points"], f"{where}: points") for point in listed(corner, where)]
        return Outline((points(corners, where),), percent=True)
    if "radiusX" in value:
        x, y = side("x"), side("y")
        degrees = number(value.get("rotation") or 0, f"{where}: rotation")
        return Outline((ellipse(x, y, side("radiusX"), side("radiusY")),), True, degrees, (x, y))
    if kind.startswith(("rectangle", "labels")) and "width" in value and "height" in value:
        if config.boxes == "skip":
            export.notes["rectangles left out"] += 1
            return None
        export.notes["rectangles, which are filled (--boxes skip leaves them out)"] += 1
        x, y = side("x"), side("y")
        degrees = number(value.get("rotation") or 0, f"{where}: rotation")
        return Outline((box(x, y, x + side("width"), y + side("height")),), True, degrees, (x, y))
    if "imageDataURL" in value:
        raise DataError(f"{where} is a bitmask, which is not read: label with BrushLabels, or export as COCO")
    export.notes[f"regions of kind {kind} have no area, left out"] += 1
    return None


def _note_size(region: dict[str, Any], where: str, picture: LabelledPicture) -> None:
    """The picture's size, unless it was looked at lying: what is drawn then stays as of the upright picture."""
    width, height = region.get("original_width"), region.get("original_height")
    if not width or not height or (region.get("image_rotation") or 0) % 180:
        return
    size = whole(width, f"{where}: original_width"), whole(height, f"{where}: original_height")
    if picture.size not in (None, size):
        raise DataError(f"{where} is of a picture of {size[0]}x{size[1]}; others on it say {picture.size}")
    picture.size = size
