"""Report: what an import found, for the terminal and as JSON beside the pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Final

REPORT_FILE: Final = "import.json"


@dataclass
class ImportReport:
    """What was found and what was done. It is filled on the way.

    Attributes:
        kind: Tool that wrote the export.
        out: Folder that was made.
        pictures: Written, with their masks.
        splits: Pictures of every split that has a file.
        shapes: Annotations of every class.
        pixels: Pixels of every class; "ignored" are those that are 255.
        order: Which shape won where several classes cover a pixel.
        overlapping_pictures: Pictures with such pixels.
        overlapped_pixels: Such pixels.
        cut: Shapes that went beyond their picture, and were cut off at its edge.
        empty: Shapes that cover no pixel.
        left_out: Shapes of classes that are not wanted.
        disputed_pixels: Pixels on which annotators differ, ignored.
        unannotated: Pictures without annotation.
        unannotated_are: What became of them.
        turned: Pictures whose labels were turned with them, as their EXIF data say.
        unlabelled_are: What pixels became that no shape covers.
        notes: What else is to be known, with how often it was seen.
        faulty: What was wrong with pictures that were left out on request.
    """

    kind: str
    out: str
    pictures: int = 0
    splits: dict[str, int] = field(default_factory=dict)
    shapes: dict[str, int] = field(default_factory=dict)
    pixels: dict[str, int] = field(default_factory=dict)
    order: str = ""
    overlapping_pictures: int = 0
    overlapped_pixels: int = 0
    cut: int = 0
    empty: int = 0
    left_out: int = 0
    disputed_pixels: int = 0
    unannotated: int = 0
    unannotated_are: str = ""
    turned: int = 0
    unlabelled_are: str = ""
    notes: dict[str, int] = field(default_factory=dict)
    faulty: list[str] = field(default_factory=list)

    def to_json(self) -> str:
        """All of it."""
        return json.dumps({"schema_version": 1, **asdict(self)}, indent=2, ensure_ascii=False)

    def lines(self) -> list[str]:
        """The same in sentences, one a line; what did not happen is left out."""
        total = max(1, sum(self.pixels.values()))
        width = max(map(len, self.pixels), default=0)
        told = [
            f"{self.kind}: {self.pictures} pictures with masks"
            + "".join(f", {count} in {split}" for split, count in self.splits.items()),
            *(
                f"  {name:<{width}}  {self.shapes.get(name, 0):>8} annotations  {100 * count / total:5.1f} % of pixels"
                for name, count in self.pixels.items()
            ),
            f"pixels that no annotation covers: {self.unlabelled_are}",
        ]
        for count, sentence in (
            (self.unannotated, f"pictures without annotation: {{}}, {self.unannotated_are} (--unannotated)"),
            (
                self.overlapped_pixels,
                f"pixels of several classes: {{}}, in {self.overlapping_pictures} pictures; {self.order} (--overlap)",
            ),
            (self.disputed_pixels, "pixels on which annotators differ: {}, ignored"),
            (self.cut, "annotations that go beyond their picture: {}, cut off at its edge"),
            (self.empty, "annotations that cover no pixel: {}"),
            (self.left_out, "annotations of classes that are not wanted: {}, left out"),
            (self.turned, "pictures whose labels were turned with them, as their EXIF data say: {}"),
        ):
            if count:
                told.append(sentence.format(count))
        told += [note if count == 1 else f"{note}: {count}" for note, count in self.notes.items() if count]
        if self.faulty:
            told.append(f"faulty pictures, left out: {len(self.faulty)}")
            told += [f"  {fault}" for fault in self.faulty[:20]] + ["  ..."] * (len(self.faulty) > 20)
        return told
