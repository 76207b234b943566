"""Which samples a process sees, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from torch import distributed
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from collections.abc import Iterator

BLANK = -1
"""The seed of a sample that is there to fill a gap: all of its pixels are ignored."""


class EpochSampler(Sampler[tuple[int, int]]):
    """Shuffled indices with a seed each; both follow from (seed, epoch, position) alone.

    So a run that is resumed draws what the unbroken run would have drawn, in any number of processes.

    Args:
        length: Number of samples.
        batch_size: Of one process. A data set smaller than one batch is repeated to fill it.
        seed: Of the whole run.
        done: An epoch and how many batches of it are done already.
    """

    def __init__(self, length: int, batch_size: int, seed: int, done: tuple[int, int] = (0, 0)) -> None:
        self._length = length
        self._batch_size = batch_size
        self._seed = seed
        self._done = done
        self._epoch = done[0]  # a loader with processes asks for keys before the trainer tells an epoch

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        _, world = rank_and_world()
        return max(1, self._length // (self._batch_size * world)) * self._batch_size

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch, batches = self._done
        yield from self.keys(self._epoch)[batches * self._batch_size if epoch == self._epoch else 0 :]

    def keys(self, epoch: int) -> list[tuple[int, int]]:
        """Index and seed of every sample that this process sees in an epoch."""
        rank, world = rank_and_world()
        random = np.random.default_rng([self._seed, epoch])
        total = len(self) * world
        rounds = -(-total // self._length)
        order = np.concatenate([random.permutation(self._length) for _ in range(rounds)])[:total]
        seeds = random.integers(0, 2**31, size=total)
        return list(zip(order[rank::world].tolist(), seeds[rank::world].tolist(), strict=True))


class PlainSampler(Sampler[tuple[int, int]]):
    """Every sample once, in order, shared out among the processes.

    A process that none is left for gets a blank one: validation ends with an exchange that none may miss.

    Args:
        length: Number of samples.
    """

    def __init__(self, length: int) -> None:
        self._length = length

    def __len__(self) -> int:
        return len(self._keys())

    def __iter__(self) -> Iterator[tuple[int, int]]:
        yield from self._keys()

    def _keys(self) -> list[tuple[int, int]]:
        rank, world = rank_and_world()
        return [(index, 0) for index in range(rank, self._length, world)] or [(0, BLANK)]


def rank_and_world() -> tuple[int, int]:
    """Number of this process, from 0, and of all; 0 and 1 where there is one, or they are not connected yet."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
