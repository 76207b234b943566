"""Oxford-IIIT Pet: trimaps of 37 breeds of cats and dogs, in the layout of its two archives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from data.errors import DataError
from data.labels import IGNORE_INDEX, LabelMap, voc_palette
from data.masks import read_index_mask, same_size
from data.pixels import read_image
from data.sources.codes import translate
from data.sources.source import Sample
from data.sources.splits import hold_out

if TYPE_CHECKING:
    from pathlib import Path

    from data.sources.source import Split

PetTarget = Literal["trimap", "breed"]
PetBorder = Literal["ignore", "class"]

BREEDS: Final = (
    *("Abyssinian", "American Bulldog", "American Pit Bull Terrier", "Basset Hound", "Beagle", "Bengal", "Birman"),
    *("Bombay", "Boxer", "British Shorthair", "Chihuahua", "Egyptian Mau", "English Cocker Spaniel"),
    *("English Setter", "German Shorthaired", "Great Pyrenees", "Havanese", "Japanese Chin", "Keeshond"),
    *("Leonberger", "Maine Coon", "Miniature Pinscher", "Newfoundland", "Persian", "Pomeranian", "Pug", "Ragdoll"),
    *("Russian Blue", "Saint Bernard", "Samoyed", "Scottish Terrier", "Shiba Inu", "Siamese", "Sphynx"),
    *("Staffordshire Bull Terrier", "Wheaten Terrier", "Yorkshire Terrier"),
)
"""By class id, which counts from 1 in annotations/list.txt."""

PET, BACKGROUND, BORDER = 1, 2, 3
"""The values of a trimap file (annotations/README of the data set)."""


class PetsSource:
    """The pets of Parkhi et al., "Cats and Dogs", 2012 (3680 pictures in trainval, 3669 in test).

    Class 0 is the background. The border of a pet, a few pixels that are neither, is ignored by default.
    Test is the official one; val is held out of trainval as a folder's is.

    Args:
        root: Folder that holds ``images`` and ``annotations``, or ``oxford-iiit-pet`` with both.
        val_fraction: Share of trainval that is held out.
        seed: Of that choice.
        target: One class ``pet`` (trimap), or one a breed.
        border: Whether the border is ignored or a class of its own, the last one.

    Raises:
        DataError: a folder or list is not there, or a list cannot be read.
    """

    def __init__(
        self,
        root: Path,
        val_fraction: float = 0.2,
        seed: int = 0,
        target: PetTarget = "trimap",
        border: PetBorder = "ignore",
    ) -> None:
        self._root = _place(root)
        listed = {name: _read_list(self._root / "annotations" / f"{name}.txt") for name in ("trainval", "test")}
        self._classes = {**listed["trainval"], **listed["test"]}
        if both := sorted(listed["trainval"].keys() & listed["test"].keys()):
            raise DataError(
                f"{len(both)} pictures are in trainval.txt and in test.txt of {self._root / 'annotations'}, first "
                f"{both[0]!r}: keep each in one, or scores are of pictures that were trained on"
            )
        train, val = hold_out(list(listed["trainval"]), val_fraction, seed)
        self._names: dict[str, list[str]] = {"train": train, "val": val, "test": list(listed["test"])}
        self._target = target
        animals = _breeds(self._classes, self._root) if target == "breed" else ("pet",)
        names = ("background", *animals, *(["border"] * (border == "class")))
        self._labels = LabelMap(names, tuple(voc_palette(len(names))))
        self._border = len(names) - 1 if border == "class" else IGNORE_INDEX

    @property
    def label_map(self) -> LabelMap:
        """Background, then pet or the breeds, then maybe border; colours of VOC, as the data set has none."""
        return self._labels

    def names(self, split: Split) -> list[str]:
        """As the lists have them, in their order."""
        return list(self._names[split])

    def load(self, split: Split, index: int) -> Sample:
        """Read a picture and its trimap.

        Raises:
            DataError: the trimap is missing, damaged, of another size, or holds another value than 1, 2 and 3.
            ImageError: the picture is missing or damaged.
        """
        name = self._names[split][index]
        path = self._root / "images" / f"{name}.jpg"
        mask_path = self._root / "annotations" / "trimaps" / f"{name}.png"
        image = read_image(path)
        animal = self._classes[name][0] if self._target == "breed" else 1
        codes = {PET: animal, BACKGROUND: 0, BORDER: self._border}
        mask = translate(read_index_mask(mask_path), codes, mask_path, "a trimap holds 1 pet, 2 background, 3 border")
        same_size(image, mask, path, mask_path)
        return Sample(name, image, mask)


def _place(root: Path) -> Path:
    places = (root, root / "oxford-iiit-pet")
    for place in places:
        if (place / "annotations").is_dir() and (place / "images").is_dir():
            return place
    there = [name for name in ("images", "annotations") if any((place / name).is_dir() for place in places)]
    raise DataError(
        f"{root} holds {there[0] + '/ alone' if there else 'neither images/ nor annotations/'}: the pets are "
        "images.tar.gz and annotations.tar.gz, unpacked side by side; `fcn data download pets` fetches what is missing"
    )


def _read_list(path: Path) -> dict[str, tuple[int, str]]:
    """Class id, from 1, and breed of each picture, in the order of the file: ``NAME CLASS SPECIES BREED``."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): it lists the pictures of a split") from None
    listed: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or line.startswith("#"):
            continue
        if len(fields) < 2 or not fields[1].isdecimal() or not 1 <= int(fields[1]) <= len(BREEDS):
            raise DataError(
                f"{path}, line {number}: {line!r}; expected 'NAME CLASS SPECIES BREED', the class 1 to {len(BREEDS)}"
            )
        listed[fields[0]] = (int(fields[1]), fields[0].rpartition("_")[0].replace("_", " ").title())
    if not listed:
        raise DataError(f"{path} lists no picture: unpack annotations.tar.gz again")
    return listed


def _breeds(classes: dict[str, tuple[int, str]], root: Path) -> tuple[str, ...]:
    """Names by class id: the 37, or those of the lists where these number the breeds in a way of their own.

    Raises:
        DataError: one class has two names, or a class between others has no picture.
    """
    named: dict[int, str] = {}
    for picture, (label, breed) in classes.items():
        if named.setdefault(label, breed) != breed:
            raise DataError(
                f"the lists in {root / 'annotations'} give class {label} to {named[label]!r} and, at picture "
                f"{picture}, to {breed!r}: one class is one breed"
            )
    if all(BREEDS[label - 1] == breed for label, breed in named.items()):
        return BREEDS
    if set(named) != set(range(1, len(named) + 1)) or len(set(named.values())) != len(named):
        raise DataError(
            f"the lists in {root / 'annotations'} name the classes {sorted(named.items())}: neither the 37 breeds of "
            "the data set nor classes counted from 1 without a gap"
        )
    return tuple(named[label] for label in sorted(named))
