"""What the first worker cannot load is told to the process above it."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from data.errors import FcnError
from model.runtime.bundle import write_bundle
from service.first_start import first_start, watch_first_start

ROOT = Path(__file__).resolve().parent.parent
LOAD = """
import os
from pathlib import Path
from model.runtime.bundle import read_bundle
from model.runtime.predictor import Predictor
from service.first_start import first_start
from service.settings import Settings

settings = Settings.from_environment(os.environ)
with first_start():
    Predictor(read_bundle(Path(os.environ["FCN_BUNDLE"])), settings.engine_config(), settings.max_tile).warm_up()
print("serves")
"""


@pytest.fixture
def told(monkeypatch):
    """What a supervisor that waits is told, one after the other."""
    monkeypatch.setenv("SEGMENTER_FIRST_START", "")
    messages = queue.Queue()
    watch_first_start(Path("my-bundle"), messages.put)
    return messages


def worker(code, **settings):
    environment = {**os.environ, "FCN_PRECISION": "f32", "FCN_MAX_TILE": "512", **settings}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_worker_that_serves_says_so_once_and_those_after_it_say_nothing(told, tiny_bundle):
    for _ in range(2):
        done = worker(LOAD, FCN_BUNDLE=str(tiny_bundle.root))
        assert (done.returncode, done.stdout) == (0, "serves\n"), done.stderr
    assert told.empty()


def test_a_network_that_loads_but_cannot_run_any_size_is_refused(told, tiny_bundle, tmp_path):
    import onnx

    model = onnx.load(tiny_bundle.model_path)
    for index, size in enumerate((1, 96, 96)):
        model.graph.input[0].type.tensor_type.shape.dim[index].dim_value = size
    bundle = write_bundle(tmp_path / "fixed", model.SerializeToString(), tiny_bundle.manifest)
    done = worker(LOAD, FCN_BUNDLE=str(bundle.root))
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    assert "cannot run a picture of 96x32" in told.get(timeout=10)


def test_a_tile_below_the_stride_of_the_network_is_refused(told, tiny_bundle, tmp_path):
    manifest = replace(tiny_bundle.manifest, stride=1024)
    bundle = write_bundle(tmp_path / "coarse", tiny_bundle.model_path.read_bytes(), manifest)
    assert worker(LOAD, FCN_BUNDLE=str(bundle.root)).returncode == 1
    assert "max_tile is 512; the network needs at least its stride, 1024" in told.get(timeout=10)


def test_an_engine_that_crashes_is_told_by_the_process_above(told):
    crash = "import os, signal\nfrom service.first_start import first_start\n"
    crash += "with first_start():\n    os.kill(os.getpid(), signal.SIGSEGV)"
    assert worker(crash).returncode < 0
    assert "loaded my-bundle ended without a word" in told.get(timeout=10)


def test_without_a_supervisor_a_fault_is_an_exception(monkeypatch):
    for address in (None, "", "/no/such/place"):
        if address is None:
            monkeypatch.delenv("SEGMENTER_FIRST_START", raising=False)
        else:
            monkeypatch.setenv("SEGMENTER_FIRST_START", address)
        with pytest.raises(FcnError, match="altered"), first_start():
            raise FcnError("altered")


def test_a_temporary_folder_with_too_long_a_name_does_not_stop_the_start(tmp_path):
    place = tmp_path / ("t" * 100)
    place.mkdir()
    start = "from pathlib import Path\nfrom service.first_start import first_start, watch_first_start\n"
    start += "watch_first_start(Path('my-bundle'), print)\nwith first_start():\n    print('serves')"
    done = worker(start, TMPDIR=str(place), SEGMENTER_FIRST_START="")
    assert (done.returncode, done.stdout) == (0, "serves\n"), done.stderr
    assert "too long" in done.stderr
