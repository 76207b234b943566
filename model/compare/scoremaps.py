"""Score maps of one trained network on disk: what the upsampler-only mode trains and scores on."""

from __future__ import annotations

import json
import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch
from torch.utils.data import DataLoader

from data.dataset import SegmentationDataset, collate, sound
from data.errors import RunError
from data.samplers import EpochSampler
from model.compare.stack import score_maps
from model.fcn import COARSEST_STRIDE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from data.augment import Augmentation
    from data.decoded import DecodedSplit
    from model.fcn import FCN

INDEX_FILE = "index.json"


@dataclass(frozen=True)
class ScoreMaps:
    """Stored outputs of the score heads, float16, mapped and not read.

    Attributes:
        train: From stride 32 to the finest, each (N, C, h, w), of augmented training crops.
        targets: Of the crops, shape (N, H, W), uint8.
        scored: Per stride, the maps of the pictures that score, laid end to end.
        shapes: Height and width of each of those at stride 32.
        num_classes: C.
    """

    train: list[NDArray[np.float16]]
    targets: NDArray[np.uint8]
    scored: list[NDArray[np.float16]]
    shapes: list[tuple[int, int]]
    num_classes: int

    def batch(self, indices: NDArray[np.int64]) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Maps in 32 bits and targets of some crops."""
        rows = np.sort(indices)  # in the order of the file
        maps = [torch.from_numpy(level[rows].astype(np.float32)) for level in self.train]
        return maps, torch.from_numpy(self.targets[rows])

    def picture(self, index: int) -> list[torch.Tensor]:
        """Maps in 32 bits of one picture that scores, each (1, C, h, w)."""
        maps = []
        for level, values in enumerate(self.scored):
            sizes = [self.num_classes * h * w * 4**level for h, w in self.shapes[: index + 1]]
            start = sum(sizes[:-1])
            h, w = (side * 2**level for side in self.shapes[index])
            part = values[start : start + sizes[-1]].astype(np.float32)
            maps.append(torch.from_numpy(part.reshape(1, self.num_classes, h, w)))
        return maps


def open_score_maps(root: Path) -> ScoreMaps | None:
    """Open what was stored; None where it is not there or not whole."""
    try:
        index = json.loads((root / INDEX_FILE).read_text(encoding="utf-8"))
        levels = range(index["levels"])
        return ScoreMaps(
            train=[np.load(root / f"train-{level}.npy", mmap_mode="r") for level in levels],
            targets=np.load(root / "targets-0.npy", mmap_mode="r"),
            scored=[np.load(root / f"scored-{level}.npy", mmap_mode="r") for level in levels],
            shapes=[(h, w) for h, w in index["shapes"]],
            num_classes=index["num_classes"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store_score_maps(
    root: Path,
    network: FCN,
    train: DecodedSplit,
    scored: DecodedSplit,
    augmentation: Augmentation,
    *,
    num_classes: int,
    passes: int,
    batch_size: int,
    workers: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> ScoreMaps:
    """Run a network over crops and pictures and store what its score heads say.

    Args:
        root: Folder to write; what lies there is replaced. Its index is written last, so a folder that was
            broken off is not taken for a whole one.
        network: In evaluation mode.
        train: Training pictures.
        scored: Pictures that score.
        augmentation: Of the crops.
        num_classes: C.
        passes: Over the training pictures, each with other crops, as the first epochs of a training has them.
        batch_size: Crops at a time.
        workers: Processes that augment.
        seed: Of order and crops.
        advance: Called after every batch and picture.

    Raises:
        DataError: a picture cannot be read.
        RunError: the disk is full or a score is not finite.
    """
    shutil.rmtree(root, ignore_errors=True)
    sampler = EpochSampler(len(train), batch_size, seed)
    dataset = SegmentationDataset(train, augmentation)
    loader = DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers, collate_fn=collate)
    total = passes * len(sampler)
    try:
        root.mkdir(parents=True)
        with ExitStack() as stack:
            crops, targets, pictures = (_Files(root, name, stack) for name in ("train", "targets", "scored"))
            for epoch in range(passes):
                sampler.set_epoch(epoch)
                for batch in loader:
                    images, labels = sound(batch)
                    for level, part in enumerate(score_maps(network, images)):
                        crops.append(level, (total, *part.shape[1:]), _half(part.numpy()))
                    targets.append(0, (total, *labels.shape[1:]), labels.numpy())
                    advance()
            shapes = [(-(-height // COARSEST_STRIDE), -(-width // COARSEST_STRIDE)) for height, width in _sizes(scored)]
            pixels = sum(height * width for height, width in shapes)
            for image in scored.images:
                tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
                for level, part in enumerate(score_maps(network, tensor)):
                    pictures.append(level, (num_classes * pixels * 4**level,), _half(part.numpy()).ravel())
                advance()
        index = {"levels": len(crops), "num_classes": num_classes, "shapes": shapes}
        (root / INDEX_FILE).write_text(json.dumps(index), encoding="utf-8")
    except OSError as error:
        raise RunError(
            f"score maps cannot be written to {root} ({error.strerror}): they take about {total} crops of "
            "2 bytes a score; free some disk or lower --passes"
        ) from error
    stored = open_score_maps(root)
    if stored is None:
        raise RunError(f"score maps in {root} cannot be read back: check the disk")
    return stored


class _Files:
    """``.npy`` files filled from the front; written, not mapped, since a full disk kills who writes to a map.

    Args:
        root: Folder.
        name: Files are named ``<name>-<level>.npy``.
        stack: Closes them.
    """

    def __init__(self, root: Path, name: str, stack: ExitStack) -> None:
        self._root = root
        self._name = name
        self._stack = stack
        self._files: list[BinaryIO] = []

    def __len__(self) -> int:
        return len(self._files)

    def append(self, level: int, shape: tuple[int, ...], part: NDArray[Any]) -> None:
        """Add rows to the file of a level, which has the given shape in the end."""
        if level == len(self._files):
            file = self._stack.enter_context((self._root / f"{self._name}-{level}.npy").open("wb"))
            header = {"descr": np.lib.format.dtype_to_descr(part.dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            self._files.append(file)
        self._files[level].write(np.ascontiguousarray(part).tobytes())


def _sizes(split: DecodedSplit) -> list[tuple[int, int]]:
    return [(label_map.shape[0], label_map.shape[1]) for label_map in split.label_maps]


def _half(scores: NDArray[np.float32]) -> NDArray[np.float16]:
    if not np.isfinite(scores).all() or np.abs(scores).max(initial=0) > np.finfo(np.float16).max:
        raise RunError(
            "a score of the trained network is not finite or above 65504: its training has failed; lower "
            "--optimiser.decoder_rate and --optimiser.encoder_rate"
        )
    return scores.astype(np.float16)
