"""What lies in a folder of pictures and masks: pairs, strays and splits, found by names alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from data.errors import DataError
from data.pixels import ENDINGS
from data.sources.splits import IMAGE_FOLDERS, SPLIT_NAMES, Division, composed, divide
from data.tree import files_below

MASK_TAILS: Final = ("", "_mask", "_label", "_labels")
"""A picture NAME has its mask in NAME.*, else in NAME_mask.*, else in NAME_label.*, else in NAME_labels.*"""

_PUBLIC: Final = (
    ("camvid", "CamVid in the SegNet layout", ("train", "trainannot")),
    ("camvid", "CamVid in the SegNet layout", ("CamVid/train", "CamVid/trainannot")),
    ("pets", "the Oxford-IIIT pets", ("images", "annotations/trimaps")),
    ("voc", "Pascal VOC", ("VOCdevkit/VOC2012",)),
    ("cityscapes", "Cityscapes", ("leftImg8bit", "gtFine")),
    ("cityscapes", "Cityscapes", ("leftImg8bit", "gtCoarse")),
)
"""Sources of their own, with the folders that tell their data sets."""

_MASK_FOLDERS: Final = ("masks", "mask", "segmentationclass", "labels", "label", "annotations", "gt")


@dataclass
class Layout:
    """Everything found under one root. It is filled while the folder is walked; then it is only read.

    Attributes:
        root: The data set's folder.
        images: Path of every picture, by name: its path below the picture folder, without the ending, with
            "/" between folders, in Unicode's composed form (NFC).
        masks: Path of the mask of every picture that has one.
        strays: Masks that belong to no picture.
        twins: Files that share a name with another one, such as a.jpg and a.png.
        unread: Files in the two folders whose ending is not a picture's.
        division: The splits.
    """

    root: Path
    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    strays: list[Path] = field(default_factory=list)
    twins: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)
    division: Division = field(default_factory=Division)

    @property
    def missing(self) -> list[str]:
        """Names of a split's pictures that have no mask.

        Pascal VOC labels a part of its pictures, and its split files list just these.
        """
        used = set().union(*self.division.splits.values())
        return [name for name in self.images if name in used and name not in self.masks]


def survey(root: Path, val_fraction: float, seed: int) -> Layout:
    """Walk a data set's folder. Opens split files; opens no picture.

    Three layouts are known: ``images/`` with ``masks/``, Pascal VOC's and CVAT's ``JPEGImages/`` with
    ``SegmentationClass/``, and ``images/`` with ``masks/`` inside ``train/``, ``val/`` and ``test/``. A few other
    names of the two folders are taken as well: ``IMAGE_FOLDERS`` and ``_MASK_FOLDERS``.

    Raises:
        DataError: the layout is none of these, or no picture is there.
    """
    layout = Layout(root)
    try:
        for image_folder, mask_folder in _folder_pairs(root):
            _collect(layout, image_folder, mask_folder)
        if not layout.images:
            raise DataError(f"{root} holds no picture: put pictures into images/ and their masks into masks/")
        layout.division = divide(root, list(layout.images), val_fraction, seed)
    except OSError as error:
        raise DataError(f"{error.filename or root} cannot be read ({error.strerror}): check its permissions") from None
    return layout


def looks_like(root: Path) -> tuple[str, str, str] | None:
    """A public data set that a folder is laid out as: the name of its source, its own, and what tells it."""
    for source, title, marks in _PUBLIC:
        if all((root / mark).is_dir() for mark in marks):
            return source, title, " beside ".join(f"{mark}/" for mark in marks)
    return None


def _folder_pairs(root: Path) -> list[tuple[Path, Path]]:
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    pair = _folder_pair(folders)
    if pair and not (pair[1] / "trimaps").is_dir():  # annotations/ of the pets holds more than masks
        return [pair]
    inner = [
        pair
        for folder in folders
        if folder.name.lower() in SPLIT_NAMES
        and (pair := _folder_pair([path for path in folder.iterdir() if path.is_dir()]))
    ]
    if inner:
        return inner
    if known := looks_like(root):
        source, title, marks = known
        raise DataError(
            f"{root} looks like {title} ({marks}): read it with --data.name {source} (in fcn data check: "
            f"--source {source})"
        )
    found = ", ".join(sorted(path.name + "/" * path.is_dir() for path in root.iterdir())[:8]) or "nothing"
    raise DataError(
        f"{root} has no images/ with masks/ (or JPEGImages/ with SegmentationClass/); it holds {found}: "
        "put pictures into images/ and masks of the same names into masks/"
    )


def _folder_pair(folders: list[Path]) -> tuple[Path, Path] | None:
    """The folder of the pictures and that of the masks, if there is one of each; earlier names come first."""
    by_name = {path.name.lower(): path for path in folders}
    images = next((by_name[name] for name in IMAGE_FOLDERS if name in by_name), None)
    masks = next((by_name[name] for name in _MASK_FOLDERS if name in by_name), None)
    return (images, masks) if images and masks else None


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
    for path in files_below(folder):
        if path.name.lower() in {"thumbs.db", "desktop.ini"}:
            continue
        if path.suffix.lower() not in ENDINGS:
            layout.unread.append(path)
            continue
        name = prefix + composed(path.relative_to(folder).with_suffix("").as_posix())
        if name in found:
            layout.twins.append(path)
        else:
            found[name] = path
    return found
