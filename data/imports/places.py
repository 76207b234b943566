"""Places: where the pictures of an import go: their names below images/, and the lists of splits."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from data.errors import DataError
from data.sources.splits import IMAGE_FOLDERS, SPLIT_NAMES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from data.imports.export import LabelledPicture


def place_below(name: str, subset: str, subsets: set[str]) -> str:
    """Where a picture goes below ``images/``: as it lay, and below its subset where there are several.

    Args:
        name: Where it lay, below the folder of the export's pictures.
        subset: It belongs to, or empty.
        subsets: Of the whole export.
    """
    path = PurePosixPath(name)
    if len(path.parts) > 1 and path.parts[0].lower() in IMAGE_FOLDERS:
        path = PurePosixPath(*path.parts[1:])
    if len(subsets) > 1 and subset and subset not in path.parts[:-1]:
        path = PurePosixPath(subset.replace("/", "_").lstrip(".") or "subset", *path.parts)
    return path.as_posix()


def distinct(below: dict[int, str]) -> dict[int, str]:
    """Names of the written pictures: those that differ in their ending alone keep it as part of their name."""

    def stem(name: str) -> str:
        return PurePosixPath(name).with_suffix("").as_posix().casefold()

    counts = Counter(map(stem, below.values()))
    return {
        place: name if counts[stem(name)] == 1 else f"{name}{PurePosixPath(name).suffix}"
        for place, name in below.items()
    }


def write_splits(out: Path, written: Sequence[tuple[LabelledPicture, str]], notes: Counter[str]) -> dict[str, int]:
    """Lists of splits, if the export's subsets are called as splits are; other subsets go with train.

    Args:
        out: Folder of the data set.
        written: Pictures and their names below ``images/``.
        notes: Told what goes with train.

    Returns:
        Pictures of each split; none where training holds some of them out itself.

    Raises:
        DataError: a picture has a name that a list cannot hold.
    """
    splits: dict[str, int] = {}
    known = {picture.subset: SPLIT_NAMES.get(picture.subset.lower()) for picture, _ in written}
    if len(known) < 2 or not any(known.values()):
        return splits
    for subset, split in known.items():
        if split is None:
            notes[f"subset {subset!r} is no split's name: its pictures are in train"] = 1
    for picture, name in written:
        split = known[picture.subset] or "train"
        listing = out / "splits" / f"{split}.txt"
        listing.parent.mkdir(exist_ok=True)
        line = PurePosixPath(name).with_suffix("").as_posix()
        if line.strip() != line or line.splitlines() != [line] or not line.isprintable():
            raise DataError(f"picture {line!r} has a name that a list of a split cannot hold: rename it")
        with listing.open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")
        splits[split] = splits.get(split, 0) + 1
    return splits
