"""Figures of the reconstruction: differences from bicubic, and the kernels that bring pictures back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.compare.svg import FAINT, INK, PAPER, STYLED, Drawing, figure, series_colour, to_svg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from model.compare.reconstruction.methods import MethodName
    from model.compare.reconstruction.results import Key, Part

WIDTH: Final = 9.4

_KERNELS: Final[tuple[MethodName, ...]] = ("bilinear", "learned", "bicubic", "learned-wide")


@STYLED
def draw_reconstruction(section: dict[str, Any]) -> Drawing:
    """Differences of PSNR and SSIM from bicubic, with both intervals.

    Args:
        section: ``reconstruction`` of the report.
    """
    methods = [method for method in section["methods"] if method["name"] != "bicubic"]
    drawn, axes = figure(WIDTH, 0.95 + 0.34 * len(methods), 1, 2, sharey=True)
    for ax, score, title, unit in zip(axes, ("psnr", "ssim"), ("PSNR", "SSIM"), ("dB", "hundredths"), strict=True):
        scale = 1 if score == "psnr" else 100
        ax.axvline(0, color=INK, linewidth=0.9)
        for row, method in enumerate(methods):
            found = method[f"{score}_from_bicubic"]
            colour = series_colour(method["name"])
            learned = method["learned"]
            if found["mean"] is None:
                continue
            place = row - 0.12 if learned else row
            _interval(ax, found["over_seeds"], row - 0.12, colour, 3.2, scale)
            _interval(ax, found["over_pictures"], row + 0.14 if learned else row, colour, 1.2, scale)
            ax.plot(
                [scale * found["mean"]], [place], "o", color=colour, markersize=6.5, markeredgecolor=PAPER, zorder=3
            )
        ax.set_title(title)
        ax.set_xlabel(f"difference from bicubic, {unit}")
        ax.grid(visible=True, axis="x")
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(methods)), [method["name"] for method in methods])
    axes[0].set_ylim(len(methods) - 0.5, -0.5)
    caption = (
        "Right of zero a method brings pictures back better than bicubic interpolation. Dots are means over seeds and "
        "pictures; the thick line is the 95 % interval over seeds, the thin one that over pictures. What learns "
        "nothing has no interval over seeds."
    )
    return Drawing("reconstructed", "How well pictures come back.", caption, to_svg(drawn, "reconstructed", caption))


@STYLED
def draw_restoring_kernels(parts: Mapping[Key, Part], seed: int, factor: int) -> Drawing:
    """Kernels of the linear methods beside the fixed ones, as pictures and in profile.

    Args:
        parts: Of the experiment.
        seed: Whose kernels.
        factor: s.
    """
    drawn, axes = figure(WIDTH, 2.35, 1, 5, width_ratios=[1, 1, 1, 1, 2.5])
    kernels = {}
    for name in _KERNELS:
        part = parts.get((name, None)) or parts[name, seed]
        kernels[name] = part.kernel.astype(np.float64).mean(axis=0)
    bound = max(float(np.abs(kernel).max()) for kernel in kernels.values()) or 1.0
    places = (np.arange(4 * factor) + 0.5) / factor - 2
    profile = axes[4]
    profile.axhline(0, color=FAINT, linewidth=0.7)
    for ax, (name, kernel) in zip(axes, kernels.items(), strict=False):
        ax.imshow(kernel, cmap="RdBu_r", vmin=-bound, vmax=bound, interpolation="nearest")
        ax.set_axis_off()
        ax.set_title(name, fontweight="normal")
        line = "-" if name.startswith("learned") else (0, (4, 2))
        profile.plot(places, _profile(kernel, factor), color=series_colour(name), linestyle=line, label=name)
    profile.set_title("summed over rows", fontweight="normal")
    profile.set_xlabel("distance, pixels of the summary")
    profile.set_xticks(range(-2, 3))
    profile.legend(loc="upper right", fontsize=7.5, borderaxespad=0, handlelength=1.8)
    caption = (
        f"What one pixel of the summary adds to the picture, mean of the three colours, seed {seed}: red is positive, "
        f"blue negative, the darkest red is {bound:.2g}. Every learned kernel began as the bilinear one. Below zero "
        "lies what sharpens: a kernel gives back some of the contrast that the reduction took."
    )
    return Drawing("restoring", "The kernels.", caption, to_svg(drawn, "restoring", caption))


def _profile(kernel: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    summed: NDArray[np.float64] = kernel.sum(axis=0) / factor
    return summed


def _interval(ax: Axes, found: dict[str, float] | None, row: float, colour: str, width: float, scale: float) -> None:
    if found:
        ends = [scale * found["low"], scale * found["high"]]
        ax.plot(ends, [row, row], color=colour, linewidth=width, solid_capstyle="butt")
