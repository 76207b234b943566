"""The whole way once: train, evaluate, export, register, build, serve, ask. Each step prints its command and time.

Needs nothing but the standard library beside the installed project, so that it can be read as a recipe.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from serving import BIN, post, running

HERE = Path(__file__).resolve().parent.parent
NAME = "fcn-segmenter"
LOWEST_MIOU = {"shapes": 0.85}


class Steps:
    """Runs the steps and remembers how long each took."""

    def __init__(self, started: float) -> None:
        self._times = [("install", time.time() - started)]
        self._last = time.time()

    def begin(self, title: str) -> None:
        """Print a heading."""
        print(f"\n== {title}", flush=True)
        self._last = time.time()

    def end(self, title: str) -> None:
        """Note the time since ``begin``."""
        self._times.append((title, time.time() - self._last))

    def run(self, title: str, *command: str | Path) -> None:
        """Run a command, shown as one would type it; stop the demo when it fails."""
        self.begin(title)
        print("$ " + shlex.join(map(str, command)), flush=True)
        finished = subprocess.run([BIN / command[0], *command[1:]], cwd=HERE, check=False)
        if finished.returncode:
            sys.exit(f"demo: step {title!r} failed with exit status {finished.returncode}; see above")
        self.end(title)

    def table(self) -> str:
        """Every step with its time."""
        rows = [f"  {title:<10} {seconds:7.1f} s" for title, seconds in self._times]
        total = sum(seconds for _, seconds in self._times)
        return "\n".join([*rows, f"  {'in all':<10} {total:7.1f} s"])


def unseen_picture(source: str, data: Path | None, out: Path) -> Path:
    """A picture that training did not see: a drawn one of the test split, or the first of val."""
    from data.drawing import encode_png
    from data.sources.catalogue import SourceConfig, open_source

    opened = open_source(SourceConfig(name=source, root=data))  # type: ignore[arg-type]
    split = "test" if opened.names("test") else "val"
    path = out / "picture.png"
    path.write_bytes(encode_png(opened.load(split, 0).image))
    return path


def serve_and_ask(steps: Steps, out: Path, picture: Path) -> None:
    """Start the built Bento, ask it for the label map, the overlay and the figures, and stop it."""
    steps.begin("serve")
    with running(f"{NAME}:latest", out / "server.log") as url:
        steps.end("serve")
        steps.begin("ask")
        for query, name in (("", "label_map.png"), ("?format=overlay", "overlay.png"), ("?format=json", "answer.json")):
            print(f"$ curl --data-binary @{picture.name} '{url}/v1/segment{query}' -o {name}")
            (out / name).write_bytes(post(f"{url}/v1/segment{query}", picture))
        steps.end("ask")


def main() -> None:
    """Run every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--started", type=float, default=time.time(), help="when installation began, seconds")
    parser.add_argument("--source", choices=("shapes", "camvid"), default="shapes")
    parser.add_argument("--data", type=Path, help="folder of the data; neither shapes nor fetched data needs it")
    parser.add_argument("--out", type=Path, help="demo/SOURCE by default; emptied first")
    options = parser.parse_args()
    out = (options.out or HERE / "demo" / options.source).resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    run, bundle = out / "run", out / "run" / "bundle"
    data = options.data.resolve() if options.data else None

    steps = Steps(options.started)
    where = ["--data.root", data] if data else []
    steps.run("train", "fcn", "train", "--config", HERE / "recipes" / f"{options.source}.yaml", *where, "--run", run)
    steps.run("evaluate", "fcn", "evaluate", run)
    steps.run("export", "fcn", "export", run)
    comparison = out / "comparison"
    if options.source == "shapes":  # on real photographs it takes hours: see recipes/compare-camvid.yaml
        steps.run("compare", "fcn", "compare", comparison, "--config", HERE / "recipes" / "compare-shapes.yaml")
    steps.run("register", "fcn", "register", bundle, "--name", NAME)
    steps.run("build", "bentoml", "build")
    picture = unseen_picture(options.source, data, out)
    serve_and_ask(steps, out, picture)

    scores = json.loads((bundle / "manifest.json").read_text())["scores"]
    answer = json.loads((out / "answer.json").read_text())
    print(f"\nval mIoU {100 * scores['miou']:.2f}, pixel accuracy {100 * scores['pixel_accuracy']:.2f}")
    print("in the picture: " + ", ".join(f"{c['name']} {100 * c['share']:.1f} %" for c in answer["classes"]))
    if comparison.is_dir():
        verdict = json.loads((comparison / "report.json").read_text())["verdict"]
        print("\nIs learned upsampling worth it on shapes? " + " ".join(verdict["sentences"]))
    print("\nWhere everything lies")
    rows = [
        ("picture", picture),
        ("label map", out / "label_map.png"),
        ("overlay", out / "overlay.png"),
        ("answer", out / "answer.json"),
        ("run", run),
        ("scores", run / "evaluation-val"),
        ("bundle", bundle),
        *([("comparison", comparison / "report.html")] if comparison.is_dir() else []),
        ("server log", out / "server.log"),
    ]
    for title, path in rows:
        print(f"  {title:<10} {os.path.relpath(path)}")
    print(f"  {'Bento':<10} bentoml get {NAME}:latest")
    print(f"\nHow long it took\n{steps.table()}")
    lowest = LOWEST_MIOU.get(options.source, 0.0)
    if scores["miou"] < lowest:
        sys.exit(f"demo: val mIoU {scores['miou']:.3f} is below {lowest}: something is wrong with this installation")


if __name__ == "__main__":
    main()
