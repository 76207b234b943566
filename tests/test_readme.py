"""The README's commands, run as they stand there, on a small folder of pictures."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.sources.shapes import LABELS, ShapesSource

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent

# What makes the commands quick on a small folder; everything else is run as written.
QUICK = "--fit.epochs=1 --augment.crop_size=[64,96] --loader.batch_size=4 --fit.progress=false"


def readme_commands() -> list[str]:
    """Every line of every bash block."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A copy of the checkout's code, and a user's folder of pictures in it."""
    place = tmp_path_factory.mktemp("user")
    for name in ("service", "model", "data", "recipes"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "bentofile.yaml", place)
    for folder in ("images", "masks"):
        (place / "pictures" / folder).mkdir(parents=True)
    source = ShapesSource(train_size=10, val_size=1, image_size=(64, 96))
    for index in range(10):
        sample = source.load("train", index)
        Image.fromarray(sample.image).save(place / "pictures" / "images" / f"street_{index:03d}.jpg", quality=95)
        Image.fromarray(sample.label_map).save(place / "pictures" / "masks" / f"street_{index:03d}.png")
    LABELS.write_labels(place / "pictures" / "labels.txt")
    Image.fromarray(sample.image).save(place / "photo.jpg")
    return place


@pytest.fixture(scope="module")
def environment(place):
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "BENTOML_HOME": str(place / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}


def run(command: str, place: Path, environment: dict[str, str]) -> str:
    finished = subprocess.run(
        ["bash", "-c", command], cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert finished.returncode == 0, f"{command}\n{finished.stdout}\n{finished.stderr}"
    return finished.stdout


def quick(command: str) -> str:
    """The command with what makes it short."""
    if command.startswith("fcn compare"):
        return f"{command} {QUICK} --seeds=2 --strides=[8] --reconstruction_steps=20"
    if "--resume" in command:
        return f"{command} --fit.epochs=2"
    return f"{command} {QUICK}" if command.startswith("fcn train") else command


def test_every_command_of_the_readme_works(place, environment):
    commands = readme_commands()
    asked = [command for command in commands if command.startswith("curl")]
    assert len(asked) >= 4
    for command in commands:
        if "bentoml serve" in command:
            ask_server(command, asked, place, environment)
        elif command not in asked:
            run(quick(command), place, environment)
    assert len(list((place / "predictions" / "label_maps").iterdir())) == 10
    assert len((place / "runs" / "mine" / "metrics.csv").read_text().splitlines()) == 3
    assert "<svg" in (place / "comparison" / "report.html").read_text()
    assert (place / "comparison" / "forms.json").is_file()


def ask_server(command: str, questions: list[str], place: Path, environment: dict[str, str]) -> None:
    """Start a server with a free port beside the README's 3000, ask everything, stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = shlex.split(command)
    settings = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    arguments = [word for word in words if not re.match(r"[A-Z_]+=", word)]
    with (place / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [BIN / arguments[0], *arguments[1:], "--host", "127.0.0.1", "--port", str(port)],
            cwd=place,
            env={**environment, **settings},
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/readyz", server, place / "server.log")
            answers = []
            for question in questions:
                answers.append(
                    run(question.replace("localhost:3000", f"127.0.0.1:{port}") + " -sS -f", place, environment)
                )
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=60)
    with Image.open(place / "label_map.png") as label_map:
        assert label_map.size == (96, 64)
        assert np.asarray(label_map).max() < LABELS.num_classes
    with Image.open(place / "overlay.png") as overlay:
        assert overlay.size == (96, 64)
    assert any('"rle"' in answer for answer in answers)
    assert any('"palette"' in answer or '"labels"' in answer for answer in answers)


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.3)
    raise AssertionError(f"not ready after two minutes: {log.read_text()}")


def test_the_files_that_the_readme_points_to_are_there():
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"\]\(([^)#]+)", text)
    assert targets
    for target in targets:
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_make_help_names_every_target_that_the_readme_uses():
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for target in re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text()):
        assert f"make {target}" in listed, target
