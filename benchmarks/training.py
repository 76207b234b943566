"""Training beside a plain loop, the wait for the loader, torch.compile, and upsamplers trained alone.

    python -m benchmarks.training [--quick] [--out docs/results]

All on the same drawn files, network, crops and number of threads, in turn, the product and the plain loop each in a
process of its own: what the product asks of the C library's memory is not to serve the plain loop.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from benchmarks.figures import Part, Row, Table, Target
from benchmarks.own_training import Compiled, Epoch, UpsamplerSeconds, compiled_step, own_epochs, upsampler_seconds
from benchmarks.performance_page import options, report
from benchmarks.plain_loop import cross_entropy, train_plainly
from data.labels import LabelMap
from data.sources.catalogue import SourceConfig
from data.sources.shapes import LABELS, ShapesSource
from model.compare.config import CompareConfig
from model.config import FitConfig, TrainConfig
from model.losses import SegmentationLoss
from model.trainer import precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol, TypeVar

    T = TypeVar("T")

    class Apart(Protocol):
        """Calls a function with its arguments."""

        def __call__(self, work: Callable[..., T], *arguments: object) -> T:
            """Its result."""


THREADS, CLASSES = 2, 11
OURS, PLAIN, SAME_LOSS = "ours", "plain loop", "plain loop, our loss"
FASTER, WAITING, UPSAMPLERS = 1.7, 0.05, 20.0
TRIALS = 2
"""Of each number of workers of the plain loop, of which the best counts."""
WORTH = 1.1
"""A compiled step is worth a setting where it is so many times as fast."""


@dataclass(frozen=True)
class Size:
    """How long it takes.

    Attributes:
        pictures: Files that are drawn.
        image_size: Height and width.
        rounds: Of the product and the plain loop, in turn.
        epochs: Of the product a round, the first of which is not counted.
        warm_up: Steps of the plain loop before those that count.
        steps: Of the plain loop that count, a round.
        losses: Of the plain loop.
        workers: Of the plain loop, that are tried.
        tried: Steps by which one of them is chosen.
        upsampler_epochs: Of the upsamplers alone.
        compiled: Steps of the compiled network; 0 leaves it out.
    """

    pictures: int = 240
    image_size: tuple[int, int] = (360, 480)
    rounds: int = 3
    epochs: int = 3
    warm_up: int = 2
    steps: int = 24
    losses: tuple[str, ...] = (PLAIN, SAME_LOSS)
    workers: tuple[int, ...] = (0, 1, 2)
    tried: int = 10
    upsampler_epochs: int = 2
    compiled: int = 10


QUICK = Size(
    pictures=25,
    rounds=1,
    epochs=2,
    warm_up=1,
    steps=2,
    losses=(PLAIN,),
    workers=(0,),
    tried=1,
    upsampler_epochs=1,
    compiled=0,
)


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        epochs: Of the product.
        batch: Crops a step.
        plain: Crops a second of the plain loop, a round each; by its loss.
        workers: Of the plain loop: the best of those tried.
        upsamplers: Trained alone.
        compiled: None where it was left out.
        precision: The product's.
    """

    epochs: list[Epoch]
    batch: int
    plain: dict[str, list[float]]
    workers: int
    upsamplers: UpsamplerSeconds
    compiled: Compiled | None
    precision: str


def draw_files(root: Path, count: int, image_size: tuple[int, int], seed: int = 0) -> None:
    """A folder to train on: JPEG pictures, PNG masks, 11 classes, of which every picture shows most.

    Args:
        root: Of the folder.
        count: Pictures.
        image_size: Height and width.
        seed: Of what is drawn.
    """
    source = ShapesSource(count, 1, image_size, seed)
    bands = CLASSES - LABELS.num_classes + 1
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    # What lies behind the figures is cut into bands: as many classes as CamVid has.
    band = (np.arange(image_size[1]) * bands // image_size[1]).astype(np.uint8)
    for index, name in enumerate(source.names("train")):
        sample = source.load("train", index)
        target = np.where(sample.label_map == 0, band, sample.label_map + np.uint8(bands - 1))
        Image.fromarray(sample.image).save(root / "images" / f"{name}.jpg", quality=95)
        Image.fromarray(target).save(root / "masks" / f"{name}.png")
    LabelMap.from_names([f"class {index}" for index in range(CLASSES)]).write_cvat(root / "labelmap.txt")


@contextmanager
def process() -> Iterator[Apart]:
    """A new process that calls functions while the block runs: it imports torch once."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as only:
        only.submit(os.getpid)  # it starts now, beside others that do
        yield lambda work, *arguments: only.submit(work, *arguments).result()


def recipe(root: Path) -> TrainConfig:
    """The defaults on a folder."""
    return TrainConfig(
        data=SourceConfig("folder", root, val_fraction=0.02), fit=FitConfig(threads=THREADS, progress=False)
    )


def plain_rate(root: Path, config: TrainConfig, workers: int, name: str, warm_up: int, steps: int) -> float:
    """Crops a second of the plain loop, with its own loss or ours."""
    torch.set_num_threads(config.fit.threads)
    ours = SegmentationLoss(config.loss, np.ones(CLASSES, np.int64))
    loss = ours if name == SAME_LOSS else cross_entropy
    return train_plainly(root, config, CLASSES, workers, loss, warm_up=warm_up, steps=steps)


def measure(
    root: Path,
    config: TrainConfig,
    size: Size,
    ours: Apart,
    theirs: Apart,
    say: Callable[[str], None] = lambda _: None,
) -> Found:
    """Measure everything, in turn.

    Args:
        root: A folder that ``draw_files`` has filled.
        config: ``recipe``, or a smaller one.
        size: How long.
        ours: Calls what is the product's.
        theirs: Calls the plain loop.
        say: Told what is done.
    """
    rates: dict[int, list[float]] = {workers: [0.0] for workers in size.workers}
    for workers in TRIALS * size.workers if len(size.workers) > 1 else ():  # in turn: a slow moment is not to choose
        say(f"plain loop with {workers} workers")
        rates[workers].append(theirs(plain_rate, root, config, workers, PLAIN, size.warm_up, size.tried))
    best = max(size.workers, key=lambda workers: max(rates[workers]))
    epochs: list[Epoch] = []
    plain: dict[str, list[float]] = {name: [] for name in size.losses}
    trained = replace(config, fit=replace(config.fit, epochs=size.epochs))
    with tempfile.TemporaryDirectory() as place:
        for number in range(size.rounds):
            say(f"round {number + 1} of {size.rounds}")
            epochs += ours(own_epochs, trained, Path(place) / f"run{number}")
            for name, found in plain.items():
                found.append(theirs(plain_rate, root, config, best, name, size.warm_up, size.steps))
        say("upsamplers alone")
        upsamplers = ours(upsampler_seconds, config, Path(place) / "scores", size.upsampler_epochs)
    compiled = None
    if size.compiled:
        say("compiling the encoder")
        compiled = ours(compiled_step, config, size.compiled)
    return Found(epochs, config.loader.batch_size, plain, best, upsamplers, compiled, precision(config.fit))


def part_of(found: Found) -> Part:
    """What the page tells."""
    own = [epoch.steps * found.batch / epoch.seconds for epoch in found.epochs]
    rate = statistics.median(own)
    rows = [Row.of(OURS, own, note=found.precision)]
    ratios = {}
    for name, values in found.plain.items():
        ratios[name] = rate / statistics.median(values)
        note = "cross-entropy and Lovasz" if name == SAME_LOSS else f"cross-entropy, {found.workers} workers"
        rows.append(Row.of(name, values, ratios[name], note))
    waiting = statistics.median(epoch.waiting / epoch.seconds for epoch in found.epochs)
    whole = found.upsamplers.crops / rate
    defaults = CompareConfig()
    alone = found.upsamplers.epoch
    arm, only = TrainConfig().fit.epochs * whole, defaults.upsampler_epochs * defaults.passes * alone
    cached = only + defaults.passes * found.upsamplers.caching
    seconds = (
        Row("end to end, an epoch", whole),
        Row("upsamplers alone, an epoch", alone, ratio=whole / alone),
        Row("storing the scores of an epoch, once a seed and stride", found.upsamplers.caching),
        Row(f"end to end, an arm of {TrainConfig().fit.epochs} epochs", arm),
        Row(
            f"upsamplers alone, an arm of {defaults.upsampler_epochs} epochs over {defaults.passes} passes",
            only,
            ratio=arm / only,
        ),
        Row("the same with storing the scores", cached, ratio=arm / cached),
    )
    tables = [
        Table("crops/s", tuple(rows), "ours / it"),
        Table(
            "s",
            seconds,
            "end to end / it",
            f"The comparison's two modes, over the same {found.upsamplers.crops} crops, validation left out:",
        ),
    ]
    notes = []
    if found.compiled is not None:
        table, note = _compiled(found.compiled)
        tables.append(table)
        notes.append(note)
    return Part(
        f"Crops of 320x384 from drawn files of 360x480, {CLASSES} classes, FCN-8s on the default encoder, "
        f"{found.batch} a step, {THREADS} threads, the loader's time included, validation left out. Ours is "
        "`fcn train` with its default settings; the plain loop decodes, zooms, crops and flips with PIL and "
        "torchvision and trains in 32-bit, as reference scripts do, with the number of workers that serves it best. "
        "All in turn, ours in one process and the plain loop in another.",
        tuple(tables),
        (
            Target(f"crops a second: ours / {PLAIN}", ratios[PLAIN], FASTER, at_most=False),
            Target("share of the training that waits for the loader", waiting, WAITING, at_most=True),
            Target("an arm: end to end / upsamplers alone", arm / only, UPSAMPLERS, at_most=False),
        ),
        tuple(notes),
    )


def _compiled(found: Compiled) -> tuple[Table, str]:
    title = "torch.compile of the encoder in a step of ours, without loader and optimiser:"
    eager = Row("as it is", found.eager)
    if found.compiled is None:
        return Table("ms", (eager, Row("compiled", None, note=found.reason)), title=title), "It could not be compiled."
    gain = found.eager / found.compiled
    rows = (eager, Row("compiled", found.compiled, ratio=gain, note=f"after {found.seconds:.0f} s of compiling"))
    saved = (found.eager - found.compiled) / 1000
    paid = f"is paid back after {found.seconds / saved:.0f} steps" if saved > 0 else "is never paid back"
    worth = "above" if gain > WORTH else "below"
    note = f"Compiling {paid}; the gain is {worth} the tenth for which a setting would be worth having."
    return Table("ms", rows, "as it is / it", title), note


def main() -> None:
    """Measure, print, write."""
    chosen = options(__doc__).parse_args()
    torch.set_num_threads(THREADS)
    os.environ.pop("OMP_NUM_THREADS", None)  # of processes to come: both set their threads themselves
    size = QUICK if chosen.quick else Size()
    with tempfile.TemporaryDirectory() as place, process() as ours, process() as theirs:
        root = Path(place) / "data"
        draw_files(root, size.pictures, size.image_size)
        config = recipe(root)
        found = measure(root, config, size, ours, theirs, lambda text: print(text, flush=True))
    name = f"FCN-{config.model.finest_stride}s, {config.model.encoder}, {config.model.encoder_weights} weights"
    report("training", name, part_of(found), chosen.out)


if __name__ == "__main__":
    sys.exit(main())
