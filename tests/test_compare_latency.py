"""What an arm costs in the serving engine."""

from __future__ import annotations

import numpy as np
import pytest

from data.errors import ExportError
from model.compare.memory import measure_peak_memory
from model.runtime.engine import EngineConfig

F32 = EngineConfig(engine="onnxruntime", precision="f32")


def test_peak_memory_is_that_of_a_process_of_its_own_and_grows_with_the_picture(tiny_bundle):
    ballast = np.ones(400_000_000, dtype=np.uint8)  # of this process, which must not be counted
    small = measure_peak_memory(tiny_bundle.root, (64, 64), F32)
    large = measure_peak_memory(tiny_bundle.root, (2048, 2048), F32)
    assert ballast[-1] == 1
    assert small is not None
    assert large is not None
    assert 20e6 < small < 350e6
    # Scores of 4 classes in 32 bits are 64 MB here.
    assert large - small > 64e6


def test_a_network_that_cannot_run_is_told(own_bundle):
    (own_bundle.root / "model.onnx").write_bytes(b"no network")
    with pytest.raises(ExportError, match=r"peak memory of .* cannot be measured"):
        measure_peak_memory(own_bundle.root, (64, 64), F32)
