"""Whether the cost grows with the work and no faster: time a megapixel, peak memory, throughput by clients.

python -m benchmarks.growth [--quick] [--run RUN] [--out docs/results]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import memory
from benchmarks.figures import Part, Row, Table, Target
from benchmarks.load import CLIENTS, draw, level
from benchmarks.network import subject
from benchmarks.performance_page import options, report
from benchmarks.server import serving
from data.pixels import decode_image
from model.runtime.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.runtime.bundle import Bundle

QUICK_MEGAPIXELS, QUICK_CLIENTS = (0.25, 1, 4), (1, 8, 64)
ROUNDS, QUICK_ROUNDS, WARM_UP = 5, 2, 4
SECONDS, QUICK_SECONDS = 4.0, 2.0
CLIENT_ROUNDS, QUICK_CLIENT_ROUNDS = 3, 1
FURTHEST, LEAST_SHARE = 0.25, 0.9


def measure_times(bundle: Bundle, megapixels: Sequence[float], rounds: int) -> dict[float, list[float]]:
    """Milliseconds a megapixel of every size, all in turn by one predictor with its defaults."""
    predictor = Predictor(bundle)
    pictures = {size: decode_image(memory.draw(size), round(1.1e6 * size) + 1) for size in megapixels}
    for size, picture in pictures.items():
        for _ in range(WARM_UP if size <= 1 else 1):  # the engine compiles for a small shape that comes back
            predictor.predict(picture)
    times: dict[float, list[float]] = {size: [] for size in megapixels}
    for _ in range(rounds):
        for size, picture in pictures.items():
            # Small ones several times: one alone is as long as a single hiccup.
            for _ in range(max(1, round(2 / size))):
                started = time.perf_counter()
                predictor.predict(picture)
                pixels = picture.shape[0] * picture.shape[1]
                times[size].append(1000 * (time.perf_counter() - started) / (pixels / 1e6))
    return times


def measure_clients(bundle: Bundle, clients: Sequence[int], seconds: float, rounds: int = 1) -> dict[int, list[float]]:
    """Answers a second of one server by the number of its clients, all numbers in turn: neighbours slow each alike.

    Args:
        bundle: Served.
        clients: At the same time.
        seconds: For each number and round.
        rounds: Over all numbers.

    Raises:
        RuntimeError: no picture was answered.
    """
    rates: dict[int, list[float]] = {number: [] for number in clients}
    with serving(bundle.root) as server, tempfile.TemporaryDirectory() as place:
        draw(Path(place))
        for _ in range(rounds):
            for number, found in rates.items():
                row, good = level(server.url, Path(place), number, seconds)
                if not good:
                    raise RuntimeError(f"{number} clients got no picture answered, but {row['statuses']}")
                print(f"{number} clients: {row['throughput']:.1f} answers/s", flush=True)
                found.append(row["throughput"])
    return rates


def kept_share(rates: dict[int, list[float]]) -> float:
    """Least median throughput with as many clients as were best, or more, as a share of the best."""
    throughputs = [statistics.median(rates[number]) for number in sorted(rates)]
    best = throughputs.index(max(throughputs))
    return min(throughputs[best:]) / throughputs[best]


def part_of(times: dict[float, list[float]], peaks: Sequence[dict[str, Any]], clients: dict[int, list[float]]) -> Part:
    """The page's section."""
    medians = {size: statistics.median(values) for size, values in times.items()}
    middle = statistics.median(medians.values())
    furthest = max(medians, key=lambda size: abs(medians[size] / middle - 1))
    largest = max(peaks, key=lambda row: row["megapixels"])
    best = max(statistics.median(rates) for rates in clients.values())
    return Part(
        "One drawn picture in ever larger sizes, in one process and, for the memory, each as a JPEG asked of a new "
        "server with one slot; then one server with ever more clients, pictures of 480x360.",
        (
            Table(
                "ms a megapixel",
                tuple(Row.of(f"{size:g} megapixels", times[size], medians[size] / middle) for size in times),
                "it / the middle one",
            ),
            Table(
                "peak resident MB",
                tuple(Row(f"{row['megapixels']:g} megapixels", row["peak_mb"]) for row in peaks),
            ),
            Table(
                "answers/s",
                tuple(
                    Row.of(_clients(number), rates, statistics.median(rates) / best)
                    for number, rates in clients.items()
                ),
                "it / the best",
            ),
        ),
        (
            Target(
                "time a megapixel: furthest from the middle size",
                abs(medians[furthest] / middle - 1),
                FURTHEST,
                at_most=True,
                note=f"{furthest:g} megapixels",
            ),
            Target(
                f"peak memory at {largest['megapixels']:g} megapixels",
                largest["peak_mb"],
                memory.TARGET_MB,
                at_most=True,
                unit="MB",
            ),
            Target("throughput kept with more clients than are best", kept_share(clients), LEAST_SHARE, at_most=False),
        ),
    )


def _clients(number: int) -> str:
    return "1 client" if number == 1 else f"{number} clients"


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--megapixels", type=float, nargs="+", help="sizes of the picture")
    parser.add_argument("--clients", type=int, nargs="+", help="numbers of clients")
    parser.add_argument("--seconds", type=float, help="that count for each number of clients and round")
    chosen = parser.parse_args()
    quick = chosen.quick
    megapixels = chosen.megapixels or (QUICK_MEGAPIXELS if quick else memory.MEGAPIXELS)
    with subject(chosen) as network:
        bundle = network.bundle
        times = measure_times(bundle, megapixels, QUICK_ROUNDS if quick else ROUNDS)
        measured = megapixels[-1:] if quick else megapixels  # each is a server of its own
        peaks = [memory.measure(bundle.root, size, 1 if quick else memory.ROUNDS) for size in measured]
        numbers = chosen.clients or (QUICK_CLIENTS if quick else CLIENTS)
        seconds, rounds = (QUICK_SECONDS, QUICK_CLIENT_ROUNDS) if quick else (SECONDS, CLIENT_ROUNDS)
        clients = measure_clients(bundle, numbers, chosen.seconds or seconds, rounds)
        report("growth", network.name, part_of(times, peaks, clients), chosen.out)


if __name__ == "__main__":
    sys.exit(main())
