"""The experiment: train and measure every arm with every seed, going on where it was broken off, then report."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from data.errors import DataError, RunError, StoppedError
from data.sources.catalogue import open_source
from model.compare.config import BASELINE, Arm
from model.compare.folder import ComparisonFolder, Plan
from model.compare.pairing import start_network
from model.compare.reconstruction.experiment import reconstruct
from model.compare.report import write_report
from model.compare.results import read_result, result_file, write_result
from model.compare.timings import time_arms, time_forms
from model.compare.trials import Trials
from model.provenance import provenance
from model.train import decode
from model.trainer import prepare_torch

if TYPE_CHECKING:
    from pathlib import Path

    from data.decoded import DecodedSplit
    from model.compare.config import CompareConfig


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
        every = [(arm, seed) for seed in config.seed_values for arm in config.arms]
        jobs = [(arm, seed) for arm, seed in every if not self._is_done(arm, seed)]
        if len(jobs) < len(every):
            self._say(f"{len(every) - len(jobs)} of {len(every)} results are there already")
        trials = Trials(config, folder, self._labels, self._train, self._scored, self._shown, self._console)
        started = time.perf_counter()
        for number, (arm, seed) in enumerate(jobs):
            self._tell_progress(
                arm, seed, len(every) - len(jobs) + number, len(every), time.perf_counter() - started, number
            )
            try:
                result = trials.run(arm, seed)
            except StoppedError as error:
                raise StoppedError(
                    f"stopped in {arm.name}, seed {seed}; what is done is kept: the same fcn compare goes on from here"
                ) from error
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
            height, width = self._scored.label_maps[0].shape
            time_arms(config, folder, (height, width), self._say)
            time_forms(folder, self._say)

    def _tell_progress(self, arm: Arm, seed: int, done: int, total: int, seconds: float, taken: int) -> None:
        """One line with a bar, before each training; Lightning's own bar runs below it.

        Args:
            arm: What comes now.
            seed: What comes now.
            done: Results that are there.
            total: Results that there will be.
            seconds: Since this process began its first training.
            taken: Trainings that it has ended in them.
        """
        left = f"  about {_duration(seconds / taken * (total - done))} left" if taken else ""
        line = Table.grid(padding=(0, 1))
        line.add_row(
            ProgressBar(total=total, completed=done, width=24),
            Text.assemble((f"{done + 1} of {total}", "bold"), f"  {arm.name}, seed {seed}{left}"),
        )
        self._console.print(line)

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _warn(self, text: str) -> None:
        self._console.print(text, style="yellow", markup=False, highlight=False)

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
                self._warn(f"no pixel of {', '.join(names)} in the {where}")
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
            self._warn(f"the result of {arm.name}, seed {seed} is not whole ({error}): made again")
            return False
        if result.pictures != self._scored.names or result.identity != self._identity:
            self._warn(f"{arm.name}, seed {seed} has other pictures or another recipe: made again")
            shutil.rmtree(self._folder.run_root(arm.name, seed), ignore_errors=True)
            return False
        return True


def _duration(seconds: float) -> str:
    """``45 s``, ``12 min`` or ``3 h 05 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
