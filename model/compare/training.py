"""Training of one arm into a run directory, going on where an earlier attempt was broken off."""

from __future__ import annotations

import csv
import shutil
import zipfile
from typing import TYPE_CHECKING

import torch

from data.errors import RunError
from model.run import Run
from model.train import train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model.config import TrainConfig


def train_arm(config: TrainConfig, root: Path, say: Callable[[str], None]) -> Run:
    """Train one arm, or what is left of its training.

    Args:
        config: Of this arm and seed.
        root: Its run directory, which belongs to the comparison: one without a whole checkpoint is begun again.
        say: Told what is gone on with or begun again.

    Raises:
        FcnError: the configuration or the data is faulty, or training was stopped.
    """
    last = root / "checkpoints" / "last.ckpt"
    if root.exists() and not zipfile.is_zipfile(last):  # torch writes zip files, whose directory stands at the end
        say(f"{root.name} was broken off before its first whole checkpoint: begun again")
        shutil.rmtree(root)
    if not root.exists():
        run = train(config, root)
    else:
        run = Run.open(root)
        if "ended" in run.provenance():
            return run
        say(f"going on with {root.name}")
        run = train(config, root, resume=True)
    _keep_weights_alone(run)
    return run


def _keep_weights_alone(run: Run) -> None:
    """Drop what only a resumed training needs from the checkpoints: an eighth of their size stays."""
    for path in run.checkpoints.glob("*.ckpt"):
        part = path.with_suffix(".part")
        try:
            torch.save({"state_dict": torch.load(path, map_location="cpu", weights_only=True)["state_dict"]}, part)
            part.replace(path)
        except (OSError, RuntimeError) as error:  # torch tells a full disk as a RuntimeError
            part.unlink(missing_ok=True)
            raise RunError(f"{path} cannot be written ({error}): free some disk") from error


def training_curve(run: Run) -> list[dict[str, float]]:
    """Loss, seconds since the start and, where measured, mIoU of every epoch."""
    try:
        with run.metrics_file.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError:
        return []
    names = {"epoch": "epoch", "train/loss": "loss", "val/miou": "miou", "seconds": "seconds"}
    return [{short: float(row[name]) for name, short in names.items() if row.get(name)} for row in rows]
