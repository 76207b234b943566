"""The service over HTTP: beside the same work without HTTP, and beside services in torch as others write them.

    python -m benchmarks.services [--quick] [--run RUN] [--out docs/results]

Each server runs in processes of its own, all at the same time, and is asked in turn: the others idle meanwhile.
"""

from __future__ import annotations

import io
import itertools
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
from PIL import Image

from benchmarks.clients import Plan
from benchmarks.figures import Part, Row, Table, Target, digits
from benchmarks.load import ABOVE_MS, WARM, draw, level, one_client
from benchmarks.network import subject
from benchmarks.performance_page import options, report
from benchmarks.seeded import THREADS
from benchmarks.server import serving, starting
from model.runtime.predictor import Predictor
from model.runtime.processors import usable_processors
from service.pipeline import Pipeline, Watch
from service.settings import Settings

if TYPE_CHECKING:
    from benchmarks.network import Subject
    from model.runtime.bundle import Bundle

CLIENTS, ROUNDS, QUICK_ROUNDS, SECONDS, QUICK_SECONDS = 8, 5, 1, 10.0, 2.5
ANSWERS, LONGEST = 2, 3.0
"""Answers a client that a slow server is given time for, and how many times the time of the others at most."""
SHARE, TIMES, READY_SECONDS, IDLE_MB = 0.9, 5.0, 4.0, 300.0
OURS, WITHOUT = "this service", "the same work without HTTP"


@dataclass(frozen=True)
class Door:
    """Where a server takes pictures.

    Attributes:
        url: Of the server.
        seconds: That count in every round.
        path: On it.
        part: Name of the form's part that holds the picture; empty where it is the body.
    """

    url: str
    seconds: float
    path: str = Plan.path
    part: str = ""

    def label_map(self, body: bytes) -> tuple[np.ndarray, int]:
        """Ask once: the classes of all pixels, and the size of the answer in bytes.

        Raises:
            RuntimeError: it did not answer with a 200.
        """
        sent = {"files": {self.part: ("picture.jpg", body, "image/jpeg")}} if self.part else {"content": body}
        answer = httpx.post(f"{self.url}{self.path}", **sent, timeout=120)
        if answer.status_code != 200:
            raise RuntimeError(f"{self.path}: {answer.status_code} {answer.text[:300]}")
        if answer.headers["content-type"] == "image/png":
            return np.asarray(Image.open(io.BytesIO(answer.content))), len(answer.content)
        found = np.asarray(answer.json())
        return (found[..., 0] if found.ndim == 3 else found).astype(np.uint8), len(answer.content)

    def seconds_for(self, body: bytes) -> float:
        """Of one answer to one client."""
        begun = time.perf_counter()
        self.label_map(body)
        return time.perf_counter() - begun


PEERS = {
    "BentoML in torch, PIL in, lists out": ("bentoml serve benchmarks.peer_bentoml:Segmentation", "/segment", "image"),
    "TorchServe's image_segmenter handler": ("uvicorn benchmarks.peer_torchserve:app", "/predictions/network", ""),
}
"""By name: the server's command, its door and the part of a form that holds the picture there."""


def settings() -> Settings:
    """The service's defaults, on two threads."""
    return Settings(threads=0 if usable_processors() == THREADS else THREADS)


def without_http(pipeline: Pipeline, bodies: list[bytes], seconds: float, slots: int) -> float:
    """Answers a second of the service's own decoding, inference and encoding, in as many threads as it has slots."""
    begun = time.perf_counter()
    begin, end = begun + seconds * WARM, begun + seconds * (1 + WARM)

    def work(first: int) -> int:
        counted = 0
        for index in itertools.count(first):
            pipeline.run("application/octet-stream", bodies[index % len(bodies)], [], Watch(Event()))
            ended = time.perf_counter()
            if ended >= end:
                return counted
            counted += ended >= begin
        return counted

    with ThreadPoolExecutor(slots) as threads:
        return sum(threads.map(work, range(slots))) / seconds


def measure(network: Subject, rounds: int, seconds: float, clients: int) -> Part:
    """All of it: ours alone first, then everything in turn."""
    wanted, bundle = settings(), network.bundle
    threads = {"FCN_THREADS": str(wanted.threads)} if wanted.threads else {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        draw(folder)
        bodies = [path.read_bytes() for path in sorted(folder.iterdir())]
        ready = []
        for _ in range(rounds // 2):  # one start is as long as a hiccup
            with serving(bundle.root, threads) as server:
                ready.append(server.ready_seconds)
        server = stack.enter_context(serving(bundle.root, threads))
        ready.append(server.ready_seconds)
        time.sleep(1)
        worker, everyone = server.megabytes()
        _, alone = level(server.url, folder, 1, seconds)
        doors = {OURS: Door(server.url, seconds)}
        environment = network.environment()
        peers = {name: stack.enter_context(starting(peer[0].split(), environment)) for name, peer in PEERS.items()}
        for name, (_, path, part) in PEERS.items():
            doors[name] = Door(peers[name]().url, seconds, path, part)
        notes, first = {}, {}
        for name, door in tuple(doors.items()):
            first[name], size = door.label_map(bodies[0])
            same = "" if name == OURS else f", {(first[name] == first[OURS]).mean():.2%} of the pixels as ours"
            notes[name] = f"{digits(size / 1000)} kB an answer{same}"
            # A slow one is given the time for a few answers a client.
            least = ANSWERS * clients * door.seconds_for(bodies[1])
            doors[name] = replace(door, seconds=min(max(seconds, least), LONGEST * seconds))
            level(door.url, folder, clients, seconds / 2, door.path, door.part)  # not counted
        rates, p50 = _in_turn(doors, _pipeline(bundle, wanted), folder, bodies, rounds, clients)
    return part_of(rates, p50, notes, clients, one_client(alone), ready, (worker, everyone))


def _pipeline(bundle: Bundle, wanted: Settings) -> Pipeline:
    predictor = Predictor(bundle, wanted.engine_config(), wanted.max_tile)
    predictor.warm_up()
    return Pipeline(predictor, wanted)


def _in_turn(
    doors: dict[str, Door], pipeline: Pipeline, folder: Path, bodies: list[bytes], rounds: int, clients: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Answers a second and median milliseconds of every round."""
    rates: dict[str, list[float]] = {name: [] for name in (OURS, WITHOUT, *doors)}
    p50: dict[str, list[float]] = {name: [] for name in doors}
    for _ in range(rounds):
        for name, door in doors.items():
            row, _ = level(door.url, folder, clients, door.seconds, door.path, door.part)
            rates[name].append(row["throughput"])
            p50[name].append(row["p50_ms"])
            print(f"{name}: {row['throughput']:.1f} answers/s", flush=True)
            if name == OURS:
                rates[WITHOUT].append(without_http(pipeline, bodies, door.seconds, Settings.slots))
                print(f"{WITHOUT}: {rates[WITHOUT][-1]:.1f} answers/s", flush=True)
    return rates, p50


def part_of(
    rates: dict[str, list[float]],
    p50: dict[str, list[float]],
    notes: dict[str, str],
    clients: int,
    single: dict[str, Any],
    ready: list[float],
    idle: tuple[float, float],
) -> Part:
    """The page's section.

    Raises:
        RuntimeError: a server answered nothing in time.
    """
    medians = {name: statistics.median(values) for name, values in rates.items()}
    silent = [name for name, median in medians.items() if median == 0]
    if silent:
        raise RuntimeError(f"no answer in time from {', '.join(silent)}: give --seconds more")
    peers = [name for name in p50 if name != OURS]
    throughput = [
        Row.of(name, values, None if name == OURS else medians[OURS] / medians[name], notes.get(name, ""))
        for name, values in rates.items()
    ]
    worker, everyone = idle
    return Part(
        f"{clients} clients on the same machine send JPEGs of 480x360 and ask again once they are answered; {THREADS} "
        "threads, the same network. Each peer is asked in turn with ours. TorchServe itself is archived and needs "
        "Java: its handler's work is run here behind a plain ASGI server, on the whole picture.",
        (
            Table("answers/s", tuple(throughput), "ours / it"),
            Table("p50 ms", tuple(Row.of(name, values) for name, values in p50.items())),
        ),
        (
            Target(f"throughput, ours / {WITHOUT}", medians[OURS] / medians[WITHOUT], SHARE, at_most=False),
            *(Target(f"throughput, ours / {peer}", medians[OURS] / medians[peer], TIMES, False) for peer in peers),
            Target(
                "one client: p50 above decoding, inference and encoding",
                single["above_ms"],
                ABOVE_MS,
                at_most=True,
                unit="ms",
                note=f"p50 {single['p50_ms']:.1f} ms",
            ),
            Target(
                "start until ready",
                statistics.median(ready),
                READY_SECONDS,
                at_most=True,
                unit="s",
                note=f"starts: {len(ready)}",
            ),
            Target("idle memory of the worker", worker, IDLE_MB, at_most=True, unit="MB"),
            Target("idle memory of all processes", everyone, IDLE_MB, at_most=True, unit="MB"),
        ),
    )


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, or {QUICK_ROUNDS} with --quick")
    parser.add_argument("--clients", type=int, default=CLIENTS, help="at the same time")
    parser.add_argument("--seconds", type=float, help="that count for each server and round")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS)
    with subject(chosen) as network:
        seconds = chosen.seconds or (QUICK_SECONDS if chosen.quick else SECONDS)
        found = measure(network, rounds, seconds, chosen.clients)
        report("services", network.name, found, chosen.out)


if __name__ == "__main__":
    sys.exit(main())
