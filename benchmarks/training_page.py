"""What the page tells of training: rates, the wait for the loader, upsamplers alone, the compiled step."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.figures import Part, Row, Table, Target
from model.compare.config import CompareConfig
from model.config import TrainConfig

if TYPE_CHECKING:
    from benchmarks.own_training import Compiled, Epoch, UpsamplerSeconds

THREADS, CLASSES = 2, 11
OURS, PLAIN, SAME_LOSS = "ours", "plain loop", "plain loop, our loss"
FASTER, WAITING, UPSAMPLERS = 1.7, 0.05, 20.0
WORTH = 1.1
"""A compiled step is worth a setting where it is so many times as fast."""


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
