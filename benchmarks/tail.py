"""What comes after the encoder: score heads, fusion, upsampling, argmax and confidence, beside the encoder alone.

    python -m benchmarks.tail [--quick] [--out docs/results]

The same seeded network with each upsampler and with few and many classes, all in turn in one process; each whole
network is also run to the end of its own graph. The peak memory at 4096x4096 is that of a process of its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.figures import Part, Row, Table, Target
from benchmarks.floors import MATRIX, copy_rate, peak
from benchmarks.performance_page import options, report
from benchmarks.seeded import HEIGHT, THREADS, WIDTH, export
from benchmarks.tail_networks import ENCODER, UPSAMPLERS, name_of, needed, subjects
from model.config import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.tail_networks import Forms
    from model.config import UpsamplerName
    from model.runtime.bundle import Bundle

ROOT: Final = Path(__file__).resolve().parent.parent
ROUNDS, QUICK_ROUNDS, WARM_UP = 40, 10, 4
CLASSES: Final = (11, 150)
QUICK_UPSAMPLERS: Final = UPSAMPLERS[1:]
"""Bilinear ones run the same code with other numbers, and take half a minute to export."""
RATIOS: Final = {11: 1.15, 150: 1.5}
"""Whole graph over encoder, at most, where a class has one filter."""
DENSE_RATIO: Final = 1.3
"""Whole graph over encoder and its multiplications at the peak, at most, where a pair of classes has one."""
SIDE: Final = 4096
MEMORY_SHARE: Final = 0.25
MEMORY: Final = "Peak resident memory of a process that labels one picture, over all scores at the picture's size."


def defaults(*, quick: bool) -> tuple[Sequence[int], Sequence[UpsamplerName]]:
    """Numbers of classes and upsamplers, where none are asked for."""
    return (CLASSES[:1], QUICK_UPSAMPLERS) if quick else (CLASSES, UPSAMPLERS)


def measure(found: Forms, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every form, taken in turn so that a slow moment hits all."""
    for form in found.values():
        for _ in range(WARM_UP):  # the engine compiles for a shape that comes back
            form()
    times: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, form in found.items():
            form()  # not counted: the caches hold what the form before it used
            started = time.perf_counter()
            form()
            times[name].append(1000 * (time.perf_counter() - started))
    return times


def multiplications(classes: int, height: int, width: int) -> int:
    """Of dense transposed convolutions from stride 32 to 8 and to the picture: four scores of every class a score."""
    pixels = height * width
    return 4 * classes**2 * (pixels // 16**2 + pixels // 8**2 + pixels)


def peak_megabytes(bundle: Bundle, side: int) -> dict[str, float]:
    """Peak memory of a new process that labels one picture, and what it had before, in MB (10^6 bytes)."""
    command = [sys.executable, "-m", "benchmarks.tail_memory", str(bundle.root), str(side)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def head_multiplications(features: Sequence[tuple[int, ...]]) -> int:
    """Of the hidden layers of the score heads at strides 32, 16 and 8: 3x3 convolutions of the encoder's features."""
    return 9 * ModelConfig().head_channels * sum(prod(shape) for shape in features)


def part_of(times: dict[str, list[float]], facts: dict[str, Any]) -> Part:
    """The page's section.

    Args:
        times: As ``measure`` gives them.
        facts: ``classes``, ``size``, ``features`` (shapes of the encoder's), ``precision``, ``tail``, ``peak``
            (multiplications a second), ``copy_rate`` (bytes a second), ``memory`` (of a process, by upsampler, with
            ``side`` and ``classes``).
    """
    medians = {name: statistics.median(values) for name, values in times.items()}
    base = medians[ENCODER]
    rows = [Row.of(name, values, medians[name] / base) for name, values in times.items()]
    targets, notes = [], []
    height, width = facts["size"]
    heads = head_multiplications(facts["features"])
    for classes in facts["classes"]:
        for name in (name_of(upsampler, classes) for upsampler in UPSAMPLERS[:2]):
            if name not in medians:
                continue
            targets.append(Target(f"{name} / {ENCODER}", medians[name] / base, RATIOS[classes], at_most=True))
        count = multiplications(classes, height, width)
        floor = 1000 * count / facts["peak"]
        name = name_of("learned-dense", classes)
        targets.append(
            Target(
                f"{name} / (encoder and {floor:.1f} ms of its multiplications)",
                medians[name] / (base + floor),
                DENSE_RATIO,
                at_most=True,
            )
        )
        notes.append(
            f"Dense kernels of {classes} classes: {count / 1e9:.2f} 10^9 multiplications; the scores of all classes "
            f"at the picture's size would be {4 * classes * height * width / 1e6:.0f} MB, "
            f"{1000 * 4 * classes * height * width / facts['copy_rate']:.1f} ms to be copied once."
        )
    memory = []
    for upsampler, found in facts["memory"].items():
        whole = 4 * found["classes"] * found["side"] ** 2 / 1e6
        side = f"{found['side']:g}x{found['side']:g}"
        what = f"{upsampler}, {found['classes']:g} classes, {side}: peak / scores of all classes"
        memory.append(
            Row(
                f"{upsampler}, {found['classes']:g} classes, {side}",
                found["peak_mb"],
                None,
                None,
                found["peak_mb"] / whole,
            )
        )
        targets.append(Target(what, found["peak_mb"] / whole, MEMORY_SHARE, at_most=True))
    tables = [Table("ms", tuple(rows), "it / encoder")]
    if memory:
        tables.append(Table("MB", tuple(memory), "peak / scores", MEMORY))
    return Part(
        f"Whole networks (FCN-8s, default encoder and heads, random weights), a picture of {width}x{height} to label "
        f"map and confidence, beside their encoder alone in the same engine ({facts['precision']}, {THREADS} threads). "
        f"Last step: {facts['tail']}. Rows that end in \"all in the graph\" are the same networks without that step.",
        tuple(tables),
        tuple(targets),
        (
            f"Peak of a {MATRIX}x{MATRIX} matrix product in the engine: {facts['peak'] / 1e9:.0f} 10^9 multiplications "
            f"a second; a large copy: {facts['copy_rate'] / 1e9:.1f} GB a second.",
            f"The score heads' hidden layers take {heads / 1e9:.2f} 10^9 multiplications, "
            f"{1000 * heads / facts['peak']:.2f} ms at that peak: {1000 * heads / facts['peak'] / base:.2f} of the "
            "encoder's time, before anything is upsampled.",
            *notes,
        ),
    )  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, or {QUICK_ROUNDS} with --quick")
    parser.add_argument("--size", type=int, nargs=2, default=(HEIGHT, WIDTH), help="height and width of the picture")
    parser.add_argument(
        "--side", type=int, default=SIDE, help="of the picture whose memory is measured, not in --quick"
    )
    parser.add_argument("--classes", type=int, nargs="+", choices=CLASSES, help="both, or 11 with --quick")
    chosen = parser.parse_args()
    image = np.random.default_rng(0).integers(0, 256, (1, *chosen.size, 3), dtype=np.uint8)
    classes = chosen.classes or defaults(quick=chosen.quick)[0]
    upsamplers = defaults(quick=chosen.quick)[1]
    with tempfile.TemporaryDirectory() as place:
        if chosen.exported is None:
            export(Path(place), needed(classes, upsamplers))
        found = subjects(image, classes, upsamplers, chosen.exported or Path(place), graphs=not chosen.quick)
        facts = {
            "classes": list(classes),
            "size": list(chosen.size),
            "features": found.features,
            "precision": found.engine.precision,
            "tail": found.engine.tail,
            "peak": peak(found.engine),
            "copy_rate": copy_rate(),
        }
        times = measure(found.forms, chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS))
        facts["memory"] = {
            upsampler: {
                "classes": max(classes), "side": chosen.side,
                **peak_megabytes(found.bundles[upsampler, max(classes)], chosen.side),
            }
            for upsampler in (() if chosen.quick else UPSAMPLERS)
        }  # fmt: skip
    report("tail", "FCN-8s with random weights", part_of(times, facts), chosen.out)


if __name__ == "__main__":
    sys.exit(main())
