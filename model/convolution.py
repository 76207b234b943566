"""A convolution as a matrix, in numpy and scipy.sparse.

Every row of the matrix is one position of the kernel over the picture. Its transpose is the transposed
convolution: it takes a picture of the convolution's output size to one of its input size, and it is the
gradient of the convolution with respect to its input (Dumoulin and Visin, "A guide to convolution arithmetic
for deep learning", 2016, chapter 4). ``model/transposed.py`` has the other forms of the same map.

"Convolution" is what deep learning calls so: the kernel is not flipped. Where a side is asked for, one
number stands for both, a pair for height and width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from data.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Sides = int | tuple[int, int]
"""One number for both directions, or one each for height and width."""


def both(sides: Sides) -> tuple[int, int]:
    """Height's and width's."""
    return sides if isinstance(sides, tuple) else (sides, sides)


def output_size(input_size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Side of a convolution's output: floor((n + 2 p - d (k - 1) - 1) / s) + 1; below 1 where nothing fits."""
    return (input_size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1


def transposed_output_size(
    input_size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """Side of a transposed convolution's output: (n - 1) s - 2 p + d (k - 1) + 1 + output padding."""
    return (input_size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + 1 + output_padding


def input_sizes(output_size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> range:
    """All sides of pictures that a convolution takes to ``output_size``: as many as the stride, less none below 1.

    Going back is therefore ambiguous. The transposed convolution gives the first of them; an output padding
    of 1, 2, ... stride - 1 chooses the others: rows and columns more at the far edges. Those within ``padding``
    of the edge are values that padding would have cut off, those beyond are zeros, which no kernel reaches.
    """
    first = transposed_output_size(output_size, kernel_size, stride, padding, dilation)
    return range(max(1, first), first + stride)


def check_geometry(
    kernel_size: tuple[int, int], stride: Sides, padding: Sides, dilation: Sides, output_padding: Sides = 0
) -> None:
    """Refuse what is no convolution.

    Raises:
        ConfigError: an empty kernel, a stride or dilation below 1, a padding below 0, an output padding that
            is not below the stride.
    """
    if min(kernel_size) < 1:
        raise ConfigError(f"a kernel of {kernel_size[0]}x{kernel_size[1]}: its sides are 1 at least")
    for name, sides, least in (("stride", stride, 1), ("dilation", dilation, 1), ("padding", padding, 0)):
        if min(both(sides)) < least:
            raise ConfigError(f"{name} is {sides}: at least {least}")
    for more, step in zip(both(output_padding), both(stride), strict=True):
        if not 0 <= more < step:
            raise ConfigError(
                f"output padding is {output_padding} with stride {stride}: from 0 to stride - 1; from the stride on "
                "the kernel has one position more, and the convolution another output size"
            )


def convolution_size(
    input_size: tuple[int, int],
    kernel_size: tuple[int, int],
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
) -> tuple[int, int]:
    """Height and width of a convolution's output.

    Raises:
        ConfigError: the kernel does not fit the picture, or ``check_geometry`` refuses it.
    """
    check_geometry(kernel_size, stride, padding, dilation)
    height, width = (
        output_size(*sides)
        for sides in zip(input_size, kernel_size, both(stride), both(padding), both(dilation), strict=True)
    )
    if min(input_size) < 1 or min(height, width) < 1:
        raise ConfigError(
            f"a {kernel_size[0]}x{kernel_size[1]} kernel with dilation {dilation} does not fit a "
            f"{input_size[0]}x{input_size[1]} picture with padding {padding}: pad more, or take a smaller kernel or a "
            "larger picture"
        )
    return height, width


def transposed_size(
    input_size: tuple[int, int],
    kernel_size: tuple[int, int],
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    output_padding: Sides = 0,
) -> tuple[int, int]:
    """Height and width of a transposed convolution's output.

    Raises:
        ConfigError: padding cuts all of it off, or ``check_geometry`` refuses it.
    """
    check_geometry(kernel_size, stride, padding, dilation, output_padding)
    geometry = (both(sides) for sides in (stride, padding, dilation, output_padding))
    height, width = (transposed_output_size(*sides) for sides in zip(input_size, kernel_size, *geometry, strict=True))
    if min(input_size) < 1 or min(height, width) < 1:
        raise ConfigError(
            f"the transposed convolution of a {input_size[0]}x{input_size[1]} picture with a {kernel_size[0]}x"
            f"{kernel_size[1]} kernel would have {height}x{width} pixels: padding {padding} cuts off more than there is"
        )
    return height, width


def convolution_matrix(
    kernel: ArrayLike,
    input_size: Sides,
    stride: Sides = 1,
    padding: Sides = 0,
    dilation: Sides = 1,
    groups: int = 1,
) -> sparse.csr_array:
    """The matrix C with ``C @ x.ravel()`` the convolution of x, and ``C.T @ y.ravel()`` the transposed one of y.

    Args:
        kernel: Shape (kh, kw) for one channel, or (out, in / groups, kh, kw) as torch lays it.
        input_size: Height and width of x: of several that give one output size (``input_sizes``) this chooses
            the one that the transpose goes back to.
        stride: Between positions of the kernel.
        padding: Zeros around x.
        dilation: Between the kernel's taps.
        groups: Channels are parted into so many groups that do not see each other.

    Returns:
        Shape (out * oh * ow, in * h * w): a block for each pair of channels, zero between groups.

    Raises:
        ConfigError: the kernel does not fit the picture, or the groups not the channels.
    """
    kernel, input_size = np.asarray(kernel), both(input_size)
    if kernel.ndim == 2:
        return _plane_matrix(kernel, input_size, stride, padding, dilation)
    if kernel.ndim != 4 or groups < 1 or min(kernel.shape[:2]) < 1 or kernel.shape[0] % groups:
        raise ConfigError(
            f"a kernel of shape {kernel.shape} with {groups} groups: give (kh, kw), or (out, in / groups, kh, kw) with "
            "out a multiple of the groups"
        )
    outputs = kernel.shape[0] // groups
    parts = []
    for group in range(groups):
        rows = kernel[group * outputs : (group + 1) * outputs]
        blocks = [[_plane_matrix(plane, input_size, stride, padding, dilation) for plane in row] for row in rows]
        parts.append(sparse.block_array(blocks))
    return sparse.csr_array(sparse.block_diag(parts, format="csr"))


def _plane_matrix(
    kernel: NDArray[np.float64], input_size: tuple[int, int], stride: Sides, padding: Sides, dilation: Sides
) -> sparse.csr_array:
    entries, (rows, columns) = matrix_entries(kernel.shape, input_size, stride, padding, dilation)
    place, pixel, tap = entries
    values = (kernel.ravel()[tap], (place, pixel))
    return sparse.csr_array(sparse.coo_array(values, shape=(rows * columns, input_size[0] * input_size[1])))


def matrix_entries(
    kernel_size: tuple[int, ...], input_size: tuple[int, int], stride: Sides, padding: Sides, dilation: Sides
) -> tuple[NDArray[np.intp], tuple[int, int]]:
    """Where each tap of a kernel stands in the matrix.

    Returns:
        Shape (3, entries): row (position of the kernel), column (pixel) and tap, counted row by row; and the
        convolution's output size.

    Raises:
        ConfigError: as ``convolution_size``.
    """
    height, width = input_size
    size = (kernel_size[0], kernel_size[1])
    rows, columns = convolution_size(input_size, size, stride, padding, dilation)
    (sy, sx), (py, px), (dy, dx) = both(stride), both(padding), both(dilation)
    i, j, a, b = np.indices((rows, columns, *size)).reshape(4, -1)
    y = i * sy - py + a * dy
    x = j * sx - px + b * dx
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    found = np.stack([i * columns + j, y * width + x, a * size[1] + b])
    return found[:, inside], (rows, columns)
