"""Batch normalisation over the batches of all processes.

Lightning converts to ``torch.nn.SyncBatchNorm``, which knows no CPU and silently drops the activation that timm's
``BatchNormAct2d`` holds. Here only the class of a layer changes: parameters, names and activations stay.
"""

from __future__ import annotations

from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import distributed, nn


def share_batch_statistics(network: nn.Module) -> int:
    """Let the batch normalisations of a network see the batches of every process as one.

    Args:
        network: Changed in place.

    Returns:
        The number of layers that were changed.
    """
    kinds: dict[type, type] = {nn.BatchNorm2d: SharedBatchNorm2d, BatchNormAct2d: SharedBatchNormAct2d}
    count = 0
    for module in network.modules():
        kind = kinds.get(type(module))
        if kind is not None:
            module.__class__ = kind
            count += 1
    return count


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation by mean and variance over all processes."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same."""
        return _normalise(self, input) if self.training else super().forward(input)


class SharedBatchNormAct2d(BatchNormAct2d):
    """The same, with timm's activation behind it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same."""
        if not self.training:
            return super().forward(x)  # type: ignore[no-untyped-call, no-any-return]
        result: torch.Tensor = self.act(self.drop(_normalise(self, x)))
        return result


def _normalise(layer: nn.BatchNorm2d, image: torch.Tensor) -> torch.Tensor:
    normalised, mean, variance, count = _Normalisation.apply(image, layer.weight, layer.bias, layer.eps)
    if layer.running_mean is not None and layer.running_var is not None and layer.num_batches_tracked is not None:
        layer.num_batches_tracked.add_(1)
        share = layer.momentum if layer.momentum is not None else 1 / float(layer.num_batches_tracked)
        layer.running_mean.lerp_(mean, share)
        layer.running_var.lerp_(variance * count / (count - 1).clamp(min=1), share)
    result: torch.Tensor = normalised
    return result


class _Normalisation(torch.autograd.Function):
    """Ioffe and Szegedy, "Batch Normalization", 2015, with sums over processes, in 32-bit."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, eps: float) -> Any:  # noqa: ANN401
        wide = image.to(weight.dtype)
        own_mean = wide.mean(dim=(0, 2, 3))
        own_squares = (wide - own_mean[:, None, None]).square().sum(dim=(0, 2, 3))
        pixels = torch.full_like(own_mean[:1], image.numel() / image.shape[1])
        own = torch.cat([own_mean, own_squares, pixels])
        every = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(every, own)
        means, squares, counts = torch.tensor_split(torch.stack(every), [len(own_mean), 2 * len(own_mean)], dim=1)
        count = counts.sum()
        mean = (means * counts).sum(dim=0) / count
        # Parallel variance (Chan, Golub and LeVeque, 1983): no difference of large numbers.
        variance = (squares + counts * (means - mean).square()).sum(dim=0) / count
        scale = torch.rsqrt(variance + eps)
        ctx.save_for_backward(image, weight, mean, scale, count)
        shifted = (wide - mean[:, None, None]) * (scale * weight)[:, None, None] + bias[:, None, None]
        ctx.mark_non_differentiable(mean, variance, count)
        return shifted.to(image.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # noqa: ANN401
        image, weight, mean, scale, count = ctx.saved_tensors
        gradient = gradients[0].to(weight.dtype)
        normal = (image.to(weight.dtype) - mean[:, None, None]) * scale[:, None, None]
        bias_gradient = gradient.sum(dim=(0, 2, 3))
        weight_gradient = (gradient * normal).sum(dim=(0, 2, 3))
        # Those of parameters are this process's: the trainer averages them. That of the picture needs all.
        both = torch.stack([bias_gradient, weight_gradient])
        distributed.all_reduce(both)
        of_mean, of_scale = (both / count)[:, :, None, None]
        image_gradient = (gradient - of_mean - normal * of_scale) * (scale * weight)[:, None, None]
        return image_gradient.to(image.dtype), weight_gradient, bias_gradient, None
