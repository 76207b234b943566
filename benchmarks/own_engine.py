"""The product's engine with its defaults, and how it takes turns with others on one picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from benchmarks.seeded import THREADS
from model.runtime.engine import EngineConfig, open_engine
from model.runtime.processors import usable_processors

if TYPE_CHECKING:
    from model.runtime.bundle import Bundle
    from model.runtime.engine import Engine, Precision

Form = Callable[[NDArray[np.uint8]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""A picture (H, W, 3) to its label map and confidence, (H, W) each."""

WARM_UP = 4
PAUSE_SECONDS = 0.02
"""Before each form's turn: the threads of the one before spin on for a while after their work."""


def ours(precision: Precision) -> EngineConfig:
    """The product's defaults on two threads, in a precision."""
    threads = 0 if usable_processors() == THREADS else THREADS
    return EngineConfig(precision=precision, threads=threads)


def own_form(bundle: Bundle) -> tuple[Engine, Form]:
    """The product's engine with its defaults."""
    engine = open_engine(bundle, ours("auto"))

    def run(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        label_maps, confidences = engine.run(image[None])
        return label_maps[0], confidences[0]

    return engine, run


def in_turn(forms: dict[str, Form], image: NDArray[np.uint8], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every form in every round, taken in turn."""
    for form in forms.values():
        for _ in range(WARM_UP):  # the engine compiles for a shape that comes back
            form(image)
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(rounds):
        for name, form in forms.items():
            time.sleep(PAUSE_SECONDS)
            form(image)  # not counted: the caches hold what the form before it used
            started = time.perf_counter()
            form(image)
            times[name].append(1000 * (time.perf_counter() - started))
    return times
