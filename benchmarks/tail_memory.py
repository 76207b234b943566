"""The peak memory of this process, which labels one picture and imports no torch.

    python -m benchmarks.tail_memory BUNDLE SIDE

prints JSON: ``peak_mb``, and ``before_mb`` with the network loaded.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from model.runtime.bundle import read_bundle
from model.runtime.predictor import Predictor


def most_megabytes() -> float:
    """Most resident memory that this program ever had, in MB (10^6 bytes).

    Raises:
        RuntimeError: this system has no /proc; getrusage would tell what the process had before it became this program.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        raise RuntimeError("peak memory is read from /proc/self/status: run this on Linux")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / 1e6


def main() -> None:
    """Label a picture of random pixels."""
    predictor = Predictor(read_bundle(Path(sys.argv[1])))
    predictor.warm_up()
    before = most_megabytes()
    side = int(sys.argv[2])
    predictor.predict(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))
    print(json.dumps({"peak_mb": most_megabytes(), "before_mb": before}))


if __name__ == "__main__":
    main()
