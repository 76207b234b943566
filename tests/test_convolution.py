"""A convolution, its transpose, zero insertion, phases and torch's own are one and the same map."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from data.errors import ConfigError
from model.convolution import (
    convolution_matrix,
    count_multiplications,
    insert_zeros,
    output_size,
    transposed_by_phases,
    transposed_by_zero_insertion,
    transposed_output_size,
)

QUICK = settings(max_examples=30, deadline=None, derandomize=True, database=None)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, tuple[int, int], int, int, int, int]:
    """Kernel, coarse size, stride, padding, dilation and output padding that torch takes too."""
    kh, kw = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding = draw(st.integers(0, min(kh, kw) - 1))
    height, width = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    output_padding = draw(st.integers(0, stride - 1))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    return random.normal(size=(kh, kw)), (height, width), stride, padding, dilation, output_padding


def close(one: np.ndarray, other: np.ndarray) -> None:
    assert one.shape == other.shape
    assert np.abs(one - other).max() <= 1e-5 * max(1.0, float(np.abs(other).max()))


@QUICK
@given(cases())
def test_the_matrix_times_a_picture_is_the_convolution(
    case: tuple[np.ndarray, tuple[int, int], int, int, int, int],
) -> None:
    kernel, size, stride, padding, dilation, _ = case
    size = (size[0] + 8, size[1] + 8)
    picture = np.random.default_rng(0).normal(size=size)
    matrix = convolution_matrix(kernel, size, stride, padding, dilation)
    expected = functional.conv2d(
        torch.tensor(picture)[None, None], torch.tensor(kernel)[None, None], None, stride, padding, dilation
    )
    close((matrix @ picture.ravel()).reshape(expected.shape[2:]), expected[0, 0].numpy())


@QUICK
@given(cases())
def test_four_forms_of_the_transposed_convolution_are_one_map(
    case: tuple[np.ndarray, tuple[int, int], int, int, int, int],
) -> None:
    kernel, size, stride, padding, dilation, output_padding = case
    fine = tuple(
        transposed_output_size(side, taps, stride, padding, dilation, output_padding)
        for side, taps in zip(size, kernel.shape, strict=True)
    )
    if min(fine) < 1:
        return
    picture = np.random.default_rng(1).normal(size=size)
    expected = functional.conv_transpose2d(
        torch.tensor(picture)[None, None],
        torch.tensor(kernel)[None, None],
        None,
        stride,
        padding,
        output_padding,
        1,
        dilation,
    )[0, 0].numpy()
    assert expected.shape == fine
    matrix = convolution_matrix(kernel, (fine[0], fine[1]), stride, padding, dilation)
    close((matrix.T @ picture.ravel()).reshape(fine), expected)
    close(transposed_by_zero_insertion(picture, kernel, stride, padding, dilation, output_padding), expected)
    close(transposed_by_phases(picture, kernel, stride, padding, dilation, output_padding), expected)


@QUICK
@given(cases())
def test_the_transposed_convolution_is_the_gradient_of_the_convolution(
    case: tuple[np.ndarray, tuple[int, int], int, int, int, int],
) -> None:
    kernel, size, stride, padding, dilation, _ = case
    size = (size[0] + 8, size[1] + 8)
    matrix = convolution_matrix(kernel, size, stride, padding, dilation)
    picture = torch.zeros(1, 1, *size, dtype=torch.float64, requires_grad=True)
    answer = functional.conv2d(picture, torch.tensor(kernel)[None, None], None, stride, padding, dilation)
    towards = torch.tensor(np.random.default_rng(2).normal(size=tuple(answer.shape)))
    answer.backward(towards)
    assert picture.grad is not None
    close((matrix.T @ towards.numpy().ravel()).reshape(size), picture.grad[0, 0].numpy())


@pytest.mark.parametrize(("inputs", "outputs", "groups"), [(3, 2, 1), (4, 6, 2), (3, 3, 3)])
def test_channels_and_groups_become_blocks(inputs: int, outputs: int, groups: int) -> None:
    random = np.random.default_rng(3)
    kernel, picture = random.normal(size=(outputs, inputs // groups, 3, 2)), random.normal(size=(inputs, 7, 5))
    matrix = convolution_matrix(kernel, (7, 5), stride=2, padding=1, groups=groups)
    expected = functional.conv2d(torch.tensor(picture)[None], torch.tensor(kernel), None, 2, 1, 1, groups)[0]
    close((matrix @ picture.ravel()).reshape(expected.shape), expected.numpy())
    back = functional.conv_transpose2d(expected[None], torch.tensor(kernel), None, 2, 1, (0, 1), groups)[0]
    assert back.shape[1:] == (7, 5)
    close((matrix.T @ expected.numpy().ravel()).reshape(back.shape), back.numpy())


def test_a_2x2_kernel_over_a_3x3_picture_is_a_4x9_matrix() -> None:
    matrix = convolution_matrix(np.array([[1.0, 2.0], [3.0, 4.0]]), (3, 3))
    assert matrix.toarray().tolist() == [
        [1, 2, 0, 3, 4, 0, 0, 0, 0],
        [0, 1, 2, 0, 3, 4, 0, 0, 0],
        [0, 0, 0, 1, 2, 0, 3, 4, 0],
        [0, 0, 0, 0, 1, 2, 0, 3, 4],
    ]
    assert (matrix.T @ np.ones(4)).shape == (9,)


def test_zeros_are_inserted_between_pixels_only() -> None:
    assert insert_zeros(np.array([[1.0, 2.0], [3.0, 4.0]]), 2).tolist() == [[1, 0, 2], [0, 0, 0], [3, 0, 4]]


def test_zero_insertion_costs_stride_squared_times_the_phases() -> None:
    # Kernel 16, stride 8, cropped by 4: 10x10 to 80x80, the last step of an FCN-8s.
    counts = count_multiplications((10, 10), 16, 8, padding=4)
    assert counts.phases == 100 * 256
    assert counts.zero_insertion == 6400 * 256 == 64 * counts.phases
    assert counts.sparse_matrix < counts.phases
    assert counts.dense_matrix == 100 * 6400


@pytest.mark.parametrize(
    ("kernel", "size", "arguments", "told"),
    [
        ((5, 5), (3, 3), {}, "does not fit a 3x3 picture"),
        ((2, 2), (3, 3), {"stride": 0}, "at least 1"),
        ((3, 2, 2, 2), (3, 3), {"groups": 2}, "multiple of the groups"),
        ((2, 2, 2), (3, 3), {}, "kernel of shape"),
    ],
)
def test_what_does_not_fit_is_told(
    kernel: tuple[int, ...], size: tuple[int, int], arguments: dict[str, int], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        convolution_matrix(np.ones(kernel), size, **arguments)


def test_output_sizes_invert_each_other() -> None:
    for side in range(1, 12):
        fine = transposed_output_size(side, 4, 2, 1)
        assert output_size(fine, 4, 2, 1) == side
