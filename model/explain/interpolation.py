"""Bilinear interpolation as a transposed convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from model.compare.kernels import tent
from model.explain.blocks import Chapter, Chart, Line, Row, Table, by_value, matrix_grid, number, picture
from model.transposed import transposed_by_matrix

if TYPE_CHECKING:
    from numpy.typing import NDArray

COARSE: Final = np.array([2.0, 6.0, 4.0])
MAP: Final = np.array([[2.0, 6.0, 4.0], [8.0, 0.0, 4.0], [2.0, 2.0, 10.0]])
EXACT: Final = 1e-12
"""Rounding of a handful of sums."""


def line_kernel(scale_factor: int) -> NDArray[np.float64]:
    """The tent that interpolates a line, without its zeros: 2 s - s % 2 taps."""
    rising = tent(scale_factor)
    return rising[rising > 0]


def interpolate(values: NDArray[np.float64], scale_factor: int, axis: int) -> NDArray[np.float64]:
    """Linear interpolation along an axis as its definition has it, pixels being areas (``align_corners=False``).

    Pixel i of the fine line lies at (i + 1/2) / s - 1/2 on the coarse one, held within its ends.
    """
    side = values.shape[axis]
    places = np.clip((np.arange(side * scale_factor) + 0.5) / scale_factor - 0.5, 0, side - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, side - 1)
    shape = [-1 if index == axis else 1 for index in range(values.ndim)]
    weight = (places - before).reshape(shape)
    found: NDArray[np.float64] = (1 - weight) * values.take(before, axis) + weight * values.take(after, axis)
    return found


def upsample(coarse: NDArray[np.float64], scale_factor: int, *, repeat: bool) -> NDArray[np.float64]:
    """Transposed convolution of a map with the bilinear kernel, cropped to s times its sides.

    Args:
        coarse: Shape (h, w).
        scale_factor: s.
        repeat: Repeat the edge by one pixel first, as ``TransposedUpsampler`` does; else there is nothing beyond it.
    """
    taps = line_kernel(scale_factor)
    half = scale_factor // 2
    if repeat:
        return transposed_by_matrix(
            np.pad(coarse, 1, mode="edge"), np.outer(taps, taps), scale_factor, scale_factor + half
        )
    return transposed_by_matrix(coarse, np.outer(taps, taps), scale_factor, half)


def interpolation_chapter() -> Chapter:
    """One line in numbers, then a map against the definition."""
    taps = line_kernel(2)
    fine = interpolate(COARSE, 2, 0)
    padded = np.pad(COARSE, 1, mode="edge")
    whole = matrix_grid("Cᵀ", taps[None], (1, 6), (1, 2), (0, 3), transposed=True)
    bare = matrix_grid("Cᵀ", taps[None], (1, 6), (1, 2), (0, 1), transposed=True)
    short = bare.values @ COARSE
    surface = interpolate(interpolate(MAP, 2, 0), 2, 1)
    rows = []
    for name, repeat in (("edge repeated by one pixel", True), ("nothing beyond the edge", False)):
        off = np.abs(upsample(MAP, 2, repeat=repeat) - surface)
        border = max(float(off[[0, -1]].max()), float(off[:, [0, -1]].max()))
        rows.append((name, _difference(float(off[1:-1, 1:-1].max())), _difference(border)))
    return Chapter(
        "bilinear",
        "Bilinear interpolation is one such matrix",
        (
            "Interpolation by 2 along a line puts two pixels for each one, a quarter to either side of it, and mixes "
            "the two nearest with weights ¾ and ¼. Read down a column: every coarse pixel lays down ¼ ¾ ¾ ¼, the "
            "kernel of a transposed convolution with stride 2.",
            Row(
                (whole, "·", picture("x", padded[:, None]), "=", picture("", (whole.values @ padded)[:, None])),
                f"The line {_listed(COARSE)}, its ends repeated once, becomes {_listed(fine)}: interpolation, ends "
                "too.",
            ),
            Row(
                (bare, "·", picture("x", COARSE[:, None]), "=", picture("", short[:, None])),
                f"Without the repeated ends the first and the last are a quarter too small: {number(short[0])} instead "
                f"of {number(fine[0])}, {number(short[-1])} instead of {number(fine[-1])}. Nothing within differs.",
            ),
            _tents(fine),
            "In two directions the kernel is the product of two such lines, for a factor s of 2s − s mod 2 taps to a "
            "side: here 4×4.",
            Row(
                (by_value("16 w", 16 * np.outer(taps, taps)), picture("x", MAP), "→", picture("Cᵀ x", surface)),
                "The kernel, sixteenfold, and a map upsampled by 2. Each output pixel sees four taps that add up to 1.",
            ),
            Table(("largest difference from interpolation", "inside", "at the border"), tuple(rows)),
            "So a learned upsampler can begin as exactly the fixed one and then be better or worse than it by nothing "
            "but what it learned: `learned` starts there, `bilinear` stays there, and `fcn compare` measures what is "
            "between.",
        ),
    )


def _tents(fine: NDArray[np.float64]) -> Chart:
    places = np.linspace(-0.5, 2.5, 121)
    ends = {-1: COARSE[0], **dict(enumerate(COARSE)), len(COARSE): COARSE[-1]}
    heights = {place: value * np.clip(1 - np.abs(places - place), 0, None) for place, value in ends.items()}
    lines = []
    for place, height in heights.items():
        near = np.abs(places - place) <= 1
        name = f"pixel {place}" if 0 <= place < len(COARSE) else ""
        lines.append(Line(name, tuple(places[near]), tuple(height[near]), place % 5))
    lines.append(Line("their sum", tuple(places), tuple(np.sum(list(heights.values()), axis=0)), -1))
    lines.append(Line("fine pixels", tuple((np.arange(6) + 0.5) / 2 - 0.5), tuple(fine), -1, dots=True))
    return Chart(
        "place on the coarse line, pixels",
        "value",
        tuple(lines),
        "Every coarse pixel lays down a tent of its own height; where tents overlap they are added, and the sum is the "
        "straight line from pixel to pixel. The repeated ends hold it level at the borders.",
    )


def _difference(value: float) -> str:
    return "0" if value < EXACT else number(value)


def _listed(values: NDArray[np.float64]) -> str:
    return ", ".join(number(float(value)) for value in values)
