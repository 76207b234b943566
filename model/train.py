"""Train one network into a run directory."""

from __future__ import annotations

import ctypes
import logging
import math
import shlex
import sys
import time
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from rich.progress import Progress as RichProgress

from data.augment import Augmentation
from data.dataset import DecodedSplit, SegmentationData
from data.errors import ConfigError, DataError, RunError, StoppedError
from data.masks import refuse_black_and_white, refuse_one_class
from data.sources.catalogue import open_source
from model.callbacks import EpochTable, ExponentialAverage, PredictionPictures, Progress
from model.run import Run, read_checkpoint
from model.runtime.processors import usable_processors
from model.task import FCNTask
from model.tracking import open_tracking, refuse_missing

if TYPE_CHECKING:
    from pathlib import Path

    from data.labels import LabelMap
    from data.sources.source import Source, Split
    from model.config import AugmentConfig, FitConfig, LoaderConfig, TrainConfig

MONITOR = "val/miou"
# M_MMAP_MAX: no block of its own for large arrays; M_TRIM_THRESHOLD: give nothing back; M_TOP_PAD: grow in 64 MB.
_KEEP = ((-4, 0), (-1, 2**31 - 1), (-2, 64 << 20))
Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


def train(config: TrainConfig, root: Path, *, resume: bool = False) -> Run:
    """Train a network, or go on where an earlier run stopped.

    Args:
        config: The whole recipe.
        root: The run directory: new, or with ``resume`` one that exists.
        resume: Go on from ``last.ckpt``.

    Returns:
        The run, with best.ckpt and last.ckpt in it.

    Raises:
        FcnError: the configuration, the data or the run directory is faulty.
    """
    # Before the data: a wrong --resume has no configuration that would name them.
    run = Run.open(root) if resume else Run(root)
    refuse_missing(config.fit.tracker)
    source = open_source(config.data, config.loader.cache_dir)
    labels = source.label_map
    refuse_one_class(labels)
    if resume:
        refuse_other_classes(run, labels)
    else:
        run.refuse_occupied()
    checkpoint = run.checkpoint("last") if resume else None
    if checkpoint is not None:
        done = read_checkpoint(checkpoint).get("epoch", -1) + 1
        if done >= config.fit.epochs:
            Console(stderr=True).print(
                f"{done} of {config.fit.epochs} epochs are done: nothing is left to train; more with --fit.epochs"
            )

    prepare_torch(config.fit)
    seed_everything(config.seed, workers=True, verbose=False)
    train_split = decode(source, "train", config.loader)
    val_split = decode(source, "val", config.loader)
    refuse_black_and_white(train_split.label_counts, labels)
    counts = train_split.label_counts[: labels.num_classes]
    missing = [name for name, count in zip(labels.names, counts, strict=True) if not count]
    if missing:
        logging.getLogger("fcn").warning("no training pixel of class %s: it cannot be learned", ", ".join(missing))
    task = FCNTask(config, labels, counts)
    augment, crop = config.augment, fitting_crop(config.augment, train_split)
    module = SegmentationData(
        train_split,
        val_split,
        Augmentation(crop, augment.scale, augment.flip, augment.vertical_flip, augment.colour),
        config.loader.batch_size,
        worker_count(config.loader),
        config.seed,
    )
    # Only now: data or settings that do not work leave no run directory behind.
    if resume:
        run.write_config(config)
    else:
        run = Run.create(root, config, labels)
    shown: list[Callback] = [
        EpochTable(run.metrics_file, labels),
        PredictionPictures(root / "predictions", val_split, labels),
    ]
    shown += open_tracking(run, config, labels)
    announce(config, labels, len(train_split), len(val_split))
    started = time.perf_counter()
    with warnings.catch_warnings():
        _silence()
        trainer = make_trainer(config, run, shown)
        try:
            trainer.fit(task, datamodule=module, ckpt_path=checkpoint)
        except SystemExit as stop:  # Lightning's way to end on Ctrl-C
            if (run.checkpoints / "last.ckpt").is_file():
                raise StoppedError(
                    f"stopped on request; go on with: fcn train --resume {shlex.quote(str(root))}"
                ) from stop
            raise StoppedError(
                f"stopped on request before the first epoch was over, so there is nothing to go on from: "
                f"remove {root} and train again"
            ) from stop
    if trainer.is_global_zero:
        seconds = run.provenance().get("training_seconds", 0) + time.perf_counter() - started
        run.write_provenance(
            {
                "ended": datetime.now(UTC).isoformat(timespec="seconds"),
                "training_seconds": round(seconds, 1),
                "epochs_done": trainer.current_epoch,
                "best_val_miou": best_score(trainer),
            }
        )
    return run


def fitting_crop(augment: AugmentConfig, split: DecodedSplit) -> tuple[int, int]:
    """The configured crop, made smaller where no picture, zoomed as far as it goes, would fill it.

    Returns:
        Height and width, multiples of 32 where they were made smaller.
    """
    sides = []
    for axis, wanted in enumerate(augment.crop_size):
        largest = max(image.shape[axis] for image in split.images) * augment.scale[1]
        sides.append(min(wanted, max(32, math.ceil(largest / 32) * 32)))
    return sides[0], sides[1]


def make_trainer(config: TrainConfig, run: Run, callbacks: list[Callback]) -> Trainer:
    """Lightning's Trainer with checkpoints, logs, averaging and progress as configured."""
    fit = config.fit
    best = ModelCheckpoint(
        run.checkpoints, filename="best", monitor=MONITOR, mode="max", save_last=False, enable_version_counter=False
    )
    last = ModelCheckpoint(run.checkpoints, filename="last", enable_version_counter=False, save_on_train_epoch_end=True)
    every: list[Callback] = [*callbacks, LearningRateMonitor("epoch")]
    if fit.ema:
        every.append(ExponentialAverage(fit.ema))
    if fit.early_stopping:
        every.append(EarlyStopping(MONITOR, mode="max", patience=fit.early_stopping))
    if fit.progress:
        every.append(Progress(leave=False))
    return Trainer(
        default_root_dir=run.root,
        accelerator=fit.accelerator,
        devices=1 if fit.devices == "auto" and not torch.cuda.is_available() else fit.devices,
        num_nodes=fit.num_nodes,
        precision=precision(fit),
        max_epochs=fit.epochs,
        check_val_every_n_epoch=fit.validate_every,
        gradient_clip_val=config.optimiser.clip_norm or None,
        logger=TensorBoardLogger(run.root, name="", version="tensorboard"),
        callbacks=[*every, best, last],
        enable_progress_bar=fit.progress,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        use_distributed_sampler=False,
    )


def best_score(trainer: Trainer) -> float | None:
    """The best validation mIoU so far, None before the first validation."""
    scores = [
        float(callback.best_model_score)
        for callback in trainer.checkpoint_callbacks
        if isinstance(callback, ModelCheckpoint)
        and callback.monitor == MONITOR
        and callback.best_model_score is not None
    ]
    return scores[0] if scores else None


def announce(config: TrainConfig, labels: LabelMap, train_size: int, val_size: int) -> None:
    """Say in two lines what is about to be trained on what, and how."""
    model = config.model
    Console(stderr=True).print(
        f"FCN-{model.finest_stride}s, {model.upsampler} upsampling, encoder {model.encoder} ({model.encoder_weights})\n"
        f"{labels.num_classes} classes, {train_size} training and {val_size} validation pictures, "
        f"{config.fit.epochs} epochs, {precision(config.fit)}, {torch.get_num_threads()} threads",
        highlight=False,
        markup=False,
    )


def refuse_other_classes(run: Run, labels: LabelMap) -> None:
    """A run goes on with the classes that it began with.

    Raises:
        RunError: the data names others.
    """
    known = run.labels().names
    if known != labels.names:
        raise RunError(f"{run.root} was trained on {', '.join(known)}; the data now names {', '.join(labels.names)}")


def decode(source: Source, split: Split, loader: LoaderConfig) -> DecodedSplit:
    """Decode a split once, with a bar on the terminal.

    Raises:
        DataError: the split is empty or a sample is faulty.
    """
    count = len(source.names(split))
    if not count:
        raise DataError(f"split {split!r} has no picture: training needs one at least in train and in val")
    if loader.cache_dir is not None and not loader.cache_dir.is_dir():
        raise ConfigError(f"loader.cache_dir {loader.cache_dir} is not a folder: make it or choose another")
    console = Console(stderr=True)
    with RichProgress(transient=True, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"reading {split}", total=count)
        return DecodedSplit.decode(
            source, split, loader.memory_mib << 20, loader.cache_dir, lambda: progress.advance(bar)
        )


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


def worker_count(loader: LoaderConfig) -> int:
    """Loader processes: as configured, or one for every two processors, 1 to 4."""
    if loader.workers >= 0:
        return loader.workers
    return max(1, min(4, usable_processors() // 2))


def prepare_torch(fit: FitConfig) -> None:
    """Set the number of threads.

    Raises:
        ConfigError: the accelerator that is asked for is not here.
    """
    if fit.accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError("fit.accelerator asks for a GPU but torch finds none: leave it at auto or set cpu")
    torch.set_num_threads(fit.threads or usable_processors())
    _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let glibc keep the memory of one step for the next: giving it back costs a page fault for every 4 KB of it.

    Measured, a sixth of a training step. Other C libraries have no mallopt and are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option, value in _KEEP:
            mallopt(option, value)


def _silence() -> None:
    """Hide what Lightning and its kin say that a user can do nothing about."""
    for pattern in (
        ".*does not have many workers.*",
        ".*isinstance.*LeafSpec.*",
        ".*log_every_n_steps.*",
        ".*Checkpoint directory .* exists and is not empty.*",  # a run that goes on
    ):
        warnings.filterwarnings("ignore", pattern)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
