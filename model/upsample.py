"""Upsamplers of score maps: fixed interpolation and learned transposed convolution, one constructor.

A convolution is a matrix; its transpose takes a coarse map to a fine one, and its kernel can be
learned where interpolation is fixed. Started from the bilinear kernel, the learned upsampler is the
fixed one until training moves it, so that a comparison of the two starts from one and the same function.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

import torch
from torch import nn
from torch.nn import functional

from data.errors import ConfigError
from model.config import UpsamplerName
from model.dysample import DynamicSampler

FIXED: Final[tuple[UpsamplerName, ...]] = ("nearest", "bilinear", "bicubic")
"""Upsamplers without a parameter."""


def bilinear_kernel(scale_factor: int) -> torch.Tensor:
    """The kernel whose transposed convolution is bilinear interpolation (``align_corners=False``).

    The tent ``1 - |x - centre| / s`` in both directions, for s = ``scale_factor``: Shelhamer, Long and
    Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2017, section 3.3.

    Args:
        scale_factor: At least 1.

    Returns:
        Shape (k, k) with k = 2 s - s % 2, float32. Each of its s x s phases sums to 1.
    """
    size = 2 * scale_factor - scale_factor % 2
    centre = (size - 1) / 2
    tent = 1 - (torch.arange(size, dtype=torch.float64) - centre).abs() / scale_factor
    return torch.outer(tent, tent).to(torch.float32)


class FixedUpsampler(nn.Module):
    """Interpolation: no parameter, nothing to learn.

    Args:
        scale_factor: Output side over input side.
        mode: As in ``torch.nn.functional.interpolate``.
    """

    def __init__(self, scale_factor: int, mode: Literal["nearest", "bilinear", "bicubic"]) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.mode = mode

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, C, s h, s w)."""
        corners = None if self.mode == "nearest" else False
        return functional.interpolate(scores, scale_factor=self.scale_factor, mode=self.mode, align_corners=corners)


class TransposedUpsampler(nn.Module):
    """Learned transposed convolution with kernel 2 s - s % 2 and stride s.

    The coarse map is replicate-padded by one and the result cropped, so that with the bilinear kernel the
    output equals ``interpolate(align_corners=False)`` on every pixel, borders too.

    Args:
        num_classes: Channels in and out.
        scale_factor: Output side over input side, s.
        dense: One kernel for each pair of classes instead of one a class.
        start: ``bilinear``, on the diagonal where dense, or ``random``.

    Attributes:
        weight: Shape (C, C, k, k) where dense, else (C, 1, k, k).
    """

    def __init__(
        self, num_classes: int, scale_factor: int, *, dense: bool, start: Literal["bilinear", "random"]
    ) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.groups = 1 if dense else num_classes
        size = 2 * scale_factor - scale_factor % 2
        self.weight = nn.Parameter(torch.empty(num_classes, num_classes // self.groups, size, size))
        self.start = start
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Put the kernels back to their start."""
        with torch.no_grad():
            if self.start == "random":
                # Every output pixel sees about 2 x 2 inputs a channel: He's variance for that fan-in.
                fan_in = 4 * self.weight.shape[1]
                self.weight.normal_(std=fan_in**-0.5)
                return
            self.weight.zero_()
            kernel = bilinear_kernel(self.scale_factor)
            for channel in range(self.weight.shape[0]):
                self.weight[channel, channel if self.groups == 1 else 0] = kernel

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, C, s h, s w)."""
        s = self.scale_factor
        padded = functional.pad(scores, (1, 1, 1, 1), mode="replicate")
        # The transposed convolution's own padding crops its result: s for the pixel added, the rest centres.
        return functional.conv_transpose2d(padded, self.weight, stride=s, padding=s + s // 2, groups=self.groups)


class PixelShuffleUpsampler(nn.Module):
    """Sub-pixel convolution: a 3x3 convolution to C s^2 channels, then depth to space.

    Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", 2016. Started as in ICNR (Aitken et al., "Checkerboard artifact free
    sub-pixel convolution", 2017): all s^2 sub-kernels of a class are equal, here to the identity, so the
    start is nearest-neighbour interpolation.

    Args:
        num_classes: Channels in and out.
        scale_factor: Output side over input side, s.
    """

    def __init__(self, num_classes: int, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.convolution = nn.Conv2d(
            num_classes, num_classes * scale_factor**2, 3, padding=1, padding_mode="replicate", bias=False
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Put the kernels back to their start."""
        weight = self.convolution.weight
        with torch.no_grad():
            weight.zero_()
            for channel in range(weight.shape[1]):
                first = channel * self.scale_factor**2
                weight[first : first + self.scale_factor**2, channel, 1, 1] = 1

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, C, s h, s w)."""
        return functional.pixel_shuffle(self.convolution(scores), self.scale_factor)


def make_upsampler(name: UpsamplerName, num_classes: int, scale_factor: int) -> nn.Module:
    """The one constructor of upsamplers.

    Args:
        name: One of ``UpsamplerName``.
        num_classes: Channels of the score map.
        scale_factor: Output side over input side, at least 1.

    Returns:
        A module from (N, C, h, w) to (N, C, s h, s w).

    Raises:
        ConfigError: an unknown name or a factor below 1.
    """
    if scale_factor < 1:
        raise ConfigError(f"scale_factor is {scale_factor}: an upsampler makes a map larger, by 1 at least")
    match name:
        case "nearest" | "bilinear" | "bicubic":
            return FixedUpsampler(scale_factor, name)
        case "learned":
            return TransposedUpsampler(num_classes, scale_factor, dense=False, start="bilinear")
        case "learned-dense":
            return TransposedUpsampler(num_classes, scale_factor, dense=True, start="bilinear")
        case "learned-random":
            return TransposedUpsampler(num_classes, scale_factor, dense=False, start="random")
        case "pixel-shuffle":
            return PixelShuffleUpsampler(num_classes, scale_factor)
        case "dysample":
            return DynamicSampler(num_classes, scale_factor)
        case _:
            raise ConfigError(f"no upsampler is named {name!r}: choose one of {', '.join(get_args(UpsamplerName))}")
