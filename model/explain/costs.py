"""Inserting zeros as the direct emulation of a transposed convolution, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from model.convolution import convolution_matrix
from model.explain.blocks import Chapter, Chart, Grid, Line, Row, Table, count, number, picture
from model.transposed import (
    count_multiplications,
    insert_zeros,
    transposed_by_phases,
    transposed_by_zero_insertion,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.explain.example import Example
    from model.transposed import Multiplications

FACTORS: Final = (2, 4, 8, 16, 32)
SIDE: Final = 8
PHASES: Final = ("even", "odd")
FORMS: Final = (
    ("whole matrix", "dense_matrix"),
    ("zeros inserted", "zero_insertion"),
    ("phases", "phases"),
    ("entries of the matrix", "sparse_matrix"),
)


def costs_chapter(example: Example) -> Chapter:
    """A 2x2 picture through a 3x3 kernel with stride 2, then the counts."""
    coarse = np.array([[1.0, 2.0], [3.0, 4.0]])
    kernel = np.arange(1.0, 10).reshape(3, 3)
    spread = np.pad(insert_zeros(coarse, 2), 2)
    inserted = transposed_by_zero_insertion(coarse, kernel, 2)
    others = (
        transposed_by_phases(coarse, kernel, 2),
        (convolution_matrix(kernel, (5, 5), 2).T @ coarse.ravel()).reshape(5, 5),
    )
    apart = max(float(np.abs(inserted - other).max()) for other in others)
    phases = _phase_of(inserted)
    small = count_multiplications((2, 2), 3, 2)
    flipped = Grid("w, flipped", kernel[::-1, ::-1], np.arange(9)[::-1].reshape(3, 3), taps_across=3)
    zeros = Grid("zeros inserted", spread, np.where(spread == 0, -1, 0), blank=True)
    steps = {factor: count_multiplications((SIDE, SIDE), 2 * factor, factor, factor // 2) for factor in FACTORS}
    rows = [(f"×{factor}", *_counted(found)) for factor, found in steps.items()]
    yours = count_multiplications(
        example.output_size,
        example.kernel_size,
        example.stride,
        example.padding,
        example.dilation,
        example.output_padding,
    )
    rows.append(("yours", *_counted(yours)))
    return Chapter(
        "costs",
        "Inserting zeros is the same map at a far greater cost",
        (
            "A transposed convolution can be had from a plain one: spread the pixels apart with zeros between, add a "
            "rim, and slide the flipped kernel over it.",
            Row(
                (picture("y", coarse), "→", zeros, "∗", flipped, "=", picture("answer", inserted)),
                f"2×2 to 5×5 with kernel 3 and stride 2. Of the {spread.size} numbers under the kernel {coarse.size} "
                f"are not zero. Largest difference from Cᵀ y and from the phases: {apart:g}.",
            ),
            f"Here that takes 25 places × 9 taps = {count(small.zero_insertion)} multiplications, of which "
            f"{count(small.phases)} have no inserted zero in them: four pixels with nine taps each. The phases do just "
            "these. With stride 2 an answer's pixel in an even row and an even column meets only the taps of even "
            "rows and columns, and so on: the kernel falls apart into four small ones, each for a quarter of the "
            "answer.",
            Row(tuple(_part(kernel, row, column) for row, column in np.ndindex(2, 2)), "The kernel's four parts."),
            Row(
                (picture("y", coarse), "→", Grid("answer", inserted, phases)),
                f"Four small convolutions, one a colour, interleaved: {_listed(np.bincount(phases.ravel()))} pixels.",
            ),
            "The ratio is about the square of the stride. For one channel of an 8×8 map, with "
            "a kernel of 2s for a factor s:",
            Table(("", *(title for title, _ in FORMS), "zeros : phases"), tuple(rows)),
            Chart(
                "scale factor",
                "multiplications",
                tuple(
                    Line(
                        title,
                        tuple(map(float, FACTORS)),
                        tuple(float(getattr(s, field)) for s in steps.values()),
                        index,
                    )
                    for index, (title, field) in enumerate(FORMS)
                ),
                "Multiplications of one upsampling of an 8×8 map by each factor, both axes logarithmic: the phases and "
                "the matrix's own entries lie on one line, inserted zeros rise away from it.",
                logarithmic=True,
            ),
            "Counts are not times: `fcn compare` measures those too, and `benchmarks/forms.py` makes a table of both.",
        ),
    )


def _part(kernel: NDArray[np.float64], row: int, column: int) -> Grid:
    """The taps that one phase meets, in their colours in the whole kernel."""
    taps = np.arange(kernel.size).reshape(kernel.shape)
    part = (slice(row, None, 2), slice(column, None, 2))
    return Grid(f"{PHASES[row]}, {PHASES[column]}", kernel[part], taps[part], "names", kernel.shape[1])


def _phase_of(answer: NDArray[np.float64]) -> NDArray[np.intp]:
    rows, columns = np.indices(answer.shape)
    return np.asarray(2 * (rows % 2) + columns % 2)


def _listed(counts: NDArray[np.intp]) -> str:
    return f"{', '.join(map(str, counts[:-1]))} and {counts[-1]}"


def _counted(found: Multiplications) -> tuple[str, ...]:
    counts = [getattr(found, field) for _, field in FORMS]
    return (*map(count, counts), number(round(found.zero_insertion / found.phases, 2)))
