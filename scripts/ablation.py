"""Train every row of an ablation, score it, and write docs/results/ablation.md.

    python scripts/ablation.py recipes/ablation-camvid.yaml OUT --root PATH

Stopped and started again it goes on: a row that is scored is not trained again, one that was broken off is resumed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model.run import Run

PAGE = Path(__file__).resolve().parent.parent / "docs" / "results" / "ablation.md"


@dataclass(frozen=True)
class Row:
    """One training: its name, what is said of it, and all of its options."""

    name: str
    says: str
    options: dict[str, Any]


def read_rows(recipe: Path) -> tuple[list[Row], list[str]]:
    """The rows of a recipe, and the classes shown by themselves."""
    text = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    rows = [Row(name, row["says"], {**text["base"], **row.get("options", {})}) for name, row in text["rows"].items()]
    return rows, text["thin"]


def train(row: Row, out: Path, options: list[str]) -> None:
    """Train one row, or go on with it, and score its last epoch."""
    run, scored = out / row.name, evaluation_file(out, row)
    if scored.is_file():
        return
    command = [sys.executable, "-m", "model.cli"]
    if (run / "checkpoints" / "last.ckpt").is_file():
        subprocess.run([*command, "train", "--resume", str(run)], check=True)
    else:
        settings = [part for key, value in row.options.items() for part in (f"--{key}", spelled(value))]
        subprocess.run([*command, "train", *settings, "--run", str(run), *options], check=True)
    last = str(run / "checkpoints" / "last.ckpt")
    subprocess.run([*command, "evaluate", last, "--out", str(scored.parent)], check=True)


def spelled(value: object) -> str:
    """A value as it is typed on the command line."""
    return json.dumps(value) if isinstance(value, (list, dict)) else str(value)


def evaluation_file(out: Path, row: Row) -> Path:
    """Where the scores of a row lie."""
    return out / row.name / "score" / "evaluation.json"


def page(rows: list[Row], thin: list[str], out: Path, recipe: Path) -> str:
    """The table in Markdown: mIoU, boundary IoU, and IoU / boundary IoU of the thin classes."""
    head = ["step", "mIoU", "boundary IoU", *(f"{name}" for name in thin), "s/epoch"]
    table = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]
    run, facts = Run.open(out / rows[0].name), {}
    for row in rows:
        run = Run.open(out / row.name)
        facts = run.provenance()
        scores = json.loads(evaluation_file(out, row).read_text(encoding="utf-8"))
        cells = [row.says, f"{100 * scores['miou']:.1f}", f"{100 * scores['boundary_iou']:.1f}"]
        for name in thin:
            iou, boundary = scores["class_iou"][name], scores["class_boundary_iou"][name]
            cells.append("-" if iou is None else f"{100 * iou:.0f} / {100 * boundary:.0f}")
        cells.append(f"{facts['training_seconds'] / facts['epochs_done']:.0f}")
        table.append(f"| {' | '.join(cells)} |")
    config, machine = run.config(), facts["machine"]
    held = "" if config.data.fold is None else f" on fold {config.data.fold} of the training pictures, val unseen"
    return f"""# Ablation

Made by `python scripts/ablation.py {recipe} OUT --root PATH`, seed {config.seed}, {config.fit.epochs} epochs a row,
scored{held}, last epoch, single pass. A column of a class holds IoU / boundary IoU. One seed a row: differences
below about a point are within the noise of a seed. Commit `{facts["git_commit"]}`, {machine["processor"]},
threads: {config.fit.threads or machine["cores"]}; seconds were taken beside other work and only tell dear from cheap.

{chr(10).join(table)}
"""


def main() -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("out", type=Path, help="folder of the runs")
    parser.add_argument("--root", type=Path, required=True, help="folder of the data set")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--page-only", action="store_true", help="write the page of the rows that are scored")
    parser.add_argument("--rows", nargs="*", help="only these, and no page")
    options, further = parser.parse_known_args()
    rows, thin = read_rows(options.recipe)
    for row in rows:
        if not options.page_only and (not options.rows or row.name in options.rows):
            train(row, options.out, ["--data.root", str(options.root), *further])
    if not options.rows:
        rows = [row for row in rows if evaluation_file(options.out, row).is_file()]
        options.page.write_text(page(rows, thin, options.out, options.recipe), encoding="utf-8")
        print(f"written to {options.page}")


if __name__ == "__main__":
    main()
