"""Which pictures of a folder train, validate and test: by files, by folders, or by a hash of their names."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from data.errors import DataError
from data.pixels import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from data.sources.source import Split

SPLIT_NAMES: Final[dict[str, Split]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What files and folders may be called, in small letters."""

IMAGE_FOLDERS: Final = ("images", "image", "imgs", "img", "jpegimages")
"""What the folder of the pictures may be called, in small letters."""

_POOL_NAMES: Final = frozenset({"default", "trainval"})
"""Lists of what is to be divided further: CVAT's exports without subsets, and Pascal VOC's."""

_SPLIT_FOLDERS: Final = ("splits", "ImageSets/Segmentation", "")


@dataclass
class Division:
    """The splits of a folder, and what was odd about their files.

    Attributes:
        splits: Names by split, in the order of the split file, else sorted.
        origin: Where the splits come from, in words.
        unknown: Lines of split files that name no picture, as (file, line).
        repeated: Names that stand more than once in one split file.
    """

    splits: dict[Split, list[str]] = field(default_factory=dict)
    origin: str = ""
    unknown: list[tuple[Path, str]] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)

    @property
    def overlap(self) -> list[str]:
        """Names that stand in more than one split, sorted."""
        seen: set[str] = set()
        both: set[str] = set()
        for names in self.splits.values():
            both |= seen.intersection(names)
            seen.update(names)
        return sorted(both)


def divide(root: Path, names: list[str], val_fraction: float, seed: int) -> Division:
    """Find the splits of a data set.

    The first of these that is there counts: ``splits/{train,val,test}.txt``, the same in
    ``ImageSets/Segmentation`` or in the root itself, folders ``train``, ``val`` and ``test`` that hold all
    pictures. A missing train split is what the others leave; a missing val split is held out of it.

    Args:
        root: Folder of the data set.
        names: Of all pictures, sorted; "/" between folders.
        val_fraction: Share to hold out.
        seed: Of that choice.

    Raises:
        DataError: a split file is not text.
        OSError: a split file cannot be read.
    """
    division = Division()
    splits = division.splits
    pool = names
    for folder in _SPLIT_FOLDERS:
        files = {
            path.stem.lower(): path
            for path in sorted((root / folder).glob("*.txt"))
            if path.stem.lower() in SPLIT_NAMES or (folder and path.stem.lower() in _POOL_NAMES)
        }
        if files:
            listed = {stem: _read_split(path, names, division) for stem, path in files.items()}
            splits.update({SPLIT_NAMES[stem]: chosen for stem, chosen in listed.items() if stem in SPLIT_NAMES})
            pool = next((chosen for stem, chosen in listed.items() if stem in _POOL_NAMES), names)
            division.origin = f"{folder}/".removeprefix("/") + ", ".join(path.name for path in files.values())
            break
    else:
        _divide_by_folders(names, division)
    if "train" not in splits:
        taken = set().union(*splits.values())
        splits["train"] = [name for name in pool if name not in taken]
        division.origin = division.origin or "the names"
    if "val" not in splits:
        splits["train"], splits["val"] = hold_out(splits["train"], val_fraction, seed)
        division.origin += f"; {val_fraction:.0%} held out as val by seed {seed}"
    return division


def composed(name: str) -> str:
    """A name with its accents composed (NFC): macOS writes them apart, split files rarely do."""
    return unicodedata.normalize("NFC", name)


def _read_split(path: Path, names: list[str], division: Division) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"split file {path} cannot be read as UTF-8 text: {error}") from None
    known = {name.lower(): name for name in names} | {name: name for name in names}
    chosen: dict[str, None] = {}  # in the order of the file, and quick to look into
    for line in filter(None, map(str.strip, text.splitlines())):
        name = _resolve(line, known)
        if name is None:
            division.unknown.append((path, line))
        elif name in chosen:
            division.repeated.append(name)
        else:
            chosen[name] = None
    return list(chosen)


def _resolve(line: str, known: dict[str, str]) -> str | None:
    """The picture that a line of a split file means: its name, maybe with folder, ending or a second column."""
    for text in (line, line.split("\t", maxsplit=1)[0], line.split(maxsplit=1)[0]):
        name = composed(text.strip().replace("\\", "/").removeprefix("./").removeprefix("/"))
        first, _, rest = name.partition("/")
        for tail in (name, rest) if first.lower() in IMAGE_FOLDERS else (name,):
            stem, dot, ending = tail.rpartition(".")
            if tail in known:
                return known[tail]
            if dot and f".{ending.lower()}" in ENDINGS and stem in known:
                return known[stem]
    return known.get(composed(line).lower())


def _divide_by_folders(names: Collection[str], division: Division) -> None:
    """Splits from the first folder of every name, if that is a split's name for all of them."""
    places: dict[Split, list[str]] = {}
    for name in names:
        first, slash, _ = name.partition("/")
        if not slash or first.lower() not in SPLIT_NAMES:
            return
        places.setdefault(SPLIT_NAMES[first.lower()], []).append(name)
    division.splits.update(places)
    division.origin = "folders " + ", ".join(sorted({name.partition("/")[0] for name in names}))


def hold_out(names: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Divide names into those kept and those held out, each by a hash of its own.

    In a set of some hundreds a name's side depends on nothing but the name and the seed, so pictures
    added later move none of the earlier ones. In a small set chance alone could hold out half of it:
    there the number is kept within a quarter of what was asked for, and few names move. With two
    names or more, neither side is empty.

    Returns:
        Kept and held-out names, in the order given.
    """
    if len(names) < 2:
        return list(names), []
    draw = {name: _chance(f"{seed}:{name}") for name in names}
    wanted = fraction * len(names)
    count = sum(chance < fraction for chance in draw.values())
    count = min(max(count, math.floor(0.75 * wanted)), math.ceil(1.25 * wanted))
    count = min(max(count, 1), len(names) - 1)
    held = set(sorted(names, key=draw.__getitem__)[:count])
    return [name for name in names if name not in held], [name for name in names if name in held]


def _chance(text: str) -> float:
    """A number in [0, 1) that depends on the text alone. File names may hold lone surrogates."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
