"""Figures of an evaluation and of a run."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("Agg")

import numpy as np
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from data.labels import LabelMap


def draw_confusion(confusion: NDArray[np.int64], labels: LabelMap, path: Path) -> None:
    """Draw a confusion matrix, each row as percent of its true class.

    Args:
        confusion: Pixels by true class (row) and predicted class (column), shape (C, C).
        labels: Class names.
        path: PNG to write.
    """
    totals = confusion.sum(axis=1, keepdims=True)
    percent = 100 * confusion / np.maximum(totals, 1)
    size = max(4.0, 0.55 * labels.num_classes + 2)
    figure, axes = plt.subplots(figsize=(size, size), layout="constrained")
    axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    ticks = range(labels.num_classes)
    axes.set_xticks(ticks, labels.names, rotation=45, ha="right")
    axes.set_yticks(ticks, labels.names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title("Percent of each true class", loc="left")
    if labels.num_classes <= 40:  # beyond that the figures would not be legible
        for row, column in np.ndindex(*percent.shape):
            value = percent[row, column]
            if value >= 0.5:
                colour = "white" if value > 55 else "black"
                axes.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8)
    axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def draw_curve(metrics: Path, path: Path) -> None:
    """Draw loss and validation mIoU over the epochs of a run.

    Args:
        metrics: metrics.csv of a run.
        path: SVG or PNG to write.
    """
    with metrics.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure, left = plt.subplots(figsize=(7, 3.6), layout="constrained")
    right = left.twinx()
    for axes, column, colour, name in (
        (left, "train/loss", "tab:gray", "training loss"),
        (right, "val/miou", "tab:blue", "val mIoU"),
    ):
        points = [(int(row["epoch"]), float(row[column])) for row in rows if row[column]]
        axes.plot(*zip(*points, strict=True), color=colour, label=name)
        axes.set_ylabel(name, color=colour)
        axes.spines[["top"]].set_visible(False)
    right.set_ylim(bottom=0)
    left.set_xlabel("epoch")
    figure.savefig(path, dpi=120)
    plt.close(figure)
