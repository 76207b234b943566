"""A split decoded once: in memory, and beyond a limit in a file that no crash can leave behind."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np

from data.bands import count_pixels
from data.errors import DataError
from data.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import IO

    from numpy.typing import NDArray

    from data.sources.source import Sample, Source, Split


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
