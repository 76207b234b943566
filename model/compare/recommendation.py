"""Recommendation: which trained network of a comparison is exported, and what its bundle says of why."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from data.errors import RunError
from model.compare.folder import ComparisonFolder
from model.compare.report import write_report

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Recommendation:
    """One network out of a comparison.

    Attributes:
        run: Its training directory.
        checkpoint: The one that was scored: ``last`` or ``best``.
        verdict: JSON-able, for the manifest of its bundle: the report's sentences, every arm's scores, and which
            network this is.
    """

    run: Path
    checkpoint: Literal["last", "best"]
    verdict: dict[str, Any]


def recommend(root: Path) -> Recommendation:
    """Find the arm that a comparison recommends, and of its trainings the middle one.

    The report is made anew from the results first, so that it says what they say. Of the arm's seeds the one with
    the median mIoU is taken (the lower of two middle ones): the best one would owe part of its score to the
    pictures that chose it.

    Args:
        root: Folder of a comparison.

    Raises:
        RunError: there is no comparison, no seed is complete, or the training directory is gone.
    """
    folder = ComparisonFolder(root)
    write_report(folder)
    report = json.loads((root / "report.json").read_text(encoding="utf-8"))
    name = report["verdict"]["recommended"]
    arm = next(arm for arm in report["arms"] if arm["name"] == name)
    scores = arm["miou"]["per_seed"]
    if any(score is None for score in scores):
        raise RunError(f"{root} has no score of {name}: no class occurs in the pictures that score")
    seed = report["seeds"][int(np.argsort(scores, kind="stable")[(len(scores) - 1) // 2])]
    run = folder.run_root(name, seed)
    if not run.is_dir():
        raise RunError(f"{run} is gone, and the trained network with it: run the same fcn compare again to make it")
    whole = report["mode"] == "end-to-end"
    verdict = {
        **report["verdict"],
        "arm": name,
        "seed": seed,
        "mode": report["mode"],
        "seeds": report["seeds"],
        "data": {field: report["data"][field] for field in ("name", "split", "train_pictures", "scored_pictures")},
        "arms": [
            {"name": other["name"], "miou": other["miou"]["mean"], "boundary_iou": other["boundary_iou"]["mean"]}
            for other in report["arms"]
        ],
        "git_commits": report["provenance"]["git_commits"],
    }
    return Recommendation(run, report["config"]["checkpoint"] if whole else "best", verdict)
