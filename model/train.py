"""Train one network into a run directory."""

from __future__ import annotations

import logging
import math
import time
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import seed_everything
from rich.console import Console
from rich.progress import Progress as RichProgress

from data.augment import Augmentation
from data.dataset import SegmentationData
from data.decoded import DecodedSplit
from data.errors import ConfigError, DataError, RunError, StoppedError
from data.masks import refuse_black_and_white, refuse_one_class
from data.sources.catalogue import open_source
from model.callbacks import EpochTable, PredictionPictures
from model.faults import told, way_on
from model.processes import is_first, layout
from model.run import Run, read_checkpoint
from model.stopping import StopRequest
from model.task import FCNTask
from model.tracking import open_tracking, refuse_missing
from model.trainer import best_score, end_children, make_trainer, precision, prepare_torch, silence, worker_count

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lightning.pytorch import Callback, Trainer

    from data.labels import LabelMap
    from data.sources.source import Source, Split
    from model.config import AugmentConfig, LoaderConfig, TrainConfig


def train(config: TrainConfig, root: Path, *, resume: bool = False, watchers: Sequence[Callback] = ()) -> Run:
    """Train a network, or go on where an earlier run stopped.

    Args:
        config: The whole recipe.
        root: The run directory: new, or with ``resume`` one that exists.
        resume: Go on from ``last.ckpt``, or from the beginning where there is none yet.
        watchers: Told what happens, beside those that every training has.

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
    elif is_first():
        run.refuse_occupied()
    checkpoint = checkpoint_to_go_on_from(run, config) if resume else None
    prepare_torch(config.fit)
    seed_everything(config.seed, workers=True, verbose=False)
    train_split = decode(source, "train", config.loader)
    val_split = decode(source, "val", config.loader)
    refuse_black_and_white(train_split.label_counts, labels)
    counts = train_split.label_counts[: labels.num_classes]
    missing = [name for name, count in zip(labels.names, counts, strict=True) if not count]
    if missing and is_first():
        logging.getLogger("fcn").warning("no training pixel of class %s: it cannot be learned", ", ".join(missing))
    task = FCNTask(config, labels, counts)
    augment, crop = config.augment, fitting_crop(config.augment, train_split)
    module = SegmentationData(
        train_split,
        val_split,
        Augmentation(crop, augment.scale, augment.flip, augment.vertical_flip, augment.colour),
        config.loader.batch_size,
        worker_count(config.loader, layout(config.fit)[0]),
        config.seed,
    )
    # Only now: data or settings that do not work leave no run directory behind.
    if is_first():
        if resume:
            run.sweep()
            run.write_config(config)
        else:
            run = Run.create(root, config, labels)
        announce(config, labels, len(train_split), len(val_split))
    shown: list[Callback] = [
        EpochTable(run.metrics_file, labels),
        PredictionPictures(root / "predictions", val_split, labels),
        *watchers,
    ]
    if is_first():
        shown += open_tracking(run, config, labels)
    started = time.perf_counter()
    with warnings.catch_warnings():
        silence()
        request = StopRequest()
        trainer = make_trainer(config, run, shown, request, task.network)
        try:
            fit(trainer, task, module, run, checkpoint)
        finally:
            request.rest()
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


def checkpoint_to_go_on_from(run: Run, config: TrainConfig) -> Path | None:
    """Path of last.ckpt, None where the run was killed before its first; says where nothing is left to do.

    Raises:
        RunError: the checkpoint is damaged, or holds weights alone.
    """
    console = Console(stderr=True, quiet=not is_first())
    if not run.last_checkpoint.is_file():
        console.print("the run has no checkpoint yet: it begins anew, with the same seed")
        return None
    checkpoint = read_checkpoint(run.last_checkpoint)
    if "loops" not in checkpoint:
        raise RunError(f"{run.last_checkpoint} holds weights alone, as those of a comparison do: train anew")
    done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
    if done >= config.fit.epochs:
        wanted = config.fit.epochs
        console.print(f"{done} of {wanted} epochs are done: nothing is left to train; more with --fit.epochs")
    return run.last_checkpoint


def fit(trainer: Trainer, task: FCNTask, data: SegmentationData, run: Run, checkpoint: Path | None) -> None:
    """Train, and tell what ends it early in one line.

    Raises:
        StoppedError: somebody stopped it.
        FcnError: a fault that a person can mend.
    """
    try:
        trainer.fit(task, datamodule=data, ckpt_path=checkpoint)
    except (StoppedError, SystemExit) as stop:  # the latter is Lightning's way to end on Ctrl-C
        end_children(trainer)
        if not is_first():
            raise SystemExit(0) from None  # the first process says it
        how = stop if isinstance(stop, StoppedError) else "stopped at once"
        raise StoppedError(f"{how}; {way_on(run)}") from None
    except Exception as error:
        fault = told(error, trainer, run)
        end_children(trainer)
        if fault is None:
            raise
        raise fault from error


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


def announce(config: TrainConfig, labels: LabelMap, train_size: int, val_size: int) -> None:
    """Say in two lines what is about to be trained on what, and how."""
    model, processes = config.model, math.prod(layout(config.fit))
    many = f"{processes} processes of " if processes > 1 else ""
    Console(stderr=True).print(
        f"FCN-{model.finest_stride}s, {model.upsampler} upsampling, encoder {model.encoder} ({model.encoder_weights})\n"
        f"{labels.num_classes} classes, {train_size} training and {val_size} validation pictures, "
        f"{config.fit.epochs} epochs, {precision(config.fit)}, {many}{torch.get_num_threads()} threads",
        highlight=False,
        markup=False,
        soft_wrap=True,
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
    with RichProgress(transient=True, console=console, disable=not (console.is_terminal and is_first())) as progress:
        bar = progress.add_task(f"reading {split}", total=count)
        return DecodedSplit.decode(
            source, split, loader.memory_mib << 20, loader.cache_dir, lambda: progress.advance(bar)
        )
