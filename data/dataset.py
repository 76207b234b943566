"""A split decoded once, and what a data loader draws from it."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from data.bands import count_pixels
from data.errors import DataError
from data.labels import IGNORE_INDEX
from data.tiles import tile_axis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from data.augment import Augmentation
    from data.sources.source import Sample, Source, Split

Item = tuple[torch.Tensor, torch.Tensor]

MAX_TILE: Final = 2048
OVERLAP: Final = 256
STRIDE: Final = 32
"""Of the tiles of large pictures, as the service has them unless told otherwise."""


@dataclass
class DecodedSplit:
    """Every sample of a split, decoded once: in memory, and beyond a limit in a memory-mapped file.

    Attributes:
        names: Of the samples.
        images: RGB, shape (H, W, 3), uint8, sizes may differ.
        label_maps: Shape (H, W), uint8, 255 ignored.
        label_counts: Pixels of each label from 0 to 255 in the whole split, shape (256,).
    """

    names: list[str] = field(default_factory=list)
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    label_maps: list[NDArray[np.uint8]] = field(default_factory=list)
    label_counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def decode(
        cls,
        source: Source,
        split: Split,
        memory_limit: int,
        cache_dir: Path | None = None,
        advance: Callable[[], None] = lambda: None,
    ) -> DecodedSplit:
        """Decode a split with threads; the first fault stops it.

        Args:
            source: Where from.
            split: Which.
            memory_limit: Bytes of pixels kept in memory; the rest goes into an unnamed file.
            cache_dir: Folder of that file.
            advance: Called after every sample.

        Raises:
            DataError: a sample is faulty, the split is empty or has no labelled pixel.
        """
        decoded = cls()
        count = len(source.names(split))
        with _Store(memory_limit, cache_dir) as store, ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            # In short batches, so that what is decoded ahead stays small.
            for first in range(0, count, 32):
                indices = range(first, min(first + 32, count))
                for sample in pool.map(lambda index: source.load(split, index), indices):
                    decoded._add(sample, store)
                    advance()
        labelled = int(decoded.label_counts[:IGNORE_INDEX].sum())
        if count and not labelled:
            raise DataError(f"the {count} masks of split {split!r} hold not one labelled pixel: all of it is 255")
        return decoded

    def _add(self, sample: Sample, store: _Store) -> None:
        self.names.append(sample.name)
        self.images.append(store.keep(sample.image))
        self.label_maps.append(store.keep(sample.label_map))
        self.label_counts += count_pixels(sample.label_map)


class _Store:
    """Keeps arrays in memory up to a limit, then in one file without a name, which no crash can leave behind."""

    def __init__(self, memory_limit: int, folder: Path | None) -> None:
        self._left = memory_limit
        self._folder = folder
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The maps hold the file open by themselves; it goes when the last of them goes.
        if self._file is not None:
            self._file.close()

    def keep(self, array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The array itself, or a read-only map of its copy on disk."""
        if isinstance(array, np.memmap):
            return array  # of a huge picture, which its source keeps in a file already
        self._left -= array.nbytes
        if self._left >= 0:
            return array
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  closed in __exit__
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(np.ascontiguousarray(array).data)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"the cache of decoded pictures cannot be written ({error.strerror}): free some disk, "
                "or choose another folder with --loader.cache_dir"
            ) from error
        return np.memmap(self._file, dtype=np.uint8, mode="r", offset=offset, shape=array.shape)


class SegmentationDataset(Dataset[Item]):
    """Samples as tensors, augmented or as they are.

    Args:
        split: Decoded samples.
        augmentation: None leaves them whole.
    """

    def __init__(self, split: DecodedSplit, augmentation: Augmentation | None = None) -> None:
        self._split = split
        self._augmentation = augmentation

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """One sample.

        Args:
            key: Index of the sample, and the seed of its augmentation.

        Returns:
            Image (3, H, W) uint8 and target (H, W) uint8.
        """
        index, seed = key
        image, label_map = self._split.images[index], self._split.label_maps[index]
        if self._augmentation is not None:
            image, label_map = self._augmentation(image, label_map, seed)
        # A copy: torch cannot hold read-only maps, and a crop is not contiguous.
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(label_map.copy())


class TiledDataset(Dataset[Item]):
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

    def __getitem__(self, key: tuple[int, int]) -> Item:
        """One tile.

        Args:
            key: Index of the tile, and a seed that decides nothing.

        Returns:
            Image (3, h, w) uint8 and target (h, w) uint8.
        """
        index, row, column = self._tiles[key[0]]
        image = self._split.images[index][row.source, column.source]
        target = np.full(image.shape[:2], IGNORE_INDEX, dtype=np.uint8)
        target[row.kept, column.kept] = self._split.label_maps[index][row.target, column.target]
        return torch.from_numpy(image.transpose(2, 0, 1).copy()), torch.from_numpy(target)


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffled indices with a seed each; both follow from (seed, epoch, position) alone.

    So a run that is resumed draws what the unbroken run would have drawn, in any number of processes.

    Args:
        length: Number of samples.
        batch_size: Of one process. A data set smaller than one batch is repeated to fill it.
        seed: Of the whole run.
    """

    def __init__(self, length: int, batch_size: int, seed: int) -> None:
        self._length = length
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        _, world = _rank_and_world()
        return max(1, self._length // (self._batch_size * world)) * self._batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rank, world = _rank_and_world()
        random = np.random.default_rng([self._seed, self._epoch])
        total = len(self) * world
        rounds = -(-total // self._length)
        order = np.concatenate([random.permutation(self._length) for _ in range(rounds)])[:total]
        seeds = random.integers(0, 2**31, size=total)
        yield from zip(order[rank::world].tolist(), seeds[rank::world].tolist(), strict=True)


class PlainSampler(Sampler[tuple[int, int]]):
    """Every sample once, in order, shared out among the processes.

    Args:
        length: Number of samples.
    """

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        rank, world = _rank_and_world()
        return len(range(rank, self._length, world))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rank, world = _rank_and_world()
        yield from ((index, 0) for index in range(rank, self._length, world))


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

    def train_dataloader(self) -> DataLoader[Item]:
        """Batches of augmented crops: (N, 3, h, w) uint8 and (N, h, w) uint8."""
        return DataLoader(
            SegmentationDataset(self._train, self._augmentation),
            batch_size=self._batch_size,
            sampler=EpochSampler(len(self._train), self._batch_size, self._seed),
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
        )

    def val_dataloader(self) -> DataLoader[Item]:
        """Whole pictures or tiles of large ones, one a batch, read in the training process: nothing is computed."""
        tiles = TiledDataset(self._val)
        return DataLoader(tiles, batch_size=1, sampler=PlainSampler(len(tiles)))


def _rank_and_world() -> tuple[int, int]:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
