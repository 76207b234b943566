"""The catalogue of sources: a configuration in, an open source out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from data.downloads.place import MARKER, data_folder
from data.errors import ConfigError, DataError
from data.sources import cityscapes
from data.sources.camvid import CamVidSource
from data.sources.folded import FOLDS, FoldedSource
from data.sources.folder import FolderSource
from data.sources.pets import PetBorder, PetsSource, PetTarget
from data.sources.shapes import ShapesSource
from data.sources.shrunk import ShrunkSource
from data.sources.voc import VocSource

if TYPE_CHECKING:
    from data.sources.source import Source

SourceName = Literal["folder", "camvid", "pets", "voc", "cityscapes", "shapes"]

PUBLIC: Final = frozenset({"camvid", "pets", "voc", "cityscapes"})
"""Sources that look into the folder of fetched data sets where no root is given."""


@dataclass(frozen=True)
class SourceConfig:
    """Where labelled pictures come from.

    Attributes:
        name: folder (your own pictures), camvid (SegNet layout), pets (Oxford-IIIT), voc (2012), cityscapes or shapes
            (drawn on the fly).
        root: Folder of the data set; shapes needs none, and the public ones lie where `fcn data download` puts them.
        val_fraction: Share of the pictures held out for validation, when a folder has no split files, and of pets'
            trainval.
        seed: Of that split, and of the drawn pictures.
        remap: Labels to change while masks are read, as {from: to}; 255 is ignored. Masks of 16 bits hold labels up to
            65535.
        longest_side: Larger pictures and their masks are shrunk to it while they are read, in training and in
            scoring; 0 takes them as they are.
        fold: Validate on this fifth of the training pictures, 0 to 4, and train on the others: to try settings without
            fitting them to the validation pictures.
        target: One class pet (trimap) or one a breed (pets only).
        border: Whether a pet's border is ignored or a class of its own (pets only).
        augmented: Train on SBD's masks too (voc only); left out, where they are.
        coarse: Train on gtCoarse (cityscapes only).
        train_size: Number of drawn training pictures (shapes only).
        val_size: Number of drawn validation pictures (shapes only).
        image_size: Height and width of the drawn pictures (shapes only).
    """

    name: SourceName = "folder"
    root: Path | None = None
    val_fraction: float = 0.2
    seed: int = 0
    remap: dict[int, int] = field(default_factory=dict)
    longest_side: int = 0
    fold: int | None = None
    target: PetTarget = "trimap"
    border: PetBorder = "ignore"
    augmented: bool | None = None
    coarse: bool = False
    train_size: int = 400
    val_size: int = 100
    image_size: tuple[int, int] = (192, 256)

    def __post_init__(self) -> None:
        if not 0 < self.val_fraction < 1:
            raise ConfigError(f"val_fraction is {self.val_fraction}: it lies between 0 and 1, 0.2 holds out a fifth")
        if self.train_size < 1 or self.val_size < 1 or min(self.image_size) < 1:
            raise ConfigError("train_size, val_size and image_size must be at least 1")
        if self.longest_side < 0:
            raise ConfigError(f"longest_side is {self.longest_side}: a number of pixels, or 0 for pictures as they are")
        if self.fold is not None and not 0 <= self.fold < FOLDS:
            raise ConfigError(f"fold is {self.fold}: it is one of {FOLDS}, counted from 0")
        for old, new in self.remap.items():
            if not (0 <= old < 1 << 16 and 0 <= new <= 255):
                raise ConfigError(f"remap {old}:{new}: labels lie between 0 and 255, in masks of 16 bits up to 65535")
        mine = {
            "target": ("pets", self.target != "trimap"),
            "border": ("pets", self.border != "ignore"),
            "augmented": ("voc", self.augmented is not None),
            "coarse": ("cityscapes", self.coarse),
        }
        for setting, (name, given) in mine.items():
            if given and self.name != name:
                raise ConfigError(f"{setting} is for the source {name}; the source is {self.name}: leave it out")


def open_source(config: SourceConfig, cache_dir: Path | None = None) -> Source:
    """Open a source by its configuration.

    Args:
        config: Which and where.
        cache_dir: Where huge pictures of a folder are kept while they are used.

    Raises:
        DataError: the folder is missing or not laid out as the source expects.
    """
    source = _open(config, cache_dir)
    if config.fold is not None:
        source = FoldedSource(source, config.fold)
    return ShrunkSource(source, config.longest_side) if config.longest_side else source


def _open(config: SourceConfig, cache_dir: Path | None) -> Source:
    if config.remap and config.name != "folder":
        raise ConfigError(f"remap is for the folder source; {config.name} has its own labels: leave it out")
    if config.name == "shapes":
        return ShapesSource(config.train_size, config.val_size, config.image_size, config.seed)
    root = existing_root(config)
    if config.name == "camvid":
        return CamVidSource(root)
    if config.name == "pets":
        return PetsSource(root, config.val_fraction, config.seed, config.target, config.border)
    if config.name == "voc":
        return VocSource(root, config.augmented)
    if config.name == "cityscapes":
        return cityscapes.CityscapesSource(root, config.coarse)
    return FolderSource(root, config.val_fraction, config.seed, config.remap, cache_dir)


def existing_root(config: SourceConfig) -> Path:
    """The folder that a configuration names, with ``~`` spelled out, or the one in which it was fetched.

    Raises:
        DataError: none is named or fetched, or it does not exist.
    """
    if config.root is None and config.name in PUBLIC:
        return _fetched(config.name)
    if config.root is None:
        raise DataError(
            f"source {config.name!r} needs a folder: give it with --data.root PATH (--root PATH in evaluate and export)"
        )
    root = config.root.expanduser()
    if not root.is_dir():
        # A run keeps the path as it was given: started elsewhere, or after a move, it leads nowhere.
        raise DataError(
            f"{root} is not a folder (looked for at {root.absolute()}): give the one that holds the data set with "
            "--data.root PATH (--root PATH in evaluate and export)"
        )
    inner = root / config.name
    # What was given to `fcn data download --root` is the folder above.
    return inner if config.name in PUBLIC and any(inner.glob(f"*/{MARKER}")) else root


def _fetched(name: SourceName) -> Path:
    root = data_folder() / name
    if root.is_dir():
        return root
    how = f"{cityscapes.LOGIN} and unpack both there" if name == "cityscapes" else f"run `fcn data download {name}`"
    raise DataError(
        f"{name} is not at {root}: {how}, or give the folder that holds the data set with --data.root PATH "
        "(--root PATH in evaluate and export)"
    )
