"""COCO: one JSON file a subset, with polygons, run lengths or boxes for every object."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from data.errors import DataError
from data.imports.areas import Area, ColumnRuns, Outline, box
from data.imports.export import Export, LabelledPicture, Shape
from data.imports.fields import lengths, listed, mapped, number, points, read_json, text, whole
from data.imports.runs import counts_of_text
from data.sources.splits import SPLIT_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from data.imports.config import ImportConfig

_SUBSET: Final = re.compile(r"(?:^|[^a-z])(" + "|".join(sorted(SPLIT_NAMES, key=len, reverse=True)) + r")(?![a-z])")


def looks_like_coco(document: object) -> bool:
    """Whether a JSON document is COCO's list of objects, or near it."""
    return (
        isinstance(document, dict) and "images" in document and ("annotations" in document or "categories" in document)
    )


def read_coco(files: Sequence[tuple[Path, object]], config: ImportConfig) -> Export:
    """Read files of COCO as one export.

    Classes are the categories by their ids, those of later files after them. The subset is in the file's name or, as
    Roboflow has it, in that of its folder.

    Args:
        files: Paths and what they hold.
        config: What to do with crowds and boxes.

    Raises:
        DataError: a file is something else throughout. Faults of pictures and annotations stand in the export.
    """
    export = Export("COCO", order="area")
    regions = [
        bool(annotation.get("iscrowd"))
        for _, document in files
        for annotation in _records(document, "annotations")
        if isinstance(annotation, dict)
    ]
    alone = bool(regions) and all(regions)
    if alone and config.crowd == "auto":
        export.notes["all annotations are crowd regions, taken as their classes (--crowd ignore ignores them)"] = 1
    ignore_crowds = config.crowd == "ignore" or (config.crowd == "auto" and not alone)
    shared = len({path.name for path, _ in files}) < len(files)
    for path, document in files:
        _File(path, document, config, export, ignore_crowds=ignore_crowds, shared=shared).read()
    return export


class _File:
    """One file on its way into the export."""

    def __init__(
        self, path: Path, document: object, config: ImportConfig, export: Export, *, ignore_crowds: bool, shared: bool
    ) -> None:
        self._path = path
        self._shown = f"{path.parent.name}/{path.name}" if shared else path.name
        self._document = mapped(document, str(path))
        self._config = config
        self._export = export
        self._ignore_crowds = ignore_crowds
        self._categories: dict[object, str] = {}
        self._pictures: dict[object, LabelledPicture] = {}

    def read(self) -> None:
        """Fill the export."""
        self._read_categories()
        self._read_images()
        seen: set[object] = set()
        for place, record in enumerate(_records(self._document, "annotations"), 1):
            where = self._where("annotation", record, place)
            try:
                annotation = mapped(record, where)
                picture = self._pictures.get(_key(annotation.get("image_id")))
                if picture is None:
                    raise DataError(f"{where}: image_id is {annotation.get('image_id')!r}, and no image has that id")
            except DataError as error:
                self._export.faults.append(str(error))
                continue
            if _key(annotation.get("id")) in seen:
                self._export.notes["annotations have the id of another one"] += 1
            seen.add(_key(annotation.get("id")))
            try:
                self._read_annotation(annotation, where, picture)
            except DataError as error:
                picture.faults.append(str(error))

    def _read_categories(self) -> None:
        found = []
        for place, record in enumerate(_records(self._document, "categories"), 1):
            where = self._where("category", record, place)
            category = mapped(record, where)
            key = _key(category.get("id"))
            if key is None:
                raise DataError(f"{where} has no id: annotations cannot name it")
            if key in self._categories:
                raise DataError(f"{where}: another category has the same id")
            self._categories[key] = text(category.get("name"), f"{where}: name")
            found.append((key if isinstance(key, int) else place, self._categories[key]))
        if not found:
            raise DataError(f"{self._path} has no categories: export it with its classes")
        for _, name in sorted(found, key=lambda pair: pair[0]):
            if name not in self._export.labels:
                self._export.labels.append(name)

    def _read_images(self) -> None:
        subset = _subset(self._path)
        for place, record in enumerate(_records(self._document, "images"), 1):
            where = self._where("image", record, place)
            image = mapped(record, where)
            picture = LabelledPicture(where, text(image.get("file_name"), f"{where}: file_name"), subset=subset)
            key = _key(image.get("id"))
            if key is None or key in self._pictures:
                raise DataError(f"{where} ({picture.name}): id is {image.get('id')!r}, which must be there and its own")
            try:
                if image.get("width") is not None or image.get("height") is not None:
                    width = whole(image.get("width"), f"{where}: width")
                    picture.size = width, whole(image.get("height"), f"{where}: height")
            except DataError as error:
                picture.faults.append(str(error))
            self._pictures[key] = picture
            self._export.pictures.append(picture)

    def _read_annotation(self, annotation: dict[str, Any], where: str, picture: LabelledPicture) -> None:
        name = self._categories.get(_key(annotation.get("category_id")))
        if name is None:
            raise DataError(f"{where}: category_id is {annotation.get('category_id')!r}, and no category has that id")
        area = self._area(annotation, where)
        if area is None:
            return
        label: str | None = name
        if annotation.get("iscrowd") and self._ignore_crowds:
            self._export.notes["crowd regions, which are ignored (--crowd class takes them as their class)"] += 1
            label = None
        if not picture.versions:
            picture.versions.append([])
        picture.versions[0].append(Shape(where, label, area))

    def _area(self, annotation: dict[str, Any], where: str) -> Area | None:
        segmentation = annotation.get("segmentation")
        if isinstance(segmentation, dict):
            return _runs(segmentation, where)
        if segmentation:
            parts = listed(segmentation, f"{where}: segmentation")
            # Some tools write one polygon without the list around it.
            rings = [parts] if isinstance(parts[0], (int, float)) else parts
            return Outline(tuple(points(listed(ring, f"{where}: polygon"), where) for ring in rings))
        if annotation.get("bbox"):
            if self._config.boxes == "skip":
                self._export.notes["annotations with a box alone, left out"] += 1
                return None
            self._export.notes["annotations have a box alone, which is filled (--boxes skip leaves them out)"] += 1
            sides = listed(annotation["bbox"], f"{where}: bbox")
            if len(sides) != 4:
                raise DataError(f"{where}: bbox has {len(sides)} numbers; x, y, width and height are expected")
            left, top, width, height = (number(side, f"{where}: bbox") for side in sides)
            return Outline((box(left, top, left + width, top + height),))
        self._export.notes["annotations have neither segmentation nor box, left out"] += 1
        return None

    def _where(self, kind: str, record: object, place: int) -> str:
        name = record.get("id") if isinstance(record, dict) else None
        return f"{self._shown}: {kind} {place if name is None else name}"


def _runs(segmentation: dict[str, Any], where: str) -> Area:
    size = listed(segmentation.get("size"), f"{where}: size")
    if len(size) != 2:
        raise DataError(f"{where}: size has {len(size)} numbers; height and width are expected")
    height, width = (whole(side, f"{where}: size") for side in size)
    counts = segmentation.get("counts")
    try:
        found = counts_of_text(counts) if isinstance(counts, str) else lengths(listed(counts, "counts"), "counts")
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    return ColumnRuns(found, height, width)


def _records(document: object, name: str) -> list[Any]:
    found = document.get(name) if isinstance(document, dict) else None
    return listed(found, name) if found is not None else []


def _key(value: object) -> object:
    """An id as it can be looked up: some tools write numbers as texts."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, (int, str)) else None


def _subset(path: Path) -> str:
    """The subset in a file's name or its folder's: instances_train2017.json, valid/_annotations.coco.json."""
    folder = path.parent.name.lower()
    found = _SUBSET.search(path.stem.lower())
    return found[1] if found else folder if folder in SPLIT_NAMES else ""


def load_coco(paths: Sequence[Path], config: ImportConfig) -> Export:
    """Read JSON files of COCO.

    Raises:
        DataError: as in ``read_coco``, or one cannot be read.
    """
    return read_coco([(path, read_json(path)) for path in paths], config)
