"""LabelMap: the names and colours of the classes, and the files that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

RGB = tuple[int, int, int]

IGNORE_INDEX: Final = 255
"""The label of pixels left out of the loss and of every score, inside the project."""

MAX_CLASSES: Final = 255
"""Class indices are uint8 and 255 is taken."""

_VOC_VOID: Final[RGB] = (224, 224, 192)
IGNORE_NAMES: Final = frozenset({"ignore", "ignored", "void", "unlabelled", "unlabeled"})
"""Names that make no class in coloured label maps and in exports of labelling tools, in small letters."""


def voc_palette(length: int = 256) -> list[RGB]:
    """The PASCAL VOC colour map: the bits of the index spread over the high bits of R, G and B.

    Args:
        length: Number of colours, 0 to 256.

    Returns:
        One (red, green, blue) per index, each 0 to 255; index 255 is (224, 224, 192).
    """
    colours = []
    for index in range(length):
        red = green = blue = 0
        rest = index
        for shift in range(7, -1, -1):
            red |= (rest & 1) << shift
            green |= (rest >> 1 & 1) << shift
            blue |= (rest >> 2 & 1) << shift
            rest >>= 3
        colours.append((red, green, blue))
    return colours


@dataclass(frozen=True)
class LabelMap:
    """Names and colours of the classes; the index in both is the class index.

    Attributes:
        names: One unique, non-empty name a class.
        palette: One (red, green, blue) a class, 0 to 255.
        ignore_colour: The colour of unlabelled pixels in coloured masks.
        explicit_colours: Whether the colours were given (``labelmap.txt``) and not just assigned.
    """

    names: tuple[str, ...]
    palette: tuple[RGB, ...]
    ignore_colour: RGB = _VOC_VOID
    explicit_colours: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise LabelError(
                f"a label map has {len(self.names)} classes; 1 to {MAX_CLASSES} are possible, "
                f"since labels are 8-bit and {IGNORE_INDEX} means ignored"
            )
        if len(self.palette) != len(self.names):
            raise LabelError(f"{len(self.names)} class names but {len(self.palette)} colours: give each class one")
        for name in self.names:
            # What labels.txt could not give back: a comment, a CVAT line, a second line, a trimmed space.
            if name.strip() != name or name.splitlines() != [name] or ":" in name or name.startswith("#"):
                raise LabelError(
                    f"class name {name!r}: names are not empty, start with no '#', hold no ':' or line break, "
                    "and have no space at either end"
                )
            if self.names.count(name) > 1:
                raise LabelError(f"class name {name!r} stands twice: names must differ")
        for name, colour in zip(self.names, self.palette, strict=True):
            if len(colour) != 3 or not all(0 <= int(c) <= 255 for c in colour):
                raise LabelError(f"class {name!r} has colour {colour}: three numbers from 0 to 255 are needed")

    @classmethod
    def from_names(cls, names: Iterable[str]) -> LabelMap:
        """A label map with the VOC colours, by index."""
        listed = tuple(names)
        return cls(listed, tuple(voc_palette(len(listed))))

    @property
    def num_classes(self) -> int:
        """Number of classes, the ignored label not counted."""
        return len(self.names)

    @cached_property
    def colour_table(self) -> NDArray[np.uint8]:
        """Colour of every 8-bit label, shape (256, 3): the palette, then VOC's colours; 255 is the ignored one."""
        table = np.asarray(voc_palette(256), dtype=np.uint8)
        table[: self.num_classes] = self.palette
        table[IGNORE_INDEX] = self.ignore_colour
        return table

    def colourise(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Labels (..., ) uint8 to colours (..., 3) uint8."""
        return self.colour_table.take(labels, axis=0)

    def from_colours(self, colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn a mask drawn in this palette into class indices.

        Args:
            colours: RGB mask, shape (H, W, 3).

        Returns:
            Label map, shape (H, W); pixels of ``ignore_colour`` become 255.

        Raises:
            LabelError: a colour is not in the palette; the message names it and its count.
        """
        key = _pack(colours)
        known = _pack(np.asarray([*self.palette, self.ignore_colour], dtype=np.uint8))
        # One binary search a pixel over at most 256 colours; np.unique over the picture would sort it.
        # A colour given to both a class and "ignored" means the class: stable sort keeps it first.
        order = np.argsort(known, kind="stable")
        position = np.searchsorted(known[order], key)
        found = order[np.minimum(position, len(order) - 1)]
        unknown = known[found] != key
        if unknown.any():
            values, counts = np.unique(key[unknown], return_counts=True)
            top = int(values[np.argmax(counts)])
            colour = (top >> 16, top >> 8 & 255, top & 255)
            raise LabelError(
                f"{int(counts.max())} pixels have colour {colour}, which no class has "
                f"({len(values)} such colours): add a line 'name:{colour[0]},{colour[1]},{colour[2]}::' "
                f"(or 'void:...' to ignore it) to labelmap.txt"
            )
        indices = np.where(found == self.num_classes, IGNORE_INDEX, found)
        return indices.astype(np.uint8)

    @classmethod
    def read(cls, path: Path) -> LabelMap:
        """Read ``labels.txt`` (a name a line) or CVAT's ``labelmap.txt`` (``name:r,g,b:parts:actions``).

        The two are told apart by their lines. In a CVAT file the names void, ignore and unlabelled
        do not make a class: their colour is the ignored one.

        Raises:
            LabelError: the file is missing, empty or has a malformed line; the message names the line.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            raise LabelError(f"{path} does not exist: write one class name a line into it") from None
        except (OSError, UnicodeDecodeError) as error:
            raise LabelError(f"{path} cannot be read as UTF-8 text: {error}") from None
        lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
        lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
        if not lines:
            raise LabelError(f"{path} names no class: write one class name a line into it")
        try:
            if any(":" in line for _, line in lines):
                return cls._parse_cvat(lines)
            return cls.from_names(line for _, line in lines)
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from None

    @classmethod
    def _parse_cvat(cls, lines: Sequence[tuple[int, str]]) -> LabelMap:
        names: list[str] = []
        palette: list[RGB | None] = []
        ignore_colour = _VOC_VOID
        for number, line in lines:
            fields = line.split(":")
            name = fields[0].strip()
            colour_text = fields[1].strip() if len(fields) > 1 else ""
            colour: RGB | None = None
            if colour_text:
                try:
                    red, green, blue = (int(part) for part in colour_text.split(","))
                except ValueError:
                    raise LabelError(
                        f"line {number} is {line!r}; expected 'name:red,green,blue::' with 0 to 255 each"
                    ) from None
                colour = (red, green, blue)
            if name.lower() in IGNORE_NAMES:
                ignore_colour = colour or ignore_colour
                continue
            if colour is not None and colour in palette:
                raise LabelError(f"line {number}: {name!r} has the colour of {names[palette.index(colour)]!r}")
            names.append(name)
            palette.append(colour)
        # Classes without a colour take those of the VOC palette that no other class has.
        free = (colour for colour in voc_palette(256) if colour not in palette and colour != ignore_colour)
        filled = tuple(colour if colour is not None else next(free) for colour in palette[:MAX_CLASSES])
        given = any(colour is not None for colour in palette)
        return cls(tuple(names), filled, ignore_colour, explicit_colours=given)

    def write_labels(self, path: Path) -> None:
        """Write ``labels.txt``: one class name a line, in the order of the indices."""
        path.write_text("".join(f"{name}\n" for name in self.names), encoding="utf-8")

    def refuse_cvat_names(self) -> None:
        """Refuse to write CVAT's ``labelmap.txt`` where it would be read back as something else.

        Raises:
            LabelError: a class has one of the names that mean the ignored colour in such a file.
        """
        for name in self.names:
            if name.lower() in IGNORE_NAMES:
                raise LabelError(f"class {name!r} would be read back as the ignored colour: rename it")

    def write_cvat(self, path: Path) -> None:
        """Write CVAT's ``labelmap.txt``; the ignored colour stands last, under the name ``void``.

        Raises:
            LabelError: as in ``refuse_cvat_names``.
        """
        self.refuse_cvat_names()
        rows = [*zip(self.names, self.palette, strict=True), ("void", self.ignore_colour)]
        body = "".join(f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in rows)
        path.write_text(f"# label:color_rgb:parts:actions\n{body}", encoding="utf-8")


def _pack(colours: NDArray[np.uint8]) -> NDArray[np.uint32]:
    wide = colours.astype(np.uint32)
    packed: NDArray[np.uint32] = (wide[..., 0] << np.uint32(16)) | (wide[..., 1] << np.uint32(8)) | wide[..., 2]
    return packed
