"""Time and peak memory of one picture in the serving engine, for every arm."""

from __future__ import annotations

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.compare.memory import measure_peak_memory
from model.fcn import COARSEST_STRIDE
from model.graph import to_onnx
from model.provenance import processor_name
from model.runtime.bundle import Manifest, write_bundle
from model.runtime.engine import EngineConfig, open_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from model.run import Run
    from model.runtime.bundle import Bundle

ROUNDS: Final = 15
CONFIG: Final = EngineConfig(engine="openvino", precision="f32")


def measure_latency(
    runs: Mapping[str, Run],
    which: str,
    picture: tuple[int, int],
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Time the whole network of each arm, picture in and label map out, in OpenVINO.

    The arms take turns, so that what else the machine does falls on all of them alike.

    Args:
        runs: Name of an arm to its trained network.
        which: Checkpoint.
        picture: Height and width; rounded up to multiples of 32.
        advance: Called after every export.

    Returns:
        JSON-able: median milliseconds by arm (``milliseconds``), peak memory by arm (``peak_bytes``, of a process
        that does nothing else), and how they were taken.

    Raises:
        ExportError: an arm cannot be exported.
    """
    height, width = (-(-side // COARSEST_STRIDE) * COARSEST_STRIDE for side in picture)
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        engines = {}
        peaks: dict[str, int | None] = {}
        for name, run in runs.items():
            bundle = _export(run, which, Path(folder) / name)
            peaks[name] = measure_peak_memory(bundle.root, (height, width), CONFIG)
            engines[name] = open_engine(bundle, CONFIG)
            advance()
        times: dict[str, list[float]] = {name: [] for name in engines}
        for engine in engines.values():
            engine.run(image)
        for _ in range(ROUNDS):
            for name, engine in engines.items():
                started = time.perf_counter()
                engine.run(image)
                times[name].append(time.perf_counter() - started)
    return {
        "milliseconds": {name: round(1000 * float(np.median(taken)), 3) for name, taken in times.items()},
        "peak_bytes": peaks,
        "picture": [height, width],
        "rounds": ROUNDS,
        "engine": f"OpenVINO, {CONFIG.precision}",
        "processor": processor_name(),
    }


def _export(run: Run, which: str, root: Path) -> Bundle:
    config = run.config()
    manifest = Manifest(
        name=root.name,
        labels=run.labels(),
        stride=COARSEST_STRIDE,
        encoder=config.model.encoder,
        upsampler=config.model.upsampler,
        finest_stride=config.model.finest_stride,
        model_sha256="",
        scores={},
        provenance={},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return write_bundle(root, to_onnx(run.network(which)), manifest)
