"""Depthwise convolutions in bf16: the gradients are torch's, by another way."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from model.depthwise import DepthwiseConv2d, image_gradient, use_fast_depthwise, weight_gradient

CHANNELS = 16


def true_gradients(image, weight, gradient, stride):
    """Torch's own, in 64-bit."""
    image, weight = image.double().requires_grad_(), weight.double().requires_grad_()
    made = nn.functional.conv2d(image, weight, stride=stride, padding=weight.shape[-1] // 2, groups=CHANNELS)
    made.backward(gradient.double())
    return image.grad, weight.grad


@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(12, 14), (11, 7), (8, 9), (3, 2)])
def test_both_gradients_are_those_of_torch(kernel, stride, size):
    torch.manual_seed(0)
    image = torch.randn(3, CHANNELS, *size).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(CHANNELS, 1, kernel, kernel)
    gradient = torch.randn(3, CHANNELS, *(-(-side // stride) for side in size))
    of_image, of_weight = true_gradients(image, weight, gradient, stride)
    torch.testing.assert_close(
        image_gradient(gradient, weight, stride, image.shape[-2:]).double(), of_image, rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        weight_gradient(gradient, image, stride, kernel).double(), of_weight, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_training_in_bf16_gives_the_gradients_to_its_rounding(stride):
    torch.manual_seed(0)
    plain = nn.Conv2d(CHANNELS, CHANNELS, 5, stride=stride, padding=2, groups=CHANNELS, bias=False)
    network = nn.Sequential(copy.deepcopy(plain))
    assert use_fast_depthwise(network) == 1
    image = torch.randn(2, CHANNELS, 20, 24, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        made = network(image)
    assert made.dtype == torch.bfloat16
    gradient = torch.randn(made.shape)
    made.backward(gradient.bfloat16())
    of_image, of_weight = true_gradients(image.detach(), plain.weight.detach(), gradient, stride)
    for found, true in ((image.grad, of_image), (network[0].weight.grad, of_weight)):
        assert found.dtype == torch.float32
        assert (found - true).abs().max() < 0.02 * true.abs().max()


def test_without_bf16_everything_is_torchs_own_to_the_bit():
    torch.manual_seed(0)
    plain = nn.Conv2d(CHANNELS, CHANNELS, 5, stride=2, padding=2, groups=CHANNELS, bias=False)
    fast = nn.Sequential(copy.deepcopy(plain))
    use_fast_depthwise(fast)
    image = torch.randn(2, CHANNELS, 21, 24)
    results = []
    for network in (plain, fast):
        made = network(image)
        made.square().sum().backward()
        results.append((made.detach(), next(network.parameters()).grad))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(16, 32, 3, padding=1, groups=16, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.Conv2d(16, 16, 4, padding=2, groups=16, bias=False),
        nn.Conv2d(16, 16, 3, padding=0, groups=16, bias=False),
        nn.Conv2d(16, 16, 3, padding=2, dilation=2, groups=16, bias=False),
        nn.Conv2d(16, 16, (3, 5), padding=(1, 2), groups=16, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, stride=(1, 2), groups=16, bias=False),
        nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False, padding_mode="reflect"),
    ],
)
def test_other_convolutions_are_left_alone(other):
    assert use_fast_depthwise(nn.Sequential(other)) == 0
    assert type(other) is nn.Conv2d


def test_parameters_keep_their_names_and_a_copy_its_way():
    network = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False))
    names = list(network.state_dict())
    use_fast_depthwise(network)
    assert list(network.state_dict()) == names
    assert isinstance(copy.deepcopy(network)[0], DepthwiseConv2d)
