"""What lies in a folder of pictures and masks: pairs, strays and splits, found by names alone."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data.errors import DataError

if TYPE_CHECKING:
    from data.sources.source import Split

PICTURE_ENDINGS: Final = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm", ".pnm", ".mpo"}
)

MASK_TAILS: Final = ("", "_mask", "_label", "_labels")
"""A picture NAME has its mask in NAME.*, else in NAME_mask.*, else in NAME_label.*, else in NAME_labels.*"""

_FOLDERS: Final = (("images", "masks"), ("JPEGImages", "SegmentationClass"))

_SPLIT_FOLDERS: Final = ("splits", "ImageSets/Segmentation", "")

_SPLIT_NAMES: Final[dict[str, Split]] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}

_POOL_NAMES: Final = frozenset({"default", "trainval"})
"""Lists of what is to be divided further: CVAT's exports without subsets, and Pascal VOC's."""


@dataclass
class Layout:
    """Everything found under one root. Paths are filled while the folder is walked; then it is only read.

    Attributes:
        root: The data set's folder.
        images: Path of every picture, by name: its path below the picture folder, without the ending, with
            "/" between folders, in Unicode's composed form (NFC).
        masks: Path of the mask of every picture that has one.
        missing: Names of pictures of a split that have no mask. Pascal VOC labels a part of its pictures, and
            its split files list just these.
        strays: Masks that belong to no picture.
        twins: Files that share a name with another one, such as a.jpg and a.png.
        unread: Files in the two folders whose ending is not a picture's.
        splits: Names by split, each sorted, or in the order of the split file.
        origin: Where the splits come from, in words.
        unknown: Lines of split files that name no picture, as (file, line).
        repeated: Names that stand more than once in one split file.
    """

    root: Path
    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    strays: list[Path] = field(default_factory=list)
    twins: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
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


def survey(root: Path, val_fraction: float, seed: int) -> Layout:
    """Walk a data set's folder. Opens split files; opens no picture.

    Three layouts are known: ``images/`` with ``masks/``, Pascal VOC's and CVAT's ``JPEGImages/`` with
    ``SegmentationClass/``, and ``images/`` with ``masks/`` inside ``train/``, ``val/`` and ``test/``.

    Raises:
        DataError: the layout is none of these, or no picture is there.
    """
    layout = Layout(root)
    try:
        for image_folder, mask_folder in _folder_pairs(root):
            _collect(layout, image_folder, mask_folder)
        if not layout.images:
            raise DataError(f"{root} holds no picture: put pictures into images/ and their masks into masks/")
        _divide(layout, val_fraction, seed)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read ({error.strerror}): check its permissions") from None
    used = set().union(*layout.splits.values())
    layout.missing = [name for name in layout.images if name in used and name not in layout.masks]
    return layout


def looks_like_camvid(root: Path) -> bool:
    """Whether the folder is laid out as the SegNet tutorial's CamVid: ``train/`` beside ``trainannot/``."""
    return (root / "train").is_dir() and (root / "trainannot").is_dir()


def _folder_pairs(root: Path) -> list[tuple[Path, Path]]:
    for images, masks in _FOLDERS:
        if (root / images).is_dir() and (root / masks).is_dir():
            return [(root / images, root / masks)]
    inner = [
        (folder / "images", folder / "masks")
        for folder in sorted(root.iterdir())
        if folder.name.lower() in _SPLIT_NAMES and (folder / "images").is_dir() and (folder / "masks").is_dir()
    ]
    if inner:
        return inner
    if looks_like_camvid(root):
        raise DataError(
            f"{root} looks like CamVid in the SegNet layout (train/ beside trainannot/): "
            "read it with --data.name camvid (in fcn data check: --source camvid)"
        )
    found = ", ".join(sorted(path.name + "/" * path.is_dir() for path in root.iterdir())[:8]) or "nothing"
    raise DataError(
        f"{root} has no images/ with masks/ (or JPEGImages/ with SegmentationClass/); it holds {found}: "
        "put pictures into images/ and masks of the same names into masks/"
    )


def _collect(layout: Layout, image_folder: Path, mask_folder: Path) -> None:
    # In the layout train/images/, the name keeps the split's folder: train/0001.
    outer = image_folder.parent.relative_to(layout.root)
    prefix = "" if outer == Path() else f"{outer.as_posix()}/"
    images = _pictures(layout, image_folder, prefix)
    masks = _pictures(layout, mask_folder, prefix)
    used = set()
    for name in sorted(images):
        layout.images[name] = images[name]
        for tail in MASK_TAILS:
            if name + tail in masks:
                layout.masks[name] = masks[name + tail]
                used.add(name + tail)
                break
    layout.strays += [masks[name] for name in sorted(masks) if name not in used]


def _pictures(layout: Layout, folder: Path, prefix: str) -> dict[str, Path]:
    """Picture files below a folder, links followed, hidden files left out."""
    found: dict[str, Path] = {}
    visited: set[str] = set()
    for place, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:  # a link that leads back to its own parent
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for file in sorted(files):
            path = Path(place) / file
            if file.startswith(".") or file.lower() in {"thumbs.db", "desktop.ini"}:
                continue
            if path.suffix.lower() not in PICTURE_ENDINGS:
                layout.unread.append(path)
                continue
            name = prefix + composed(path.relative_to(folder).with_suffix("").as_posix())
            if name in found:
                layout.twins.append(path)
            else:
                found[name] = path
    return found


def _raise(error: OSError) -> None:
    # os.walk leaves out what it cannot open, and its pictures with it, unless told to raise.
    raise error


def composed(name: str) -> str:
    """A name with its accents composed (NFC): macOS writes them apart, split files rarely do."""
    return unicodedata.normalize("NFC", name)


def _divide(layout: Layout, val_fraction: float, seed: int) -> None:
    pool = list(layout.images)
    for folder in _SPLIT_FOLDERS:
        files = {
            path.stem.lower(): path
            for path in sorted((layout.root / folder).glob("*.txt"))
            if path.stem.lower() in _SPLIT_NAMES or (folder and path.stem.lower() in _POOL_NAMES)
        }
        if files:
            pool = _divide_by_files(layout, files) or pool
            layout.origin = f"{folder}/".removeprefix("/") + ", ".join(path.name for path in files.values())
            break
    else:
        _divide_by_folders(layout)
    splits = layout.splits
    if "train" not in splits:
        taken = set().union(*splits.values())
        splits["train"] = [name for name in pool if name not in taken]
        layout.origin = layout.origin or "no file"
    if "val" not in splits:
        splits["train"], splits["val"] = hold_out(splits["train"], val_fraction, seed)
        layout.origin += f"; {val_fraction:.0%} held out as val by seed {seed}"


def _divide_by_files(layout: Layout, files: dict[str, Path]) -> list[str]:
    """Fill the splits that have a file; returns the names to divide further, of CVAT's default.txt and the like."""
    lookup = {name.lower(): name for name in layout.images}
    pool: list[str] = []
    for stem, path in files.items():
        names: dict[str, None] = {}  # in the order of the file, and quick to look into
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"split file {path} cannot be read as UTF-8 text: {error}") from None
        for line in filter(None, map(str.strip, text.splitlines())):
            name = _resolve(line, layout, lookup)
            if name is None:
                layout.unknown.append((path, line))
            elif name in names:
                layout.repeated.append(name)
            else:
                names[name] = None
        if stem in _SPLIT_NAMES:
            layout.splits[_SPLIT_NAMES[stem]] = list(names)
        else:
            pool = list(names)
    return pool


def _resolve(line: str, layout: Layout, lookup: dict[str, str]) -> str | None:
    """The picture that a line of a split file means: its name, maybe with folder, ending or a second column."""
    for text in (line, line.split("\t", maxsplit=1)[0], line.split(maxsplit=1)[0]):
        name = composed(text.strip().replace("\\", "/").removeprefix("./").removeprefix("/"))
        for start in ("", "images/", "JPEGImages/"):
            tail = name.removeprefix(start)
            if tail in layout.images:
                return tail
            stem, dot, ending = tail.rpartition(".")
            if dot and f".{ending.lower()}" in PICTURE_ENDINGS and stem in layout.images:
                return stem
    return lookup.get(line.lower())


def _divide_by_folders(layout: Layout) -> None:
    """Splits from the first folder of every name, if that is a split's name for all of them."""
    places: dict[Split, list[str]] = {}
    for name in layout.images:
        first, slash, _ = name.partition("/")
        if not slash or first.lower() not in _SPLIT_NAMES:
            return
        places.setdefault(_SPLIT_NAMES[first.lower()], []).append(name)
    layout.splits.update(places)
    layout.origin = "folders train/, val/, test/"


def hold_out(names: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Divide names into those kept and those held out, each by a hash of its own.

    A name's side depends on nothing but the name and the seed, so that pictures added later move none
    of the earlier ones. With two names or more, neither side is empty.

    Returns:
        Kept and held-out names, in the order given.
    """
    draw = {name: _chance(f"{seed}:{name}") for name in names}
    held = {name for name in names if draw[name] < fraction}
    if len(names) > 1 and not held:
        held = {min(names, key=draw.__getitem__)}
    elif len(names) > 1 and len(held) == len(names):
        held.remove(max(names, key=draw.__getitem__))
    elif len(names) == 1:
        held = set()
    return [name for name in names if name not in held], [name for name in names if name in held]


def _chance(text: str) -> float:
    """A number in [0, 1) that depends on the text alone. File names may hold lone surrogates."""
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
