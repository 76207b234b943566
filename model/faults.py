"""What ended a training, in one line: what, where, and how to go on."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import torch

from data.errors import DataError, FcnError, RunError
from data.samplers import rank_and_world

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.pytorch import Trainer

    from model.run import Run

_LOST = ("closed by peer", "connection reset", "broken pipe", "gloo", "nccl", "distributed", "socket")
_MEMORY = ("can't allocate memory", "cannot allocate memory", "out of memory")


def told(error: Exception, trainer: Trainer, run: Run) -> FcnError | None:
    """The fault as a person can use it; None for one that nobody but us can mend.

    Args:
        error: That ended ``trainer.fit``.
        trainer: Tells epoch and step.
        run: Tells what is kept.
    """
    rank, world = rank_and_world()
    where = f"epoch {trainer.current_epoch + 1}, step {trainer.global_step + 1}"
    who = f"process {rank + 1} of {world}: " if world > 1 else ""
    text = str(error)
    match error:
        case DataError():
            return DataError(f"{who}in {where}: {error}; {way_on(run)}")
        case FcnError():
            return type(error)(f"{who}{error}; {way_on(run)}")
        case torch.OutOfMemoryError() | MemoryError():
            return RunError(f"{who}{_memory(where)}; {way_on(run)}")
        case ConnectionError() | EOFError():  # the pipe to a loader that was killed while it sent a picture
            return RunError(f"{who}{_worker(text, where)}; {way_on(run)}")
        case OSError():
            return RunError(f"{who}in {where}: {error.filename or run.root}: {error.strerror or error}; {way_on(run)}")
        case RuntimeError() if "DataLoader worker" in text:
            return RunError(f"{who}{_worker(text, where)}; {way_on(run)}")
        case RuntimeError() if any(sign in text.lower() for sign in _MEMORY):
            return RunError(f"{who}{_memory(where)}; {way_on(run)}")
        case RuntimeError() if world > 1 and any(sign in text.lower() for sign in _LOST):
            return RunError(f"{who}lost the others in {where}: the message of the first that ended tells why")
    return None


def way_on(run: Run) -> str:
    """How to go on with a run."""
    since = "" if run.last_checkpoint.is_file() else " (from the beginning: it has no checkpoint yet)"
    return f"go on with: fcn train --resume {quoted(run.root)}{since}"


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def _memory(where: str) -> str:
    return f"the memory did not suffice in {where}: lower --loader.batch_size or --augment.crop_size"


def _worker(text: str, where: str) -> str:
    """A loader's process that is gone: torch tells the signal or an exit status, in one of two texts."""
    signal = re.search(r"killed by signal: ([^.]+)", text)
    how = f"was killed ({signal[1].strip()})" if signal else "ended unexpectedly"
    if "bus error" in text.lower():
        cure = "shared memory is too small: give the container a larger /dev/shm, or set --loader.workers 0"
    else:
        cure = "mostly for want of memory: lower --loader.workers or --loader.memory_mib, or free some"
    return f"a process that loads pictures {how} in {where}, {cure}"
