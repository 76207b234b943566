"""Figures of learned kernels: what they look like and what they do to frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.compare.kernels import bilinear, frequencies, frequency_response
from model.compare.svg import FAINT, INK, STYLED, Drawing, figure, series_colour, to_svg

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.compare.results import ArmResult

WIDTH = 9.4
SHOWN_CLASSES = 3


@STYLED
def draw_kernels(results: list[ArmResult], names: list[str]) -> Drawing | None:
    """Start, end and change of the last upsampler's kernels, first seed.

    Args:
        results: One a learned arm; none gives no figure.
        names: Of the classes.
    """
    if not results:
        return None
    columns = 2 + SHOWN_CLASSES
    drawn, axes = figure(WIDTH, 0.3 + 1.95 * len(results), len(results), columns)
    for row, result in enumerate(results):
        start, end = result.starts[-1].astype(float), result.ends[-1].astype(float)
        factor = end.shape[-1] // 3
        moved = np.linalg.norm((end - start).reshape(len(end), -1), axis=1)
        most = np.argsort(-moved, kind="stable")[:SHOWN_CLASSES]
        pictures = [
            (f"{result.arm.name}\nstart", start.mean(axis=0), False),
            ("end, mean of\nall classes", end.mean(axis=0), False),
        ]
        pictures += [(f"change of\n{names[index]}", end[index] - start[index], True) for index in most]
        largest = max(float(np.abs(p).max()) for _, p, change in pictures if not change) or 1.0
        spread = max((float(np.abs(p).max()) for _, p, change in pictures if change), default=0.0) or 1.0
        for column in range(columns):
            ax = axes[row * columns + column]
            ax.set_axis_off()
            if column >= len(pictures):
                continue
            title, picture, change = pictures[column]
            bound = spread if change else largest
            # The middle 2 s x 2 s pixels hold every kernel but the sub-pixel convolution's.
            cut = (
                slice(None) if result.arm.upsampler == "pixel-shuffle" else slice(factor // 2, 3 * factor - factor // 2)
            )
            ax.imshow(picture[cut, cut], cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
            ax.set_title(title, fontsize=8.5, fontweight="normal")
            ax.text(0.5, -0.06, f"±{bound:.2g}", transform=ax.transAxes, ha="center", va="top", fontsize=8)
    caption = (
        f"Kernels of the last upsampler of each learned arm, seed {results[0].seed}: where they began, where they "
        f"ended on the mean of all classes, and the change of the {SHOWN_CLASSES} classes that moved most. Red is "
        "positive, blue negative; the number below is the end of the colour scale."
    )
    return Drawing("kernels", "What was learned.", caption, to_svg(drawn, "kernels", caption))


@STYLED
def draw_frequencies(report: dict[str, Any]) -> Drawing | None:
    """Frequency responses of learned kernels beside the bilinear one and the ideal low-pass."""
    learned = report["kernels"]
    if not learned:
        return None
    columns = min(3, len(learned))
    rows = -(-len(learned) // columns)
    drawn, axes = figure(WIDTH, 0.3 + 2.3 * rows, rows, columns, sharey=True)
    for ax in axes[len(learned) :]:
        ax.set_axis_off()
    places = frequencies()
    for ax, entry in zip(axes, learned, strict=False):
        stage = entry["stages"][-1]
        factor = stage["scale_factor"]
        response = stage["frequency_response"]
        colour = series_colour(entry["upsampler"])
        ax.plot([0, 0.5, 0.5, 1], [1, 1, 0, 0], color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label="ideal low-pass")
        ax.plot(places, _bilinear_response(factor), color=series_colour("bilinear"), label="bilinear")
        ax.fill_between(places, response["low"], response["high"], color=colour, alpha=0.18, linewidth=0)
        ax.plot(places, response["mean"], color=colour, label=entry["upsampler"])
        ax.axhline(0, color=FAINT, linewidth=0.7)
        ax.set_title(f"{entry['arm']}, last step ×{factor}")
        ax.set_xlabel("cycles per coarse pixel")
    axes[0].set_ylabel("gain")
    axes[0].legend(loc="upper right")
    caption = (
        "Gain along the horizontal axis, mean over classes and seeds, bands from lowest to highest. Beyond one half "
        "lie the repeated images of the coarse map's spectrum, which an ideal low-pass removes."
    )
    return Drawing("frequencies", "Frequency response.", caption, to_svg(drawn, "frequencies", caption))


def _bilinear_response(factor: int) -> NDArray[np.float64]:
    return frequency_response(bilinear(factor), factor)
