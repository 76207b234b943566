"""The snippets of docs/clients.md, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from PIL import Image

from service.label_config import read_label_config

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, picture: NDArray[np.uint8]) -> Path:
    """A user's folder with photo.jpg."""
    Image.fromarray(picture).save(tmp_path / "photo.jpg", quality=95)
    return tmp_path


def run(code: str, place: Path) -> str:
    environment = {**os.environ, "HF_HOME": str(place / "hf"), "BENTOML_HOME": str(place / "bentoml")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=place,
        env={**environment, "BENTOML_DO_NOT_TRACK": "True"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


def snippet(word: str, served: str) -> str:
    """The one Python snippet with a word in it, asking the server of the tests."""
    (code,) = [block for block in blocks("python") if word in block]
    return code.replace("localhost:3000", served.removeprefix("http://"))


def test_every_python_snippet_is_run_by_a_test_below() -> None:
    words = ("huggingface_hub", "tritonclient", "bentoml", "tasks.json")
    assert [sum(word in block for word in words) for block in blocks("python")] == [1] * len(words)


def test_hugging_faces_snippet_names_every_class_with_a_score_and_a_mask(served: str, place: Path) -> None:
    lines = run(snippet("huggingface_hub", served), place).splitlines()
    assert [line.split()[0] for line in lines] == ["background", "red", "green", "blue"]
    assert all(line.endswith("(70, 50)") for line in lines)


def test_tritons_snippet_gets_label_map_and_probabilities(served: str, place: Path) -> None:
    shape, mean = run(snippet("tritonclient", served), place).rsplit(" ", 1)
    assert shape == "(50, 70)"
    assert 0.9 < float(mean) <= 1


def test_bentomls_snippet_gets_files_and_a_dictionary(served: str, place: Path) -> None:
    size, ending, names = run(snippet("bentoml", served), place).split(" ", 2)
    assert int(size) > 100
    assert ending == ".png"
    assert names.strip() == "['background', 'red', 'green', 'blue']"


def test_label_studios_snippet_makes_tasks_that_the_service_answers(served: str, place: Path) -> None:
    run(snippet("tasks.json", served), place)
    tasks = json.loads((place / "tasks.json").read_text())
    (prediction,) = httpx.post(f"{served}/predict", json={"tasks": tasks}, timeout=30).json()["results"]
    assert len(prediction["result"]) == 4


def test_the_labelling_configuration_is_one_that_is_understood() -> None:
    (config,) = map(read_label_config, blocks("xml"))
    assert (config.from_name, config.to_name, config.key, config.values) == ("label", "image", "image", ("road", "car"))


def test_the_commands_write_what_the_table_says(place: Path, tiny_bundle: Bundle) -> None:
    (place / "bundle").symlink_to(tiny_bundle.root)
    (place / "pictures").mkdir()
    (place / "photo.jpg").rename(place / "pictures" / "photo.jpg")
    (commands,) = blocks("bash")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(["bash", "-e", "-c", commands], cwd=place, env=environment, check=True, timeout=240)
    section = PAGE.split("\n## Labelling tools, without a server\n")[1]
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", section, flags=re.MULTILINE)
    rows = [row for row in rows if not row[0].startswith("--")]
    assert {form for form, _ in rows} == {"png", "cvat", "coco", "label-studio"}
    for _, written in rows:
        for name in re.findall(r"`(.*?)`", written):
            assert (place / "predictions" / name).exists(), name
    (task,) = json.loads((place / "predictions" / "label_studio.json").read_text())
    assert task["data"]["image"] == "s3://bucket/pictures/photo.jpg"
