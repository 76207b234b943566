"""Cityscapes in its own layout: leftImg8bit beside gtFine and gtCoarse, a folder a city, 19 classes."""

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
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
        *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
    ),
    palette=(
        (128, 64, 128),
        (244, 35, 232),
        (70, 70, 70),
        (102, 102, 156),
        (190, 153, 153),
        (153, 153, 153),
        (250, 170, 30),
        (220, 220, 0),
        (107, 142, 35),
        (152, 251, 152),
        (70, 130, 180),
        (220, 20, 60),
        (255, 0, 0),
        (0, 0, 142),
        (0, 0, 70),
        (0, 60, 100),
        (0, 80, 100),
        (0, 0, 230),
        (119, 11, 32),
    ),
    ignore_colour=(0, 0, 0),
)
"""Names and colours of the train ids (helpers/labels.py of github.com/mcordts/cityscapesScripts)."""

LABEL_IDS: Final = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The id of each class in a labelIds file; every other id up to 33 is ignored (the same table)."""

_FROM_IDS: Final = {
    **dict.fromkeys((*range(34), IGNORE_INDEX), IGNORE_INDEX),  # 255 is the licence plate's -1 in 8 bits
    **{label_id: label for label, label_id in enumerate(LABEL_IDS)},
}
_FROM_TRAIN_IDS: Final = {**{label: label for label in range(LABELS.num_classes)}, IGNORE_INDEX: IGNORE_INDEX}

_TAIL: Final = "_leftImg8bit.png"

LOGIN: Final = (
    "Cityscapes is given to people with an account at https://www.cityscapes-dataset.com alone (its own licence, no "
    "commercial use): get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip there"
)


class CityscapesSource:
    """Cityscapes (Cordts et al., 2016): 2975 pictures train, 500 val of 2048x1024; test's labels are not public.

    Masks are read from ``*_labelTrainIds.png`` where cityscapesScripts made them, else from ``*_labelIds.png``.

    Args:
        root: Folder that holds ``leftImg8bit`` and ``gtFine``.
        coarse: Train on ``gtCoarse``, and on ``train_extra`` too where it is; val stays fine where it is.

    Raises:
        DataError: the folders are not there.
    """

    def __init__(self, root: Path, coarse: bool = False) -> None:
        masks = "gtCoarse" if coarse else "gtFine"
        for folder in ("leftImg8bit/train", f"{masks}/train"):
            if not (root / folder).is_dir():
                raise DataError(
                    f"{root} has no {folder}/: unpack leftImg8bit_trainvaltest.zip and "
                    f"{'gtCoarse.zip' if coarse else 'gtFine_trainvaltest.zip'} into it, side by side. {LOGIN}"
                )
        parts = {"train": [(masks, "train")], "val": [("gtFine" if (root / "gtFine/val").is_dir() else masks, "val")]}
        if coarse and (root / "leftImg8bit" / "train_extra").is_dir():
            parts["train"].append((masks, "train_extra"))
        self._pairs: dict[str, list[tuple[Path, Path]]] = {
            split: sorted(pair for kind, part in found for pair in _pairs(root, kind, part))
            for split, found in parts.items()
        }
        if not self._pairs["train"]:
            raise DataError(
                f"{root / 'leftImg8bit' / 'train'} has no CITY/*{_TAIL}: unpack leftImg8bit_trainvaltest.zip"
            )

    @property
    def label_map(self) -> LabelMap:
        """The 19 classes that are scored, with the authors' colours."""
        return LABELS

    def names(self, split: Split) -> list[str]:
        """City, sequence and frame, such as aachen_000000_000019, sorted; test's masks are dummies, so it is empty."""
        return [path.name.removesuffix(_TAIL) for path, _ in self._pairs.get(split, [])]

    def load(self, split: Split, index: int) -> Sample:
        """Read a picture and its mask.

        Raises:
            DataError: the mask is missing, damaged, of another size, or holds an id that Cityscapes has not.
            ImageError: the picture is damaged.
        """
        path, stem = self._pairs[split][index]
        ready = stem.with_name(f"{stem.name}_labelTrainIds.png")
        image = read_image(path)
        if ready.is_file():
            mask_path = ready
            mask = translate(read_index_mask(ready), _FROM_TRAIN_IDS, ready, "train ids are 0..18, and 255 is ignored")
        else:
            mask_path = stem.with_name(f"{stem.name}_labelIds.png")
            mask = translate(read_index_mask(mask_path), _FROM_IDS, mask_path, "Cityscapes' label ids are 0..33")
        same_size(image, mask, path, mask_path)
        return Sample(path.name.removesuffix(_TAIL), image, mask)


def _pairs(root: Path, masks: str, part: str) -> list[tuple[Path, Path]]:
    """Pictures of a part, each with the path of its masks up to the kind of mask."""
    files = (root / "leftImg8bit" / part).glob(f"*/*{_TAIL}")
    return [
        (path, root / masks / part / path.parent.name / f"{path.name.removesuffix(_TAIL)}_{masks}")
        for path in files
        if not path.name.startswith(".")
    ]
