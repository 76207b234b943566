"""Bundles in BentoML's model store, each test in a store of its own (BentoML reads BENTOML_HOME when imported)."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from data.errors import BundleError, ConfigError
from model.runtime.bundle import read_bundle
from model.runtime.store import register

if TYPE_CHECKING:
    from pathlib import Path

    from model.runtime.bundle import Bundle

PROGRAM = """
import sys
from dataclasses import replace
from pathlib import Path
from model.runtime.bundle import read_bundle, write_bundle
from model.runtime.store import register

bundle = read_bundle(Path(sys.argv[1]))
first, again = register(bundle.root), register(bundle.root)
other = write_bundle(Path(sys.argv[2]), bundle.model_path.read_bytes(), replace(bundle.manifest, name="other"))
second = register(other.root)

import bentoml

latest = bentoml.models.get("fcn-segmenter:latest")
stored = read_bundle(Path(latest.path))
assert stored.manifest == other.manifest
assert stored.model_path.read_bytes() == bundle.model_path.read_bytes()
assert latest.info.metadata["model_sha256"] == bundle.manifest.model_sha256
Path(latest.path_of("model.onnx")).write_bytes(b"damaged")
repaired = register(other.root)
print(first, again, second, latest.tag, repaired, register(bundle.root, "streets_8s.v2"))
"""


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "true"}
    return subprocess.run(
        [sys.executable, "-c", *arguments], env=environment, capture_output=True, text=True, check=False
    )


def test_a_registered_bundle_is_the_latest_model_and_is_not_stored_twice(tiny_bundle: Bundle, tmp_path: Path) -> None:
    done = run(tmp_path / "home", PROGRAM, str(tiny_bundle.root), str(tmp_path / "other"))
    assert done.returncode == 0, done.stderr
    first, again, second, latest, repaired, named = done.stdout.split()
    assert first == again
    assert first.startswith("fcn-segmenter:")
    assert second == latest != first
    assert repaired not in (first, second)
    assert named.startswith("streets_8s.v2:")


@pytest.mark.parametrize("name", ["", "Streets", "-streets", "streets.", "a/b", "a:b", "ä", "a b", "a" * 64, "a\n"])
def test_a_name_that_bentoml_does_not_take_is_refused(tiny_bundle: Bundle, name: str) -> None:
    with pytest.raises(ConfigError, match="lower-case letters, digits"):
        register(tiny_bundle.root, name)


def test_a_damaged_bundle_is_not_registered(own_bundle: Bundle) -> None:
    own_bundle.model_path.write_bytes(b"damaged")
    with pytest.raises(BundleError, match="sha256"):
        register(own_bundle.root)


def test_a_store_that_cannot_be_written_is_a_clear_error(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where a folder belongs")
    program = (
        "import sys\nfrom pathlib import Path\nfrom data.errors import ConfigError\n"
        "from model.runtime.store import register\n"
        "try:\n    register(Path(sys.argv[1]))\nexcept ConfigError as error:\n    print(error)\n"
    )
    done = run(tmp_path / "home", program, str(tiny_bundle.root))
    assert "BENTOML_HOME" in done.stdout, done.stderr
    assert read_bundle(tiny_bundle.root) == tiny_bundle
