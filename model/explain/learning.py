"""The kernel of a transposed convolution learned from examples: gradient descent, small enough to watch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from model.compare.kernels import checkerboard
from model.explain.blocks import Chapter, Row, Table, kernel_grid, number
from model.explain.interpolation import interpolate, line_kernel
from model.transposed import transposed_by_phases

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAPS: Final = 4
SIDE: Final = 8
TAPS: Final = 4
SHOWN: Final = (0, 1, 10)
TOLD: Final = (0, 1, 2, 3, 5, 10, 20)


def examples() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Random maps upsampled by 2, as equations for the kernel.

    The answer of a transposed convolution is linear in its kernel as well: the sum over the taps of each tap times
    what a kernel of that tap alone gives.

    Returns:
        A, one row an output pixel and one column a tap, shape (4 * 16 * 16, 16); and the pixels that bilinear
        interpolation gives.
    """
    random = np.random.default_rng(0)
    parts, wanted = [], []
    units = np.eye(TAPS * TAPS).reshape(-1, TAPS, TAPS)
    for _ in range(MAPS):
        coarse = random.normal(size=(SIDE, SIDE))
        padded = np.pad(coarse, 1, mode="edge")
        parts.append(np.stack([transposed_by_phases(padded, unit, 2, 3).ravel() for unit in units], axis=1))
        wanted.append(interpolate(interpolate(coarse, 2, 0), 2, 1).ravel())
    return np.concatenate(parts), np.concatenate(wanted)


def descend(steps: int) -> list[NDArray[np.float64]]:
    """The kernel before each step and after the last, from a random start.

    Returns:
        steps + 1 kernels of shape (4, 4).
    """
    a, wanted = examples()
    curvature = a.T @ a / len(a)
    rate = 1 / float(np.linalg.eigvalsh(curvature)[-1])  # the largest that goes downhill in every direction
    kernel = np.random.default_rng(1).normal(scale=0.5, size=TAPS * TAPS)
    found = [kernel]
    for _ in range(steps):
        kernel = kernel - rate * (a.T @ (a @ kernel - wanted)) / len(a)
        found.append(kernel)
    return [kernel.reshape(TAPS, TAPS) for kernel in found]


def learning_chapter() -> Chapter:
    """A random kernel becomes the bilinear one by looking at what it should have given."""
    a, wanted = examples()
    bilinear = np.outer(line_kernel(2), line_kernel(2))
    kernels = descend(TOLD[-1])
    rows = []
    for step in TOLD:
        kernel = kernels[step]
        error = float(np.sqrt(np.mean((a @ kernel.ravel() - wanted) ** 2)))
        away = float(np.linalg.norm(kernel - bilinear) / np.linalg.norm(bilinear))
        rows.append((str(step), *(number(float(f"{v:.2g}")) for v in (error, away, checkerboard(kernel, 2)))))
    return Chapter(
        "learning",
        "The kernel can be learned",
        (
            f"Here nobody tells the kernel what interpolation is. It starts from chance and sees {MAPS} random "
            f"{SIDE}×{SIDE} maps, and beside each the {2 * SIDE}×{2 * SIDE} map that it should become. The answer is "
            f"linear in the {TAPS * TAPS} numbers of the kernel, so that the mean square of what is wrong is a bowl, "
            "and every step goes down it. This is all that training an upsampler is; in a network the wanted map is "
            "the label, and what is wrong comes back through Cᵀ's own transpose, C.",
            Row(
                tuple(kernel_grid(f"step {step}", np.round(kernels[step], 2)) for step in SHOWN),
                "The kernel at the start, after one step and after ten. The bilinear one has 0.06, 0.19 and 0.56.",
            ),
            Table(("step", "error of a pixel", "distance from bilinear", "unevenness"), tuple(rows)),
            "The checkerboard of the start goes with the error: even phases are learned too, where the examples ask "
            "for them. Where they ask for something else than interpolation, a learned kernel goes there. That is the "
            "whole question of `fcn compare`.",
        ),
    )
