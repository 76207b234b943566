"""Learned upsamplers by phases: torch's transposed convolution and its gradients, by another way."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from data.labels import IGNORE_INDEX
from model.compare import upsampling
from model.compare.scoremaps import ScoreMaps
from model.compare.stack import UpsamplerStack
from model.config import LossConfig, OptimiserConfig
from model.losses import SegmentationLoss
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


def made_up_maps(crops, generator):
    """Scores of coarse maps, and targets that a shifted kernel upsamples them to."""
    coarse = [torch.randn(crops, CLASSES, 2 * 2**n, 3 * 2**n, generator=generator) for n in range(3)]
    stack = UpsamplerStack("learned", CLASSES, 8)
    with torch.no_grad():
        stack.last.weight.copy_(3 * stack.last.weight.roll((3, 3), (2, 3)))
        target = stack(coarse).argmax(dim=1).to(torch.uint8)
    return coarse, target


@pytest.mark.parametrize("name", ["learned", "learned-dense", "pixel-shuffle", "dysample"])
@pytest.mark.parametrize("phased", [True, False])
def test_scores_at_some_cells_are_those_of_the_whole_map_beside_their_own_targets(name, phased):
    generator = torch.Generator().manual_seed(0)
    maps, target = made_up_maps(2, generator)
    torch.manual_seed(0)
    stack = UpsamplerStack(name, CLASSES, 8)
    if phased:
        use_phases(stack)
    cut = target[:, :50, :90]  # of a crop whose sides are no multiples of 32: its maps go beyond it
    targets = stack.targets_of(maps, cut)
    cells = torch.randperm(targets.shape[1], generator=generator)
    loss = nn.CrossEntropyLoss(ignore_index=IGNORE_INDEX)
    by_cells = loss(stack.at_cells(maps, cells), targets[:, cells].long())
    torch.testing.assert_close(by_cells, loss(stack(maps)[..., :50, :90], cut.long()))
    some = cells[:7]
    torch.testing.assert_close(stack.at_cells(maps, some), stack.at_cells(maps, cells)[:, :, :7])


def test_an_eighth_of_the_cells_a_step_trains_upsamplers_as_well_as_all_of_them(monkeypatch):
    maps, target = made_up_maps(24, torch.Generator().manual_seed(0))
    stored = ScoreMaps([level.half().numpy() for level in maps], target.numpy(), [], [], CLASSES)
    loss = SegmentationLoss(LossConfig(), np.ones(CLASSES, np.int64)).eval()
    wrong = {}
    for every in (None, 1, 8):
        stack = UpsamplerStack("learned", CLASSES, 8)
        use_phases(stack)
        if every is not None:
            monkeypatch.setattr(upsampling, "EVERY", every)
            config = OptimiserConfig(upsampler_rate=0.02)
            upsampling.train_upsamplers(stack, stored, loss, config, epochs=20, batch_size=8, seed=0)
        with torch.no_grad():
            wrong[every] = float((stack(maps).argmax(dim=1) != target).float().mean())
    assert wrong[1] < 0.6 * wrong[None]
    assert wrong[8] < 1.1 * wrong[1]
