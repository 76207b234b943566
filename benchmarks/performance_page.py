"""The page of `make bench`: docs/results/performance.json, .md and .svg.

A part more is a line more in ``TITLES`` and a module of that name in this folder, whose ``main`` takes ``options`` and
ends with ``report``: the driver (``benchmarks.performance``) then runs it, and the page shows it.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.figures import digits
from benchmarks.record import Lines, Page, circumstances, given, verdict

if TYPE_CHECKING:
    from benchmarks.figures import Part

LOAD = os.getloadavg()[0]
"""As this process began: by the time that a part is reported, it is the benchmark's own."""

TITLES = {
    "engines": "Engines: one picture to its label map",
    "tail": "The tail: what comes after the encoder",
    "int8": "int8",
    "services": "Over HTTP: JPEG in, PNG out",
    "growth": "Growth: larger pictures, more clients",
    "folder": "A folder of pictures",
    "training": "Training",
}
"""Parts in the page's order, each with its heading."""


def lines(figures: dict[str, Any]) -> Lines:
    """One part's section; its verdicts stand at the top of the page, and here as well."""
    if "failed" in figures:
        return [f"**Did not run**: {figures['failed']}"]
    found = [figures["compared"]]
    for table in figures["tables"]:
        found += ["", *([table["title"], ""] if table["title"] else []), *_table(table)]
    if figures["targets"]:
        found += ["", *(f"- {_sentence(target)}" for target in figures["targets"])]
    if figures["notes"]:
        found += ["", *figures["notes"]]
    return found


def summary(parts: dict[str, Any]) -> Lines:
    """How many targets are met, and the picture of them."""
    targets = [target for figures in parts.values() for target in figures.get("targets", [])]
    failed = [name for name, figures in parts.items() if "failed" in figures]
    found = ["", f"**Did not run: {', '.join(failed)}.**"] if failed else []
    if targets:
        met, missed = (sum(target["met"] is wanted for target in targets) for wanted in (True, False))
        told = f"{met} of {met + missed} measured targets are met"
        told += f"; {len(targets) - met - missed} were not measured" if met + missed < len(targets) else ""
        found += ["", f"{told}. Medians; in brackets what lies between the 10th and the 90th percentile."]
        found += ["", "![Every target with how far within or beyond it the figure lies](performance.svg)"]
    return found


def _table(table: dict[str, Any]) -> Lines:
    noted = any(row["note"] for row in table["rows"])
    heads = ["", table["unit"], *([table["ratio"]] if table["ratio"] else []), *([""] if noted else [])]
    rules = ["---", "---:", *(["---:"] if table["ratio"] else []), *(["---"] if noted else [])]
    found = [_line(heads), _line(rules)]
    for row in table["rows"]:
        spread = "" if row["low"] is None else f" ({digits(row['low'])}–{digits(row['high'])})"
        cells = [row["name"], digits(row["median"]) + spread]
        if table["ratio"]:
            cells.append("" if row["ratio"] is None else digits(row["ratio"]))
        found.append(_line([*cells, *([row["note"]] if noted else [])]))
    return found


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |")


def _sentence(target: dict[str, Any]) -> str:
    unit = f" {target['unit']}" if target["unit"] else ""
    aim = f"at {'most' if target['at_most'] else 'least'} {target['bound']:g}{unit}"
    note = f" ({target['note']})" if target["note"] else ""
    if target["found"] is None:
        return f"{target['what']}: {aim}; not measured{note}."
    return f"{target['what']}: {digits(target['found'])}{unit}, {aim}: {verdict(target['met'])}{note}."


def draw(parts: dict[str, Any], folder: Path) -> None:
    """Write performance.svg: every measured target as a bar, from the target on to the better or the worse side."""
    targets = [target for figures in parts.values() for target in figures.get("targets", [])]
    targets = [target for target in targets if target["found"] is not None and target["found"] > 0]
    if not targets:
        return
    # Here: a part that measures memory is not to hold it.
    from matplotlib import rc_context  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    with rc_context({"svg.hashsalt": "performance", "font.size": 9}):
        figure = Figure(figsize=(8, 0.9 + 0.32 * len(targets)), layout="constrained")
        axes = figure.add_subplot()
        for place, target in enumerate(targets):
            found, bound = target["found"], target["bound"]
            margin = bound / found if target["at_most"] else found / bound
            axes.barh(place, margin - 1, left=1, height=0.6, color="#2a7f62" if target["met"] else "#c2452d")
            unit = f" {target['unit']}" if target["unit"] else ""
            sign = "≤" if target["at_most"] else "≥"
            axes.annotate(
                f"{digits(found)}{unit} ({sign} {bound:g})",
                (max(margin, 1), place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
            )
        axes.set_yticks(range(len(targets)), [target["what"] for target in targets])
        axes.set_ylim(len(targets) - 0.4, -0.6)
        axes.set_xscale("log")
        ends = [min(axes.get_xlim()[0], 0.9), max(axes.get_xlim()[1], 2)]
        # A figure is a third as wide as the axis, whatever the longest bar: half of what the bars span, on its scale.
        axes.set_xlim(ends[0], ends[1] * (ends[1] / ends[0]) ** 0.5)
        axes.axvline(1, color="black", linewidth=1)
        axes.set_xlabel("times as good as the target; red is missed")
        ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if axes.get_xlim()[0] <= tick <= ends[1]]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.set_xticks([], minor=True)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(folder / "performance.svg", metadata={"Date": None})


PERFORMANCE = Page(
    "performance",
    "Performance",
    "make bench",
    {part: (title, lines) for part, title in TITLES.items()},
    summary,
    draw,
    shared_once=True,
)


def options(doc: str | None) -> argparse.ArgumentParser:
    """What every part and the driver take."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a training whose network is run; else one with seeded random weights")
    parser.add_argument("--bundle", type=Path, help="its bundle, where that is not RUN/bundle")
    parser.add_argument("--quick", action="store_true", help="shorter, for a first look")
    parser.add_argument("--out", type=Path, help="folder whose performance.json, .md and .svg get the figures")
    # Where the driver has exported the seeded networks once for all parts.
    parser.add_argument("--exported", type=Path, help=argparse.SUPPRESS)
    return parser


def report(script: str, bundle: str, part: Part, out: Path | None) -> None:
    """Print a part, and put it into the page where there is one.

    Args:
        script: Name of the part and its module.
        bundle: Name of the network that was run; see ``Subject.name``.
        part: What was found.
        out: Folder of the page.
    """
    PERFORMANCE.report(script, part.figures(run_of(script, bundle)), out)


def run_of(script: str, bundle: str) -> dict[str, Any]:
    """What is run on what: this command line's."""
    told = {"--out": "", "--exported": "", "--run": "RUN", "--bundle": "BUNDLE"}
    return circumstances(script, bundle, given(sys.argv[1:], told), LOAD)
