"""Trainings in several real processes beside the same training in one."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from data.errors import ConfigError
from data.samplers import BLANK, EpochSampler, PlainSampler
from data.sources.catalogue import SourceConfig, open_source
from model.compare.config import CompareConfig
from model.config import (
    AugmentConfig,
    FitConfig,
    LoaderConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    TrainConfig,
)
from model.metrics import Scores
from model.processes import is_first, layout
from model.run import Run, _plain, read_checkpoint
from model.train import decode, train

ROOT = Path(__file__).resolve().parent.parent
# Zoomed out, crops have borders that are ignored: processes hold different numbers of labelled pixels. Dropout and the
# default encoder's stochastic depth draw by process and Lovasz sorts the pixels of one process, so none of them can be
# the same in one process and in two.
ONE = TrainConfig(
    data=SourceConfig(name="shapes", train_size=4, val_size=3, image_size=(40, 64)),
    model=ModelConfig(encoder="mobilenet_v2", encoder_weights="none", head_channels=8, dropout=0.0),
    augment=AugmentConfig(crop_size=(32, 64), scale=(0.4, 1.2)),
    loader=LoaderConfig(batch_size=4, workers=0),
    loss=LossConfig(class_weights="median-frequency", lovasz=0),
    optimiser=OptimiserConfig(schedule="constant"),
    fit=FitConfig(epochs=1, precision="32-true", progress=False, ema=0.9, threads=1, accelerator="cpu"),
    seed=3,
)
TWO = replace(ONE, loader=replace(ONE.loader, batch_size=2))


def start(command: list[str], log: Path) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK")}
    with log.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(process: subprocess.Popen, log: Path, seconds: float = 600) -> str:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError(f"hangs: {log.read_text()}") from None
    return log.read_text()


def write_recipe(config: TrainConfig, path: Path) -> str:
    path.write_text(yaml.safe_dump(_plain(config)))
    return f"--config={path}"


def rows(root: Path) -> list[dict[str, str]]:
    with (root / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_processes_train_as_one(tmp_path):
    one = train(ONE, tmp_path / "one")
    root, log = tmp_path / "two", tmp_path / "log"
    recipe = write_recipe(replace(TWO, fit=replace(TWO.fit, devices=2)), tmp_path / "two.yaml")
    said = finish(start(["-m", "model.cli", "train", recipe, f"--run={root}"], log), log)
    assert said.count("2 processes of 1 threads") == said.count("trained 1 epochs") == 1, said
    # After one step the first moments of the optimiser are a tenth of the gradient, summed over the whole network.
    mine, theirs = (read_checkpoint(run / "checkpoints" / "last.ckpt") for run in (root, one.root))
    pairs = [
        (mine["optimizer_states"][0]["state"][index]["exp_avg"], state["exp_avg"])
        for index, state in theirs["optimizer_states"][0]["state"].items()
    ]
    assert len(pairs) > 150
    # In 32-bit: through 50 normalisations of 8 pixels rounding grows to a hundredth.
    difference = torch.stack([(found - expected).square().sum() for found, expected in pairs]).sum().sqrt()
    assert difference < 0.05 * torch.stack([expected.square().sum() for _, expected in pairs]).sum().sqrt()
    together, alone = rows(root), rows(one.root)
    assert float(together[0]["train/loss"]) == pytest.approx(float(alone[0]["train/loss"]), abs=1e-4)
    # Validation of the same weights, by both processes together and by one alone.
    network = Run(root).network("last")
    split = decode(open_source(TWO.data), "val", TWO.loader)
    confusion = np.zeros((7, 7), np.int64)
    for image, target in zip(split.images, split.label_maps, strict=True):
        with torch.inference_mode():
            answer = network(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])[0].argmax(0).numpy()
        np.add.at(confusion, (target, answer), 1)
    assert float(together[0]["val/miou"]) == pytest.approx(Scores.from_confusion(confusion).miou, abs=1e-6)
    assert sorted(path.name for path in root.iterdir()) == sorted(path.name for path in one.root.iterdir())
    assert len(list((root / "checkpoints").iterdir())) == 2


def test_ctrl_c_ends_every_process_and_the_run_can_be_gone_on_with(tmp_path):
    root, log = tmp_path / "run", tmp_path / "log"
    # One validation picture for two processes; more epochs than anyone waits for.
    config = replace(TWO, data=replace(TWO.data, val_size=1), fit=replace(TWO.fit, epochs=100_000, devices=2))
    process = start(["-m", "model.cli", "train", write_recipe(config, tmp_path / "recipe.yaml"), f"--run={root}"], log)
    end = time.monotonic() + 500
    while not (root / "checkpoints" / "last.ckpt").is_file():
        assert time.monotonic() < end, log.read_text()
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    said = finish(process, log, 120)
    assert process.returncode == 130, said
    assert said.count("error:") == said.count("fcn train --resume") == 1, said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_a_fault_in_one_process_ends_the_others_at_once(tmp_path):
    log = tmp_path / "log"
    recipe = write_recipe(replace(TWO, fit=replace(TWO.fit, epochs=100_000, devices=2)), tmp_path / "recipe.yaml")
    program = f"""
import sys
from model import task
from data.errors import RunError
from model.cli import main
from model.processes import is_first
train = task.FCNTask.training_step
def fail(self, batch, batch_idx):
    if self.global_step == 3 and not is_first():
        raise RunError("the second process cannot go on")
    return train(self, batch, batch_idx)
task.FCNTask.training_step = fail
sys.exit(main(["train", {recipe!r}, {f"--run={tmp_path / 'run'}"!r}]))
"""
    (tmp_path / "program.py").write_text(program)
    process = start([str(tmp_path / "program.py")], log)
    said = finish(process, log, 300)
    assert process.returncode == 1, said
    assert "process 2 of 2: the second process cannot go on" in said
    assert "process 1 of 2: lost the others in epoch 4, step 4" in said
    assert "Traceback" not in said


@pytest.fixture
def connected(monkeypatch):
    """Lets samplers see themselves as one of several processes."""

    def be(rank: int, world: int) -> None:
        monkeypatch.setattr("data.samplers.rank_and_world", lambda: (rank, world))

    return be


@pytest.mark.parametrize(("length", "world"), [(101, 2), (101, 4), (7, 3), (1, 2), (2, 5)])
def test_processes_share_out_the_validation_pictures_and_none_is_without(connected, length, world):
    seen = []
    for rank in range(world):
        connected(rank, world)
        sampler = PlainSampler(length)
        keys = list(sampler)
        assert len(keys) == len(sampler) >= 1
        seen += [index for index, seed in keys if seed != BLANK]
    assert sorted(seen) == list(range(length))


def test_a_step_of_several_processes_holds_the_crops_of_one(connected):
    connected(0, 1)
    alone = EpochSampler(length=50, batch_size=6, seed=4).keys(2)
    parts = []
    for rank in range(3):
        connected(rank, 3)
        parts.append(EpochSampler(length=50, batch_size=2, seed=4).keys(2))
    for step in range(len(alone) // 6):
        together = {key for part in parts for key in part[2 * step : 2 * step + 2]}
        assert together == set(alone[6 * step : 6 * step + 6])
    assert len({index for index, _ in alone}) == 48


def test_an_epoch_goes_on_after_the_batches_that_are_done():
    whole = EpochSampler(length=12, batch_size=4, seed=1)
    rest = EpochSampler(length=12, batch_size=4, seed=1, done=(3, 2))
    for epoch, skipped in ((3, 8), (4, 0)):
        whole.set_epoch(epoch)
        rest.set_epoch(epoch)
        assert list(rest) == list(whole)[skipped:]
        assert len(rest) == 12


def test_what_torchrun_started_is_taken_or_refused(monkeypatch):
    assert layout(replace(ONE.fit, devices=3, num_nodes=2)) == (3, 2)
    assert layout(ONE.fit) == (1, 1)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "6", "RANK": "4"}.items():
        monkeypatch.setenv(name, value)
    assert layout(ONE.fit) == (2, 3)
    assert not is_first()
    with pytest.raises(ConfigError, match=r"2 processes on each of 3 machines; fit.devices is 4"):
        layout(replace(ONE.fit, devices=4))


def test_a_comparison_trains_in_one_process():
    with pytest.raises(ConfigError, match="one process"):
        CompareConfig(replace(ONE, fit=replace(ONE.fit, devices=2)), ("bilinear", "learned"))
