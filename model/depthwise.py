"""Depthwise convolutions whose backward pass does not crawl in bf16 on a CPU.

oneDNN computes some gradients of depthwise convolutions in bf16 by general code, ten to fifty times slower than the
forward pass: the gradient of the input where the stride is above 1, that of the weight where the kernel is larger
than 3x3. On a mobile encoder they took half of a training step. Both are written here through convolutions that it is
fast at.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

_FAST_KERNEL = 3
"""Up to this size the gradient of the weight is fast."""


def use_fast_depthwise(network: nn.Module) -> int:
    """Let the depthwise convolutions of a network compute their gradients in the way of this module.

    Only their class changes: parameters, names and results stay.

    Args:
        network: Changed in place.

    Returns:
        The number of convolutions that were changed.
    """
    count = 0
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_depthwise(module):
            module.__class__ = DepthwiseConv2d
            count += 1
    return count


def _is_depthwise(conv: nn.Conv2d) -> bool:
    sides = set(conv.kernel_size)
    return (
        conv.groups == conv.in_channels == conv.out_channels > 1
        and conv.bias is None
        and len(sides) == len(set(conv.stride)) == 1
        and sides.pop() % 2 == 1
        and conv.padding == tuple(side // 2 for side in conv.kernel_size)
        and conv.dilation == (1, 1)
        and conv.padding_mode == "zeros"
    )


class DepthwiseConv2d(nn.Conv2d):
    """One kernel a channel, of odd size, padded by half of it. Trained in bf16 on a CPU it uses this module's way."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, C, ceil(H / stride), ceil(W / stride))."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        if dtype != torch.bfloat16 or input.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(input)
        result: torch.Tensor = _Depthwise.apply(input.to(dtype), self.weight.to(dtype), self.stride[0])
        return result


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution of an odd kernel, padded by half of it."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:  # noqa: ANN401
        ctx.save_for_backward(image, weight)
        ctx.stride = stride
        return _convolve(image, weight, stride, weight.shape[-1] // 2)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:  # noqa: ANN401
        image, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last)
        wants_image, wants_weight, _ = ctx.needs_input_grad
        return (
            image_gradient(gradient, weight, ctx.stride, image.shape[-2:]) if wants_image else None,
            weight_gradient(gradient, image, ctx.stride, weight.shape[-1]) if wants_weight else None,
            None,
        )


def image_gradient(gradient: torch.Tensor, weight: torch.Tensor, stride: int, size: torch.Size) -> torch.Tensor:
    """Gradient of the input: zeros between the gradient's pixels, then a convolution with the kernel turned around.

    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", 2016, section 4.

    Args:
        gradient: Of the output, shape (N, C, h, w).
        weight: Shape (C, 1, K, K), K odd.
        stride: Of the forward convolution.
        size: Height and width of the input.

    Returns:
        Shape (N, C, H, W).
    """
    if stride > 1:
        shape = (*gradient.shape[:2], *size)
        spread = torch.empty(shape, dtype=gradient.dtype, memory_format=torch.channels_last).zero_()
        spread[:, :, ::stride, ::stride] = gradient
        gradient = spread
    return _convolve(gradient, weight.flip(-1, -2), 1, weight.shape[-1] // 2)


def weight_gradient(gradient: torch.Tensor, image: torch.Tensor, stride: int, kernel: int) -> torch.Tensor:
    """Gradient of the weight, a large kernel's from pieces of 3x3.

    The gradient of a tap is the product of the output's gradient with the input as that tap sees it: a piece of the
    kernel is the kernel of a smaller convolution on an input that is shifted.

    Args:
        gradient: Of the output, shape (N, C, h, w).
        image: The input, shape (N, C, H, W).
        stride: Of the forward convolution.
        kernel: Size K of the kernel, odd.

    Returns:
        Shape (C, 1, K, K).
    """
    if kernel <= _FAST_KERNEL:
        return _plain_weight_gradient(gradient, image, stride, kernel, kernel // 2)
    padded = functional.pad(image, [kernel // 2] * 4)
    below, right = ((side - 1) * stride + _FAST_KERNEL for side in gradient.shape[-2:])
    result = gradient.new_empty((image.shape[1], 1, kernel, kernel))
    # Neighbouring pieces share a row or column, computed twice alike.
    starts = range(0, kernel - _FAST_KERNEL + 1, _FAST_KERNEL - 1)
    for top in starts:
        for left in starts:
            seen = padded[:, :, top : top + below, left : left + right].contiguous(memory_format=torch.channels_last)
            piece = _plain_weight_gradient(gradient, seen, stride, _FAST_KERNEL, 0)
            result[:, :, top : top + _FAST_KERNEL, left : left + _FAST_KERNEL] = piece
    return result


def _plain_weight_gradient(
    gradient: torch.Tensor, image: torch.Tensor, stride: int, kernel: int, padding: int
) -> torch.Tensor:
    channels = image.shape[1]
    weight = gradient.new_empty((channels, 1, kernel, kernel))
    wanted = [False, True, False]
    strides, paddings = [stride, stride], [padding, padding]
    _, result, _ = torch.ops.aten.convolution_backward(
        gradient, image, weight, None, strides, paddings, [1, 1], False, [0, 0], channels, wanted
    )
    found: torch.Tensor = result
    return found


def _convolve(image: torch.Tensor, weight: torch.Tensor, stride: int, padding: int) -> torch.Tensor:
    return functional.conv2d(image, weight, stride=stride, padding=padding, groups=image.shape[1])
