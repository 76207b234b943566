"""The processes of one training: which is the first, how many there are, what they exchange."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import torch
from torch import distributed

from data.errors import ConfigError
from data.samplers import rank_and_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.config import FitConfig

_RANKS: Final = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


def is_first() -> bool:
    """Whether this process is the first of a training: it alone writes files and talks.

    Known before the processes are connected: by the variables of torchrun, of Lightning and of Slurm.
    """
    return all(os.environ.get(name, "0") in ("0", "") for name in _RANKS)


def layout(fit: FitConfig) -> tuple[int, int]:
    """Processes of one machine, and machines.

    Raises:
        ConfigError: torchrun has started others than the configuration asks for.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        here, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        machines = world // here
        if fit.devices not in ("auto", here) or fit.num_nodes not in (1, machines):
            raise ConfigError(
                f"torchrun has started {here} processes on each of {machines} machines; fit.devices is {fit.devices} "
                f"and fit.num_nodes {fit.num_nodes}: leave both out, or make them agree"
            )
        return here, machines
    if fit.devices != "auto":
        return fit.devices, fit.num_nodes
    return (max(1, torch.cuda.device_count()) if fit.accelerator in ("auto", "gpu", "cuda") else 1), fit.num_nodes


def any_of(flags: Sequence[bool], device: torch.device) -> list[bool]:
    """Each flag, true where it is true in any process."""
    if rank_and_world()[1] == 1:
        return list(flags)
    shared = torch.tensor(flags, dtype=torch.uint8, device=device)
    distributed.all_reduce(shared, distributed.ReduceOp.MAX)
    return [bool(flag) for flag in shared.tolist()]


def share_of_all(weight: torch.Tensor) -> torch.Tensor:
    """By what to multiply this process's weighted mean, so that the mean over processes is that of all samples.

    Args:
        weight: Sum of this process's weights, a scalar; every process has to call, one without a sample with 0.

    Returns:
        Its weight over the mean weight of all processes; 1 in a single process.
    """
    world = rank_and_world()[1]
    if world == 1:
        return torch.ones_like(weight)
    total = weight.detach().clone()
    distributed.all_reduce(total)
    return weight.detach() * world / total.clamp(min=torch.finfo(total.dtype).tiny)


def sums(values: tuple[float, int]) -> tuple[float, int]:
    """Both numbers, added up over the processes in their order."""
    world = rank_and_world()[1]
    if world == 1:
        return values
    found: list[tuple[float, int]] = [values] * world
    distributed.all_gather_object(found, values)
    return sum(total for total, _ in found), sum(count for _, count in found)
