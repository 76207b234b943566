"""Provenance: what made a result: commit, versions, machine and seed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from model.config import TrainConfig

PACKAGES: Final = (
    "torch",
    "segmentation-models-pytorch",
    "timm",
    "albumentations",
    "lightning",
    "torchmetrics",
    "numpy",
    "onnx",
    "onnxscript",
    "openvino",
    "onnxruntime",
    "bentoml",
)
"""Packages whose versions are written beside every run."""


def provenance(config: TrainConfig) -> dict[str, Any]:
    """Commit, versions, machine and seed of this moment."""
    return {
        "git_commit": git_commit(),
        "seed": config.seed,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "machine": {"processor": processor_name(), "cores": os.cpu_count(), "system": platform.platform()},
    }


def git_commit() -> str | None:
    """Commit of this checkout, with ``-dirty`` where it differs; None outside a checkout."""
    here = Path(__file__).parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def processor_name() -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
