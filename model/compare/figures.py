"""Figures of scores and their differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.compare.svg import INK, PAPER, STYLED, Drawing, figure, panels, series_colour, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH = 9.4
MOST_CLASSES = 24


@STYLED
def draw_differences(report: dict[str, Any]) -> Drawing:
    """Differences from bilinear with both intervals, mIoU beside boundary IoU."""
    comparisons = report["comparisons"]
    drawn, axes = figure(WIDTH, 1.1 + 0.48 * len(comparisons), 1, 2, sharey=True)
    for ax, score, title in zip(axes, ("miou", "boundary_iou"), ("mIoU", "boundary IoU"), strict=True):
        ax.axvline(0, color=INK, linewidth=0.9)
        for row, comparison in enumerate(comparisons):
            found = comparison[score]
            colour = series_colour(comparison["upsampler"])
            _bar(ax, found["over_seeds"], row - 0.13, colour, 3.2)
            _bar(ax, found["over_pictures"], row + 0.13, colour, 1.2)
            ax.plot(
                _percent(found["per_seed"]), np.full(len(found["per_seed"]), row - 0.13), "|", color=INK, markersize=6
            )
            if found["mean"] is not None:
                ax.plot(
                    [100 * found["mean"]],
                    [row - 0.13],
                    "o",
                    color=colour,
                    markersize=6.5,
                    markeredgecolor=PAPER,
                    zorder=3,
                )
        ax.set_title(title)
        ax.set_xlabel("difference from bilinear, points")
        ax.grid(visible=True, axis="x")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    labels = [f"{c['upsampler']}, stride {c['stride']}" for c in comparisons]
    axes[0].set_yticks(range(len(comparisons)), labels)
    axes[0].set_ylim(len(comparisons) - 0.5, -0.5)
    caption = (
        "Right of zero the upsampler beats bilinear. Dots are means over seeds, ticks the single seeds; the thick "
        "line is the 95 % interval over seeds, the thin one below it the interval over pictures."
    )
    return Drawing("differences", "Differences from bilinear.", caption, to_svg(drawn, "differences", caption))


@STYLED
def draw_trimap(report: dict[str, Any]) -> Drawing:
    """IoU near contours against the width of the band, and its difference from bilinear."""
    strides = _strides(report)
    drawn, axes = figure(WIDTH, 4.6, 2, len(strides), sharex=True, sharey="row")
    for column, (stride, title) in enumerate(panels(strides)):
        top, below = axes[column], axes[len(strides) + column]
        for arm in _of_stride(report["arms"], stride):
            values = np.array([_percent(point["per_seed"]) for point in arm["trimap"]])
            _line(top, np.arange(len(values)), values, arm["upsampler"])
        below.axhline(0, color=INK, linewidth=0.9)
        for comparison in _of_stride(report["comparisons"], stride):
            _intervals(below, comparison["trimap"], comparison["upsampler"])
        top.set_title(title)
        top.grid(visible=True)
        below.grid(visible=True)
        below.set_xticks(
            range(len(report["arms"][0]["trimap"])), [str(p["width"]) for p in report["arms"][0]["trimap"]]
        )
        below.set_xlabel("band around contours, pixels to each side")
    axes[0].set_ylabel("mIoU in the band, %")
    axes[len(strides)].set_ylabel("difference, points")
    axes[0].legend(loc="best")
    caption = (
        "Above, mIoU of just the pixels near a true contour, against how near; bands span the seeds. Below, the "
        "difference from bilinear with its 95 % interval over pictures. What upsampling can mend lies at the left."
    )
    return Drawing("trimap", "Near the contours.", caption, to_svg(drawn, "trimap", caption))


@STYLED
def draw_objects(report: dict[str, Any]) -> Drawing:
    """Accuracy differences by width and by size of objects."""
    strides = _strides(report)
    drawn, axes = figure(WIDTH, 4.8, 2, len(strides), sharey="row")
    for row, (score, label) in enumerate(
        (("by_width", "inner width of the object, px"), ("by_size", "√area of the object, px"))
    ):
        bins = report["arms"][0][score]
        for column, (stride, title) in enumerate(panels(strides)):
            ax = axes[row * len(strides) + column]
            ax.axhline(0, color=INK, linewidth=0.9)
            mine = _of_stride(report["comparisons"], stride)
            for index, comparison in enumerate(mine):
                shift = 0.16 * (index - (len(mine) - 1) / 2)
                _intervals(ax, comparison[score], comparison["upsampler"], band=False, shift=shift)
            ax.set_xticks(range(len(bins)), [bin_name(part) for part in bins])
            ax.set_xlim(-0.5, len(bins) - 0.5)
            ax.set_xlabel(label)
            ax.grid(visible=True)
            if not row:
                ax.set_title(title)
        axes[row * len(strides)].set_ylabel("accuracy, points\nfrom bilinear")
    if len(report["comparisons"]) > len(strides):
        axes[0].legend(loc="best")
    shares = ", ".join(f"{bin_name(p)} px {100 * (p['pixel_share'] or 0):.1f} %" for p in report["arms"][0]["by_width"])
    caption = (
        "Difference from bilinear in the share of an object's pixels that are right, by the object's greatest inner "
        f"width and by its size, with 95 % intervals over pictures. Shares of all pixels by width: {shares}."
    )
    return Drawing("objects", "Thin and small things.", caption, to_svg(drawn, "objects", caption))


@STYLED
def draw_classes(report: dict[str, Any]) -> Drawing:
    """IoU differences of every class."""
    strides = _strides(report)
    names = _classes_shown(report["comparisons"])
    count = len(report["comparisons"][0]["class_iou"])
    others = len({c["upsampler"] for c in report["comparisons"]})
    height = 1.0 + (0.16 + 0.14 * others) * len(names)
    drawn, axes = figure(WIDTH, max(2.4, height), 1, len(strides), sharey=True, sharex=True)
    for ax, (stride, title) in zip(axes, panels(strides), strict=True):
        ax.axvline(0, color=INK, linewidth=0.9)
        mine = _of_stride(report["comparisons"], stride)
        for index, comparison in enumerate(mine):
            shift = (index - (len(mine) - 1) / 2) * 0.7 / max(1, len(mine))
            for row, name in enumerate(names):
                found = comparison["class_iou"][name]
                colour = series_colour(comparison["upsampler"])
                _bar(ax, found["over_pictures"], row + shift, colour, 1.4)
                if found["mean"] is not None:
                    ax.plot(
                        [100 * found["mean"]],
                        [row + shift],
                        "o",
                        color=colour,
                        label=comparison["upsampler"] if not row else None,
                    )
        ax.set_title(title)
        ax.set_xlabel("IoU, points from bilinear")
        ax.grid(visible=True, axis="x")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    if others > 1:
        axes[-1].legend(loc="best")
    which = (
        "every class that occurs" if len(names) == count else f"the {len(names)} of {count} classes that differ most"
    )
    caption = f"Difference in IoU of {which}, mean over seeds, with 95 % intervals over pictures."
    return Drawing("classes", "Class by class.", caption, to_svg(drawn, "classes", caption))


@STYLED
def draw_curves(report: dict[str, Any]) -> Drawing | None:
    """Training loss of every arm; None where no arm was trained by itself."""
    strides = _strides(report)
    if not any(curve for arm in report["arms"] for curve in arm["curves"]):
        return None
    drawn, axes = figure(WIDTH, 2.7, 1, len(strides), sharey=True)
    for ax, (stride, title) in zip(axes, panels(strides), strict=True):
        for arm in _of_stride(report["arms"], stride):
            curves = [curve for curve in arm["curves"] if curve]
            if not curves:
                continue
            length = min(map(len, curves))
            values = np.array([[curve[i]["loss"] for curve in curves] for i in range(length)])
            _line(ax, np.array([row["epoch"] for row in curves[0][:length]]), values, arm["upsampler"], marker="")
        ax.set_title(title)
        ax.set_xlabel("epoch")
        ax.grid(visible=True)
    axes[0].set_ylabel("training loss")
    axes[-1].legend(loc="upper right")
    caption = (
        "Training loss, mean over seeds, bands from the lowest to the highest seed. Arms of one seed see the same "
        "crops in the same order."
    )
    return Drawing("curves", "Training.", caption, to_svg(drawn, "curves", caption))


def _classes_shown(comparisons: list[dict[str, Any]]) -> list[str]:
    """All classes in their order, or of many those with the largest difference anywhere."""

    def largest(name: str) -> float:
        return max(abs(float(comparison["class_iou"][name]["mean"] or 0)) for comparison in comparisons)

    names = list(comparisons[0]["class_iou"])
    chosen = set(sorted(names, key=largest, reverse=True)[:MOST_CLASSES])
    return [name for name in names if name in chosen]


def bin_name(part: dict[str, Any]) -> str:
    """``≤ 4``, ``4–8``, ``> 32``."""
    if not part["from"]:
        return f"≤ {part['to']}"
    return f"{part['from']}–{part['to']}" if part["to"] else f"> {part['from']}"


def _line(
    ax: Axes, places: np.ndarray[Any, Any], values: np.ndarray[Any, Any], upsampler: str, marker: str = "o"
) -> None:
    """Mean over the last axis with a band from lowest to highest."""
    colour = series_colour(upsampler)
    ax.fill_between(places, values.min(axis=1), values.max(axis=1), color=colour, alpha=0.18, linewidth=0)
    ax.plot(places, values.mean(axis=1), marker=marker, color=colour, label=upsampler)


def _intervals(
    ax: Axes, points: list[dict[str, Any]], upsampler: str, *, band: bool = True, shift: float = 0.0
) -> None:
    """Differences in points with their intervals over pictures, with gaps where not defined."""
    colour = series_colour(upsampler)
    empty = {"mean": None, "over_pictures": None}
    known = [p if p["mean"] is not None and p["over_pictures"] else empty for p in points]
    mean = [np.nan if p["mean"] is None else 100 * p["mean"] for p in known]
    low, high = (
        [100 * p["over_pictures"][end] if p["over_pictures"] else np.nan for p in known] for end in ("low", "high")
    )
    places = np.arange(len(points)) + shift
    if band:
        ax.fill_between(places, low, high, color=colour, alpha=0.18, linewidth=0)
    else:
        ax.vlines(places, low, high, color=colour, linewidth=1.4)
    ax.plot(places, mean, "o-" if band else "o", color=colour, label=upsampler)


def _bar(ax: Axes, interval: dict[str, float] | None, place: float, colour: str, width: float) -> None:
    if interval:
        ends = [100 * interval["low"], 100 * interval["high"]]
        ax.plot(ends, [place, place], color=colour, linewidth=width, solid_capstyle="butt")


def _percent(values: list[float | None]) -> list[float]:
    return [np.nan if value is None else 100 * value for value in values]


def _strides(report: dict[str, Any]) -> list[int]:
    return sorted({arm["stride"] for arm in report["arms"]}, reverse=True)


def _of_stride(entries: list[dict[str, Any]], stride: int) -> list[dict[str, Any]]:
    return [entry for entry in entries if entry["stride"] == stride]
