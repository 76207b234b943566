"""Write docs/results.md from a finished run: command, commit, curve, scores, and pictures drawn from shapes.

    python scripts/results.py runs/camvid runs/camvid-seed1 --shapes demo/shapes/run

Every figure is read from the files of the runs; nothing is typed in. No picture of the first run's data is used.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from data.drawing import encode_png, overlay
from data.sources.catalogue import open_source
from model.callbacks import sheet
from model.plots import draw_curve
from model.run import Run
from model.runtime.bundle import read_bundle
from model.runtime.predictor import Predictor

DOCS = Path(__file__).resolve().parent.parent / "docs"


def percent(value: float | None) -> str:
    """For a table."""
    return "-" if value is None else f"{100 * value:.1f}"


def read_scores(run: Run, which: str) -> dict[str, Any]:
    """What ``fcn evaluate`` wrote of a run's last or best checkpoint."""
    text = (run.root / f"evaluation-{which}" / "evaluation.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def seeds_table(runs: list[Run]) -> str:
    """Every seed's scores and minutes in Markdown."""
    rows = ["| seed | mIoU | boundary IoU | mIoU of the best epoch, chosen on val | minutes |"]
    rows.append("| ---: | ---: | ---: | ---: | ---: |")
    for run in runs:
        last, best = read_scores(run, "last"), read_scores(run, "best")
        facts = run.provenance()
        cells = (f"{100 * last['miou']:.2f}", f"{100 * last['boundary_iou']:.2f}", f"{100 * best['miou']:.2f}")
        rows.append(
            f"| {facts['seed']} | **{cells[0]}** | {cells[1]} | {cells[2]} | {facts['training_seconds'] / 60:.0f} |"
        )
    return "\n".join(rows)


def classes_table(runs: list[Run]) -> str:
    """Per-class IoU of every seed, accuracy and boundary IoU of the first, in Markdown."""
    found = [read_scores(run, "last") for run in runs]
    seeds = [run.provenance()["seed"] for run in runs]
    rows = [f"| class | {' | '.join(f'IoU, seed {seed}' for seed in seeds)} | accuracy | boundary IoU |"]
    rows.append("| --- |" + " ---: |" * (len(runs) + 2))
    for name in found[0]["class_iou"]:
        values = [scores["class_iou"][name] for scores in found]
        values += [found[0]["class_accuracy"][name], found[0]["class_boundary_iou"][name]]
        rows.append(f"| {name} | {' | '.join(map(percent, values))} |")
    means = [scores["miou"] for scores in found] + [found[0]["mean_accuracy"], found[0]["boundary_iou"]]
    rows.append("| **mean** | " + " | ".join(f"**{percent(value)}**" for value in means) + " |")
    return "\n".join(rows)


def draw_pairs(run: Run, path: Path) -> None:
    """Four unseen pictures of shapes: picture, true label map, the bundle's answer; one sheet."""
    source = open_source(run.config().data)
    labels = source.label_map
    predictor = Predictor(read_bundle(run.root / "bundle"))
    rows = []
    for pair in ((0, 1), (2, 3)):
        cells = []
        for index in pair:
            sample = source.load("test", index)
            found = predictor.predict(sample.image).label_map
            cells += [sample.image, overlay(sample.image, found, labels, 0.75)]
        gap = np.full((cells[0].shape[0], 8, 3), 255, np.uint8)
        rows.append(np.hstack([cells[0], gap[:, :4], cells[1], gap, cells[2], gap[:, :4], cells[3]]))
    path.write_bytes(encode_png(sheet(rows, labels)))


def augmented_table(run: Run) -> str:
    """Test-time augmentation beside the single pass: what it gains and costs; those that were evaluated."""
    single = read_scores(run, "last")
    rows = ["| passes | mIoU | boundary IoU | time |", "| --- | ---: | ---: | ---: |"]
    rows.append(f"| one | {100 * single['miou']:.2f} | {percent(single['boundary_iou'])} | 1 |")
    for which in ("tta-flip", "tta-scales"):
        if not (run.root / f"evaluation-{which}").is_dir():
            continue
        found = read_scores(run, which)
        tta = found["tta"]
        scales = ", ".join(f"{scale:g}" for scale in tta["scales"])
        flip = "mirrored too, " if tta["flip"] else ""
        rows.append(
            f"| {tta['passes']}: {flip}scales {scales} | {100 * found['miou']:.2f} | {percent(found['boundary_iou'])} "
            f"| {tta['ratio']:.1f} |"
        )
    return "\n".join(rows)


def shapes_section(root: Path | None) -> str:
    """What the demo gives: drawn and told anew of its run, or as the page has it."""
    heading = "## Shapes, the demo"
    if root is None:
        return heading + (DOCS / "results.md").read_text(encoding="utf-8").partition(heading)[2]
    draw_pairs(Run.open(root), DOCS / "results" / "shapes.png")
    scores = json.loads((root / "bundle" / "manifest.json").read_text())["scores"]
    return f"""{heading}

`make demo`: val mIoU {100 * scores["miou"]:.2f}, boundary IoU {percent(scores["boundary_iou"])}. Four pictures that the
network had not seen, each beside its answer:

![Four drawn pictures and their label maps](results/shapes.png)
"""


def main() -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="runs of one recipe by seed; the first is shown in full")
    parser.add_argument("--shapes", type=Path, help="a run on shapes with its bundle; without it that section stays")
    parser.add_argument("--recipe", default="recipes/camvid.yaml")
    parser.add_argument("--note", default="", help="a sentence about the conditions of the run")
    options = parser.parse_args()
    runs = [Run.open(root) for root in options.runs]
    run = runs[0]
    facts, config = run.provenance(), run.config()
    evaluation = read_scores(run, "last")
    agreement = json.loads((run.root / "agreement.json").read_text())
    with run.metrics_file.open(newline="") as file:
        epochs = list(csv.DictReader(file))
    figures = DOCS / "results"
    figures.mkdir(exist_ok=True)
    draw_curve(run.metrics_file, figures / "curve.svg")

    machine, packages = facts["machine"], facts["packages"]
    parameters = sum(value.numel() for value in run.network("last").parameters()) / 1e6
    rows = ["| | equal pixels | mIoU |", "| --- | ---: | ---: |"]
    rows.append(f"| checkpoint, torch f32 | | {100 * agreement['checkpoint']['miou']:.2f} |")
    for precision in ("f32", "bf16"):
        served = agreement[precision]
        rows.append(f"| Bento, {precision} | {100 * served['equal_pixels']:.5f} % | {100 * served['miou']:.2f} |")
    agreement_table = "\n".join(rows)
    title = f"FCN-{config.model.finest_stride}s, {config.model.encoder}, {config.model.upsampler} upsampling"
    page = f"""# Results

Made by `scripts/results.py` from the files of the runs. Machine: {machine["processor"]}, {machine["cores"]} cores;
Python {facts["python"]}, torch {packages["torch"]}, OpenVINO {packages["openvino"]}.

## CamVid, {title}

```
fcn train --config {options.recipe} --data.root PATH --run runs/camvid
fcn evaluate runs/camvid/checkpoints/last.ckpt --out runs/camvid/evaluation-last
fcn evaluate runs/camvid --out runs/camvid/evaluation-best
```

Commit `{facts["git_commit"]}`, {len(epochs)} epochs, {parameters:.2f} million parameters; `--seed 1` for the
second row. Trained on the 367 pictures of train, scored on the {evaluation["pictures"]} of val at 480x360: one network,
single pass, one confusion matrix summed over the split, void left out, last epoch. {options.note}

{seeds_table(runs)}

How the recipe came about: [ablation](results/ablation.md), on a fold of the training pictures.
Pixel accuracy {percent(evaluation["pixel_accuracy"])}, frequency-weighted IoU
{percent(evaluation["frequency_weighted_iou"])} (seed {facts["seed"]}).

{classes_table(runs)}

![Training loss and val mIoU over the epochs](results/curve.svg)

## Test-time augmentation

```
fcn evaluate runs/camvid/checkpoints/last.ckpt --tta.flip true --out runs/camvid/evaluation-tta-flip
fcn evaluate runs/camvid/checkpoints/last.ckpt --tta.flip true --tta.scales 0.75,1,1.25 \\
  --out runs/camvid/evaluation-tta-scales
```

An option of `fcn evaluate` and `fcn predict` that averages several looks at a picture; the service has none of it.
Time is a ratio to one pass. Seed {facts["seed"]}, last epoch:

{augmented_table(run)}

## What is served is what was trained

```
fcn export runs/camvid && fcn register runs/camvid/bundle && bentoml build
python scripts/agreement.py runs/camvid
```

Label maps of the built Bento over HTTP against the checkpoint's own (torch, 32-bit), all
{agreement["pictures"]} val pictures:

{agreement_table}

{shapes_section(options.shapes)}"""
    (DOCS / "results.md").write_text(page)
    print(f"written to {DOCS / 'results.md'}")


if __name__ == "__main__":
    main()
