"""What the service bears: throughput and latency by clients, and four times as much as it bears.

    python -m benchmarks.load BUNDLE [--quick] [--out docs/results]

Pictures of 480x360 are drawn; JPEG in, PNG out. Quick takes about a minute, else four.
"""

from __future__ import annotations

import io
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from benchmarks.clients import Answer, Answers, Plan, ask
from benchmarks.server import serving
from benchmarks.service_page import SERVICE, options, run_of
from data.sources.shapes import ShapesSource
from service.settings import Settings

if TYPE_CHECKING:
    from benchmarks.server import Server

WIDTH, HEIGHT, PICTURES = 480, 360, 8
CLIENTS = (1, 2, 4, 8, 16, 32, 64)
OVERLOAD = 4
ABOVE_MS = 4.0
WARM = 0.2
"""Share of a run's time that is not counted: connections open, the engine compiles for the shape."""


def draw(folder: Path) -> None:
    """Write the bodies that are sent."""
    source = ShapesSource(1, PICTURES, (HEIGHT, WIDTH), seed=9)
    for index in range(PICTURES):
        buffer = io.BytesIO()
        Image.fromarray(source.load("val", index).image).save(buffer, "JPEG", quality=90)
        (folder / f"{index}.jpg").write_bytes(buffer.getvalue())


def milliseconds(answers: list[Answer], percent: float) -> float:
    """A percentile of the times; 0 of none."""
    return float(np.percentile([1000 * answer.seconds for answer in answers], percent)) if answers else 0.0


def level(
    url: str, folder: Path, clients: int, seconds: float, path: str = Plan.path, part: str = ""
) -> tuple[dict[str, Any], list[Answer]]:
    """One number of clients: its row, and the answers that count.

    Args:
        url: The server's.
        folder: Of the bodies.
        clients: At the same time.
        seconds: That count.
        path: Where the bodies are sent.
        part: See ``Plan``.
    """
    found = ask(Plan(url, str(folder), seconds * (1 + WARM), clients=clients, seed=clients, path=path, part=part))
    # By when they ended, so that what was begun before and after the time is not counted twice or never.
    begin, end = seconds * WARM, seconds * (1 + WARM)
    counted = [answer for answer in found.answers if begin <= answer.due + answer.seconds < end]
    good = [answer for answer in counted if answer.status == 200]
    row = {
        "clients": clients,
        "throughput": len(good) / seconds,
        "p50_ms": milliseconds(good, 50),
        "p95_ms": milliseconds(good, 95),
        "refused": sum(answer.status == 503 for answer in counted),
        "statuses": statuses(counted),
        "client_processors": found.processor_seconds / found.seconds,
    }
    return row, good


def statuses(answers: list[Answer]) -> dict[str, int]:
    """How often each came, by status."""
    return {str(status): count for status, count in sorted(Counter(answer.status for answer in answers).items())}


def overload(found: Answers, offered: float, seconds: float, target: float) -> dict[str, Any]:
    """What became of more than can be done.

    Args:
        found: All answers.
        offered: Requests a second.
        seconds: For how long.
        target: Longest time of an accepted request, in seconds.
    """
    parts: dict[str, list[Answer]] = {"accepted": [], "refused": []}
    for answer in found.answers:
        if answer.status in (200, 503):
            parts["accepted" if answer.status == 200 else "refused"].append(answer)
    told = {
        name: {
            "count": len(part),
            "p50_ms": milliseconds(part, 50),
            "p95_ms": milliseconds(part, 95),
            "longest_ms": milliseconds(part, 100),
        }
        for name, part in parts.items()
    }
    accepted = parts["accepted"]
    within = sum(answer.seconds <= target for answer in accepted) / max(1, len(accepted))
    return {
        "offered": offered,
        "seconds": seconds,
        **told,
        "statuses": statuses(found.answers),
        "target_ms": 1000 * target,
        "within": within,
        "met": bool(accepted) and within == 1,
        "only_200_and_503": sum(map(len, parts.values())) == len(found.answers),
        "late_p95_ms": float(np.percentile([1000 * answer.late for answer in found.answers], 95)),
        "client_processors": found.processor_seconds / found.seconds,
    }


def one_client(answers: list[Answer]) -> dict[str, Any]:
    """How much longer than its stages a request takes where nothing else is going on."""
    p50 = milliseconds(answers, 50)
    stages = 1000 * statistics.median(answer.served for answer in answers)
    above = p50 - stages
    return {
        "p50_ms": p50,
        "stages_p50_ms": stages,
        "above_ms": above,
        "target_ms": ABOVE_MS,
        "met": above <= ABOVE_MS,
    }


def measure(server: Server, clients: tuple[int, ...], seconds: float, overload_seconds: float) -> dict[str, Any]:
    """All figures of a server that has just become ready."""
    time.sleep(1)
    worker, everyone = server.megabytes()
    rows, alone = [], []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        draw(folder)
        for number in clients:
            row, good = level(server.url, folder, number, seconds)
            if not good:
                raise RuntimeError(
                    f"{number} clients got no picture answered, but {row['statuses']}; see the service's log"
                )
            print(f"{number} clients: {row['throughput']:.1f} answers/s, p50 {row['p50_ms']:.1f} ms", flush=True)
            rows.append(row)
            alone = good if number == 1 else alone
        best = max(row["throughput"] for row in rows)
        plan = Plan(server.url, str(folder), overload_seconds, rate=OVERLOAD * best)
        full = (Settings.slots + Settings.queue) / best
        over = overload(ask(plan), plan.rate, overload_seconds, 2 * full)
    return {
        "picture": f"{WIDTH}x{HEIGHT}",
        "closed": rows,
        "best_throughput": best,
        "overload": over,
        "one_client": one_client(alone),
        "ready_seconds": server.ready_seconds,
        "idle_worker_mb": worker,
        "idle_all_mb": everyone,
    }


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument(
        "--clients", type=int, nargs="+", default=CLIENTS, help="numbers of clients; 1 is always among them"
    )
    parser.add_argument("--seconds", type=float, help="that count for each number of clients")
    parser.add_argument("--overload-seconds", type=float, help="of four times the load")
    chosen = parser.parse_args()
    seconds = chosen.seconds or (3.0 if chosen.quick else 20.0)
    run = run_of("load", chosen)
    with serving(chosen.bundle) as server:
        found = measure(
            server,
            tuple(sorted({1, *chosen.clients})),
            seconds,
            chosen.overload_seconds or (8.0 if chosen.quick else 30.0),
        )
    SERVICE.report("load", {"run": run, **found}, chosen.out)


if __name__ == "__main__":
    sys.exit(main())
