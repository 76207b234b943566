"""Trainings that are killed, stopped, or meet a fault: what is left, what is said, and how they go on."""

from __future__ import annotations

import csv
import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback

from data.errors import CorruptImageError, DataError, RunError, StoppedError
from model import train as train_module
from model.checkpoints import BestCheckpoint, WholeCheckpoints
from model.run import Run
from model.train import train
from tests.killing import CONFIG, PARTS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> tuple[Path, str]:
    """Folder with a run that was never broken off and two that were killed, and what the program said."""
    folder = tmp_path_factory.mktemp("killed")
    command = [sys.executable, str(ROOT / "tests" / "killing.py"), str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def assert_equal(one: object, other: object, place: str = "checkpoint") -> None:
    """Bit for bit, whatever is nested how."""
    if isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=place)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key], f"{place}.{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for index, (first, second) in enumerate(zip(one, other, strict=True)):
            assert_equal(first, second, f"{place}.{index}")
    else:
        assert one == other, place


def assert_same_end(run: Path, unbroken: Path) -> None:
    """Weights, averages, optimiser, rates, best score and table of two runs are the same."""
    for name in ("last.ckpt", "best.ckpt"):
        one, other = (torch.load(root / "checkpoints" / name, weights_only=True) for root in (run, unbroken))
        for part in ("state_dict", "current_model_state", "averaging_state", "optimizer_states", "lr_schedulers"):
            assert_equal(one[part], other[part], f"{name}.{part}")
    tables = []
    for root in (run, unbroken):
        with (root / "metrics.csv").open(newline="") as file:
            tables.append([{**row, "seconds": ""} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]
    assert len(tables[0]) == CONFIG.fit.epochs
    assert not list(run.rglob(".*.partial"))


def test_a_training_killed_at_any_moment_ends_as_the_unbroken_one(killed):
    folder, said = killed
    ends = dict(line.rsplit(": ", 1) for line in said.splitlines())
    assert ends == {
        name: "0" if name == "unbroken" or name.startswith("not any more") else "SIGKILL" for name, *_ in PARTS
    }
    assert_same_end(folder / "killed", folder / "unbroken")
    assert_same_end(folder / "in processes", folder / "unbroken")


class At(Callback):
    """Does something when a step begins, or a validation."""

    def __init__(self, step: int, action, *, validation: bool = False) -> None:
        self._step, self._action, self._validation = step, action, validation

    def on_train_batch_start(self, trainer, *rest):
        if trainer.global_step == self._step and not self._validation:
            self._action()

    def on_validation_start(self, trainer, *rest):
        if trainer.global_step == self._step and self._validation:
            self._action()


@pytest.fixture
def with_callback(monkeypatch):
    """Lets the next training have a callback more."""
    make = train_module.make_trainer

    def use(callback: Callback) -> None:
        def more(config, run, shown, *rest):
            return make(config, run, [*shown, callback], *rest)

        monkeypatch.setattr(train_module, "make_trainer", more)

    return use


def test_who_stops_a_training_loses_nothing_and_is_told_how_to_go_on(killed, with_callback, tmp_path, capfd):
    root = tmp_path / "stopped twice"
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with_callback(At(1, lambda: os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(StoppedError, match=r"after epoch 1, step 2; go on with: fcn train --resume '.*stopped twice'"):
        train(CONFIG, root)
    assert "Ctrl-C again stops at once" in capfd.readouterr().err
    with_callback(At(6, lambda: os.kill(os.getpid(), signal.SIGTERM), validation=True))
    with pytest.raises(StoppedError, match="after epoch 2, step 6"):
        train(CONFIG, root, resume=True)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    with_callback(Callback())
    train(CONFIG, root, resume=True)
    assert_same_end(root, killed[0] / "unbroken")


def test_a_full_disk_is_told_and_the_last_good_checkpoint_stays(killed, with_callback, tmp_path):
    root = tmp_path / "full"
    kept = []

    def fill() -> None:
        kept.append((root / "checkpoints" / "last.ckpt").read_bytes())
        (root / "checkpoints" / ".last.ckpt.partial").symlink_to("/dev/full")

    with_callback(At(4, fill))
    with pytest.raises(RunError, match=r"last.ckpt of epoch 2, step 6 cannot be written \(No space left.*MB.*kept; go"):
        train(CONFIG, root)
    assert (root / "checkpoints" / "last.ckpt").read_bytes() == kept[0]
    with_callback(Callback())
    train(CONFIG, root, resume=True)
    assert_same_end(root, killed[0] / "unbroken")


class Vanishing(list):
    """Pictures of which one cannot be read any more once a file is there."""

    def __init__(self, pictures: list, which: int, sign: Path) -> None:
        super().__init__(pictures)
        self._which, self._sign = which, sign

    def __getitem__(self, index):
        if index == self._which and self._sign.exists():
            raise CorruptImageError("the picture ends after 3 of 40 rows")
        return super().__getitem__(index)


def test_a_picture_that_breaks_in_a_later_epoch_is_named_with_the_step(with_callback, tmp_path, monkeypatch):
    decode, sign = train_module.decode, tmp_path / "sign"

    def decoded(source, split, loader):
        found = decode(source, split, loader)
        if split == "train":
            found.images = Vanishing(found.images, 5, sign)
        return found

    monkeypatch.setattr(train_module, "decode", decoded)
    with_callback(At(5, sign.touch))
    config = replace(CONFIG, loader=replace(CONFIG.loader, workers=1))
    with pytest.raises(
        DataError, match=r"^in epoch 3, step \d: \S+ cannot be used: the picture ends.*--resume"
    ) as told:
        train(config, tmp_path / "run")
    assert "\n" not in str(told.value)
    assert Run(tmp_path / "run").last_checkpoint.is_file()


def test_a_loader_that_is_killed_is_told_in_one_line(with_callback, tmp_path):
    def kill() -> None:
        multiprocessing.active_children()[0].kill()

    with_callback(At(4, kill))
    config = replace(CONFIG, fit=replace(CONFIG.fit, epochs=50), loader=replace(CONFIG.loader, workers=1))
    with pytest.raises(RunError, match=r"a process that loads pictures .* in epoch \d+, step \d+.*memory.*--resume"):
        train(config, tmp_path / "run")


def test_weights_that_are_not_finite_never_replace_a_good_checkpoint(tmp_path):
    good = {"epoch": 1, "global_step": 7, "state_dict": {"network.a": torch.ones(2)}}
    path = tmp_path / "last.ckpt"
    WholeCheckpoints().save_checkpoint(good, path)
    before = path.read_bytes()
    bad = {**good, "state_dict": {"network.a": torch.tensor([1, float("nan")])}}
    with pytest.raises(RunError, match=r"network.a is not finite after epoch 2, step 7: lower.*last.ckpt is kept"):
        WholeCheckpoints().save_checkpoint(bad, path)
    assert path.read_bytes() == before
    assert [child.name for child in tmp_path.iterdir()] == ["last.ckpt"]


def test_the_best_score_moves_with_the_folder(tmp_path):
    here, there = BestCheckpoint(tmp_path / "here"), BestCheckpoint(tmp_path / "there")
    best = str(tmp_path / "here" / "best.ckpt")
    here.best_model_path = here.kth_best_model_path = best
    here.best_k_models, here.best_model_score = {best: torch.tensor(0.7)}, torch.tensor(0.7)
    there.load_state_dict(here.state_dict())
    moved = str(tmp_path / "there" / "best.ckpt")
    assert there.best_model_path == there.kth_best_model_path == moved
    assert there.best_k_models == {moved: torch.tensor(0.7)}
    assert there.best_model_score == torch.tensor(0.7)
