"""What an arm costs: parameters and multiplications of its upsampling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model.dysample import DynamicSampler
from model.upsample import FixedUpsampler, PixelShuffleUpsampler, TransposedUpsampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from model.fcn import FCN

_TAPS_A_PIXEL = {"nearest": 0, "bilinear": 4, "bicubic": 16}
"""Multiplications of one output pixel, weights known."""

COARSEST_STRIDE = 32


def count_parameters(network: FCN) -> dict[str, int]:
    """Parameters of the whole network and of its upsamplers."""
    upsamplers = sum(p.numel() for module in network.upsampler_modules() for p in module.parameters())
    return {"total": sum(p.numel() for p in network.parameters()), "upsamplers": upsamplers}


def count_multiplications(upsamplers: Sequence[nn.Module], num_classes: int, picture: tuple[int, int]) -> int:
    """Multiplications that upsampling one picture takes, from stride 32 to the picture.

    A transposed convolution is counted as its kernel at every coarse pixel, the replicated border included,
    an interpolation as its taps at every output pixel, a dynamic sampler as its projections and its taps.

    Args:
        upsamplers: From the coarsest to the last.
        num_classes: Channels of the score maps.
        picture: Height and width.
    """
    height, width = (-(-side // COARSEST_STRIDE) for side in picture)
    total = 0
    for module in upsamplers:
        if isinstance(module, TransposedUpsampler):
            factor = module.scale_factor
            total += (height + 2) * (width + 2) * module.weight.numel()
        elif isinstance(module, PixelShuffleUpsampler):
            factor = module.scale_factor
            total += height * width * module.convolution.weight.numel()
        elif isinstance(module, FixedUpsampler):
            factor = module.scale_factor
            total += _TAPS_A_PIXEL[module.mode] * num_classes * height * width * factor**2
        elif isinstance(module, DynamicSampler):
            factor = module.scale_factor
            projections = module.offset.weight.numel() + module.scope.weight.numel()
            # The projections at every coarse pixel; then scope times offset and four taps a class at every fine one.
            total += height * width * (projections + (2 * 2 + _TAPS_A_PIXEL["bilinear"] * num_classes) * factor**2)
        else:
            raise TypeError(f"no count is known for {type(module).__name__}")
        height, width = height * factor, width * factor
    return total
