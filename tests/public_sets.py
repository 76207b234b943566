"""Public data sets in small: a few pixels a picture, folders and files named as their authors' archives have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.sparse import csc_matrix

from data.labels import voc_palette

if TYPE_CHECKING:
    from pathlib import Path

HEIGHT, WIDTH = 6, 8

TRAINVAL = {"Abyssinian_1": "1 1 1", "Abyssinian_2": "1 1 1", "american_bulldog_10": "2 2 1", "beagle_3": "5 2 3"}
TEST = {"Bengal_7": "6 1 2", "yorkshire_terrier_104": "37 2 25"}

OWN = ["2007_000032", "2007_000039"]
VAL = ["2007_000033"]
SBD_TRAIN = ["2008_000002", "2007_000032"]
SBD_VAL = ["2008_000003", "2007_000033"]

CITIES = {"train": ["aachen", "zurich"], "val": ["lindau"], "test": ["berlin"]}


def photograph(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """Random pixels in the format of the path's ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def mask_file(path: Path, mask: np.ndarray, palette: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask.astype(np.uint8))
    if palette:
        image.putpalette([channel for colour in voc_palette(256) for channel in colour])
    image.save(path)


def camvid(root: Path, counts: dict[str, int]) -> None:
    """``root`` becomes the CamVid folder of the SegNet tutorial."""
    for split, count in counts.items():
        for index in range(count):
            photograph(root / split / f"0016E5_{index:05d}.png", index)
            mask = (np.arange(HEIGHT * WIDTH) % 12).reshape(HEIGHT, WIDTH)
            mask_file(root / f"{split}annot" / f"0016E5_{index:05d}.png", mask)
        (root / f"{split}.txt").write_text("/SegNet/CamVid/...\n")


def trimap() -> np.ndarray:
    """Background at the left, two columns of border, the pet at the right."""
    mask = np.full((HEIGHT, WIDTH), 2)
    mask[:, 3:5] = 3
    mask[:, 5:] = 1
    return mask


def pets(root: Path) -> None:
    """``images/`` and ``annotations/`` with what macOS left in the authors' archive."""
    lists = root / "annotations"
    for index, name in enumerate([*TRAINVAL, *TEST]):
        photograph(root / "images" / f"{name}.jpg", index)
        mask_file(lists / "trimaps" / f"{name}.png", trimap())
        (lists / "trimaps" / f"._{name}.png").write_bytes(b"\0\5\x16\7Mac OS X")
    (root / "images" / "Abyssinian_1.mat").write_bytes(b"left there by the authors")
    (lists / "trainval.txt").write_text("".join(f"{name} {rest}\n" for name, rest in TRAINVAL.items()))
    (lists / "test.txt").write_text("".join(f"{name} {rest}\n" for name, rest in TEST.items()))
    everything = "".join(f"{name} {rest}\n" for name, rest in {**TRAINVAL, **TEST}.items())
    (lists / "list.txt").write_text(f"#Image CLASS-ID SPECIES BREED ID\n{everything}")


def voc(root: Path) -> None:
    """``root`` becomes VOCdevkit."""
    place = root / "VOC2012"
    for index, name in enumerate([*OWN, *VAL, "2008_000002", "2008_000003", "2008_000007"]):
        photograph(place / "JPEGImages" / f"{name}.jpg", index)
    for index, name in enumerate([*OWN, *VAL]):
        mask = np.zeros((HEIGHT, WIDTH))
        mask[2:, 2:] = 20 - index
        mask[2, :] = 255
        mask_file(place / "SegmentationClass" / f"{name}.png", mask, palette=True)
    lists = place / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for part, names in (("train", OWN), ("val", VAL), ("trainval", [*OWN, *VAL])):
        (lists / f"{part}.txt").write_text("".join(f"{name}\n" for name in names))


def sbd_mask() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[1:4, 1:5] = 15
    return mask


def sbd(root: Path) -> None:
    """``root`` becomes benchmark_RELEASE/dataset."""
    for index, name in enumerate(sorted({*SBD_TRAIN, *SBD_VAL})):
        photograph(root / "img" / f"{name}.jpg", index)
        (root / "cls").mkdir(exist_ok=True)
        boundaries = np.empty((20, 1), dtype=object)
        for label in range(20):
            boundaries[label, 0] = csc_matrix((HEIGHT, WIDTH), dtype=np.uint8)
        fields = {"Boundaries": boundaries, "Segmentation": sbd_mask(), "CategoriesPresent": np.uint8(15)}
        savemat(root / "cls" / f"{name}.mat", {"GTcls": fields}, do_compression=True)
    (root / "train.txt").write_text("".join(f"{name}\n" for name in SBD_TRAIN))
    (root / "val.txt").write_text("".join(f"{name}\n" for name in SBD_VAL))


def label_ids() -> np.ndarray:
    """Every id from 0 to 33, then 255s, in rows."""
    return np.concatenate([np.arange(34), np.full(HEIGHT * WIDTH - 34, 255)]).reshape(HEIGHT, WIDTH)


def cityscapes(root: Path) -> None:
    """``leftImg8bit/`` and ``gtFine/`` with every kind of file that the authors' archives hold."""
    for split, cities in CITIES.items():
        for city in cities:
            stem = f"{city}_000000_000019"
            photograph(root / "leftImg8bit" / split / city / f"{stem}_leftImg8bit.png", len(city))
            masks = root / "gtFine" / split / city
            mask_file(masks / f"{stem}_gtFine_labelIds.png", label_ids())
            mask_file(masks / f"{stem}_gtFine_instanceIds.png", label_ids())
            photograph(masks / f"{stem}_gtFine_color.png")
            (masks / f"{stem}_gtFine_polygons.json").write_text("{}")
