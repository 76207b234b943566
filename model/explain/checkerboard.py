"""Why uneven phases give checkerboards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from model.compare.kernels import bilinear, checkerboard, phase_sums
from model.explain.blocks import Chapter, Row, Table, by_value, number, size
from model.transposed import transposed_by_phases

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.explain.example import Example


def whole_strides(kernel: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """The kernel with zeros after it up to sides that are multiples of the stride: the same map, and phases to sum."""
    return np.pad(kernel, [(0, -side % stride) for side in kernel.shape])


def checkerboard_chapter(example: Example) -> Chapter:
    """Kernel 3 against kernel 4 at stride 2, on a map of ones."""
    three, four = np.ones((3, 3)), np.ones((4, 4))
    # Two pixels from the edge every phase has all its kernels.
    inside = [transposed_by_phases(np.ones((5, 5)), kernel, 2)[2:8, 2:8] for kernel in (three, four)]
    bent = np.outer([1.0, 2, 3, 1], [1.0, 2, 3, 1])
    kernels = [
        ("3×3 of ones", three, 2),
        ("4×4 of ones", four, 2),
        ("4×4 bilinear", bilinear(2)[1:5, 1:5], 2),
        ("4×4, 1 2 3 1 both ways", bent, 2),
    ]
    if example.stride > 1 and example.dilation == 1 and example.stride <= 8:
        kernels.append((f"yours, {size(example.kernel.shape)}", example.kernel, example.stride))
    rows = []
    for name, kernel, stride in kernels:
        padded = whole_strides(kernel, stride)
        sums = phase_sums(padded, stride).ravel()
        told = ", ".join(number(float(value)) for value in sums[:16]) + (", …" if sums.size > 16 else "")
        rows.append((name, str(stride), told, number(checkerboard(padded, stride))))
    return Chapter(
        "checkerboard",
        "Uneven phases draw checkerboards",
        (
            "With stride 2 an output pixel belongs to one of 2×2 phases, and each phase sees taps of its own: the even "
            "or the odd ones in either direction. A kernel of 3 has two even taps and one odd one. So the phases get "
            "2·2, 2·1, 1·2 and 1·1 of its nine taps, and a map without any structure comes out with one. A kernel of "
            "4, a multiple of the stride, gives four to each.",
            Row(
                (by_value("kernel 3, stride 2", inside[0]), by_value("kernel 4, stride 2", inside[1])),
                "A map of ones through kernels of ones: the middle of the result. The left one is a checkerboard that "
                "no picture had in it.",
            ),
            Table(("kernel", "stride", "sums of the phases", "unevenness"), tuple(rows)),
            "Unevenness is the standard deviation of the sums over their mean; a constant map shows exactly that. A "
            "kernel that is a multiple of the stride makes even sums possible and no more: training is free to leave "
            "them. The report of `fcn compare` gives the unevenness of every kernel that was learned.",
        ),
    )
