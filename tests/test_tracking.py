"""Trackers: a real training recorded offline, read back from what the tracker wrote; faults that end no training."""

from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from data.errors import ConfigError
from data.sources.catalogue import SourceConfig
from model.config import AugmentConfig, FitConfig, LoaderConfig, ModelConfig, OptimiserConfig, TrainConfig
from model.train import train

if TYPE_CHECKING:
    from pathlib import Path

TINY = TrainConfig(
    data=SourceConfig(name="shapes", train_size=4, val_size=1, image_size=(32, 32)),
    model=ModelConfig(encoder="mobilenet_v2", encoder_weights="none", head_channels=4),
    augment=AugmentConfig(crop_size=(32, 32)),
    loader=LoaderConfig(batch_size=4, workers=0),
    optimiser=OptimiserConfig(schedule="constant"),
    fit=FitConfig(epochs=1, precision="32-true", progress=False, ema=0, tracker="wandb"),
)


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    """Weights & Biases as somebody has it who never used it."""
    for name in ("CONFIG", "CACHE", "DATA"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "home" / name.lower()))
    for name in ("WANDB_DIR", "WANDB_PROJECT", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_MODE", "offline")


def records(path: Path) -> list[Record]:
    """What one .wandb file holds: Weights & Biases' own records in LevelDB's format of logs.

    Blocks of 32 KB hold pieces with a checksum (4 bytes), a length (2) and a kind (1: whole, 2 to 4: parts).
    """
    content = path.read_bytes()
    found, parts, place = [], b"", 7  # its own header is 7 bytes long
    while place + 7 <= len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:
            found.append(Record.FromString(parts))
            parts = b""
    return found


def told(root: Path) -> list[tuple[str, str, dict[str, object], list[dict[str, object]]]]:
    """Identity, name, settings and rows of figures of every part of a run."""
    parts = []
    for path in sorted(root.glob("wandb/offline-run-*/*.wandb")):
        run, settings, rows = None, {}, []
        for record in records(path):
            if record.HasField("run"):
                run = run or record.run
            update = record.config if record.HasField("config") else record.run.config
            settings |= {item.key: json.loads(item.value_json) for item in update.update}
            if record.HasField("history"):
                items = record.history.item
                rows.append({item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items})
        parts.append((run.run_id, run.display_name, settings, rows))
    return parts


def test_a_run_and_its_continuation_are_one_record_with_all_that_made_it(tmp_path):
    root = tmp_path / "mine"
    train(TINY, root)
    run = train(replace(TINY, fit=replace(TINY.fit, epochs=2)), root, resume=True)
    first, second = told(root)
    assert first[0] == second[0] == run.provenance()["trackers"]["wandb"]
    assert first[1] == "mine"
    for settings, epochs in ((first[2], 1), (second[2], 2)):
        assert settings["model.encoder"] == "mobilenet_v2"
        assert settings["augment.crop_size"] == "(32, 32)"
        assert settings["fit.epochs"] == epochs
        assert settings["labels"].startswith("background, ")
        assert settings["provenance.packages.torch"] == run.provenance()["packages"]["torch"]
        assert settings["provenance.git_commit"] == str(run.provenance()["git_commit"])
    table = [line.split(",") for line in run.metrics_file.read_text().splitlines()]
    for (*_, rows), cells in zip((first, second), table[1:], strict=True):
        (row,) = rows
        kept = dict(zip(table[0], cells, strict=True))
        assert row["epoch"] == int(kept["epoch"])
        assert row["_step"] == int(kept["step"])
        assert row["val/miou"] == pytest.approx(float(kept["val/miou"]), rel=1e-5)
        assert row["train/loss"] == pytest.approx(float(kept["train/loss"]), rel=1e-5)
        assert {"lr-AdamW/pg1", "val/iou/disc"} < set(row)
        assert row["predictions/_type"] == "image-file"
    pictures = sorted(root.glob("wandb/offline-run-*/files/media/images/*.png"))
    drawn = sorted((root / "predictions").iterdir())
    assert [path.read_bytes() for path in pictures] == [path.read_bytes() for path in drawn]


def test_a_tracker_that_cannot_be_told_ends_no_training(tmp_path, monkeypatch, caplog):
    import wandb

    wandb.teardown()  # it reads its variables once a process, and an earlier test was offline
    monkeypatch.setenv("WANDB_MODE", "online")  # nobody is logged in, nobody is there to ask
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:1")
    with caplog.at_level(logging.WARNING, "fcn"):
        run = train(replace(TINY, fit=replace(TINY.fit, epochs=3)), tmp_path / "mine")
    assert len(run.metrics_file.read_text().splitlines()) == 4
    warnings = [record.getMessage() for record in caplog.records if "cannot be told" in record.getMessage()]
    assert len(warnings) == 3
    assert "training goes on" in warnings[0]
    assert "told nothing more" in warnings[-1]


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ConfigError, match=r"fit\.tracker mlflow needs .* pip install 'fcn-segmenter\[mlflow\]'"):
        train(replace(TINY, fit=replace(TINY.fit, tracker="mlflow")), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
