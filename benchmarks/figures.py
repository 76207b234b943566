"""Figures: what a part of the performance page holds: rows of times, and targets that are met or missed."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Row:
    """One thing that was measured.

    Attributes:
        name: What it is.
        median: None where it was not measured; ``note`` then says why.
        low: 10th percentile; None of a single value.
        high: 90th percentile; None of a single value.
        ratio: To another row's median, as the table's heading says.
        note: A few words.
    """

    name: str
    median: float | None
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    note: str = ""

    @classmethod
    def of(cls, name: str, values: Sequence[float], ratio: float | None = None, note: str = "") -> Row:
        """A row of several values: their median, and what lies between a tenth and nine tenths of them."""
        low, high = (float(value) for value in np.percentile(values, [10, 90]))
        return cls(name, statistics.median(values), low, high, ratio, note)


@dataclass(frozen=True)
class Table:
    """Rows of one unit.

    Attributes:
        unit: Of the medians, such as ``ms``.
        rows: In the order in which they are shown.
        ratio: Heading of the ratios, such as ``ours / it``; empty for a table without.
        title: A line above the table; empty for none.
    """

    unit: str
    rows: tuple[Row, ...]
    ratio: str = ""
    title: str = ""


@dataclass(frozen=True)
class Target:
    """What was aimed at and what was found.

    Attributes:
        what: Such as ``ours / torch eager f32``.
        found: None where it was not measured; ``note`` then says why.
        bound: The aim.
        at_most: Whether less is better; else ``found`` is to be the bound at least.
        unit: Of both; empty for a ratio.
        note: A few words.
    """

    what: str
    found: float | None
    bound: float
    at_most: bool
    unit: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """The verdict; None where nothing was measured."""
        if self.found is None:
            return None
        return self.found <= self.bound if self.at_most else self.found >= self.bound


@dataclass(frozen=True)
class Part:
    """One section of the page.

    Attributes:
        compared: What is compared with what, in one or two sentences.
        tables: The medians.
        targets: The verdicts.
        notes: What a reader has to know beside, a line each.
    """

    compared: str
    tables: tuple[Table, ...]
    targets: tuple[Target, ...] = ()
    notes: tuple[str, ...] = ()

    def figures(self, run: dict[str, Any]) -> dict[str, Any]:
        """As JSON, with what was run on what (``circumstances``)."""
        targets = [{**asdict(target), "met": target.met} for target in self.targets]
        return {"run": run, **asdict(self), "targets": targets}


def digits(value: float | None) -> str:
    """Three digits: 0.00448, 12.3, 3 216; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:#.3g}"
