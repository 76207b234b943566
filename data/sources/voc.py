"""Pascal VOC 2012, with the masks of the Semantic Boundaries Dataset (SBD) where they are."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import DataError
from data.labels import IGNORE_INDEX, LabelMap, voc_palette
from data.masks import read_index_mask, same_size
from data.pixels import read_image
from data.sources.codes import translate
from data.sources.source import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from data.sources.source import Split

LABELS: Final = LabelMap(
    names=(
        *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
        "tvmonitor",
    ),
    palette=tuple(voc_palette(21)),
)
"""The 20 classes by index, as the devkit spells them (VOCinit.m), after the background."""

_CODES: Final = {**{label: label for label in range(LABELS.num_classes)}, IGNORE_INDEX: IGNORE_INDEX}
_MEANING: Final = "VOC's labels are 0..20, and 255 between two things"


class VocSource:
    """Pascal VOC 2012, segmentation (Everingham et al.): 1464 pictures train, 1449 val; test is not public.

    With SBD (Hariharan et al., "Semantic contours from inverse detectors", 2011) training gets every other
    picture that SBD labels and VOC's val does not: 10582 in all, known as trainaug. Pictures that VOC labels
    itself keep VOC's masks.

    Args:
        root: Folder that holds ``VOCdevkit``, or is it, or its ``VOC2012``; SBD beside it in ``sbd`` or
            ``benchmark_RELEASE/dataset``.
        augmented: Whether SBD is used; None uses it where it is.

    Raises:
        DataError: a folder or list is not there.
    """

    def __init__(self, root: Path, augmented: bool | None = None) -> None:
        self._root = _place(root)
        lists = self._root / "ImageSets" / "Segmentation"
        own, val = read_names(lists / "train.txt"), read_names(lists / "val.txt")
        self._sbd = None if augmented is False else _sbd_place(root)
        if augmented and self._sbd is None:
            raise DataError(
                f"{root} holds no SBD (cls/, train.txt and val.txt in sbd/ or benchmark_RELEASE/dataset/): "
                "`fcn data download voc` fetches it; without it leave --data.augmented out"
            )
        self._own = frozenset(own)
        added: set[str] = set()
        if self._sbd is not None:
            added = {name for part in ("train", "val") for name in read_names(self._sbd / f"{part}.txt")}
        self._names: dict[str, list[str]] = {
            "train": sorted(self._own | (added - set(val))) if added else own,
            "val": val,
            "test": [],
        }

    @property
    def label_map(self) -> LabelMap:
        """The 21 classes with VOC's colours."""
        return LABELS

    def names(self, split: Split) -> list[str]:
        """As the lists have them."""
        return list(self._names[split])

    def load(self, split: Split, index: int) -> Sample:
        """Read a picture and its mask.

        Raises:
            DataError: the mask is missing, damaged, of another size, or holds a label above 20.
            ImageError: the picture is missing or damaged.
        """
        name = self._names[split][index]
        path = self._root / "JPEGImages" / f"{name}.jpg"
        mask_path = self._root / "SegmentationClass" / f"{name}.png"
        if split == "train" and name not in self._own and self._sbd is not None:
            mask_path = self._sbd / "cls" / f"{name}.mat"
            # VOC 2012 holds SBD's pictures too; a devkit cut down to its own segmentations does not.
            path = path if path.is_file() else self._sbd / "img" / path.name
        image = read_image(path)
        mask = read_sbd_mask(mask_path) if mask_path.suffix == ".mat" else read_index_mask(mask_path)
        mask = translate(mask, _CODES, mask_path, _MEANING)
        same_size(image, mask, path, mask_path)
        return Sample(name, image, mask)


def read_sbd_mask(path: Path) -> NDArray[np.uint8]:
    """The class labels of one of SBD's MATLAB files: ``GTcls.Segmentation``.

    Returns:
        Shape (H, W), values as they stand in the file.

    Raises:
        DataError: missing, damaged, or without such a field.
    """
    from scipy.io import loadmat  # noqa: PLC0415  half a second to import, and for these files alone

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"mask {path} cannot be read ({error.strerror}): every picture needs one") from None
    try:
        held = loadmat(io.BytesIO(data), variable_names=["GTcls"])  # type: ignore[arg-type]  # stubs know paths alone
        found = np.asarray(held["GTcls"]["Segmentation"][0, 0])
    except Exception as error:  # scipy's reader raises many kinds on damaged files
        raise DataError(f"mask {path} is damaged or holds no GTcls.Segmentation ({error}): unpack SBD again") from error
    if found.ndim != 2 or found.dtype != np.uint8:
        raise DataError(
            f"mask {path}: GTcls.Segmentation is {found.dtype} of {found.ndim} dimensions; labels of 8 bits in a plane "
            "are expected: unpack SBD again"
        )
    return found


def read_names(path: Path) -> list[str]:
    """The pictures that a list names, the first word of every line.

    Raises:
        DataError: missing, no text, or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): it lists the pictures of a split") from None
    names = [line.split()[0] for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path} names no picture: unpack the archive again")
    return names


def _place(root: Path) -> Path:
    inner = root / "VOCdevkit" / "VOC2012"
    for place in (root, root / "VOC2012", inner):
        if (place / "ImageSets" / "Segmentation").is_dir():
            for folder in ("JPEGImages", "SegmentationClass"):
                if not (place / folder).is_dir():
                    raise DataError(f"{place} has no {folder}/: unpack VOCtrainval_11-May-2012.tar again")
            return place
    raise DataError(
        f"{root} has no VOCdevkit/VOC2012/ImageSets/Segmentation: give the folder in which "
        "VOCtrainval_11-May-2012.tar was unpacked; `fcn data download voc` fetches it"
    )


def _sbd_place(root: Path) -> Path | None:
    names = ("sbd", "SBD", "benchmark_RELEASE/dataset")
    for base in (root, root.parent, root.parent.parent):  # the root may be VOCdevkit or VOC2012
        for place in (base / name for name in names):
            if (place / "cls").is_dir() and (place / "train.txt").is_file() and (place / "val.txt").is_file():
                return place
        if (base / "VOCdevkit").is_dir():
            break
    return None
