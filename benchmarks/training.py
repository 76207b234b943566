"""Training beside a plain loop, the wait for the loader, torch.compile, and upsamplers trained alone.

    python -m benchmarks.training [--quick] [--out docs/results]

All on the same drawn files, network, crops and number of threads, in turn, the product and the plain loop each in a
process of its own: what the product asks of the C library's memory is not to serve the plain loop.
"""

from __future__ import annotations

import multiprocessing
import os
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

from benchmarks.own_training import Epoch, compiled_step, own_epochs, upsampler_seconds
from benchmarks.performance_page import options, report
from benchmarks.plain_loop import cross_entropy, train_plainly
from benchmarks.training_page import CLASSES, PLAIN, SAME_LOSS, THREADS, Found, part_of
from data.labels import LabelMap
from data.sources.catalogue import SourceConfig
from data.sources.shapes import LABELS, ShapesSource
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


TRIALS = 2
"""Of each number of workers of the plain loop, of which the best counts."""


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
