"""`fcn predict` over a folder of JPEGs beside the engine alone on the same pictures, already decoded.

    python -m benchmarks.folder [--quick] [--run RUN] [--out docs/results]

All take turns in one process, with networks that are loaded and warm.
"""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from rich.console import Console

from benchmarks.figures import Part, Row, Table, Target
from benchmarks.network import subject
from benchmarks.performance_page import options, report
from benchmarks.seeded import HEIGHT, WIDTH
from data.pixels import pad_to_multiple, read_image
from data.sources.shapes import ShapesSource
from model.runtime.engine import DEFAULT_CONFIG, open_engine
from model.runtime.folder import FOLDER_CONFIG, predict_folder
from model.runtime.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from model.runtime.bundle import Bundle
    from model.runtime.engine import EngineConfig
    from model.runtime.labelling import Labelling, Outcome
    from model.runtime.pictures import Picture

PICTURES, QUICK_PICTURES, ROUNDS, QUICK_ROUNDS, WARM_UP = 200, 30, 5, 2, 4
TARGET = 0.95
ENGINE, TWO = "the engine, one after the other", "the engine, two at a time"
FORMS = {"fcn predict, label maps and overlays": True, "fcn predict --overlay false": False}
"""By name, whether overlays are written."""
PROGRAM = "fcn predict, start included"
ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Warm:
    """Labels in this process, as ``fcn predict`` does, by a predictor that is loaded already."""

    predictor: Predictor

    def label(
        self, todo: Iterator[Picture], bundle: Bundle, config: EngineConfig, labelling: Labelling
    ) -> Generator[Sequence[Outcome], None, None]:
        """See ``Workers``."""
        del bundle  # the predictor has it
        for outcome in labelling.run(list(todo), self.predictor, config.streams):
            yield [outcome]


def draw(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write so many JPEGs."""
    source = ShapesSource(1, count, size, seed=21)
    for index in range(count):
        buffer = io.BytesIO()
        Image.fromarray(source.load("val", index).image).save(buffer, "JPEG", quality=90)
        (folder / f"{index:04d}.jpg").write_bytes(buffer.getvalue())


def measure(bundle: Bundle, pictures: Path, rounds: int) -> dict[str, list[float]]:
    """Pictures a second, of every round."""
    single, predictor = open_engine(bundle, DEFAULT_CONFIG), Predictor(bundle, FOLDER_CONFIG)
    arrays = [pad_to_multiple(read_image(path), bundle.manifest.stride) for path in sorted(pictures.iterdir())]
    for array in arrays[:WARM_UP]:  # the engine compiles for a shape that comes back
        single.run(array[None])
        predictor.engine.run(array[None])
    silent = Console(file=io.StringIO())
    rates: dict[str, list[float]] = {name: [] for name in (ENGINE, TWO, *FORMS, PROGRAM)}
    for _ in range(rounds):
        for name, engine, threads in ((ENGINE, single, 1), (TWO, predictor.engine, FOLDER_CONFIG.streams)):
            with ThreadPoolExecutor(threads) as callers:
                started = time.perf_counter()
                for _ in callers.map(lambda array, run=engine.run: run(array[None]), arrays):
                    pass
                rates[name].append(len(arrays) / (time.perf_counter() - started))
        for name, overlay in FORMS.items():
            with tempfile.TemporaryDirectory() as out:
                started = time.perf_counter()
                done = predict_folder(
                    bundle.root, pictures, Path(out), overlay=overlay, console=silent, workers=Warm(predictor)
                )
                rates[name].append(len(arrays) / (time.perf_counter() - started))
            if done.written != len(arrays):
                raise RuntimeError(f"{done.written} of {len(arrays)} pictures were labelled: {done.failed[:3]}")
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-m", "model.cli", "predict", str(bundle.root), str(pictures), "--out", out]
            started = time.perf_counter()
            subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
            rates[PROGRAM].append(len(arrays) / (time.perf_counter() - started))
    return rates


def part_of(rates: dict[str, list[float]], pictures: int, size: tuple[int, int]) -> Part:
    """The page's section."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {name: medians[name] / medians[ENGINE] for name in rates if name != ENGINE}
    rows = [Row.of(name, values, ratios.get(name)) for name, values in rates.items()]
    return Part(
        f"{pictures} drawn JPEGs of {size[1]}x{size[0]}: read, labelled and written as `fcn predict` does, beside the "
        "engine with its defaults on the decoded arrays. All take turns. `fcn predict` has the engine work on two "
        "pictures at a time; told without and with the start of the program, which is the same for any number.",
        (Table("pictures/s", tuple(rows), "it / the engine"),),
        tuple(Target(f"{name} / the engine", ratios[name], TARGET, at_most=False) for name in FORMS),
    )


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--pictures", type=int, help=f"{PICTURES}, or {QUICK_PICTURES} with --quick")
    parser.add_argument("--size", type=int, nargs=2, default=(HEIGHT, WIDTH), help="height and width of the pictures")
    chosen = parser.parse_args()
    count = chosen.pictures or (QUICK_PICTURES if chosen.quick else PICTURES)
    with subject(chosen) as network, tempfile.TemporaryDirectory() as place:
        draw(Path(place), count, tuple(chosen.size))
        rates = measure(network.bundle, Path(place), QUICK_ROUNDS if chosen.quick else ROUNDS)
        report("folder", network.name, part_of(rates, count, tuple(chosen.size)), chosen.out)


if __name__ == "__main__":
    sys.exit(main())
