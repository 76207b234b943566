"""Trials: one arm trained with one seed and measured, whole or upsamplers alone."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import torch
from rich.progress import Progress

from data.augment import Augmentation
from data.errors import RunError
from model.compare.config import BASELINE, Arm
from model.compare.cost import count_multiplications, count_parameters
from model.compare.impulses import all_impulses
from model.compare.measures import Measurement, measure_split
from model.compare.pairing import digest, shared_digests, start_network
from model.compare.results import ArmResult
from model.compare.scoremaps import open_score_maps, store_score_maps
from model.compare.stack import UpsamplerStack
from model.compare.training import train_arm, training_curve
from model.compare.upsampling import train_upsamplers
from model.dysample import DynamicSampler
from model.losses import SegmentationLoss
from model.phases import use_phases
from model.provenance import git_commit
from model.run import Run
from model.trainer import worker_count

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from data.decoded import DecodedSplit
    from data.labels import LabelMap
    from model.compare.config import CompareConfig
    from model.compare.folder import ComparisonFolder
    from model.config import TrainConfig
    from model.fcn import FCN

Answer = tuple["NDArray[np.uint8]", "NDArray[np.float32]"]


class Trials:
    """Trains and measures the arms of a comparison, one at a time, going on with what was broken off.

    Args:
        config: What is compared and how.
        folder: Where.
        labels: Classes of the data.
        train: Training pictures.
        scored: Pictures that score.
        shown: Indices of those that the report shows.
        console: For progress.
    """

    def __init__(
        self,
        config: CompareConfig,
        folder: ComparisonFolder,
        labels: LabelMap,
        train: DecodedSplit,
        scored: DecodedSplit,
        shown: list[int],
        console: Console,
    ) -> None:
        self._config = config
        self._folder = folder
        self._labels = labels
        self._classes = labels.num_classes
        self._train = train
        self._scored = scored
        self._shown = shown
        self._console = console
        self._identity = config.identity()

    def run(self, arm: Arm, seed: int) -> ArmResult:
        """Train and measure one arm with one seed.

        Raises:
            RunError: training failed or was stopped, or the disk is full.
            OSError: the disk is full.
        """
        return self._end_to_end(arm, seed) if self._config.mode == "end-to-end" else self._upsampler_only(arm, seed)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _end_to_end(self, arm: Arm, seed: int) -> ArmResult:
        config = self._config.of(arm, seed)
        start = start_network(config, self._classes)
        run = train_arm(config, self._folder.run_root(arm.name, seed), self._say)
        curve = training_curve(run)
        network = run.network(self._config.checkpoint)
        return self._result(
            arm,
            seed,
            start=start,
            network=network,
            measurement=self._measure(lambda index: _answer(network, self._scored.images[index])),
            curve=curve,
            seconds=curve[-1].get("seconds", 0.0) if curve else 0.0,
            shared=shared_digests(start),
        )

    def _upsampler_only(self, arm: Arm, seed: int) -> ArmResult:
        config = self._config.of(arm, seed)
        base_run, base = self._base(arm.stride, seed)
        root = self._folder.root / "scores" / f"{arm.stride}s-seed{seed}"
        maps = open_score_maps(root)
        if maps is None:
            self._say(f"storing the score maps of {base_run.root.name}")
            augment = config.augment
            maps = store_score_maps(
                root,
                base,
                self._train,
                self._scored,
                Augmentation(augment.crop_size, augment.scale, augment.flip, augment.vertical_flip, augment.colour),
                num_classes=self._classes,
                passes=self._config.passes,
                batch_size=config.loader.batch_size,
                workers=worker_count(config.loader),
                seed=seed,
            )
        start = start_network(config, self._classes)
        stack = UpsamplerStack(arm.upsampler, self._classes, arm.stride)
        for ours, first in zip(stack.modules_in_order(), start.upsampler_modules(), strict=True):
            ours.load_state_dict(first.state_dict())
        use_phases(stack)
        curve, seconds = train_upsamplers(
            stack,
            maps,
            SegmentationLoss(config.loss, self._train.label_counts[: self._classes]),
            config.optimiser,
            epochs=self._config.upsampler_epochs,
            batch_size=config.loader.batch_size,
            seed=seed,
        )
        stored = maps

        @torch.inference_mode()
        def predict(index: int) -> Answer:
            height, width = self._scored.label_maps[index].shape
            return _label(stack(stored.picture(index))[0, :, :height, :width])

        network = start_network(config, self._classes)
        network.load_state_dict(base.state_dict(), strict=False)  # all but what the arm's upsamplers name
        stack.put_into(network)
        self._save(network, config, self._folder.run_root(arm.name, seed))
        return self._result(
            arm,
            seed,
            start=start,
            network=network,
            measurement=self._measure(predict),
            curve=[{"epoch": epoch + 1.0, "loss": loss} for epoch, loss in enumerate(curve)],
            seconds=seconds,
            shared={"encoder": digest(base.encoder), "score heads": digest(base.decoder.score_heads)},
        )

    def _base(self, stride: int, seed: int) -> tuple[Run, FCN]:
        """The network whose score maps the upsamplers of a stride and seed are trained on."""
        config = self._config.of(Arm(BASELINE, stride), seed)
        run = train_arm(config, self._folder.run_root(f"base-{stride}s", seed), self._say)
        return run, run.network(self._config.checkpoint)

    def _save(self, network: FCN, config: TrainConfig, root: Path) -> None:
        """Keep an arm as a run directory, so that it can be evaluated and exported as any other."""
        shutil.rmtree(root, ignore_errors=True)
        run = Run.create(root, config, self._labels)
        run.write_provenance({"upsampler_only": True, "epochs_done": self._config.upsampler_epochs})
        try:
            state = {f"network.{name}": value for name, value in network.state_dict().items()}
            torch.save({"state_dict": state}, run.checkpoints / "best.ckpt")
        except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
            raise RunError(f"{root} cannot be written ({error}): free some disk") from error

    def _measure(self, predict: Callable[[int], Answer]) -> Measurement:
        with Progress(transient=True, console=self._console, disable=not self._config.train.fit.progress) as bar:
            task = bar.add_task(f"scoring {self._config.split}", total=len(self._scored))
            return measure_split(predict, self._scored, self._classes, lambda: bar.advance(task))

    def _result(
        self,
        arm: Arm,
        seed: int,
        *,
        start: FCN,
        network: FCN,
        measurement: Measurement,
        curve: list[dict[str, float]],
        seconds: float,
        shared: dict[str, str],
    ) -> ArmResult:
        upsamplers = network.upsampler_modules()
        # Kernels tell all of a linear upsampler; a dynamic one has another kernel at every pixel.
        learned = any(True for module in upsamplers for _ in module.parameters()) and not any(
            isinstance(module, DynamicSampler) for module in upsamplers
        )
        height, width = self._scored.label_maps[0].shape
        ends = all_impulses(upsamplers, self._classes) if learned else []
        starts = all_impulses(start.upsampler_modules(), self._classes) if learned else []
        shown = {}
        if seed == self._config.seed_values[0]:
            for index in self._shown:
                shown[self._scored.names[index]] = _answer(network, self._scored.images[index])[0]
        return ArmResult(
            arm=arm,
            seed=seed,
            identity=self._identity,
            pictures=list(self._scored.names),
            measurement=measurement,
            curve=curve,
            parameters=count_parameters(network),
            multiplications=count_multiplications(upsamplers, self._classes, (height, width)),
            picture_size=(height, width),
            training_seconds=seconds,
            shared=shared,
            git_commit=git_commit(),
            starts=[part.kernels for part in starts],
            ends=[part.kernels for part in ends],
            across=[part.across for part in ends],
            shown=shown,
        )


@torch.inference_mode()
def _answer(network: FCN, image: NDArray[np.uint8]) -> Answer:
    """Label map and confidence of a whole picture, in 32-bit."""
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
    network.eval()
    return _label(network(tensor)[0])


def _label(logits: torch.Tensor) -> Answer:
    """Logits (C, H, W) to the best class and its probability, 1 / sum exp(logit - largest)."""
    top, label_map = logits.max(dim=0)
    confidence = 1 / (logits - top).exp().sum(dim=0)
    return label_map.to(torch.uint8).numpy(), confidence.numpy()
