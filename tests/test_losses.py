"""The loss and the class weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from data.errors import ConfigError
from model.config import LossConfig
from model.losses import SegmentationLoss, median_frequency_weights

COUNTS = np.array([60, 30, 10], dtype=np.int64)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 8, 8, generator=generator, requires_grad=True)
    return logits, torch.randint(0, 3, (2, 8, 8), generator=generator, dtype=torch.uint8)


def test_cross_entropy_alone_is_torchs():
    logits, target = batch()
    loss = SegmentationLoss(LossConfig(cross_entropy=2.0, lovasz=0), COUNTS)(logits, target)
    torch.testing.assert_close(loss, 2 * functional.cross_entropy(logits, target.long()))


@pytest.mark.parametrize(
    "config",
    [
        LossConfig(),
        LossConfig(cross_entropy=0, lovasz=0, dice=1),
        LossConfig(class_weights="median-frequency", dice=0.5),
        LossConfig(cross_entropy=0, lovasz=1),
    ],
)
def test_ignored_pixels_change_nothing(config):
    logits, target = batch()
    target[:, :2] = 255
    changed = logits.detach().clone()
    changed[:, :, :2] = 100 * torch.randn(2, 3, 2, 8)
    loss = SegmentationLoss(config, COUNTS).eval()
    torch.testing.assert_close(loss(changed, target), loss(logits, target))


@pytest.mark.parametrize("config", [LossConfig(), LossConfig(dice=1, class_weights="median-frequency")])
def test_a_batch_without_a_labelled_pixel_costs_nothing_and_stays_finite(config):
    logits, target = batch()
    loss = SegmentationLoss(config, COUNTS)(logits, torch.full_like(target, 255))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_a_perfect_answer_costs_next_to_nothing():
    _, target = batch()
    logits = 50 * functional.one_hot(target.long(), 3).permute(0, 3, 1, 2).float()
    assert SegmentationLoss(LossConfig(dice=1), COUNTS)(logits, target) < 1e-3


def test_median_frequency_weights_are_those_of_the_paper():
    np.testing.assert_allclose(median_frequency_weights(COUNTS), [0.5, 1.0, 3.0])


def test_a_class_that_never_occurs_has_no_weight_and_does_not_move_the_median():
    np.testing.assert_allclose(median_frequency_weights(np.array([60, 0, 30, 10])), [0.5, 0, 1.0, 3.0])


def test_the_root_of_median_frequency_weighs_less():
    logits, target = batch()
    config = LossConfig(class_weights="root-median-frequency", lovasz=0)
    weight = torch.tensor([0.5, 1.0, 3.0]).sqrt()
    expected = functional.cross_entropy(logits, target.long(), weight=weight)
    torch.testing.assert_close(SegmentationLoss(config, COUNTS)(logits, target), expected)


def test_weights_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match="lovasz_step is 0"):
        LossConfig(lovasz_step=0)
    with pytest.raises(ConfigError, match="loss weights"):
        LossConfig(cross_entropy=0, lovasz=0, dice=0)
    with pytest.raises(ConfigError, match="loss weights"):
        LossConfig(dice=-1)


def test_lovasz_looks_at_every_pixel_in_turn_and_draws_no_grid():
    torch.manual_seed(0)
    logits, target = batch()
    loss = SegmentationLoss(LossConfig(cross_entropy=0, lovasz=1, lovasz_step=2), COUNTS)
    for _ in range(40):
        loss(logits, target).backward()
    assert logits.grad is not None
    seen = logits.grad.abs().sum(dim=(0, 1))
    phases = torch.stack([seen[row::2, column::2].mean() for row in (0, 1) for column in (0, 1)])
    assert phases.min() > 0.4 * phases.max()
