"""Training runs, small and real: what they write, how they go on, what they refuse."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from PIL import Image

from data.errors import ConfigError, DataError, RunError, StoppedError
from data.sources.catalogue import SourceConfig, open_source
from model import train as train_module
from model.config import (
    AugmentConfig,
    FitConfig,
    LoaderConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    TrainConfig,
)
from model.run import Run
from model.runtime.processors import usable_processors
from model.task import parameter_groups, rate_factor
from model.train import decode, fitting_crop, train
from model.trainer import prepare_torch

TINY = TrainConfig(
    data=SourceConfig(name="shapes", train_size=8, val_size=3, image_size=(40, 64)),
    model=ModelConfig(encoder="mobilenet_v2", encoder_weights="none", head_channels=8),
    augment=AugmentConfig(crop_size=(32, 64)),
    loader=LoaderConfig(batch_size=4, workers=0),
    fit=FitConfig(epochs=2, precision="32-true", progress=False, ema=0.9),
    seed=3,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Run:
    return train(TINY, tmp_path_factory.mktemp("runs") / "tiny")


def weights(run: Run, which: str) -> dict[str, torch.Tensor]:
    return torch.load(run.checkpoint(which), map_location="cpu", weights_only=True)["state_dict"]


def test_a_run_keeps_everything_that_made_it(finished):
    assert finished.config() == TINY
    assert finished.labels().names[0] == "background"
    provenance = json.loads(finished.provenance_file.read_text())
    assert provenance["seed"] == 3
    assert provenance["packages"]["torch"].startswith("2.")
    assert provenance["epochs_done"] == 2
    assert provenance["training_seconds"] > 0
    assert finished.checkpoint("best").is_file()
    assert finished.checkpoint("last").is_file()
    assert list((finished.root / "tensorboard").glob("events.*"))


def test_metrics_hold_one_row_an_epoch(finished):
    with finished.metrics_file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [row["step"] for row in rows] == ["2", "4"]
    assert all(0 <= float(row["val/miou"]) <= 1 and float(row["train/loss"]) > 0 for row in rows)


def test_pictures_of_predictions_are_drawn_each_epoch(finished):
    paths = sorted((finished.root / "predictions").iterdir())
    assert [path.name for path in paths] == ["epoch_001.png", "epoch_002.png"]
    with Image.open(paths[0]) as picture:
        assert picture.width == 3 * 64
        assert picture.height > 3 * 40


def test_a_checkpoint_gives_its_network_back(finished):
    network = finished.network("last")
    assert not network.training
    with torch.inference_mode():
        assert network(torch.zeros(1, 3, 33, 20, dtype=torch.uint8)).shape == (1, 7, 33, 20)


def test_the_same_seed_gives_the_same_weights(finished, tmp_path):
    again = train(TINY, tmp_path / "again")
    for name, tensor in weights(finished, "last").items():
        torch.testing.assert_close(weights(again, "last")[name], tensor, rtol=0, atol=0)


def test_a_resumed_run_ends_where_the_unbroken_one_ends(finished, tmp_path):
    root = tmp_path / "broken"
    half = replace(TINY, fit=replace(TINY.fit, epochs=1), optimiser=OptimiserConfig(schedule="constant"))
    whole = replace(half, fit=TINY.fit)
    unbroken = train(whole, tmp_path / "whole")
    train(half, root)
    resumed = train(whole, root, resume=True)
    for name, tensor in weights(unbroken, "last").items():
        torch.testing.assert_close(weights(resumed, "last")[name], tensor, rtol=0, atol=0)
    with resumed.metrics_file.open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_a_folder_that_holds_something_is_not_overwritten(finished):
    with pytest.raises(RunError, match=r"exists and is not empty.*--resume"):
        train(TINY, finished.root)


def test_what_is_no_run_cannot_be_resumed_or_read(tmp_path):
    with pytest.raises(RunError, match="is not a training run"):
        train(TINY, tmp_path, resume=True)


def test_a_run_without_a_checkpoint_says_so(tmp_path, finished):
    run = Run.create(tmp_path / "fresh", TINY, finished.labels())
    with pytest.raises(RunError, match="holds no best checkpoint"):
        run.network()


def test_a_damaged_checkpoint_is_told_from_a_sound_one(tmp_path, finished):
    run = Run.create(tmp_path / "damaged", TINY, finished.labels())
    content = finished.checkpoint("best").read_bytes()
    (run.checkpoints / "best.ckpt").write_bytes(content[: len(content) // 2])
    with pytest.raises(RunError, match="damaged"):
        run.network()
    for content in (b"", b"garbage\n"):
        for name in ("best", "last"):
            (run.checkpoints / f"{name}.ckpt").write_bytes(content)
        with pytest.raises(RunError, match=r"best\.ckpt is damaged"):
            run.network()
        with pytest.raises(RunError, match=r"last\.ckpt is damaged"):
            train(TINY, run.root, resume=True)
    torch.save([1], run.checkpoint())
    with pytest.raises(RunError, match="no checkpoint of a training"):
        run.network()


def test_a_finished_run_says_that_nothing_is_left_and_stays_as_it_is(finished, capsys):
    before = finished.metrics_file.read_text(), weights(finished, "last")
    train(TINY, finished.root, resume=True)
    assert "2 of 2 epochs are done: nothing is left to train" in capsys.readouterr().err
    assert finished.metrics_file.read_text() == before[0]
    for name, tensor in weights(finished, "last").items():
        torch.testing.assert_close(before[1][name], tensor, rtol=0, atol=0)


class StopAt(Callback):
    """A second Ctrl-C, which stops at once, at the start of an epoch."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == self._epoch:
            raise KeyboardInterrupt


def test_who_stops_a_training_at_once_is_told_how_to_go_on(tmp_path, monkeypatch):
    make = train_module.make_trainer
    for epoch, says in ((0, "from the beginning"), (1, "stopped at once; go on with: fcn train --resume '")):
        root = tmp_path / f"stopped at {epoch}"
        with monkeypatch.context() as patch:
            patch.setattr(
                train_module, "make_trainer", lambda c, r, shown, *rest, e=epoch: make(c, r, [*shown, StopAt(e)], *rest)
            )
            with pytest.raises(StoppedError, match=says):
                train(TINY, root)
        with pytest.raises(RunError, match="--resume"):
            train(TINY, root)
    with train(TINY, root, resume=True).metrics_file.open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def test_one_class_is_refused_before_training(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for index in range(4):
            Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "data" / folder / f"{index}.png")
    (tmp_path / "data" / "labels.txt").write_text("cat\n")
    config = replace(TINY, data=SourceConfig(name="folder", root=tmp_path / "data"))
    with pytest.raises(DataError, match="names 'cat' alone"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_fixed_kernels_stay_and_learned_ones_move(finished, tmp_path):
    learned = weights(finished, "last")
    moved = learned["network.segmentation_head.weight"]
    start = finished.network("last").segmentation_head
    start.reset_parameters()
    assert (moved - start.weight).abs().max() > 1e-5
    fixed = train(replace(TINY, model=replace(TINY.model, upsampler="bilinear")), tmp_path / "fixed")
    assert not [name for name in weights(fixed, "last") if "segmentation_head" in name or "upsampler" in name]


def test_a_rate_of_zero_keeps_learned_kernels_at_their_start(tmp_path):
    run = train(replace(TINY, optimiser=OptimiserConfig(upsampler_rate=0)), tmp_path / "still")
    head = run.network("last").segmentation_head
    trained = head.weight.detach().clone()
    head.reset_parameters()
    torch.testing.assert_close(trained, head.weight)


def test_early_stopping_stops_early(tmp_path):
    config = replace(
        TINY,
        fit=replace(TINY.fit, epochs=30, early_stopping=1),
        optimiser=OptimiserConfig(decoder_rate=0, encoder_rate=0, upsampler_rate=0),
    )
    run = train(config, tmp_path / "early")
    assert run.provenance()["epochs_done"] < 10


def test_a_loss_that_is_not_finite_names_the_step_and_the_way_out(tmp_path):
    config = replace(TINY, optimiser=OptimiserConfig(decoder_rate=1e30, encoder_rate=1e30, warmup=0, clip_norm=0))
    with pytest.raises(RunError, match=r"loss is .* in epoch 1, step 2, of shapes_train_\d+, .*lower.*is kept; go on"):
        train(config, tmp_path / "nan")


def test_foreground_of_255_is_found_before_training(tmp_path):
    root = tmp_path / "masks-of-255"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(6):
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(root / "images" / f"{index}.png")
        mask = np.zeros((40, 40), np.uint8)
        mask[10:20] = 255
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
    (root / "labels.txt").write_text("background\nthing\n")
    config = replace(TINY, data=SourceConfig(name="folder", root=root))
    with pytest.raises(DataError, match="255"):
        train(config, tmp_path / "run")
    mended = replace(config, data=replace(config.data, remap={255: 1}), fit=replace(TINY.fit, epochs=1))
    assert train(mended, tmp_path / "run-mended").checkpoint().is_file()


def test_crops_are_not_larger_than_any_zoomed_picture(tmp_path):
    split = decode(open_source(TINY.data), "train", TINY.loader)
    augment = AugmentConfig(crop_size=(320, 384), scale=(0.5, 1.5))
    assert fitting_crop(augment, split) == (64, 96)
    assert fitting_crop(replace(augment, crop_size=(32, 64)), split) == (32, 64)


@pytest.mark.parametrize("schedule", ["one-cycle", "poly", "cosine", "constant"])
def test_rates_rise_to_their_peak_and_never_above(schedule):
    config = OptimiserConfig(schedule=schedule, warmup=0.1)
    factors = [rate_factor(config, step, 100) for step in range(101)]
    assert max(factors) == pytest.approx(1)
    assert factors.index(max(factors)) == 10
    assert factors[0] < 0.2
    assert factors[-1] == pytest.approx(1 if schedule == "constant" else 0, abs=2e-4)


def test_every_parameter_has_one_rate_and_vectors_do_not_decay(finished):
    network = finished.network()
    groups = parameter_groups(network, OptimiserConfig(decoder_rate=1, encoder_rate=2, upsampler_rate=3))
    listed = [parameter for group in groups for parameter in group["params"]]
    assert len(listed) == len({id(parameter) for parameter in listed}) == len(list(network.parameters()))
    for group in groups:
        assert group["weight_decay"] == 0 or all(parameter.ndim > 1 for parameter in group["params"])
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert rates[id(network.segmentation_head.weight)] == 3
    assert rates[id(next(network.encoder.parameters()))] == 2
    assert rates[id(network.decoder.score_heads[0][-1].weight)] == 1


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (FitConfig, {"epochs": 0}, "epochs"),
        (FitConfig, {"ema": 1.0}, "ema is 1.0"),
        (LoaderConfig, {"batch_size": 1}, "batch_size is 1"),
        (AugmentConfig, {"crop_size": (16, 64)}, "crop_size"),
        (AugmentConfig, {"scale": (2.0, 1.0)}, "scale"),
        (ModelConfig, {"dropout": 1.0}, "dropout is 1.0"),
        (OptimiserConfig, {"encoder_rate": -1.0}, "below 0"),
        (LossConfig, {"lovasz": -0.1}, "loss weights"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(kind, options, message):
    with pytest.raises(ConfigError, match=message):
        kind(**options)


def test_the_number_of_threads_is_ours_the_variables_or_that_of_the_processors(monkeypatch):
    before = torch.get_num_threads()
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        torch.set_num_threads(3)  # as torch reads the variable when it starts
        prepare_torch(FitConfig())
        assert torch.get_num_threads() == 3
        prepare_torch(FitConfig(threads=2))
        assert torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        prepare_torch(FitConfig())
        assert torch.get_num_threads() == usable_processors()
    finally:
        torch.set_num_threads(before)
