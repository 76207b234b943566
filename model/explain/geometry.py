"""What stride, padding, dilation and output padding do to shapes and to the matrix."""

from __future__ import annotations

from typing import Final

import numpy as np

from model.convolution import convolution_size, input_sizes, transposed_size
from model.explain.blocks import Chapter, Row, Table, by_value, count, matrix_grid, size
from model.transposed import count_entries, transposed_by_phases

KERNEL: Final = np.arange(1.0, 5).reshape(2, 2)
SIDE: Final = (4, 4)

SETTINGS: Final = (
    ("plain", SIDE, 1, 0, 1),
    ("stride 2", SIDE, 2, 0, 1),
    ("padding 1", SIDE, 1, 1, 1),
    ("dilation 2", SIDE, 1, 0, 2),
    ("stride 2, 5×5", (5, 5), 2, 0, 1),
)


def geometry_chapter() -> Chapter:
    """Four settings of a 2x2 kernel over a 4x4 picture, and the ambiguity of stride."""
    rows = []
    for name, sides, stride, padding, dilation in SETTINGS:
        output = convolution_size(sides, (2, 2), stride, padding, dilation)
        back = transposed_size(output, (2, 2), stride, padding, dilation)
        more = sides[0] - back[0]
        rows.append(
            (
                name,
                f"{size(sides)} → {size(output)}",
                size((output[0] * output[1], sides[0] * sides[1])),
                count(count_entries(sides, (2, 2), stride, padding, dilation)),
                f"{size(back)}" + (f", with output padding {more} {size(sides)}" if more else ""),
            )
        )
    grids = [
        matrix_grid(f"{name}: {rows[i][2]}", KERNEL, sides, stride, padding, dilation, show="pattern")
        for i, (name, sides, stride, padding, dilation) in enumerate(SETTINGS[:4])
    ]
    ones = np.ones((2, 2))
    cut = [transposed_by_phases(ones, np.ones((3, 3)), 2, 1, output_padding=more) for more in (0, 1)]
    beyond = transposed_by_phases(ones, np.ones((3, 3)), 2, 0, output_padding=1)
    both = " and ".join(map(str, input_sizes(2, 3, 2, 1)))
    return Chapter(
        "geometry",
        "What stride, padding and dilation do",
        (
            "The output of a convolution has o = ⌊(n + 2p − d(k − 1) − 1) / s⌋ + 1 pixels to a side, the transposed "
            "one gives n = (o − 1)s − 2p + d(k − 1) + 1 + output padding. In the matrix these are plain to see. A "
            "stride leaves rows out. Padding adds rows that have lost a part beyond the edge of the picture; in the "
            "transpose it cuts the edge off. Dilation moves the colours apart.",
            Row(
                (grids[0], grids[1]),
                "A 2×2 kernel over a 4×4 picture, plain and with stride 2: every second place stays, down and across.",
            ),
            Row(
                (grids[2], grids[3]),
                "With padding 1 the outer places see a part of the kernel; with dilation 2 it is wider.",
            ),
            Table(("", "convolution", "matrix C", "entries", "the transpose goes back to"), tuple(rows)),
            "A stride of s takes s picture sizes to one, so the way back has to be told which is meant: output "
            "padding, from 0 to s − 1. It names a size and adds no zeros of its own. The rows and columns it adds lie "
            f"at the far edges. With kernel 3, stride 2 and padding 1, sides {both} both give 2:",
            Row(
                (by_value("output padding 0", cut[0]), by_value("output padding 1", cut[1])),
                "2×2 ones through the transpose. The row that is added holds what padding had cut off there.",
            ),
            Row(
                (by_value("padding 0, output padding 1", beyond),),
                "Without padding nothing was cut off: no kernel reaches the added row, and it stays zero.",
            ),
        ),
    )
