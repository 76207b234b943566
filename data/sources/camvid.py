"""CamVid in the layout of the SegNet tutorial: train/, trainannot/, val/, valannot/ and maybe test/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from data.errors import DataError
from data.labels import IGNORE_INDEX, LabelMap
from data.masks import read_index_mask, same_size
from data.pixels import read_image
from data.sources.codes import translate
from data.sources.source import Sample

if TYPE_CHECKING:
    from pathlib import Path

    from data.sources.source import Split

LABELS: Final = LabelMap(
    names=(
        "sky",
        "building",
        "pole",
        "road",
        "pavement",
        "tree",
        "sign",
        "fence",
        "car",
        "pedestrian",
        "bicyclist",
    ),
    palette=(
        (128, 128, 128),
        (128, 0, 0),
        (192, 192, 128),
        (128, 64, 128),
        (60, 40, 222),
        (128, 128, 0),
        (192, 128, 128),
        (64, 64, 128),
        (64, 0, 128),
        (64, 64, 0),
        (0, 128, 192),
    ),
    ignore_colour=(0, 0, 0),
)

VOID: Final = 11
"""The index that the SegNet files give to unlabelled pixels; 255 inside the project."""

_CODES: Final = {
    **{label: label for label in range(LABELS.num_classes)},
    VOID: IGNORE_INDEX,
    IGNORE_INDEX: IGNORE_INDEX,
}


class CamVidSource:
    """The 11-class CamVid split of Badrinarayanan et al., "SegNet", 2015 (367 / 101 / 233 pictures).

    Args:
        root: Folder that holds ``train`` and ``trainannot``, or the repository's, in which they lie in ``CamVid``.

    Raises:
        DataError: the folders are not there.
    """

    def __init__(self, root: Path) -> None:
        inner = root / "CamVid"
        self._root = inner if inner.is_dir() and not (root / "train").is_dir() else root
        self._paths: dict[str, list[Path]] = {}
        for split in ("train", "val", "test"):
            folder = self._root / split
            # glob also finds hidden files, such as the ._name.png that macOS leaves in archives.
            files = folder.glob("*.png") if folder.is_dir() else []
            self._paths[split] = sorted(path for path in files if not path.name.startswith("."))
        if not self._paths["train"]:
            raise DataError(
                f"{root} has no train/*.png: a CamVid folder in the SegNet layout holds train, trainannot, "
                "val and valannot; `fcn data download camvid` fetches one"
            )

    @property
    def label_map(self) -> LabelMap:
        """The 11 classes with the colours of the CamVid authors."""
        return LABELS

    def names(self, split: Split) -> list[str]:
        """File names without their ending, sorted."""
        return [path.stem for path in self._paths[split]]

    def load(self, split: Split, index: int) -> Sample:
        """Read a picture and its mask; void 11 becomes 255.

        Raises:
            DataError: the mask is missing, damaged, of another size, or holds a label above 11.
            ImageError: the picture is damaged.
        """
        path = self._paths[split][index]
        mask_path = self._root / f"{split}annot" / path.name
        image = read_image(path)
        mask = translate(read_index_mask(mask_path), _CODES, mask_path, "CamVid's labels are 0..10, and 11 is void")
        same_size(image, mask, path, mask_path)
        return Sample(path.stem, image, mask)
