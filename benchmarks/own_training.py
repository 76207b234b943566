"""The product's own training, measured: its rate, its wait for the loader, its step compiled, its upsamplers alone."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from lightning.pytorch import Callback
from lightning.pytorch.profilers import Profiler

from data.augment import Augmentation
from data.dataset import SegmentationData, sound
from data.sources.catalogue import open_source
from model.compare.pairing import start_network
from model.compare.scoremaps import store_score_maps
from model.compare.stack import UpsamplerStack
from model.compare.upsampling import train_upsamplers
from model.losses import SegmentationLoss
from model.phases import use_phases
from model.task import FCNTask
from model.train import decode, train
from model.trainer import precision, prepare_torch, worker_count

if TYPE_CHECKING:
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer

    from model.config import TrainConfig


@dataclass(frozen=True)
class Epoch:
    """One epoch of a training, without the validation after it.

    Attributes:
        steps: That were taken.
        seconds: From the epoch's start to the end of its last step.
        waiting: Of them, in which the next batch was waited for.
    """

    steps: int
    seconds: float
    waiting: float


class Clock(Callback):
    """Takes the time of every epoch."""

    def __init__(self) -> None:
        self.epochs: list[Epoch] = []
        self._waits = _Waits()
        self._steps = 0
        self._started = 0.0
        self._ended = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Lightning tells its profiler when it asks the loader for a batch."""
        trainer.profiler = self._waits

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._steps, self._waits.seconds = 0, 0.0
        self._started = time.perf_counter()

    def on_train_batch_end(self, *_: object) -> None:
        """Count a step."""
        self._steps += 1
        self._ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep what was found."""
        self.epochs.append(Epoch(self._steps, self._ended - self._started, self._waits.seconds))


class _Waits(Profiler):
    """Adds up how long the next batch was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._since = 0.0

    def start(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self._since = time.perf_counter()

    def stop(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self.seconds += time.perf_counter() - self._since


def own_epochs(config: TrainConfig, folder: Path) -> list[Epoch]:
    """Train as ``fcn train`` does; the first epoch, in which the loader's processes start, is left out.

    Args:
        config: Two epochs at least.
        folder: Of the run; must not be there.
    """
    clock = Clock()
    train(config, folder, watchers=[clock])
    return clock.epochs[1:]


@dataclass(frozen=True)
class Compiled:
    """A step of the product beside the same with its encoder compiled, without loader and optimiser.

    Attributes:
        eager: Milliseconds, the median.
        compiled: Milliseconds, the median; None where it could not be compiled.
        seconds: Until the first compiled step was done.
        reason: Why it could not be compiled.
    """

    eager: float
    compiled: float | None
    seconds: float
    reason: str = ""


def compiled_step(config: TrainConfig, rounds: int) -> Compiled:
    """Compile the encoder, which is nearly all of a step, and time it and the plain one in turn."""
    prepare_torch(config.fit)
    source = open_source(config.data)
    split = decode(source, "train", config.loader)
    labels = source.label_map
    augment = config.augment
    crops = Augmentation(augment.crop_size, augment.scale, augment.flip, augment.vertical_flip, augment.colour)
    data = SegmentationData(split, split, crops, config.loader.batch_size, 0, config.seed)
    image, target = sound(next(iter(data.train_dataloader())))
    tasks = [FCNTask(config, labels, split.label_counts[: labels.num_classes]).train() for _ in range(2)]
    plain, quick = tasks
    quick.network.encoder.forward = torch.compile(quick.network.encoder.forward, dynamic=False)
    mixed = precision(config.fit) == "bf16-mixed"

    def step(task: FCNTask) -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = task.loss(task(image), target)
        task.zero_grad()
        loss.backward()
        return time.perf_counter() - started

    times: dict[FCNTask, list[float]] = {plain: [], quick: []}
    step(plain)
    reason, seconds = "", 0.0
    try:
        seconds = step(quick)
        step(quick)
    except Exception as error:  # noqa: BLE001  the compiler's faults are of many kinds; the page tells which
        told = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = f"{type(error).__name__}: {told[0] if told else 'no word of why'}"[:160]
        times.pop(quick)
    for _ in range(rounds):
        for task, taken in times.items():
            taken.append(step(task))
    compiled = None if reason else 1000 * statistics.median(times[quick])
    return Compiled(1000 * statistics.median(times[plain]), compiled, seconds, reason)


@dataclass(frozen=True)
class UpsamplerSeconds:
    """The comparison's upsampler-only mode.

    Attributes:
        caching: Of storing the scores of one pass over the training crops and of the val pictures.
        epoch: Of training the upsamplers on them, once over.
        crops: Of a pass.
    """

    caching: float
    epoch: float
    crops: int


def upsampler_seconds(config: TrainConfig, folder: Path, epochs: int) -> UpsamplerSeconds:
    """Store score maps and train learned upsamplers on them, as ``fcn compare --mode upsampler-only`` does."""
    prepare_torch(config.fit)
    source = open_source(config.data)
    classes = source.label_map.num_classes
    split, scored = (decode(source, name, config.loader) for name in ("train", "val"))
    augment = config.augment
    network = start_network(config, classes).eval()
    started = time.perf_counter()
    maps = store_score_maps(
        folder,
        network,
        split,
        scored,
        Augmentation(augment.crop_size, augment.scale, augment.flip, augment.vertical_flip, augment.colour),
        num_classes=classes,
        passes=1,
        batch_size=config.loader.batch_size,
        workers=worker_count(config.loader),
        seed=config.seed,
    )
    caching = time.perf_counter() - started
    stack = UpsamplerStack(config.model.upsampler, classes, config.model.finest_stride)
    use_phases(stack)
    loss = SegmentationLoss(config.loss, split.label_counts[:classes])
    _, seconds = train_upsamplers(
        stack, maps, loss, config.optimiser, epochs=epochs, batch_size=config.loader.batch_size, seed=config.seed
    )
    return UpsamplerSeconds(caching, seconds / epochs, len(maps.targets))
