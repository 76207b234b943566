"""The serving half runs in a process where the training half's packages cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from model.runtime.bundle import Bundle

ROOT = Path(__file__).resolve().parent.parent

FORBIDDEN = (
    "torch",
    "torchvision",
    "torchmetrics",
    "segmentation_models_pytorch",
    "timm",
    "albumentations",
    "cv2",
    "lightning",
    "matplotlib",
    "onnx",
    "onnxscript",
    "nncf",
    "ray",
    "pyarrow",
    "pandas",
)

DATA_MODULES = tuple(f"data.{name}" for name in ("labels", "pixels", "colour", "headers", "masks", "drawing", "errors"))


def modules_of(package: str) -> tuple[str, ...]:
    """Every module of a package, from its files: one that is added later is tested too."""
    folder = ROOT.joinpath(*package.split("."))
    return tuple(f"{package}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__")


FORBID = """
import importlib, sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"{name} may not be imported here", name=name)

sys.meta_path.insert(0, Forbid())
"""

PREDICT = """
from pathlib import Path
import numpy as np
from model.runtime.bundle import read_bundle
from model.runtime.engine import EngineConfig
from model.runtime.predictor import Predictor

image = np.zeros((5, 6, 3), dtype=np.uint8)
image[:, 2:4] = (255, 0, 0)
image[:, 4:] = (0, 0, 255)
for engine in ("openvino", "onnxruntime"):
    answer = Predictor(read_bundle(Path(sys.argv[1])), EngineConfig(engine=engine)).predict(image)
    assert answer.label_map.tolist() == [[0, 0, 1, 1, 3, 3]] * 5, answer
"""


def run_without_training_packages(program: str, *arguments: str) -> None:
    code = f"FORBIDDEN = {FORBIDDEN!r}\n{FORBID}\n{program}\n"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_hook_of_these_tests_forbids() -> None:
    with pytest.raises(AssertionError, match="torch may not be imported here"):
        run_without_training_packages("import torch")


@pytest.mark.parametrize(
    "modules", [DATA_MODULES, modules_of("model.runtime"), modules_of("service")], ids=lambda m: m[0]
)
def test_every_module_is_imported_without_the_training_packages(modules: tuple[str, ...]) -> None:
    run_without_training_packages("".join(f"importlib.import_module({name!r})\n" for name in modules))


def test_a_command_that_needs_them_says_so_in_one_line() -> None:
    program = """
import contextlib, io
from model.cli import main
told = io.StringIO()
with contextlib.redirect_stderr(told):
    assert main(["train", "--data.name", "shapes"]) == 1
(line,) = told.getvalue().splitlines()
assert "which is not installed: pip install 'fcn-segmenter[train]'" in line, line
"""
    run_without_training_packages(program)


def test_a_picture_is_segmented_without_the_training_packages(tiny_bundle: Bundle) -> None:
    run_without_training_packages(PREDICT, str(tiny_bundle.root))
