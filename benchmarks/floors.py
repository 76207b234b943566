"""Floors: how fast the machine multiplies and copies at best, to hold a figure against."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.runtime.openvino_engine import OpenVinoEngine

MATRIX: Final = 2048
COPIED: Final = 64 << 20


def peak(engine: OpenVinoEngine) -> float:
    """Multiplications a second of a large matrix product in the engine, in its precision."""
    import openvino as ov  # noqa: PLC0415
    from openvino import opset13 as ops  # noqa: PLC0415

    left = ops.parameter([MATRIX, MATRIX], np.float32)
    rng = np.random.default_rng(0)
    right = ops.constant(rng.normal(size=(MATRIX, MATRIX)).astype(np.float32))
    request = engine.compile(ov.Model([ops.matmul(left, right, False, False)], [left])).create_infer_request()
    given = rng.normal(size=(MATRIX, MATRIX)).astype(np.float32)
    return MATRIX**3 / least_seconds(lambda: request.infer({0: given}, share_inputs=True, share_outputs=True))


def copy_rate() -> float:
    """Bytes a second of a large copy on one thread."""
    source = np.ones(COPIED, dtype=np.uint8)
    target = np.empty_like(source)
    return COPIED / least_seconds(lambda: np.copyto(target, source))


def least_seconds(work: Callable[[], object]) -> float:
    """The shortest of several runs."""
    seconds = []
    for _ in range(8):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)
