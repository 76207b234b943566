"""The report: report.html, report.md and report.json, made from the results alone."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from data.errors import RunError
from model.compare.figures import bin_name, draw_classes, draw_curves, draw_differences, draw_objects, draw_trimap
from model.compare.gallery import show_changes
from model.compare.kernel_figures import draw_frequencies, draw_kernels
from model.compare.modes import MODES
from model.compare.reconstruction.gallery import BRIGHTEST
from model.compare.reconstruction.section import open_section
from model.compare.record import json_bytes, write_whole
from model.compare.summary import summarise

if TYPE_CHECKING:
    from model.compare.config import Arm
    from model.compare.folder import ComparisonFolder, Plan
    from model.compare.reconstruction.section import Section
    from model.compare.results import ArmResult
    from model.compare.svg import Drawing


def write_report(folder: ComparisonFolder) -> Path:
    """Make the report from comparison.json and the results beside it.

    Args:
        folder: Of a comparison.

    Returns:
        Path of report.html; report.md and report.json lie beside it.

    Raises:
        RunError: there is no comparison, no seed is complete, or the disk is full.
    """
    plan = folder.plan()
    results, missing = folder.results(plan)
    complete = [seed for seed in plan.seeds if all((arm, seed) in results for arm in plan.arms)]
    if not complete:
        raise RunError(
            f"{folder.root} holds no seed with a result of every arm: run the comparison without --report_only. "
            f"Missing: {'; '.join(missing)}"
        )
    # What was written is what is shown: both pages are made of the JSON as it will be read back.
    section = open_section(folder.root, plan.config)
    summary = summarise(plan, results, folder.latency(), missing + section.missing, folder.forms())
    data = json_bytes(summary | {"reconstruction": section.summary})
    report: dict[str, Any] = json.loads(data)
    write_whole(folder.root / "report.json", data)
    first = {arm: result for (arm, seed), result in results.items() if seed == complete[0]}
    values = _values(folder, plan, report, first, section)
    write_whole(folder.root / "report.md", _render("report.md.jinja", values).encode())
    path = folder.root / "report.html"
    write_whole(path, _render("report.html.jinja", values).encode())
    return path


def _values(
    folder: ComparisonFolder, plan: Plan, report: dict[str, Any], first: dict[Arm, ArmResult], section: Section
) -> dict[str, Any]:
    """What both templates use."""
    drawings: list[Drawing | None] = [
        draw_differences(report),
        draw_trimap(report),
        draw_objects(report),
        draw_classes(report),
        draw_kernels([result for result in first.values() if result.ends], list(plan.labels.names)),
        draw_frequencies(report),
        draw_curves(report),
        *section.drawings(report["reconstruction"]),
    ]
    return {
        "report": report,
        "mode": MODES[report["mode"]],
        "figures": {drawing.name: drawing for drawing in drawings if drawing is not None},
        "palette": [
            (name, "#{:02x}{:02x}{:02x}".format(*colour))
            for name, colour in zip(plan.labels.names, plan.labels.palette, strict=True)
        ],
        "strips": section.strips(report["reconstruction"]),
        "brightest": BRIGHTEST,
        "gallery": show_changes(folder.gallery(), first, plan.labels),
        "recipe": yaml.safe_dump(report["config"], sort_keys=False, default_flow_style=None, width=100),
        "css": Markup((Path(__file__).parent / "report.css").read_text(encoding="utf-8")),  # noqa: S704  our own file
    }


def _render(template: str, values: dict[str, Any]) -> str:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "percent": _percent,
        "points": _points,
        "count": _count,
        "interval": _interval,
        "decibels": _decibels,
        "signed": _signed,
        "between": _between,
        "signed_between": _signed_between,
        "bin": bin_name,
        "seconds": _seconds,
        "milliseconds": _milliseconds,
        "svg": lambda drawing: Markup(drawing.svg),  # noqa: S704  drawn here, labels escaped by matplotlib
    }
    return environment.get_template(template).render(**values)


def _percent(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f}"


def _points(value: float | None, digits: int = 2) -> str:
    """Signed, with a minus as long as the plus."""
    return "–" if value is None else f"{100 * value:+.{digits}f}".replace("-", "−")


def _interval(value: dict[str, float] | None) -> str:
    return "–" if value is None else f"{_points(value['low'])} to {_points(value['high'])}"


def _decibels(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}".replace("-", "−")


def _between(value: dict[str, float] | None, digits: int = 1) -> str:
    return "" if value is None else f"{value['low']:.{digits}f} to {value['high']:.{digits}f}"


def _signed_between(value: dict[str, float] | None) -> str:
    return "–" if value is None else f"{_signed(value['low'])} to {_signed(value['high'])}"


def _count(value: float | None) -> str:
    """1 234, 12.3 k, 4.56 M."""
    if value is None:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 10 * size or (value >= size and unit != "k"):
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value / 60:.1f} min" if value >= 100 else f"{value:.1f} s"


def _milliseconds(value: float) -> str:
    """0.0045 ms, 0.23 ms, 12 ms: two digits."""
    digits = max(0, 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f} ms"
