"""The experiment: train and measure every arm with every seed, going on where it was broken off, then report."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from data.augment import Augmentation
from data.errors import DataError, FcnError, RunError
from data.sources.catalogue import open_source
from model.compare.config import BASELINE, Arm
from model.compare.cost import count_multiplications, count_parameters
from model.compare.folder import ComparisonFolder, Plan
from model.compare.forms import measure_forms
from model.compare.impulses import all_impulses
from model.compare.latency import measure_latency
from model.compare.measures import Measurement, measure_split
from model.compare.pairing import digest, shared_digests, start_network
from model.compare.reconstruction.experiment import reconstruct
from model.compare.report import write_report
from model.compare.results import ArmResult, json_bytes, read_result, result_file, write_result, write_whole
from model.compare.scoremaps import open_score_maps, store_score_maps
from model.compare.stack import UpsamplerStack
from model.compare.training import train_arm, training_curve
from model.compare.upsampling import train_upsamplers
from model.dysample import DynamicSampler
from model.losses import SegmentationLoss
from model.run import Run, git_commit, provenance
from model.train import decode, prepare_torch, worker_count

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from data.dataset import DecodedSplit
    from model.compare.config import CompareConfig
    from model.config import TrainConfig
    from model.fcn import FCN

Answer = tuple["NDArray[np.uint8]", "NDArray[np.float32]"]


def compare(config: CompareConfig, root: Path, *, report_only: bool = False, console: Console | None = None) -> Path:
    """Compare upsamplers on a data set and write the report.

    Run again with the same arguments it goes on where it was broken off; with more arms, strides or seeds it adds
    them.

    Args:
        config: What to compare and how.
        root: Folder of the comparison.
        report_only: Train nothing: make the report from the results that are there.
        console: Where progress is told; standard error by default.

    Returns:
        Path of report.html.

    Raises:
        FcnError: the configuration, the data or the folder is faulty, or training was stopped.
    """
    folder = ComparisonFolder(root)
    if not report_only:
        folder.prepare(config)
        _Experiment(config, folder, console or Console(stderr=True)).run()
    return write_report(folder)


class _Experiment:
    """One pass over what is still to do.

    Args:
        config: What to compare and how.
        folder: Where.
        console: For progress.
    """

    def __init__(self, config: CompareConfig, folder: ComparisonFolder, console: Console) -> None:
        self._config = config
        self._folder = folder
        self._console = console
        self._progress = config.train.fit.progress
        self._identity = config.identity()
        prepare_torch(config.train.fit)
        self._source = open_source(config.train.data)
        self._labels = self._source.label_map
        self._classes = self._labels.num_classes
        for stride in config.strides:
            # Faults of the encoder, its weights and its strides come before the first training.
            start_network(config.of(Arm(BASELINE, stride), config.train.seed), self._classes)
        loader = config.train.loader
        self._train = decode(self._source, "train", loader)
        if not self._source.names(config.split):
            raise DataError(f"split {config.split!r} has no picture to score")
        self._scored = decode(self._source, config.split, loader)
        count = min(config.pictures, len(self._scored))
        self._shown = [int(i) for i in np.unique(np.linspace(0, len(self._scored) - 1, count).round())] if count else []

    def run(self) -> None:
        """Do what is left to do."""
        config, folder = self._config, self._folder
        self._write_plan()
        if config.reconstruction:  # a minute; what cannot work there is found before the hours of training
            reconstruct(config, folder.root, self._train, self._scored, self._say)
        jobs = []
        for seed in config.seed_values:
            for arm in config.arms:
                if not self._is_done(arm, seed):
                    jobs.append((arm, seed))
        total = len(config.seed_values) * len(config.arms)
        if len(jobs) < total:
            self._say(f"{total - len(jobs)} of {total} results are there already")
        started = time.perf_counter()
        for number, (arm, seed) in enumerate(jobs):
            left = (time.perf_counter() - started) / number * (len(jobs) - number) if number else None
            about = f", about {left / 60:.0f} min left" if left is not None else ""
            self._say(f"[bold]{number + 1} of {len(jobs)}[/bold]: {arm.name}, seed {seed}{about}")
            try:
                result = self._end_to_end(arm, seed) if config.mode == "end-to-end" else self._upsampler_only(arm, seed)
            except RunError as error:
                raise RunError(
                    f"{arm.name}, seed {seed}: {error}. What is done is kept: the same fcn compare goes on from here"
                ) from error
            except OSError as error:
                raise RunError(
                    f"{arm.name}, seed {seed}: {folder.root} cannot be written ({error.strerror}): free some disk "
                    "and start again to go on"
                ) from error
            write_result(result_file(folder.root, arm, seed), result)
        if config.mode == "upsampler-only":
            shutil.rmtree(folder.root / "scores", ignore_errors=True)  # made again from the base runs where needed
        if config.latency:
            self._measure_latency()
            self._measure_forms()

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False)

    def _write_plan(self) -> None:
        config = self._config

        def without(split: DecodedSplit) -> list[str]:
            return [name for name, count in zip(self._labels.names, split.label_counts, strict=False) if not count]

        absent, untrained = without(self._scored), without(self._train)
        for names, where in (
            (absent, f"{config.split} pictures: left out of every mean"),
            (untrained, "training pictures"),
        ):
            if names:
                self._say(f"[yellow]no pixel of {', '.join(names)} in the {where}[/yellow]")
        self._folder.write_plan(
            Plan(
                config=config.to_dict(),
                identity=config.identity(),
                labels=self._labels,
                absent=absent,
                untrained=untrained,
                train_pictures=len(self._train),
                scored_pictures=len(self._scored),
                provenance=self._folder.plan().provenance
                if self._folder.plan_file.is_file()
                else provenance(config.train),
            )
        )
        scored = self._scored
        self._folder.write_gallery(
            [scored.names[i] for i in self._shown],
            [np.asarray(scored.images[i]) for i in self._shown],
            [np.asarray(scored.label_maps[i]) for i in self._shown],
        )

    def _is_done(self, arm: Arm, seed: int) -> bool:
        path = result_file(self._folder.root, arm, seed)
        if not path.exists() and not path.with_suffix(".npz").exists():
            return False
        try:
            result = read_result(path)
        except RunError as error:
            self._say(f"[yellow]the result of {arm.name}, seed {seed} is not whole ({error}): made again[/yellow]")
            return False
        if result.pictures != self._scored.names or result.identity != self._identity:
            self._say(f"[yellow]{arm.name}, seed {seed} has other pictures or another recipe: made again[/yellow]")
            shutil.rmtree(self._folder.run_root(arm.name, seed), ignore_errors=True)
            return False
        return True

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
        with Progress(transient=True, console=self._console, disable=not self._progress) as bar:
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

    def _measure_latency(self) -> None:
        config, folder = self._config, self._folder
        names = [arm.name for arm in config.arms]
        measured = folder.latency()
        if set(names) <= set(measured.get("milliseconds", {})) and set(names) <= set(measured.get("peak_bytes", {})):
            return
        self._say(f"timing {len(names)} arms in OpenVINO")
        seed = config.seed_values[0]
        which = config.checkpoint if config.mode == "end-to-end" else "best"
        height, width = self._scored.label_maps[0].shape
        try:
            runs = {name: Run.open(folder.run_root(name, seed)) for name in names}
            found: dict[str, Any] = measure_latency(runs, which, (height, width))
        except FcnError as error:
            self._say(f"[yellow]no times in the serving engine: {error}[/yellow]")
            return
        write_whole(folder.latency_file, json_bytes(found))

    def _measure_forms(self) -> None:
        if self._folder.forms():
            return
        self._say("timing the forms of a transposed convolution")
        try:
            found = measure_forms()
        except FcnError as error:
            self._say(f"[yellow]no times of the forms: {error}[/yellow]")
            return
        write_whole(self._folder.forms_file, json_bytes(found))


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
