"""The first two chapters: the example's matrix and its transpose, worked out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from model.convolution import input_sizes
from model.explain.blocks import Chapter, Row, count, kernel_grid, matrix_grid, number, picture, size
from model.explain.example import LARGEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.explain.blocks import Block, Grid
    from model.explain.example import Example

MOST_WRITTEN: Final = 25
"""Rows and columns of a matrix that is written in numbers; above, its pattern is shown."""


def convolution_chapter(example: Example) -> Chapter:
    """A convolution is a matrix."""
    (rows, columns), places = example.output_size, example.shape[0]
    told: list[Block] = [
        f"A {size(example.kernel_size)} kernel over a {size(example.input_size)} picture{_how(example)} stops at "
        f"{count(places)} places, {count(rows)} down and {count(columns)} across. At each place it multiplies the "
        "pixels under it by its own numbers and adds up: one pixel of the answer."
    ]
    shape = f"{count(example.shape[0])} rows and {count(example.shape[1])} columns"
    share = example.entries / (example.shape[0] * example.shape[1])
    filled = (
        f"{count(example.entries)} of its {count(example.shape[0] * example.shape[1])} entries ({100 * share:.2g} %) "
        "hold a number of the kernel; all others are zero, whatever the kernel learns."
    )
    matrix = (
        "Write the picture as one column of numbers, row after row. The places of the kernel are then the rows of a "
        f"matrix C with {shape}, and C times the picture is the convolution. {filled}"
    )
    if not example.is_shown:
        told += [
            matrix,
            f"A matrix of more than {count(LARGEST)} entries is counted here and not printed: take a smaller picture.",
        ]
        return Chapter("convolution", "A convolution is a matrix", tuple(told))
    x, c, y = _numbers(example)
    answer = y.reshape(example.output_size)
    told += [
        Row(
            (
                kernel_grid("kernel w", example.kernel, names=True),
                "=",
                kernel_grid("", example.kernel),
                picture("picture x", x.reshape(example.input_size)),
                "→",
                picture("convolution y", answer),
            ),
            "The kernel's numbers, the picture and what the kernel makes of it.",
        ),
        matrix,
        Row(
            (_matrix(example, f"C, {size(example.shape)}", show="names"),),
            "Every row is one place of the kernel. Follow one colour: each step of the kernel moves it "
            f"{example.stride} {'pixel' if example.stride == 1 else 'pixels'} on.",
        ),
    ]
    if max(example.shape) <= MOST_WRITTEN:
        told.append(
            Row(
                (_matrix(example, "C"), "·", picture("x", x[:, None]), "=", picture("y", y[:, None])),
                f"The same in numbers. First row: {_sum(c, x)}.",
            )
        )
    return Chapter("convolution", "A convolution is a matrix", tuple(told))


def transpose_chapter(example: Example) -> Chapter:
    """Its transpose is the transposed convolution; it is not its inverse."""
    shapes = f"{size(example.input_size)} → {size(example.output_size)} → {size(example.input_size)}"
    told: list[Block] = [
        f"C takes {count(example.shape[1])} numbers to {count(example.shape[0])}; its transpose Cᵀ takes "
        f"{count(example.shape[0])} to {count(example.shape[1])}: {shapes}. Every pixel of the small picture lays down "
        "the kernel, multiplied by that pixel, at its place on the large one, and what overlaps is added. That is the "
        "transposed convolution. Nothing is flipped and nothing is solved: the same numbers, read down the columns.",
    ]
    gradient = (
        "Cᵀ is also the gradient of the convolution with respect to its input: it is what training has always computed "
        "on the way back. Used on the way forward it upsamples, and its few numbers can be learned like any others."
    )
    if not example.is_shown:
        return Chapter("transpose", "Its transpose goes back", (*told, gradient, *_ambiguity(example)))
    x, c, y = _numbers(example)
    back = c.T @ y
    told += [
        Row(
            (_matrix(example, f"Cᵀ, {size(example.shape[::-1])}", show="names", transposed=True),),
            "The transpose: every column is the kernel laid down by one pixel of the small picture.",
        ),
        Row(
            (
                picture("y", y.reshape(example.output_size)),
                "→",
                picture("Cᵀ y", back.reshape(example.input_size)),
                "≠" if not np.allclose(back, x) else "=",
                picture("x", x.reshape(example.input_size)),
            ),
            f"There and back: {shapes}. The shape comes back"
            + (", the values do not." if not np.allclose(back, x) else ", and here the values too."),
        ),
        _not_the_inverse(example, x, c, back),
        gradient,
        *_ambiguity(example),
    ]
    return Chapter("transpose", "Its transpose goes back", tuple(told))


def _not_the_inverse(
    example: Example, x: NDArray[np.float64], c: NDArray[np.float64], back: NDArray[np.float64]
) -> str:
    rank = int(np.linalg.matrix_rank(c))
    pixels = example.shape[1]
    if np.allclose(back, x):
        return f"Here Cᵀ C leaves this picture as it was, by the luck of this kernel; C has rank {rank} of {pixels}."
    worst = int(np.abs(back - x).argmax())
    told = f"Cᵀ is not the inverse: pixel {worst} was {number(x[worst])} and comes back as {number(back[worst])}. "
    if rank < pixels:
        return told + (
            f"No matrix could bring the values back: C has rank {rank}, so of the {pixels} numbers of a picture "
            f"{pixels - rank} are lost on the way. What a learned kernel puts there is an estimate."
        )
    return told + f"C has the full rank {rank}, so its values could be solved for; but that is another matrix than Cᵀ."


def _ambiguity(example: Example) -> list[Block]:
    """Which picture sizes give the same output, where there are several."""
    if example.stride == 1:
        return []
    told = []
    for side, name in ((0, "heights"), (1, "widths")):
        options = (example.output_size[side], example.kernel_size[side], example.stride, example.padding)
        found = input_sizes(*options, example.dilation)
        told.append(f"{name} from {found[0]} to {found[-1]} give {example.output_size[side]}")
    return [
        f"With stride {example.stride} the way back is ambiguous: {' and '.join(told)}. Output padding chooses; here "
        f"it is {size(example.output_padding)}."
    ]


def _numbers(example: Example) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The picture 1, 2, 3, ..., the matrix, the convolution."""
    x = np.arange(1.0, example.shape[1] + 1)
    c = _matrix(example, "").values
    return x, c, c @ x


def _matrix(
    example: Example, title: str, *, show: Literal["values", "names"] = "values", transposed: bool = False
) -> Grid:
    geometry = (example.input_size, example.stride, example.padding, example.dilation)
    written = show if max(example.shape) <= MOST_WRITTEN else "pattern"
    return matrix_grid(title, example.kernel, *geometry, show=written, transposed=transposed)


def _sum(c: NDArray[np.float64], x: NDArray[np.float64]) -> str:
    """The first row times the picture, written out."""
    terms = [f"{number(weight)}·{number(pixel)}" for weight, pixel in zip(c[0], x, strict=True) if weight]
    written = " + ".join(terms[:9]) + (" + …" if len(terms) > 9 else "")
    return f"{written or '0'} = {number(float(c[0] @ x))}"


def _how(example: Example) -> str:
    """What differs from a plain convolution."""
    told = [
        f"{name} {value}"
        for name, value, plain in (
            ("stride", example.stride, 1),
            ("padding", example.padding, 0),
            ("dilation", example.dilation, 1),
        )
        if value != plain
    ]
    return f" with {', '.join(told)}" if told else ""
