"""Settings of an import."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from data.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal["auto", "coco", "cvat", "label-studio"]


@dataclass(frozen=True)
class ImportConfig:
    """How an export becomes a folder of pictures and masks.

    Attributes:
        kind: Which tool wrote it; auto looks at its files.
        images: Folder in which its pictures lie, where the export does not hold them.
        link: Link pictures instead of copying them.
        overlap: Where shapes of different classes cover a pixel: order (the later one in the export wins), area (the
            smaller one wins), or auto: area for COCO, which has no order, else order. CVAT's z_order comes first.
        unlabelled: The class of pixels that no shape covers, or "ignore". It is added in front of the export's classes
            if they lack it and a pixel needs it.
        unannotated: Pictures without any annotation: skip them, or take them as unlabelled all over.
        crowd: COCO's crowd regions: ignore them, take them as their class, or auto: ignore, unless every
            annotation is one, as in files of regions that are no single objects.
        boxes: Rectangles and annotations with a box alone: fill them or leave them out.
        annotators: Where several people annotated one task: the latest, the first, or agree: pixels on which they
            differ are ignored.
        predictions: Take a task's predictions where it has no annotation.
        classes: Names of the classes that are wanted, in the order of their labels; all by default.
        skip_faulty: Leave faulty pictures out instead of importing nothing.
    """

    kind: Kind = "auto"
    images: Path | None = None
    link: bool = False
    overlap: Literal["auto", "order", "area"] = "auto"
    unlabelled: str = "background"
    unannotated: Literal["skip", "unlabelled"] = "skip"
    crowd: Literal["auto", "ignore", "class"] = "auto"
    boxes: Literal["fill", "skip"] = "fill"
    annotators: Literal["latest", "first", "agree"] = "latest"
    predictions: bool = False
    classes: tuple[str, ...] = ()
    skip_faulty: bool = False

    def __post_init__(self) -> None:
        if not self.unlabelled.strip():
            raise ConfigError("unlabelled is empty: give a class's name, or ignore")
        if len(set(self.classes)) < len(self.classes):
            raise ConfigError(f"classes names one twice: {', '.join(self.classes)}")
