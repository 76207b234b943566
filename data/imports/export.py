"""Export: what a labelling tool says of pictures, in one form for all tools."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from data.imports.areas import Area

Order = Literal["order", "area"]


@dataclass(frozen=True)
class Shape:
    """One annotation.

    Attributes:
        where: What it is called in messages, such as "annotation 7".
        label: Its class as the export names it; None where what it covers is to be ignored.
        area: What it covers.
        layer: Shapes of higher layers lie on top.
    """

    where: str
    label: str | None
    area: Area
    layer: int = 0


@dataclass
class LabelledPicture:
    """One picture of an export. It is filled while the export is read; then it is only read.

    Attributes:
        where: What it is called in messages, such as "image 12 of instances.json".
        name: Its path or file name, as the export has it.
        size: Width and height, as the export has them.
        subset: Such as train; empty where there are none.
        versions: Shapes in the order of the export, once for each annotator that counts.
        label_map: Reads a mask that stands for all shapes: indices of the export's labels, 255 ignored.
        faults: What is wrong with it.
    """

    where: str
    name: str
    size: tuple[int, int] | None = None
    subset: str = ""
    versions: list[list[Shape]] = field(default_factory=list)
    label_map: Callable[[], NDArray[np.uint8]] | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def annotated(self) -> bool:
        """Whether there is anything on it."""
        return self.label_map is not None or any(self.versions)


@dataclass
class Export:
    """All of an export.

    Attributes:
        kind: Of which tool, in words.
        labels: Names of the classes, in their order.
        order: Which shape wins where several cover a pixel, unless it is set otherwise: the later one in the export,
            or the smaller one.
        pictures: In the export's order.
        roots: Folders in which its pictures may lie.
        notes: What is told of it and is no fault, with how often each was seen.
        faults: What is wrong and belongs to no picture.
    """

    kind: str
    labels: list[str] = field(default_factory=list)
    order: Order = "order"
    pictures: list[LabelledPicture] = field(default_factory=list)
    roots: list[Path] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
