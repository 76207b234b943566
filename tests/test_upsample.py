"""Every upsampler: its start, its sizes, and whether it can learn."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from data.errors import ConfigError
from model.config import UpsamplerName
from model.dysample import DynamicSampler
from model.upsample import FIXED, bilinear_kernel, make_upsampler

NAMES = get_args(UpsamplerName)


@pytest.mark.parametrize("scale_factor", [2, 4, 8, 16, 32])
@pytest.mark.parametrize("name", ["learned", "learned-dense", "dysample"])
@pytest.mark.parametrize("size", [(1, 1), (1, 4), (5, 3)])
def test_bilinear_start_equals_interpolation_on_every_pixel(name, scale_factor, size):
    scores = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    upsampled = make_upsampler(name, 3, scale_factor)(scores)
    expected = functional.interpolate(scores, scale_factor=scale_factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(upsampled, expected, rtol=0, atol=1e-5)


@given(
    scale_factor=st.integers(1, 9),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    name=st.sampled_from(["learned", "learned-dense", "dysample"]),
    seed=st.integers(0, 2**20),
)
@settings(max_examples=60, deadline=None)
def test_bilinear_start_holds_for_any_factor_odd_ones_too(scale_factor, height, width, name, seed):
    scores = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(seed))
    expected = functional.interpolate(scores, scale_factor=scale_factor, mode="bilinear", align_corners=False)
    torch.testing.assert_close(make_upsampler(name, 2, scale_factor)(scores), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("scale_factor", [2, 3, 8])
def test_pixel_shuffle_starts_as_nearest_neighbour(scale_factor):
    scores = torch.randn(1, 4, 3, 5)
    expected = functional.interpolate(scores, scale_factor=scale_factor, mode="nearest")
    torch.testing.assert_close(make_upsampler("pixel-shuffle", 4, scale_factor)(scores), expected)


def test_a_dynamic_sampler_reads_the_map_where_its_offsets_point():
    sampler = DynamicSampler(1, 2)
    with torch.no_grad():
        sampler.offset.bias[4:] = 4.0  # columns; at scope 0.25: one coarse pixel to the right, for each phase
    scores = torch.tensor([[[[0.0, 10.0, 20.0, 30.0]]]])
    torch.testing.assert_close(sampler.offsets(scores)[:, 1], torch.ones(1, 2, 8))
    torch.testing.assert_close(sampler.offsets(scores)[:, 0], torch.zeros(1, 2, 8))
    # Bilinear reads 0, 2.5, 7.5, ... here; one pixel on it reads 7.5, 12.5, ..., and 30 beyond the edge.
    expected = torch.tensor([7.5, 12.5, 17.5, 22.5, 27.5, 30.0, 30.0, 30.0]).expand(1, 1, 2, 8)
    torch.testing.assert_close(sampler(scores), expected)


def test_offsets_follow_the_scores_and_are_the_equation_of_the_paper():
    torch.manual_seed(0)
    sampler, scores = DynamicSampler(3, 4), torch.randn(2, 3, 5, 6)
    for parameter in sampler.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    wide = 0.5 * torch.sigmoid(torch.einsum("oc,nchw->nohw", sampler.scope.weight[:, :, 0, 0], scores))
    linear = torch.einsum("oc,nchw->nohw", sampler.offset.weight[:, :, 0, 0], scores)
    moved = (wide * (linear + sampler.offset.bias[:, None, None])).reshape(2, 2, 4, 4, 5, 6)
    # Channel (axis, row of the phase, column of the phase) goes to the pixel of that phase.
    expected = moved.permute(0, 1, 4, 2, 5, 3).reshape(2, 2, 20, 24)
    torch.testing.assert_close(sampler.offsets(scores), expected)
    sharp = functional.interpolate(scores, scale_factor=4, mode="bilinear", align_corners=False)
    assert (sampler(scores) - sharp).abs().max() > 0.1


def test_a_dynamic_sampler_places_its_points_in_32_bits_under_autocast():
    scores = torch.randn(1, 3, 1, 60)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = DynamicSampler(3, 8)(scores)
    expected = functional.interpolate(scores, scale_factor=8, mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_random_start_is_not_bilinear():
    torch.manual_seed(0)
    scores = torch.randn(1, 3, 4, 4)
    expected = functional.interpolate(scores, scale_factor=4, mode="bilinear", align_corners=False)
    assert (make_upsampler("learned-random", 3, 4)(scores) - expected).abs().max() > 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale_factor", [1, 2, 5])
def test_output_is_the_input_times_the_factor(name, scale_factor):
    assert make_upsampler(name, 3, scale_factor)(torch.zeros(2, 3, 4, 1)).shape == (
        2,
        3,
        4 * scale_factor,
        scale_factor,
    )


@pytest.mark.parametrize("scale_factor", [1, 2, 3, 8])
def test_every_phase_of_the_bilinear_kernel_sums_to_one(scale_factor):
    kernel = bilinear_kernel(scale_factor)
    for row in range(scale_factor):
        for column in range(scale_factor):
            assert kernel[row::scale_factor, column::scale_factor].sum() == pytest.approx(1)


def test_bilinear_kernel_of_factor_two_is_the_one_of_the_paper():
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(bilinear_kernel(2), torch.outer(row, row))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FIXED])
def test_learned_kernels_move_in_training(name):
    upsampler = make_upsampler(name, 2, 4)
    before = [parameter.detach().clone() for parameter in upsampler.parameters()]
    optimiser = torch.optim.SGD(upsampler.parameters(), lr=0.1)
    for _ in range(2):  # the scope of a dynamic sampler moves once there are offsets for it to widen
        (upsampler(torch.randn(1, 2, 3, 3)) ** 2).mean().backward()
        optimiser.step()
    assert before
    for old, new in zip(before, upsampler.parameters(), strict=True):
        assert (old - new).abs().max() > 0


@pytest.mark.parametrize("name", FIXED)
def test_fixed_upsamplers_have_nothing_to_learn(name):
    upsampler = make_upsampler(name, 2, 4)
    assert not list(upsampler.parameters())
    assert not upsampler.state_dict()


def test_per_class_kernels_keep_classes_apart_and_dense_ones_can_mix_them():
    scores = torch.zeros(1, 2, 3, 3)
    scores[:, 0] = 1
    apart, dense = make_upsampler("learned", 2, 2), make_upsampler("learned-dense", 2, 2)
    for upsampler in (apart, dense):
        torch.nn.init.ones_(upsampler.weight)
    assert apart(scores)[:, 1].abs().max() == 0
    assert dense(scores)[:, 1].abs().max() > 0


def test_unknown_upsampler_is_refused_with_the_choices():
    with pytest.raises(ConfigError, match=r"bilinear.*learned"):
        make_upsampler("cubic", 2, 2)
    with pytest.raises(ConfigError, match="scale_factor is 0"):
        make_upsampler("learned", 2, 0)
