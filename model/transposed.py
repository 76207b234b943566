"""The transposed convolution in four forms, and what each costs.

The transpose of the convolution's matrix; inserting zeros and convolving directly with the flipped kernel,
which multiplies mostly zeros; one small convolution for each phase of the output, interleaved (Shi et al.,
"Is the deconvolution layer the same as a convolutional layer?", 2016). All are one and the same map, here in
numpy and scipy.sparse, as plainly as they can be written; ``model/compare/forms.py`` writes them to be fast.

Pictures are (h, w) with kernels (kh, kw), or (in, h, w) with kernels (in, out / groups, kh, kw), as torch's
``conv_transpose2d`` lays them. Stride, padding, dilation: those of the convolution that is transposed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from data.errors import ConfigError
from model.convolution import Sides, both, convolution_matrix, convolution_size, transposed_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Form = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def transposed_by_matrix(
    picture: NDArray[np.float64],
    kernel: NDArray[np.float64],
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    output_padding: Sides = 0,
    groups: int = 1,
) -> NDArray[np.float64]:
    """The transposed convolution as ``C.T @ picture``.

    Returns:
        Shape (h', w') or (out, h', w') as ``transposed_size`` tells.

    Raises:
        ConfigError: sizes, channels or groups that do not go together.
    """
    _check_channels(picture, kernel, groups)
    height, width = picture.shape[-2:]
    size = (kernel.shape[-2], kernel.shape[-1])
    fine = transposed_size((height, width), size, stride, padding, dilation, output_padding)
    matrix = convolution_matrix(kernel, fine, stride, padding, dilation, groups)
    return np.asarray(matrix.T @ picture.ravel()).reshape(*_channels_out(kernel, groups), *fine)


def insert_zeros(picture: NDArray[np.float64], stride: Sides) -> NDArray[np.float64]:
    """Spread the pixels of (h, w) ``stride`` apart with zeros between: ((h - 1) s + 1, (w - 1) s + 1)."""
    height, width = picture.shape
    sy, sx = both(stride)
    spread = np.zeros(((height - 1) * sy + 1, (width - 1) * sx + 1), dtype=picture.dtype)
    spread[::sy, ::sx] = picture
    return spread


def transposed_by_zero_insertion(
    picture: NDArray[np.float64],
    kernel: NDArray[np.float64],
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    output_padding: Sides = 0,
    groups: int = 1,
) -> NDArray[np.float64]:
    """The transposed convolution as a direct one: insert zeros, pad, convolve with the flipped kernel.

    Returns:
        Shape as ``transposed_by_matrix``.

    Raises:
        ConfigError: as ``transposed_by_matrix``.
    """

    def form(plane: NDArray[np.float64], taps: NDArray[np.float64]) -> NDArray[np.float64]:
        size = (taps.shape[0], taps.shape[1])
        fine = transposed_size((plane.shape[0], plane.shape[1]), size, stride, padding, dilation, output_padding)
        (py, px), (dy, dx), (oy, ox) = both(padding), both(dilation), both(output_padding)
        reach = (dy * (size[0] - 1), dx * (size[1] - 1))
        spread = np.pad(insert_zeros(plane, stride), [(reach[0], reach[0] + oy), (reach[1], reach[1] + ox)])
        spread = spread[py:, px:]  # the padding that is transposed cuts
        answer = np.zeros(fine)
        for a, b in np.ndindex(size):
            y, x = reach[0] - a * dy, reach[1] - b * dx  # flipped
            answer += taps[a, b] * spread[y : y + fine[0], x : x + fine[1]]
        return answer

    return _over_channels(form, picture, kernel, groups)


def transposed_by_phases(
    picture: NDArray[np.float64],
    kernel: NDArray[np.float64],
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    output_padding: Sides = 0,
    groups: int = 1,
) -> NDArray[np.float64]:
    """The transposed convolution as s x s small convolutions, one a phase of the output, interleaved.

    No inserted zero is multiplied: output pixel f takes just the taps a with f = i s + a d for some input
    pixel i. With kernels that do not overlap (k <= s) this is sub-pixel convolution, depth to space.

    Returns:
        Shape as ``transposed_by_matrix``.

    Raises:
        ConfigError: as ``transposed_by_matrix``.
    """

    def form(plane: NDArray[np.float64], taps: NDArray[np.float64]) -> NDArray[np.float64]:
        height, width = plane.shape
        size = (taps.shape[0], taps.shape[1])
        fine = transposed_size((height, width), size, stride, padding, dilation, output_padding)
        (sy, sx), (py, px), (dy, dx) = both(stride), both(padding), both(dilation)
        full = np.zeros((fine[0] + 2 * py, fine[1] + 2 * px))
        for row, column in np.ndindex(sy, sx):
            phase = full[row::sy, column::sx]  # a view: writing to it interleaves
            for a in (a for a in range(size[0]) if a * dy % sy == row):
                for b in (b for b in range(size[1]) if b * dx % sx == column):
                    y, x = a * dy // sy, b * dx // sx
                    phase[y : y + height, x : x + width] += taps[a, b] * plane
        return full[py : py + fine[0], px : px + fine[1]]

    return _over_channels(form, picture, kernel, groups)


def _over_channels(
    form: Form, picture: NDArray[np.float64], kernel: NDArray[np.float64], groups: int
) -> NDArray[np.float64]:
    """One plane after the other: every channel goes through its kernels, sums are by output channel."""
    _check_channels(picture, kernel, groups)
    if picture.ndim == 2:
        return form(picture, kernel)
    inputs, outputs = kernel.shape[:2]
    answer: list[NDArray[np.float64]] = []
    for group in range(groups):
        members = range(group * inputs // groups, (group + 1) * inputs // groups)
        for output in range(outputs):
            planes = [form(picture[member], kernel[member, output]) for member in members]
            answer.append(np.sum(planes, axis=0))
    return np.stack(answer)


def _check_channels(picture: NDArray[np.float64], kernel: NDArray[np.float64], groups: int) -> None:
    plane = picture.ndim == kernel.ndim == 2 and groups == 1
    channels = picture.ndim == 3 and kernel.ndim == 4 and len(picture) == len(kernel) and kernel.shape[1] > 0
    if not plane and not (channels and groups > 0 and len(kernel) and len(kernel) % groups == 0):
        raise ConfigError(
            f"a picture of shape {picture.shape}, a kernel of shape {kernel.shape} and {groups} groups: give (h, w) "
            "and (kh, kw), or (in, h, w) and (in, out / groups, kh, kw) with in a multiple of the groups"
        )


def _channels_out(kernel: NDArray[np.float64], groups: int) -> tuple[int, ...]:
    return () if kernel.ndim == 2 else (groups * kernel.shape[1],)


@dataclass(frozen=True)
class Multiplications:
    """What one transposed convolution of one channel costs in each form.

    Attributes:
        dense_matrix: Every entry of the matrix, zeros too.
        zero_insertion: The whole kernel at every output pixel, mostly over inserted zeros.
        sparse_matrix: The matrix's entries that fall within the picture: what the transposed product needs.
        phases: The taps of each phase at every input pixel, what falls outside the result too.
    """

    dense_matrix: int
    zero_insertion: int
    sparse_matrix: int
    phases: int


def count_multiplications(
    input_size: tuple[int, int],
    kernel_size: Sides,
    stride: Sides,
    padding: Sides = 0,
    dilation: Sides = 1,
    output_padding: Sides = 0,
) -> Multiplications:
    """Count the multiplications of the four forms, by arithmetic: no matrix is made, however large.

    Args:
        input_size: Height and width of the coarse picture.
        kernel_size: Sides of the kernel.
        stride: Of the convolution that is transposed.
        padding: Of that convolution.
        dilation: Of that convolution.
        output_padding: Rows and columns added at the far edges.

    Raises:
        ConfigError: sizes that do not go together.
    """
    size = both(kernel_size)
    fine = transposed_size(input_size, size, stride, padding, dilation, output_padding)
    pixels, taps = input_size[0] * input_size[1], size[0] * size[1]
    return Multiplications(
        dense_matrix=pixels * fine[0] * fine[1],
        zero_insertion=fine[0] * fine[1] * taps,
        sparse_matrix=count_entries(fine, size, stride, padding, dilation),
        phases=pixels * taps,
    )


def count_entries(
    input_size: tuple[int, int],
    kernel_size: tuple[int, int],
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
) -> int:
    """Entries of ``convolution_matrix``: taps that meet a pixel, in rows times in columns.

    Raises:
        ConfigError: as ``convolution_size``.
    """
    outputs = convolution_size(input_size, kernel_size, stride, padding, dilation)
    found = 1
    for side, taps, step, rim, gap, places in zip(
        input_size, kernel_size, both(stride), both(padding), both(dilation), outputs, strict=True
    ):
        met = 0
        for tap in range(taps):
            # Positions i with 0 <= i step - rim + tap gap < side.
            first = max(0, -(-(rim - tap * gap) // step))
            last = min(places - 1, (side - 1 + rim - tap * gap) // step)
            met += max(0, last - first + 1)
        found *= met
    return found
