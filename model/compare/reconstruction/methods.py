"""What reduces a picture to its summary, and what gives it back.

The summary holds one byte for each colour of each s x s square, whatever made it. Everything that
learns begins as bilinear interpolation of the fixed reduction, so before training the scores are equal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from model.upsample import bilinear_kernel, make_upsampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

MethodName = Literal[
    "nearest", "bilinear", "bicubic", "learned", "learned-dense", "learned-wide", "learned-decoder", "autoencoder"
]

METHODS: Final[tuple[MethodName, ...]] = get_args(MethodName)

FIXED: Final[tuple[MethodName, ...]] = ("nearest", "bilinear", "bicubic")
"""Methods without a parameter."""

LINEAR: Final[tuple[MethodName, ...]] = ("learned", "learned-dense", "learned-wide")
"""Those that are one transposed convolution of the summary and nothing else."""

COLOURS: Final = 3

MIDDLE: Final = 0.5

WIDTH: Final = 32
"""Feature maps of the decoder and of the encoder."""


class Reduction(nn.Module):
    """The fixed reduction: one strided convolution a colour, its kernel the bilinear one over s^2.

    Away from the border its matrix is that of bilinear interpolation, transposed and divided by s^2. The
    tent takes away most of what the summary's grid cannot hold, so that it does not come back as false stripes.

    Args:
        scale_factor: s.
    """

    kernel: torch.Tensor

    def __init__(self, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        kernel = bilinear_kernel(scale_factor) / scale_factor**2
        self.register_buffer("kernel", kernel.expand(COLOURS, 1, -1, -1).clone())

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, s h, s w) to (N, 3, h, w); the border is repeated."""
        s = self.scale_factor
        padded = functional.pad(images, (s // 2,) * 4, mode="replicate")
        return functional.conv2d(padded, self.kernel, stride=s, groups=COLOURS)


class Encoder(nn.Module):
    """The reduction of the autoencoder: the fixed one and what strided convolutions add to it, 0 at first.

    Args:
        scale_factor: s, a power of two: one convolution with stride 2 for each doubling.
    """

    def __init__(self, scale_factor: int) -> None:
        super().__init__()
        self.fixed = Reduction(scale_factor)
        layers: list[nn.Module] = []
        channels = COLOURS
        for _ in range(scale_factor.bit_length() - 1):
            layers += [_convolution(channels, WIDTH, stride=2, kernel=5 if channels == COLOURS else 3), nn.ReLU()]
            channels = WIDTH
        last = _convolution(WIDTH, COLOURS)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.added = nn.Sequential(*layers, last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, s h, s w) to (N, 3, h, w)."""
        summary: torch.Tensor = self.fixed(images) + self.added(images - MIDDLE)
        return summary


class WideUpsampler(nn.Module):
    """A learned transposed convolution with kernel 4 s and stride s, one a colour, started bilinear.

    ``model.upsample.TransposedUpsampler`` makes each pixel of 2 x 2 neighbours, as bilinear interpolation does; this
    one of 4 x 4, as bicubic does.

    Args:
        scale_factor: s.
    """

    def __init__(self, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        start = functional.pad(bilinear_kernel(scale_factor), (scale_factor,) * 4)
        self.weight = nn.Parameter(start.expand(COLOURS, 1, -1, -1).clone())

    def forward(self, summary: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) to (N, 3, s h, s w)."""
        s = self.scale_factor
        padded = functional.pad(summary, (2, 2, 2, 2), mode="replicate")
        return functional.conv_transpose2d(padded, self.weight, stride=s, padding=3 * s + s // 2, groups=COLOURS)


class Decoder(nn.Module):
    """A transposed convolution that reads the summary and ``WIDTH`` feature maps made of it.

    Kernel and stride are those of ``model.upsample.TransposedUpsampler``. From the summary it begins as bilinear
    interpolation, from the feature maps as 0.

    Args:
        scale_factor: s.
    """

    def __init__(self, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.features = nn.Sequential(_convolution(COLOURS, WIDTH), nn.ReLU(), _convolution(WIDTH, WIDTH), nn.ReLU())
        kernel = bilinear_kernel(scale_factor)
        self.weight = nn.Parameter(torch.zeros(COLOURS + WIDTH, COLOURS, *kernel.shape))
        with torch.no_grad():
            for colour in range(COLOURS):
                self.weight[colour, colour] = kernel

    def forward(self, summary: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) to (N, 3, s h, s w)."""
        s = self.scale_factor
        maps = torch.cat([summary, self.features(summary)], dim=1)
        padded = functional.pad(maps, (1, 1, 1, 1), mode="replicate")
        return functional.conv_transpose2d(padded, self.weight, stride=s, padding=s + s // 2)


class Method(nn.Module):
    """A reduction, rounding to bytes, and what gives the picture back.

    Args:
        name: One of ``METHODS``.
        scale_factor: s, a power of two.
    """

    def __init__(self, name: MethodName, scale_factor: int) -> None:
        super().__init__()
        self.reduce: nn.Module = Encoder(scale_factor) if name == "autoencoder" else Reduction(scale_factor)
        self.restore: nn.Module
        match name:
            case "learned-decoder" | "autoencoder":
                self.restore = Decoder(scale_factor)
            case "learned-wide":
                self.restore = WideUpsampler(scale_factor)
            case _:
                self.restore = make_upsampler(name, COLOURS, scale_factor)

    def summary(self, images: torch.Tensor) -> torch.Tensor:
        """What is kept of pictures: 256 steps from 0 to 1, so one byte each.

        Args:
            images: From 0 to 1, shape (N, 3, s h, s w).

        Returns:
            Shape (N, 3, h, w).
        """
        values: torch.Tensor = self.reduce(images).clamp(0, 1)
        # Rounding has no slope: the gradient passes as if it were not there (straight-through, Bengio et al., 2013).
        return values + ((255 * values).round() / 255 - values).detach()

    def give_back(self, summary: torch.Tensor) -> torch.Tensor:
        """(N, 3, h, w) to (N, 3, s h, s w); counted from the middle grey, which makes learning faster."""
        restored: torch.Tensor = self.restore(summary - MIDDLE) + MIDDLE
        return restored

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Reduce and give back: (N, 3, s h, s w) from 0 to 1, the answer may go beyond."""
        return self.give_back(self.summary(images))

    def learned_parameters(self) -> int:
        """How many numbers training may move."""
        return sum(parameter.numel() for parameter in self.parameters())


@torch.inference_mode()
def linear_kernel(restore: nn.Module, scale_factor: int) -> NDArray[np.float32]:
    """What a linear way back makes of one summary pixel of each colour, in that colour.

    Args:
        restore: Of a fixed method or one of ``LINEAR``.
        scale_factor: s, even.

    Returns:
        Shape (3, 4 s, 4 s): the pixel lies in the middle.
    """
    kernels = []
    for colour in range(COLOURS):
        summary = torch.zeros(1, COLOURS, 9, 9)  # so wide that what is repeated at the border stays away
        summary[0, colour, 4, 4] = 1
        first = 4 * scale_factor - 3 * scale_factor // 2
        window = slice(first, first + 4 * scale_factor)
        kernels.append(restore(summary)[0, colour, window, window].numpy())
    return np.stack(kernels)


def _convolution(channels: int, outputs: int, *, stride: int = 1, kernel: int = 3) -> nn.Conv2d:
    return nn.Conv2d(channels, outputs, kernel, stride, padding=kernel // 2, padding_mode="replicate")
