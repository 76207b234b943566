"""Learned upsamplers by phases: torch's transposed convolution and its gradients, by another way."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from model.phases import PhasedUpsampler, upsample_by_phases, use_phases
from model.upsample import FixedUpsampler, TransposedUpsampler

CLASSES = 3


@pytest.mark.parametrize("factor", [2, 4, 8, 32])
@pytest.mark.parametrize("size", [(5, 4), (1, 1), (1, 7)])
def test_scores_and_both_gradients_are_those_of_the_transposed_convolution(factor, size):
    torch.manual_seed(0)
    upsampler = TransposedUpsampler(CLASSES, factor, dense=False, start="random").double()
    scores = torch.randn(2, CLASSES, *size, dtype=torch.float64, requires_grad=True)
    expected = upsampler(scores)
    gradient = torch.randn_like(expected)
    by_phases = upsample_by_phases(scores, upsampler.weight, factor)
    torch.testing.assert_close(by_phases, expected)
    wanted = torch.autograd.grad(expected, (scores, upsampler.weight), gradient)
    found = torch.autograd.grad(by_phases, (scores, upsampler.weight), gradient)
    torch.testing.assert_close(found, wanted)


def test_the_start_is_bilinear_interpolation_on_every_pixel():
    network = nn.Sequential(TransposedUpsampler(CLASSES, 8, dense=False, start="bilinear"))
    use_phases(network)
    scores = torch.randn(2, CLASSES, 6, 5).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(network(scores), FixedUpsampler(8, "bilinear")(scores), rtol=1e-5, atol=1e-5)


def test_in_bf16_it_is_as_near_to_the_exact_scores_as_torchs_own():
    torch.manual_seed(0)
    plain = TransposedUpsampler(CLASSES, 8, dense=False, start="random")
    quick = nn.Sequential(copy.deepcopy(plain))
    use_phases(quick)
    scores = torch.randn(2, CLASSES, 6, 5)
    exact = plain(scores)
    with torch.autocast("cpu", torch.bfloat16):
        found, known = quick(scores), plain(scores)
    assert found.dtype == known.dtype == torch.bfloat16
    assert (found - exact).abs().max() <= 1.5 * (known - exact).abs().max()


def test_only_what_it_can_compute_changes_its_class():
    network = nn.Sequential(
        TransposedUpsampler(CLASSES, 2, dense=False, start="bilinear"),
        TransposedUpsampler(CLASSES, 8, dense=False, start="random"),
        TransposedUpsampler(CLASSES, 3, dense=False, start="bilinear"),
        TransposedUpsampler(CLASSES, 2, dense=True, start="bilinear"),
        FixedUpsampler(2, "bilinear"),
    )
    names = list(network.state_dict())
    assert use_phases(network) == 2
    assert [type(module) is PhasedUpsampler for module in network] == [True, True, False, False, False]
    assert list(network.state_dict()) == names
