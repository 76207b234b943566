"""Peak memory and time for one picture of 0.25 to 100 megapixels, each asked of a server of its own.

python -m benchmarks.memory BUNDLE [--quick] [--megapixels 0.25 1 4 16 64 100] [--out docs/results]
"""

from __future__ import annotations

import io
import math
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
from PIL import Image

from benchmarks.server import serving
from benchmarks.service_page import SERVICE, options, run_of
from data.sources.shapes import ShapesSource

if TYPE_CHECKING:
    from pathlib import Path

MEGAPIXELS = (0.25, 1, 4, 16, 64, 100)
TARGET_MB = 1200.0
ROUNDS = 3


def draw(megapixels: float) -> bytes:
    """A drawn scene brought to the size, 4 to 3, as JPEG."""
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    width = round(megapixels * 1e6 / height)
    scene = Image.fromarray(ShapesSource(1, 1, (768, 1024), seed=12).load("val", 0).image)
    buffer = io.BytesIO()
    scene.resize((width, height), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def measure(bundle: Path, megapixels: float, rounds: int) -> dict[str, Any]:
    """One size, in a server of its own.

    Raises:
        RuntimeError: the service did not answer with a picture.
    """
    body = draw(megapixels)
    times = []
    with serving(bundle, {"FCN_SLOTS": "1"}) as server:
        idle, _ = server.megabytes()
        for _ in range(rounds):
            started = time.perf_counter()
            answer = httpx.post(f"{server.url}/v1/segment", content=body, timeout=90)
            times.append(time.perf_counter() - started)
            if answer.status_code != 200:
                raise RuntimeError(f"{megapixels} megapixels: {answer.status_code} {answer.text[:300]}")
        peak = server.peak_megabytes()
    row = {
        "megapixels": megapixels,
        "body_mb": len(body) / 1e6,
        "peak_mb": peak,
        "idle_mb": idle,
        "seconds": min(times),
        "ms_a_megapixel": 1000 * min(times) / megapixels,
    }
    print(f"{megapixels:g} megapixels: peak {peak:.0f} MB, {min(times):.2f} s", flush=True)
    return row


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--megapixels", type=float, nargs="+", default=MEGAPIXELS)
    chosen = parser.parse_args()
    run = run_of("memory", chosen)
    rows = [measure(chosen.bundle, size, 1 if chosen.quick else ROUNDS) for size in chosen.megapixels]
    met = max(row["peak_mb"] for row in rows) < TARGET_MB
    SERVICE.report("memory", {"run": run, "rows": rows, "target_mb": TARGET_MB, "met": met}, chosen.out)


if __name__ == "__main__":
    sys.exit(main())
