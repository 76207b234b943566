"""A convolution, its transpose, its gradient, zero insertion, phases and torch's own are one and the same map."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from data.errors import ConfigError
from model.convolution import (
    both,
    convolution_matrix,
    convolution_size,
    input_sizes,
    output_size,
    transposed_output_size,
    transposed_size,
)
from model.transposed import (
    count_entries,
    count_multiplications,
    insert_zeros,
    transposed_by_matrix,
    transposed_by_phases,
    transposed_by_zero_insertion,
)

THOROUGH = settings(max_examples=150, deadline=None, derandomize=True, database=None)

PAIR = st.tuples


@dataclass(frozen=True)
class Case:
    """A transposed convolution that torch takes too: kernels (in, out / groups, kh, kw), pictures (in, h, w)."""

    kernel: np.ndarray
    coarse: np.ndarray
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    output_padding: tuple[int, int]
    groups: int

    @property
    def fine_size(self) -> tuple[int, int]:
        taps = (self.kernel.shape[2], self.kernel.shape[3])
        coarse = (self.coarse.shape[1], self.coarse.shape[2])
        return transposed_size(coarse, taps, self.stride, self.padding, self.dilation, self.output_padding)

    @property
    def arguments(self) -> tuple:
        return self.stride, self.padding, self.dilation, self.output_padding, self.groups


@st.composite
def cases(draw: st.DrawFn) -> Case:
    stride = draw(PAIR(st.integers(1, 4), st.integers(1, 3)))
    dilation = draw(PAIR(st.integers(1, 3), st.integers(1, 2)))
    taps = draw(PAIR(st.integers(1, 5), st.integers(1, 5)))
    coarse = draw(PAIR(st.integers(1, 5), st.integers(1, 5)))
    padding = draw(PAIR(st.integers(0, 4), st.integers(0, 4)))
    output_padding = (draw(st.integers(0, stride[0] - 1)), draw(st.integers(0, stride[1] - 1)))
    groups = draw(st.integers(1, 3))
    inputs, outputs = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    for k, n, s, p, d, o in zip(taps, coarse, stride, padding, dilation, output_padding, strict=True):
        assume(transposed_output_size(n, k, s, p, d, o) >= 1)
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    kernel, picture = random.normal(size=(inputs, outputs, *taps)), random.normal(size=(inputs, *coarse))
    return Case(kernel, picture, stride, padding, dilation, output_padding, groups)


def close(one: np.ndarray, other: np.ndarray) -> None:
    """To 1e-5 of the largest value: all forms add up the same products, in another order."""
    assert one.shape == other.shape
    assert np.abs(one - other).max() <= 1e-5 * max(1e-3, float(np.abs(other).max()))


def torch_transposed(case: Case) -> np.ndarray:
    kernel, picture = torch.tensor(case.kernel), torch.tensor(case.coarse)[None]
    stride, padding, dilation, output_padding, groups = case.arguments
    return functional.conv_transpose2d(picture, kernel, None, stride, padding, output_padding, groups, dilation)[
        0
    ].numpy()


@THOROUGH
@given(cases())
def test_the_matrix_times_a_picture_is_the_convolution(case: Case) -> None:
    fine = np.random.default_rng(0).normal(size=(case.groups * case.kernel.shape[1], *case.fine_size))
    matrix = convolution_matrix(case.kernel, case.fine_size, case.stride, case.padding, case.dilation, case.groups)
    expected = functional.conv2d(
        torch.tensor(fine)[None],
        torch.tensor(case.kernel),
        None,
        case.stride,
        case.padding,
        case.dilation,
        case.groups,
    )[0].numpy()
    assert expected.shape == case.coarse.shape
    close((matrix @ fine.ravel()).reshape(expected.shape), expected)


@THOROUGH
@given(cases())
def test_the_transpose_is_the_transposed_convolution(case: Case) -> None:
    expected = torch_transposed(case)
    assert expected.shape[1:] == case.fine_size
    matrix = convolution_matrix(case.kernel, case.fine_size, case.stride, case.padding, case.dilation, case.groups)
    close((matrix.T @ case.coarse.ravel()).reshape(expected.shape), expected)
    close(transposed_by_matrix(case.coarse, case.kernel, *case.arguments), expected)


@THOROUGH
@given(cases())
def test_zero_insertion_is_the_transposed_convolution(case: Case) -> None:
    close(transposed_by_zero_insertion(case.coarse, case.kernel, *case.arguments), torch_transposed(case))


@THOROUGH
@given(cases())
def test_phases_are_the_transposed_convolution(case: Case) -> None:
    close(transposed_by_phases(case.coarse, case.kernel, *case.arguments), torch_transposed(case))


@THOROUGH
@given(cases())
def test_the_gradient_of_the_convolution_is_the_transposed_convolution(case: Case) -> None:
    outputs = case.groups * case.kernel.shape[1]
    fine = torch.zeros(1, outputs, *case.fine_size, dtype=torch.float64, requires_grad=True)
    answer = functional.conv2d(
        fine, torch.tensor(case.kernel), None, case.stride, case.padding, case.dilation, case.groups
    )
    answer.backward(torch.tensor(case.coarse)[None])
    assert fine.grad is not None
    close(fine.grad[0].numpy(), torch_transposed(case))


@THOROUGH
@given(cases())
def test_entries_counted_by_arithmetic_are_those_of_the_matrix(case: Case) -> None:
    taps = (case.kernel.shape[2], case.kernel.shape[3])
    matrix = convolution_matrix(np.ones(taps), case.fine_size, case.stride, case.padding, case.dilation)
    assert count_entries(case.fine_size, taps, case.stride, case.padding, case.dilation) == matrix.nnz
    coarse = (case.coarse.shape[1], case.coarse.shape[2])
    counts = count_multiplications(coarse, taps, case.stride, case.padding, case.dilation, case.output_padding)
    assert counts.sparse_matrix == matrix.nnz
    assert counts.dense_matrix == matrix.shape[0] * matrix.shape[1]


def test_every_small_geometry_agrees_with_torch() -> None:
    """No chance in it: kernels that are and are not multiples of the stride, with every output padding."""
    random = np.random.default_rng(4)
    for taps, stride, padding, dilation in product(range(1, 6), range(1, 5), range(3), range(1, 4)):
        for output_padding in range(stride):
            if transposed_output_size(3, taps, stride, padding, dilation, output_padding) < 1:
                continue
            kernel, picture = random.normal(size=(1, 1, taps, taps)), random.normal(size=(1, 3, 3))
            pairs = (both(stride), both(padding), both(dilation), both(output_padding))
            expected = torch_transposed(Case(kernel, picture, *pairs, 1))
            for form in (transposed_by_matrix, transposed_by_zero_insertion, transposed_by_phases):
                close(form(picture, kernel, stride, padding, dilation, output_padding), expected)


def test_a_2x2_kernel_over_a_3x3_picture_is_a_4x9_matrix() -> None:
    matrix = convolution_matrix(np.array([[1.0, 2.0], [3.0, 4.0]]), (3, 3))
    assert matrix.toarray().tolist() == [
        [1, 2, 0, 3, 4, 0, 0, 0, 0],
        [0, 1, 2, 0, 3, 4, 0, 0, 0],
        [0, 0, 0, 1, 2, 0, 3, 4, 0],
        [0, 0, 0, 0, 1, 2, 0, 3, 4],
    ]
    assert (matrix.T @ np.array([37, 47, 67, 77])).tolist() == [37, 121, 94, 178, 500, 342, 201, 499, 308]


def test_a_list_and_one_number_for_both_sides_do_as_well() -> None:
    found = convolution_matrix([[1, 2], [3, 4]], 3)
    assert np.array_equal(found.toarray(), convolution_matrix(np.array([[1, 2], [3, 4]]), (3, 3)).toarray())


def test_two_channels_in_two_groups_are_two_blocks() -> None:
    kernel = np.array([[[[1.0, 2.0]]], [[[3.0, 4.0]]]])
    assert convolution_matrix(kernel, (1, 3), groups=2).toarray().tolist() == [
        [1, 2, 0, 0, 0, 0],
        [0, 1, 2, 0, 0, 0],
        [0, 0, 0, 3, 4, 0],
        [0, 0, 0, 0, 3, 4],
    ]


def test_several_input_sizes_have_one_output_size_and_output_padding_chooses() -> None:
    assert list(input_sizes(2, 3, stride=2)) == [5, 6]
    assert list(input_sizes(1, 1, stride=3, padding=1)) == [1]  # -1 and 0 are no pictures
    for taps, stride, padding, dilation, size in product(range(1, 5), range(1, 5), range(3), range(1, 3), range(1, 5)):
        reached = [n for n in range(1, 60) if output_size(n, taps, stride, padding, dilation) == size]
        assert list(input_sizes(size, taps, stride, padding, dilation)) == reached
        for n in reached:
            more = n - transposed_output_size(size, taps, stride, padding, dilation)
            assert 0 <= more < stride
            assert transposed_output_size(size, taps, stride, padding, dilation, more) == n


def test_output_padding_adds_zeros_beyond_the_padding_and_cut_values_within_it() -> None:
    ones = np.ones((2, 2))
    without = transposed_by_phases(ones, np.ones((3, 3)), 2)
    more = transposed_by_phases(ones, np.ones((3, 3)), 2, output_padding=1)
    assert more.shape == (6, 6)
    assert np.array_equal(more[:5, :5], without)
    assert not more[5].any()
    assert not more[:, 5].any()
    inner = transposed_by_phases(ones, np.ones((3, 3)), 2, 1, output_padding=1)
    assert np.array_equal(inner, without[1:5, 1:5])  # the row that a padding of 1 cuts, at the far edge only


def test_zeros_are_inserted_between_pixels_only() -> None:
    assert insert_zeros(np.array([[1.0, 2.0], [3.0, 4.0]]), 2).tolist() == [[1, 0, 2], [0, 0, 0], [3, 0, 4]]


def test_zero_insertion_costs_stride_squared_times_the_phases() -> None:
    # Kernel 16, stride 8, cropped by 4: 10x10 to 80x80, the last step of an FCN-8s.
    counts = count_multiplications((10, 10), 16, 8, padding=4)
    assert counts.phases == 100 * 256
    assert counts.zero_insertion == 6400 * 256 == 64 * counts.phases
    assert counts.sparse_matrix == (160 - 8) ** 2  # of 16 taps 10 times, 4 are cut at either end
    assert counts.dense_matrix == 100 * 6400


def test_sizes_whose_matrix_no_machine_holds_are_counted() -> None:
    counts = count_multiplications((10**6, 10**6), 4, 2, padding=1)
    assert counts.zero_insertion == 4 * counts.phases == 64 * 10**12
    assert counts.dense_matrix == 4 * 10**24


@pytest.mark.parametrize(
    ("kernel", "size", "arguments", "told"),
    [
        ((5, 5), (3, 3), {}, "does not fit a 3x3 picture"),
        ((2, 2), (3, 3), {"dilation": 3}, "dilation 3 does not fit"),
        ((2, 2), (0, 3), {}, "does not fit a 0x3 picture"),
        ((0, 2), (3, 3), {}, "a kernel of 0x2"),
        ((2, 2), (3, 3), {"stride": 0}, "stride is 0: at least 1"),
        ((2, 2), (3, 3), {"stride": (1, -1)}, "at least 1"),
        ((2, 2), (3, 3), {"padding": -1}, "padding is -1: at least 0"),
        ((2, 2), (3, 3), {"dilation": 0}, "dilation is 0"),
        ((3, 2, 2, 2), (3, 3), {"groups": 2}, "multiple of the groups"),
        ((2, 0, 2, 2), (3, 3), {}, "kernel of shape"),
        ((2, 2, 2), (3, 3), {}, "kernel of shape"),
    ],
)
def test_what_does_not_fit_is_told(
    kernel: tuple[int, ...], size: tuple[int, int], arguments: dict[str, int], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        convolution_matrix(np.ones(kernel), size, **arguments)


@pytest.mark.parametrize("form", [transposed_by_matrix, transposed_by_zero_insertion, transposed_by_phases])
@pytest.mark.parametrize(
    ("picture", "kernel", "arguments", "told"),
    [
        ((2, 2), (2, 2), {"padding": 2}, "cuts off more than there is"),
        ((2, 2), (2, 2), {"stride": 2, "output_padding": 2}, "from 0 to stride - 1"),
        ((2, 2), (2, 2), {"output_padding": -1}, "from 0 to stride - 1"),
        ((3, 2, 2), (2, 1, 2, 2), {}, "a picture of shape"),
        ((3, 2, 2), (3, 1, 2, 2), {"groups": 2}, "multiple of the groups"),
        ((2, 2), (2, 2), {"groups": 2}, "2 groups"),
        ((2, 2), (1, 1, 2, 2), {}, "a kernel of shape"),
    ],
)
def test_what_cannot_be_transposed_is_told_by_every_form(form, picture, kernel, arguments, told) -> None:
    with pytest.raises(ConfigError, match=told):
        form(np.ones(picture), np.ones(kernel), **arguments)


def test_sizes_are_told_apart_by_direction() -> None:
    assert convolution_size((7, 9), (3, 2), (2, 3), (1, 0)) == (4, 3)
    assert transposed_size((4, 3), (3, 2), (2, 3), (1, 0)) == (7, 8)
    assert transposed_size((4, 3), (3, 2), (2, 3), (1, 0), output_padding=(0, 1)) == (7, 9)
