"""int8 beside the default precision: a run's own bundle-int8, or the network brought to int8 here by NNCF.

    python -m benchmarks.int8 [--quick] [--run RUN] [--out docs/results]

What int8 costs in mIoU is measured by `fcn export RUN --int8`, which writes RUN/bundle-int8; with such a run this tells
it. Any other network is brought to int8 on drawn pictures: that is as fast, and its mIoU would tell nothing.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.figures import Part, Row, Table, Target
from benchmarks.network import subject
from benchmarks.own_engine import in_turn, own_form
from benchmarks.performance_page import options, report
from benchmarks.seeded import HEIGHT, THREADS, WIDTH
from data.sources.shapes import ShapesSource
from model.quantisation import quantise
from model.runtime.bundle import read_bundle, write_bundle

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from benchmarks.network import Subject
    from model.runtime.bundle import Bundle

ROUNDS, QUICK_ROUNDS = 60, 15
PICTURES, QUICK_PICTURES = 32, 8
RATIO, FALL = 0.8, 0.5
INT8: Final = "int8"
INT8_BUNDLE: Final = "bundle-int8"
"""Beside a run's own bundle, where it was exported with --int8."""


@dataclass(frozen=True)
class Found:
    """What was measured.

    Attributes:
        milliseconds: By name; the float network first.
        agreement: Share of pixels with the same label.
        facts: ``quantisation`` of the bundle's manifest; empty where it was made here.
    """

    milliseconds: dict[str, list[float]]
    agreement: float
    facts: dict[str, Any]


def drawn(count: int) -> list[NDArray[np.uint8]]:
    """Pictures to calibrate on."""
    source = ShapesSource(1, count, (HEIGHT, WIDTH), seed=5)
    return [source.load("val", index).image for index in range(count)]


def in_int8(network: Subject, place: Path, pictures: int) -> Bundle:
    """The run's bundle in int8, or one that is made here."""
    if network.run is not None and (network.run.root / INT8_BUNDLE).exists():
        return read_bundle(network.run.root / INT8_BUNDLE)
    graph = quantise(network.bundle.model_path.read_bytes(), drawn(pictures), network.bundle.manifest.stride)
    return write_bundle(place / "int8", graph, network.bundle.manifest)


def measure(network: Subject, quantised: Bundle, rounds: int) -> Found:
    """Times of both in turn on one picture."""
    image = drawn(1)[0]
    engine, plain = own_form(network.bundle)
    _, small = own_form(quantised)
    forms = {f"float, {engine.precision}": plain, INT8: small}
    labels = [form(image)[0] for form in forms.values()]
    agreement = float((labels[0] == labels[1]).mean())
    return Found(in_turn(forms, image, rounds), agreement, dict(quantised.manifest.quantisation))


def part_of(found: Found) -> Part:
    """The page's section."""
    (name, plain), (_, small) = found.milliseconds.items()
    ratio = statistics.median(small) / statistics.median(plain)
    worth = "worth it" if ratio <= RATIO else "not worth it"
    facts = found.facts
    scored = facts.get("miou")
    rows = (Row.of(name, plain), Row.of(INT8, small, ratio, f"{found.agreement:.2%} of the pixels alike"))
    return Part(
        f"One picture of {WIDTH}x{HEIGHT} to its label map, {THREADS} threads, both in turn: the float network in its "
        "default precision, and the same brought to int8.",
        (Table("ms", rows, "it / float"),),
        (
            Target(f"int8 / {name}", ratio, RATIO, at_most=True, note=f"{worth} on this processor"),
            Target(
                "fall of the val mIoU", scored["fall_points"] if scored else None, FALL, at_most=True, unit="points",
                note=f"{scored['pictures']} pictures" if scored else "'fcn export RUN --int8' scores it",
            ),
        ),
    )  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, help=f"{ROUNDS}, or {QUICK_ROUNDS} with --quick")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS)
    with subject(chosen) as network, tempfile.TemporaryDirectory() as place:
        quantised = in_int8(network, Path(place), QUICK_PICTURES if chosen.quick else PICTURES)
        report("int8", network.name, part_of(measure(network, quantised, rounds)), chosen.out)


if __name__ == "__main__":
    sys.exit(main())
