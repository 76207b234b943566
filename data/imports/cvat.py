"""CVAT: "CVAT for images 1.1" (annotations.xml) and "Segmentation mask 1.1" (coloured masks and labelmap.txt)."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Final

from data.errors import DataError
from data.imports.areas import Area, BoxedRuns, Outline, box, ellipse
from data.imports.export import Export, LabelledPicture, Shape
from data.imports.fields import lengths, number, points, text, whole
from data.labels import LabelMap
from data.masks import check_labels, decode_mask, open_mask
from data.sources.splits import composed

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

    import numpy as np
    from numpy.typing import NDArray

    from data.imports.config import ImportConfig

_WITHOUT_AREA: Final = frozenset({"polyline", "points", "cuboid", "skeleton", "tag"})
_MASKS: Final = "SegmentationClass"


def looks_like_masks(folder: Path) -> bool:
    """Whether a folder is CVAT's "Segmentation mask 1.1"."""
    return (folder / "labelmap.txt").is_file() and (folder / _MASKS).is_dir()


def read_cvat_xml(path: Path, config: ImportConfig) -> Export:
    """Read ``annotations.xml`` of "CVAT for images 1.1".

    Raises:
        DataError: it is something else, or damaged. Faults of pictures and shapes stand in the export.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise DataError(f"{path} declares entities, which CVAT does not write: export it again")
    try:
        root = ET.fromstring(data)  # noqa: S314 - no entities, see above, and nothing outside is ever loaded
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"{path} is no XML ({error}): is it cut off? Export it again") from None
    if root.tag != "annotations":
        raise DataError(f"{path} holds <{root.tag}>; <annotations> of CVAT is expected")
    if root.find("track") is not None and root.find("image") is None:
        raise DataError(f"{path} is 'CVAT for video': export the task again as 'CVAT for images 1.1'")
    export = Export("CVAT for images")
    for label in root.iterfind("meta//labels/label"):
        name = (label.findtext("name") or "").strip()
        # A skeleton's points are labels with a parent, and have no area.
        if name and label.find("parent") is None and name not in export.labels:
            export.labels.append(name)
    known = set(export.labels)
    for place, image in enumerate(root.iterfind("image")):
        where = f"{path.name}: image {image.get('id', place)}"
        picture = LabelledPicture(where, text(image.get("name"), f"{where}: name"), subset=image.get("subset") or "")
        export.pictures.append(picture)
        try:
            picture.size = whole(image.get("width"), f"{where}: width"), whole(image.get("height"), f"{where}: height")
        except DataError as error:
            picture.faults.append(str(error))
        shapes = []
        for number_, element in enumerate(image, 1):
            shown = f"{where} ({picture.name}): {element.tag} {number_}"
            try:
                shape = _shape(element, shown, config, export)
            except DataError as error:
                picture.faults.append(str(error))
                continue
            if shape is None:
                continue
            if shape.label not in known and known:
                picture.faults.append(f"{shown}: label {shape.label!r} is none of the task's {len(known)} labels")
            elif shape.label is not None and shape.label not in export.labels:
                export.labels.append(shape.label)
            shapes.append(shape)
        picture.versions.append(shapes)
    return export


def _shape(element: Element, where: str, config: ImportConfig, export: Export) -> Shape | None:
    label = text(element.get("label"), f"{where}: label")
    if element.tag in _WITHOUT_AREA:
        export.notes[f"shapes of kind {element.tag} have no area, left out"] += 1
        return None
    if element.tag == "box" and config.boxes == "skip":
        export.notes["boxes left out"] += 1
        return None
    area = _area(element, where)
    if element.tag == "box":
        export.notes["boxes, which are filled (--boxes skip leaves them out)"] += 1
    return Shape(where, label, area, whole(element.get("z_order") or 0, f"{where}: z_order"))


def _area(element: Element, where: str) -> Area:
    def side(name: str) -> float:
        return number(element.get(name), f"{where}: {name}")

    degrees = number(element.get("rotation") or 0, f"{where}: rotation")
    match element.tag:
        case "polygon":
            flat = text(element.get("points"), f"{where}: points").replace(";", ",").split(",")
            return Outline((points(flat, where),))
        case "box":
            left, top, right, bottom = side("xtl"), side("ytl"), side("xbr"), side("ybr")
            centre = (left + right) / 2, (top + bottom) / 2
            return Outline((box(left, top, right, bottom),), degrees=degrees, centre=centre)
        case "ellipse":
            x, y = side("cx"), side("cy")
            return Outline((ellipse(x, y, side("rx"), side("ry")),), degrees=degrees, centre=(x, y))
        case "mask":
            runs = text(element.get("rle"), f"{where}: rle").split(",")
            counts = lengths([whole(run.strip(), f"{where}: rle") for run in runs], where)
            left, top, width, height = (int(side(name)) for name in ("left", "top", "width", "height"))
            return BoxedRuns(counts, left, top, width, height)
        case _:
            raise DataError(
                f"{where} is of a kind that is not known here: polygons, masks, boxes and ellipses are read"
            )


def read_cvat_masks(folder: Path) -> Export:
    """Read a folder of "Segmentation mask 1.1": the lists of ``ImageSets`` are its subsets.

    Raises:
        DataError: no mask is there, or labelmap.txt is malformed.
    """
    labels = LabelMap.read(folder / "labelmap.txt")
    export = Export("CVAT segmentation masks", labels=list(labels.names), roots=[folder / "JPEGImages"])
    export.roots = [root for root in export.roots if root.is_dir()]
    subsets = {}
    for listing in sorted((folder / "ImageSets" / "Segmentation").glob("*.txt")):
        try:
            lines = listing.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{listing} cannot be read as UTF-8 text: {error}") from None
        subsets.update({composed(line.strip()): listing.stem for line in lines if line.strip()})
    names = {composed(path.relative_to(folder / _MASKS).with_suffix("").as_posix()): path for path in _masks(folder)}
    if not names:
        raise DataError(f"{folder / _MASKS} holds no mask: export the task again")
    for name in sorted(subsets.keys() - names.keys()):
        export.faults.append(f"ImageSets names {name!r}, and {_MASKS} has no mask of that name")
    for name, path in names.items():
        picture = LabelledPicture(f"{_MASKS}/{path.name}", name, subset=subsets.get(name, ""))
        picture.label_map = functools.partial(_read_mask, path, labels)
        export.pictures.append(picture)
    return export


def _masks(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / _MASKS).rglob("*.png") if not path.name.startswith("."))


def _read_mask(path: Path, labels: LabelMap) -> NDArray[np.uint8]:
    label_map = decode_mask(open_mask(path), labels, path)
    check_labels(label_map, labels, path)
    return label_map
