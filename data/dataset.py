"""What a data loader draws from a decoded split: crops to train on, tiles to validate on."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, default_collate

from data.errors import DataError, FcnError, RunError
from data.labels import IGNORE_INDEX
from data.samplers import BLANK, EpochSampler, PlainSampler, rank_and_world
from data.tiles import tile_axis

if TYPE_CHECKING:
    from data.augment import Augmentation
    from data.decoded import DecodedSplit

Item = tuple[torch.Tensor, torch.Tensor]

MAX_TILE: Final = 2048
OVERLAP: Final = 256
STRIDE: Final = 32
"""Of the tiles of large pictures, as the service has them unless told otherwise."""


class SegmentationDataset(Dataset[Item | FcnError]):
    """Samples as tensors, augmented or as they are; in the place of one that cannot be read, the fault.

    A fault that is raised in a loader's process arrives as forty lines of traceback.

    Args:
        split: Decoded samples.
        augmentation: None leaves them whole.
    """

    def __init__(self, split: DecodedSplit, augmentation: Augmentation | None = None) -> None:
        self._split = split
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, key: tuple[int, int]) -> Item | FcnError:
        """One sample.

        Args:
            key: Index of the sample, and the seed of its augmentation.

        Returns:
            Image (3, H, W) uint8 and target (H, W) uint8, or why there are none.
        """
        try:
            return self._item(*key)
        except (FcnError, OSError, MemoryError) as error:
            return fault_of(self._split.names[key[0]], error)

    def _item(self, index: int, seed: int) -> Item:
        image, label_map = self._split.images[index], self._split.label_maps[index]
        if self._augmentation is not None:
            image, label_map = self._augmentation(image, label_map, seed)
        # A copy: torch cannot hold read-only maps, and a crop is not contiguous.
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(label_map.copy())


class TiledDataset(Dataset[Item | FcnError]):
    """Samples to validate on: whole up to ``MAX_TILE`` pixels a side, and larger ones in overlapping tiles.

    Tiles are those of the service. A pixel's target stands in the tile in which it lies deepest and is 255 in the
    others, so every pixel counts once, and no more than a tile's logits are ever held.

    Args:
        split: Decoded samples.
    """

    def __init__(self, split: DecodedSplit) -> None:
        self._split = split
        self._tiles = [
            (index, row, column)
            for index, label_map in enumerate(split.label_maps)
            for row in tile_axis(label_map.shape[0], MAX_TILE, OVERLAP, STRIDE)
            for column in tile_axis(label_map.shape[1], MAX_TILE, OVERLAP, STRIDE)
        ]

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, key: tuple[int, int]) -> Item | FcnError:
        """One tile.

        Args:
            key: Index of the tile, and a seed that decides nothing; with ``BLANK`` the target is ignored.

        Returns:
            Image (3, h, w) uint8 and target (h, w) uint8, or why there are none.
        """
        try:
            return self._item(*key)
        except (FcnError, OSError, MemoryError) as error:
            return fault_of(self._split.names[self._tiles[key[0]][0]], error)

    def _item(self, tile: int, seed: int) -> Item:
        index, row, column = self._tiles[tile]
        image = self._split.images[index][row.source, column.source]
        target = np.full(image.shape[:2], IGNORE_INDEX, dtype=np.uint8)
        if seed != BLANK:
            target[row.kept, column.kept] = self._split.label_maps[index][row.target, column.target]
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(target)


def fault_of(name: str, error: Exception) -> DataError:
    """A fault that names its sample."""
    fault = str(error) or type(error).__name__
    return DataError(fault if name in fault else f"{name} cannot be used: {fault}")


def collate(samples: list[Item | FcnError]) -> Item | FcnError:
    """A batch, or the first fault in it."""
    for sample in samples:
        if isinstance(sample, FcnError):
            return sample
    batch: list[torch.Tensor] = default_collate(samples)
    return batch[0], batch[1]


def sound(batch: Item | FcnError) -> Item:
    """The batch itself.

    Raises:
        FcnError: it holds a fault.
    """
    if isinstance(batch, FcnError):
        raise batch
    return batch


class SegmentationData(LightningDataModule):
    """Training and validation loaders over decoded splits.

    Args:
        train: Training samples.
        val: Validation samples, given one at a time since sizes may differ; see ``TiledDataset``.
        augmentation: Of training samples.
        batch_size: Crops a step and process.
        workers: Processes that augment.
        seed: Of order and crops.
    """

    def __init__(
        self,
        train: DecodedSplit,
        val: DecodedSplit,
        augmentation: Augmentation,
        batch_size: int,
        workers: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._train = train
        self._val = val
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._workers = workers
        self._seed = seed
        self._done = (0, 0)

    def train_dataloader(self) -> DataLoader[Item | FcnError]:
        """Batches of augmented crops: (N, 3, h, w) uint8 and (N, h, w) uint8."""
        return DataLoader(
            SegmentationDataset(self._train, self._augmentation),
            batch_size=self._batch_size,
            sampler=EpochSampler(len(self._train), self._batch_size, self._seed, self._done),
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            collate_fn=collate,
            worker_init_fn=_leave_signals_alone,
        )

    def val_dataloader(self) -> DataLoader[Item | FcnError]:
        """Whole pictures or tiles of large ones, one a batch, read in the training process: nothing is computed."""
        tiles = TiledDataset(self._val)
        return DataLoader(tiles, batch_size=1, sampler=PlainSampler(len(tiles)), collate_fn=collate)

    def on_before_batch_transfer(self, batch: Item | FcnError, dataloader_idx: int) -> Item:  # noqa: ARG002  Lightning's
        """Stop at a batch that holds a fault.

        Raises:
            DataError: a sample cannot be read.
        """
        return sound(batch)

    def names(self, epoch: int, batch: int) -> list[str]:
        """Names of the training samples in a batch of this process, epochs and batches from 0."""
        first = batch * self._batch_size
        keys = EpochSampler(len(self._train), self._batch_size, self._seed).keys(epoch)
        return [self._train.names[index] for index, _ in keys[first : first + self._batch_size]]

    def state_dict(self) -> dict[str, Any]:
        """How far the epoch is, for a checkpoint."""
        trainer: Any = self.trainer
        progress = trainer.fit_loop.epoch_loop.batch_progress
        batches = 0 if progress.is_last_batch else progress.current.processed
        return {"epoch": trainer.current_epoch, "batches": batches, "samples": self._samples()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the epoch was broken off.

        Raises:
            RunError: a step has another number of samples now, or an epoch another number of steps.
        """
        if state_dict["batches"] and state_dict["samples"] != self._samples():
            (before_step, before), (step, now) = state_dict["samples"], self._samples()
            raise RunError(
                f"the run was broken off within an epoch, after {state_dict['batches']} steps of {before_step} crops "
                f"from {before} pictures; it cannot go on with steps of {step} crops from {now} pictures: keep the "
                "data, loader.batch_size times the number of processes as they were until the epoch is over"
            )
        # A checkpoint of an epoch's end, which has no batches, is of the epoch that is over.
        self._done = (state_dict["epoch"] + (not state_dict["batches"]), state_dict["batches"])

    def _samples(self) -> list[int]:
        """Samples of a step, of all processes, and of the split."""
        return [self._batch_size * rank_and_world()[1], len(self._train)]


def _leave_signals_alone(worker: int) -> None:  # noqa: ARG001  torch's signature
    """Ctrl-C reaches every process of a terminal; the training process saves first and then ends its workers."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
