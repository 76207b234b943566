"""Thousands of mixed small pictures, some broken: does the worker grow, do files or threads stay behind?

python -m benchmarks.soak BUNDLE [--quick] [--requests 10000] [--out docs/results]
"""

from __future__ import annotations

import io
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.clients import Plan, ask
from benchmarks.server import serving
from benchmarks.service_page import SERVICE, options, run_of
from data.sources.shapes import ShapesSource

if TYPE_CHECKING:
    from benchmarks.clients import Answer
    from benchmarks.server import Server

CLIENTS, WARM_UP, PARTS = 4, 500, 4
BODIES, SMALLEST, LARGEST, BROKEN = 400, 16, 256, 0.05
TARGET = 0.05
LONGEST_SECONDS = 900
KINDS = (
    ("JPEG", "RGB"),
    ("JPEG", "L"),
    ("PNG", "RGB"),
    ("PNG", "RGBA"),
    ("PNG", "P"),
    ("PNG", "L"),
    ("WEBP", "RGB"),
    ("WEBP", "RGBA"),
)


def draw(folder: Path, bodies: int) -> None:
    """Write so many bodies; the names of broken ones begin with ``broken``."""
    draws = np.random.default_rng(11)
    for index in range(bodies):
        height, width = (int(side) for side in draws.integers(SMALLEST, LARGEST + 1, 2))
        form, mode = KINDS[index % len(KINDS)]
        image = Image.fromarray(ShapesSource(1, 1, (height, width), seed=index).load("val", 0).image).convert(mode)
        if mode == "RGBA":
            image.putalpha(Image.fromarray(draws.integers(0, 256, (height, width), dtype=np.uint8)))
        buffer = io.BytesIO()
        image.save(buffer, form)
        body, name = buffer.getvalue(), "sound"
        if index < bodies * BROKEN:
            name = "broken"
            # Cut off, no picture at all, a head with noise behind it.
            body = (body[: len(body) // 2], b"https://example.org/photo.jpg", body[:40] + draws.bytes(400))[index % 3]
        (folder / f"{name}-{index:03d}").write_bytes(body)


def as_it_should(answer: Answer) -> bool:
    """Whether a sound picture got a 200, a broken one a 4xx."""
    return 400 <= answer.status < 500 if answer.body.startswith("broken") else answer.status == 200


def sample(server: Server, requests: int) -> dict[str, Any]:
    """The worker as it is now, once closed connections are gone."""
    time.sleep(0.5)
    worker = server.worker()
    return {
        "requests": requests,
        "megabytes": worker.memory_info().rss / 1e6,
        "files": worker.num_fds(),
        "threads": worker.num_threads(),
    }


def measure(server: Server, requests: int, warm_up: int) -> dict[str, Any]:
    """All figures: samples after the warm-up and after every part."""
    counts: Counter[int] = Counter()
    wrong: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        draw(Path(place), min(BODIES, requests))
        ask(Plan(server.url, place, LONGEST_SECONDS, clients=CLIENTS, requests=warm_up))
        samples = [sample(server, 0)]
        done = 0
        for part in range(PARTS):
            share = requests * (part + 1) // PARTS - requests * part // PARTS
            plan = Plan(server.url, place, LONGEST_SECONDS / PARTS, clients=CLIENTS, requests=share, seed=1 + part)
            answers = ask(plan).answers
            counts.update(answer.status for answer in answers)
            wrong.update(f"{answer.body}: {answer.status}" for answer in answers if not as_it_should(answer))
            done += len(answers)
            samples.append(sample(server, done))
            print(f"{done} requests: {samples[-1]['megabytes']:.1f} MB", flush=True)
    growth = samples[-1]["megabytes"] / samples[0]["megabytes"] - 1
    return {
        "requests": done,
        "warm_up": warm_up,
        "clients": CLIENTS,
        "pictures": f"sides of {SMALLEST} to {LARGEST}, JPEG, PNG and WebP, colour, grey, palette and alpha, "
        f"{BROKEN:.0%} broken",
        "samples": samples,
        "growth": growth,
        "target": TARGET,
        "met": growth < TARGET,
        "statuses": {str(status): count for status, count in sorted(counts.items())},
        "unexpected": dict(wrong),
        "as_expected": not wrong and done == requests,
    }


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--requests", type=int, help="10000, or 1500 with --quick")
    parser.add_argument("--warm-up", type=int, default=WARM_UP, help="requests before the first sample")
    chosen = parser.parse_args()
    run = run_of("soak", chosen)
    with serving(chosen.bundle) as server:
        found = measure(server, chosen.requests or (1500 if chosen.quick else 10_000), chosen.warm_up)
    SERVICE.report("soak", {"run": run, **found}, chosen.out)


if __name__ == "__main__":
    sys.exit(main())
