"""A convolution as a matrix, its transpose, and the other forms of the same map, in numpy and scipy.sparse.

Every row of the matrix is one position of the kernel over the picture. Its transpose is the transposed
convolution: it takes a picture of the convolution's output size to one of its input size. The same map
comes out of inserting zeros and convolving directly, at a far greater cost, and of one small convolution
for each output phase (Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016,
chapter 4; Shi et al., "Is the deconvolution layer the same as a convolutional layer?", 2016).

"Convolution" is what deep learning calls so: the kernel is not flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from data.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def output_size(input_size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Side of a convolution's output: floor((n + 2 p - d (k - 1) - 1) / s) + 1."""
    return (input_size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1


def transposed_output_size(
    input_size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1, output_padding: int = 0
) -> int:
    """Side of a transposed convolution's output: (n - 1) s - 2 p + d (k - 1) + 1 + output padding."""
    return (input_size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + 1 + output_padding


def convolution_matrix(
    kernel: NDArray[np.float64],
    input_size: tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> sparse.csr_array:
    """The matrix C with ``C @ x.ravel()`` the convolution of x, and ``C.T @ y.ravel()`` the transposed one of y.

    Args:
        kernel: Shape (kh, kw) for one channel, or (out, in / groups, kh, kw) as torch lays it.
        input_size: Height and width of x.
        stride: Between positions of the kernel.
        padding: Zeros around x.
        dilation: Between the kernel's taps.
        groups: Channels are parted into so many groups that do not see each other.

    Returns:
        Shape (out * oh * ow, in * h * w).

    Raises:
        ConfigError: the kernel does not fit the picture, or the groups not the channels.
    """
    if kernel.ndim == 2:
        return _plane_matrix(kernel, input_size, stride, padding, dilation)
    if kernel.ndim != 4 or groups < 1 or kernel.shape[0] % groups:
        raise ConfigError(
            f"a kernel of shape {kernel.shape} with {groups} groups: give (kh, kw), or (out, in / groups, kh, kw) with "
            "out a multiple of the groups"
        )
    outputs, inputs = kernel.shape[0] // groups, kernel.shape[1]
    parts = []
    for group in range(groups):
        rows = kernel[group * outputs : (group + 1) * outputs]
        blocks = [[_plane_matrix(plane, input_size, stride, padding, dilation) for plane in row] for row in rows]
        parts.append(sparse.block_array(blocks))
    if len({part.shape for part in parts}) != 1 or inputs < 1:
        raise ConfigError(f"a kernel of shape {kernel.shape} has no input channel")
    return sparse.csr_array(sparse.block_diag(parts, format="csr"))


def _plane_matrix(
    kernel: NDArray[np.float64], input_size: tuple[int, int], stride: int, padding: int, dilation: int
) -> sparse.csr_array:
    if min(stride, dilation) < 1 or padding < 0:
        raise ConfigError(f"stride {stride}, padding {padding}, dilation {dilation}: at least 1, 0 and 1")
    height, width = input_size
    rows = output_size(height, kernel.shape[0], stride, padding, dilation)
    columns = output_size(width, kernel.shape[1], stride, padding, dilation)
    if min(rows, columns, *kernel.shape) < 1:
        raise ConfigError(
            f"a {kernel.shape[0]}x{kernel.shape[1]} kernel with dilation {dilation} does not fit a {height}x{width} "
            f"picture with padding {padding}: pad more or take a smaller kernel"
        )
    i, j, a, b = np.indices((rows, columns, *kernel.shape)).reshape(4, -1)
    y = i * stride - padding + a * dilation
    x = j * stride - padding + b * dilation
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    entries = (kernel[a[inside], b[inside]], ((i * columns + j)[inside], (y * width + x)[inside]))
    return sparse.csr_array(sparse.coo_array(entries, shape=(rows * columns, height * width)))


def insert_zeros(picture: NDArray[np.float64], stride: int) -> NDArray[np.float64]:
    """Spread the pixels of (h, w) ``stride`` apart with zeros between: ((h - 1) s + 1, (w - 1) s + 1)."""
    height, width = picture.shape
    spread = np.zeros(((height - 1) * stride + 1, (width - 1) * stride + 1), dtype=picture.dtype)
    spread[::stride, ::stride] = picture
    return spread


def transposed_by_zero_insertion(
    picture: NDArray[np.float64],
    kernel: NDArray[np.float64],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> NDArray[np.float64]:
    """The transposed convolution as a direct one: insert zeros, pad, convolve with the flipped kernel.

    Args:
        picture: Shape (h, w).
        kernel: Shape (kh, kw).
        stride: Of the convolution that is transposed.
        padding: Of that convolution; cuts the result.
        dilation: Of that convolution.
        output_padding: Rows and columns added at the far edges.

    Returns:
        Shape as ``transposed_output_size`` tells.
    """
    wide = [dilation * (side - 1) for side in kernel.shape]
    spread = np.pad(insert_zeros(picture, stride), [(side, side + output_padding) for side in wide])
    size = (spread.shape[0], spread.shape[1])
    matrix = convolution_matrix(kernel[::-1, ::-1], size, dilation=dilation)
    full = (matrix @ spread.ravel()).reshape(size[0] - wide[0], size[1] - wide[1])
    return full[padding : full.shape[0] - padding, padding : full.shape[1] - padding]


def transposed_by_phases(
    picture: NDArray[np.float64],
    kernel: NDArray[np.float64],
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> NDArray[np.float64]:
    """The transposed convolution as s x s small convolutions, one a phase of the output, interleaved.

    No multiplication by a zero is made: output pixel f takes just the taps a with f = i s + a d for some
    input pixel i. With no overlap of kernels (k <= s) this is sub-pixel convolution.

    Args:
        picture: Shape (h, w).
        kernel: Shape (kh, kw).
        stride: Of the convolution that is transposed.
        padding: Of that convolution; cuts the result.
        dilation: Of that convolution.
        output_padding: Rows and columns added at the far edges.

    Returns:
        Shape as ``transposed_output_size`` tells.
    """
    height, width = picture.shape
    kh, kw = kernel.shape
    sizes = [
        transposed_output_size(side, taps, stride, 0, dilation, output_padding)
        for side, taps in ((height, kh), (width, kw))
    ]
    full = np.zeros(sizes)
    for row in range(stride):
        for column in range(stride):
            phase = full[row::stride, column::stride]  # a view: writing to it interleaves
            for a in (a for a in range(kh) if a * dilation % stride == row):
                for b in (b for b in range(kw) if b * dilation % stride == column):
                    y, x = (a * dilation - row) // stride, (b * dilation - column) // stride
                    phase[y : y + height, x : x + width] += kernel[a, b] * picture
    return full[padding : full.shape[0] - padding, padding : full.shape[1] - padding]


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
    kernel_size: int,
    stride: int,
    padding: int = 0,
    dilation: int = 1,
    output_padding: int = 0,
) -> Multiplications:
    """Count the multiplications of the four forms.

    Args:
        input_size: Height and width of the coarse picture.
        kernel_size: Side of the kernel.
        stride: Of the convolution that is transposed.
        padding: Of that convolution.
        dilation: Of that convolution.
        output_padding: Rows and columns added at the far edges.
    """
    height, width = (
        transposed_output_size(side, kernel_size, stride, padding, dilation, output_padding) for side in input_size
    )
    matrix = convolution_matrix(np.ones((kernel_size, kernel_size)), (height, width), stride, padding, dilation)
    return Multiplications(
        dense_matrix=matrix.shape[0] * matrix.shape[1],
        zero_insertion=height * width * kernel_size**2,
        sparse_matrix=int(matrix.nnz),
        phases=input_size[0] * input_size[1] * kernel_size**2,
    )
