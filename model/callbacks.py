"""What is shown and kept while a network trains: averaged weights, progress, pictures of predictions."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import RichProgressBar, WeightAveraging

from data.dataset import MAX_TILE
from data.drawing import encode_png, legend, overlay
from model.processes import is_first, sums
from model.runtime.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer
    from numpy.typing import NDArray

    from data.decoded import DecodedSplit
    from data.labels import LabelMap


class ExponentialAverage(WeightAveraging):
    """Exponential moving average of weights and statistics, with a short memory at first.

    The decay of update n is min(decay, (1 + n) / (10 + n)), as TensorFlow's ExponentialMovingAverage has it: a
    short run is not held back by the weights it started from.

    Args:
        decay: In the long run, below 1.
    """

    def __init__(self, decay: float) -> None:
        super().__init__(avg_fn=_average(decay))


def _average(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    @torch.no_grad()
    def average(averaged: torch.Tensor, current: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        n = float(updates)
        weight = 1 - min(decay, (1 + n) / (10 + n))
        if not averaged.is_floating_point():
            return current
        return torch.lerp(averaged, current, weight)

    return average


class Progress(RichProgressBar):
    """Lightning's progress bar without the version number, which says nothing here."""

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Figures beside the bar."""
        metrics: dict[str, Any] = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in metrics.items()}


class EpochTable(Callback):
    """metrics.csv: one row an epoch, kept across resumes (Lightning's CSVLogger deletes what it finds).

    The file is written anew each time, whole or not at all. Losses and seconds of an epoch that is broken off go into
    the checkpoint, so that its row is that of the unbroken run.

    Args:
        path: Of the file.
        labels: Give the columns.
    """

    def __init__(self, path: Path, labels: LabelMap) -> None:
        self._path = path
        scores = ("val/miou", "val/pixel_accuracy", *(f"val/iou/{name}" for name in labels.names))
        self._columns = ("epoch", "step", "seconds", "train/loss", *scores)
        self._rows: list[dict[str, str]] = []
        self._started = 0.0
        self._seconds: float | None = None
        self._losses = (0.0, 0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the rows before the epoch that begins, and go on counting seconds where they end."""
        if not trainer.is_global_zero:
            return
        if self._path.is_file():
            with self._path.open(newline="", encoding="utf-8") as file:
                whole = [row for row in csv.DictReader(file) if row["seconds"]]
            self._rows = [row for row in whole if int(row["epoch"]) <= trainer.current_epoch]
        before = self._seconds
        if before is None:
            before = float(self._rows[-1]["seconds"]) if self._rows else 0.0
        self._started = time.perf_counter() - before
        self._write()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: torch.Tensor | Mapping[str, Any] | None,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Add the loss of a step."""
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            total, steps = self._losses
            self._losses = (total + float(loss), steps + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Append the epoch's row; what was not measured in it stays empty."""
        total, steps = sums(self._losses)
        self._losses = (0.0, 0)
        if not trainer.is_global_zero:
            return
        found = {name: f"{float(value):.6g}" for name, value in trainer.callback_metrics.items()}
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        row = {name: value for name, value in found.items() if validated or not name.startswith("val/")}
        row["epoch"] = str(trainer.current_epoch + 1)
        row["step"] = str(trainer.global_step)
        row["seconds"] = f"{time.perf_counter() - self._started:.1f}"
        row["train/loss"] = f"{total / steps:.6g}"
        self._rows.append(row)
        self._write()

    def state_dict(self) -> dict[str, Any]:
        """Sum and number of the losses of the epoch so far, and seconds."""
        total, steps = sums(self._losses)
        return {"losses": total, "steps": steps, "seconds": time.perf_counter() - self._started}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on within an epoch: the first process holds what all of them had."""
        if is_first():
            self._losses = (state_dict["losses"], state_dict["steps"])
        self._seconds = state_dict["seconds"]

    def _write(self) -> None:
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(self._rows)
        write_whole(self._path, text.getvalue().encode(), durable=True)


class PredictionPictures(Callback):
    """After each validation, one picture: some val images, their labels and what the network says.

    Args:
        folder: Where to.
        val: Samples to choose from, evenly.
        labels: Names and colours.
        count: Rows.
    """

    def __init__(self, folder: Path, val: DecodedSplit, labels: LabelMap, count: int = 4) -> None:
        self._folder = folder
        self._labels = labels
        chosen = np.unique(np.linspace(0, len(val) - 1, min(count, len(val))).round().astype(int))
        self._samples = [(_middle(val.images[i]), _middle(val.label_maps[i])) for i in chosen]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw and write ``epoch_NNN.png``."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        rows = []
        for image, target in self._samples:
            tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].to(pl_module.device)
            with torch.inference_mode():
                predicted = pl_module(tensor)[0].argmax(0).to(torch.uint8).cpu().numpy()
            rows.append(
                np.hstack([image, overlay(image, target, self._labels), overlay(image, predicted, self._labels)])
            )
        path = self._folder / f"epoch_{trainer.current_epoch + 1:03d}.png"
        write_whole(path, encode_png(sheet(rows, self._labels)), durable=True)


def _middle(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The middle of what is larger than a tile: its logits and a picture of it would be too large."""
    return array[
        tuple(slice(start, start + MAX_TILE) for start in (max(0, n - MAX_TILE) // 2 for n in array.shape[:2]))
    ]


def sheet(rows: list[NDArray[np.uint8]], labels: LabelMap) -> NDArray[np.uint8]:
    """Rows of pictures of different widths on one white sheet, with the legend below."""
    width = max(row.shape[1] for row in rows)
    parts = [np.pad(row, [(0, 4), (0, width - row.shape[1]), (0, 0)], constant_values=255) for row in rows]
    return np.vstack([*parts, legend(labels, width)])
