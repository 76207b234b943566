"""Peak memory of one network in the serving engine, measured in a process of its own that holds no torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import numpy as np

from data.errors import ExportError
from model.runtime.bundle import read_bundle
from model.runtime.engine import EngineConfig, open_engine

PICTURES: Final = 3

_PEAK: Final = re.compile(r"VmHWM:\s+(\d+) kB")


def measure_peak_memory(bundle: Path, picture: tuple[int, int], config: EngineConfig) -> int | None:
    """The most memory that a process holds which opens a bundle and labels pictures of one size.

    Everything counts: the interpreter, the engine's libraries, the compiled network and its buffers. Of two arms
    the difference is what matters.

    Args:
        bundle: Folder.
        picture: Height and width, multiples of the network's stride.
        config: Engine, precision, threads.

    Returns:
        Bytes; None on a system that does not tell (Linux does).

    Raises:
        ExportError: the process fails.
    """
    height, width = picture
    told = json.dumps([str(bundle.resolve()), height, width, config.engine, config.precision])
    done = subprocess.run(
        [sys.executable, "-m", "model.compare.memory", told],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ExportError(f"the peak memory of {bundle} cannot be measured: {last}")
    return int(done.stdout) if done.stdout.strip() else None


def main(told: str) -> None:
    """Label some pictures and print the peak in bytes."""
    root, height, width, engine, precision = json.loads(told)
    opened = open_engine(read_bundle(Path(root)), EngineConfig(engine=engine, precision=precision))
    random = np.random.default_rng(0)
    for _ in range(PICTURES):
        opened.run(random.integers(0, 256, (1, height, width, 3), dtype=np.uint8))
    # Not getrusage: its peak begins with that of the process that started this one.
    try:
        peak = _PEAK.search(Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        return
    if peak:
        sys.stdout.write(str(1024 * int(peak[1])))


if __name__ == "__main__":
    main(sys.argv[1])
