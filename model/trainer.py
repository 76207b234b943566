"""Lightning's Trainer for one machine or many, and torch as a training needs it."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import warnings
from typing import TYPE_CHECKING, Literal

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, Strategy

from data.errors import ConfigError
from model.batchnorm import share_batch_statistics
from model.callbacks import ExponentialAverage, Progress
from model.checkpoints import BestCheckpoint, LastCheckpoint, Patience, WholeCheckpoints
from model.processes import layout
from model.runtime.processors import usable_processors

if TYPE_CHECKING:
    from model.config import FitConfig, LoaderConfig, TrainConfig
    from model.fcn import FCN
    from model.run import Run
    from model.stopping import StopRequest

# M_MMAP_MAX: no block of its own for large arrays; M_TRIM_THRESHOLD: give nothing back; M_TOP_PAD: grow in 64 MB.
_KEEP = ((-4, 0), (-1, 2**31 - 1), (-2, 64 << 20))
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def make_trainer(
    config: TrainConfig, run: Run, callbacks: list[Callback], request: StopRequest, network: FCN
) -> Trainer:
    """Lightning's Trainer with checkpoints, logs, averaging and progress as configured.

    Args:
        config: Of the run.
        run: Where it writes.
        callbacks: That show and keep what happens.
        request: Of a person to stop.
        network: That is trained; several processes let it normalise over all of their batches.
    """
    fit = config.fit
    every = [*callbacks, LearningRateMonitor("epoch")]
    if fit.ema:
        every.append(ExponentialAverage(fit.ema))
    if fit.early_stopping:
        every.append(Patience(fit.early_stopping))
    if fit.progress:
        every.append(Progress(leave=False))
    # The best first: a training that is killed between the two repeats its last steps and finds the same best.
    every += [BestCheckpoint(run.checkpoints), LastCheckpoint(run.last_checkpoint, fit.save_minutes, request)]
    devices, machines = layout(fit)
    strategy: Strategy | str = "auto"
    if devices * machines > 1:
        strategy = DDPStrategy(find_unused_parameters=has_unused_parameters(network))
        if fit.sync_batchnorm:
            share_batch_statistics(network)
    return Trainer(
        default_root_dir=run.root,
        accelerator=fit.accelerator,
        devices=devices,
        num_nodes=machines,
        strategy=strategy,
        precision=precision(fit),
        max_epochs=fit.epochs,
        check_val_every_n_epoch=fit.validate_every,
        gradient_clip_val=config.optimiser.clip_norm or None,
        logger=TensorBoardLogger(run.root, name="", version="tensorboard"),
        callbacks=every,
        plugins=[WholeCheckpoints()],
        enable_progress_bar=fit.progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        use_distributed_sampler=False,
    )


def has_unused_parameters(network: FCN) -> bool:
    """Whether the encoder holds parameters that the scores do not depend on: DDP would wait for their gradients."""
    training = network.training
    network.eval()
    network(torch.zeros(1, 3, 64, 64)).sum().backward()
    unused = any(parameter.grad is None for parameter in network.parameters() if parameter.requires_grad)
    network.zero_grad()
    network.train(training)
    return unused


def end_children(trainer: Trainer) -> None:
    """Wait a little for the processes that Lightning has started, then end them.

    Its own watchman kills this process as soon as one of them fails, before it has said why.
    """
    children = list(getattr(trainer.strategy.launcher, "procs", []))
    if children:
        trainer.strategy.launcher.procs.clear()  # type: ignore[union-attr]
    for child in children:
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def best_score(trainer: Trainer) -> float | None:
    """The best validation mIoU so far, None before the first validation."""
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, BestCheckpoint) and callback.best_model_score is not None:
            return float(callback.best_model_score)
    return None


def precision(fit: FitConfig) -> Precision:
    """What ``auto`` means here: bf16 where the processor computes in it, else 32-bit."""
    if fit.precision != "auto":
        return fit.precision
    if fit.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    if fit.accelerator in ("auto", "cpu") and torch.ops.mkldnn._is_mkldnn_bf16_supported() and _fast_bf16():
        return "bf16-mixed"
    return "32-true"


def _fast_bf16() -> bool:
    """Whether bf16 is computed and not emulated: oneDNN accepts it on processors that only convert."""
    flags = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(flags.get("avx512_bf16") or flags.get("amx_bf16") or flags.get("bf16"))


def worker_count(loader: LoaderConfig, processes: int = 1) -> int:
    """Loader processes: as configured, or one for every two processors of this process, 1 to 4.

    Args:
        loader: Configuration.
        processes: That share the machine.
    """
    if loader.workers >= 0:
        return loader.workers
    return max(1, min(4, usable_processors() // processes // 2))


def prepare_torch(fit: FitConfig) -> None:
    """Set the number of threads.

    Raises:
        ConfigError: the accelerator that is asked for is not here.
    """
    if fit.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError("fit.accelerator asks for a GPU but torch finds none: leave it at auto or set cpu")
    processes = layout(fit)[0]
    # Torch keeps to the variable by itself; torchrun sets it to 1 where a person has not, which is no wish.
    if fit.threads or processes > 1 or not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(fit.threads or max(1, usable_processors() // processes))
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of one step for the next: giving it back costs a page fault for every 4 KB of it.

    Measured, a sixth of a training step. Other C libraries have no mallopt and are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _KEEP:
            mallopt(option, value)


def silence() -> None:
    """Hide what Lightning and its kin say that a user can do nothing about."""
    for pattern in (
        ".*does not have many workers.*",
        ".*isinstance.*LeafSpec.*",
        ".*log_every_n_steps.*",
        ".*Checkpoint directory .* exists and is not empty.*",  # a run that goes on
        ".*callbacks used to create the checkpoint need to be provided.*",  # a run of an earlier version
        ".*your dataloader is not resumable.*",  # its sampler is
        ".*sync_dist=True.*",  # scores come from the sum of all processes' confusion matrices
    ):
        warnings.filterwarnings("ignore", pattern)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
