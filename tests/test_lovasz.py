"""Lovasz-softmax: the value and the gradient of segmentation-models-pytorch's, and the order of its pixels."""

from __future__ import annotations

import pytest
import torch
from segmentation_models_pytorch.losses import LovaszLoss

from data.labels import IGNORE_INDEX
from model.lovasz import largest_first, lovasz_softmax


@pytest.mark.parametrize("ignored", [0.0, 0.3, 0.99])
@pytest.mark.parametrize("classes", [2, 7])
def test_value_and_gradient_are_the_librarys(classes: int, ignored: float) -> None:
    torch.manual_seed(0)
    logits = (3 * torch.randn(2, classes, 33, 47)).requires_grad_()
    target = torch.randint(0, classes - 1, (2, 33, 47))  # the last class is never shown
    target[torch.rand(target.shape) < ignored] = IGNORE_INDEX
    found, wanted = lovasz_softmax(logits, target), LovaszLoss("multiclass", ignore_index=IGNORE_INDEX)(logits, target)
    torch.testing.assert_close(found, wanted)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (found, wanted)]
    torch.testing.assert_close(*gradients, atol=1e-8, rtol=1e-4)
    assert gradients[0].abs().max() > 0


def test_a_single_pixel_is_enough() -> None:
    logits = torch.zeros(1, 3, 1, 1, requires_grad=True)
    assert lovasz_softmax(logits, torch.tensor([[[1]]])).item() == pytest.approx(2 / 3)


def test_what_is_right_everywhere_costs_nothing() -> None:
    target = torch.randint(0, 4, (1, 9, 9), generator=torch.Generator().manual_seed(0))
    logits = 200.0 * torch.nn.functional.one_hot(target, 4).movedim(-1, 1).float()
    assert float(lovasz_softmax(logits, target)) == 0


def test_the_largest_come_first_and_equal_ones_as_they_stand() -> None:
    torch.manual_seed(0)
    values = torch.rand(5000)
    values[torch.rand(5000) < 0.5] = 0.25
    values[:3] = torch.tensor([0.0, 1.0, 1e-42])
    assert torch.equal(largest_first(values), values.argsort(descending=True, stable=True))


def test_an_error_that_is_no_number_is_no_number_in_the_end() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 0, 0, 0] = torch.nan
    assert bool(lovasz_softmax(logits, torch.zeros(1, 4, 4, dtype=torch.int64)).isnan())
