"""The content-aware upsampler: each output pixel chooses, by the scores around it, where to read the coarse map."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class DynamicSampler(nn.Module):
    """DySample: upsampling as bilinear reading at learned points.

    Liu, Lu, Fu and Cao, "Learning to Upsample by Learning to Sample", ICCV 2023. With X the coarse map, G the
    points at which bilinear interpolation reads it (their "bilinear initialisation"), and O the offsets:

    - X' = grid_sample(X, G + O)                          (equations 1 and 2)
    - O = pixel_shuffle(0.5 sigmoid(U X) * (W X))         (the dynamic scope factor, equation 5; linear then
      pixel shuffle, their "LP" order)

    U and W are 1x1 convolutions. Both start at zero, where the paper draws W with a deviation of 0.001: then
    O = 0 and the start is bilinear interpolation exactly, as for the other learned upsamplers. Offsets are in coarse
    pixels; with U = 0 the scope is the paper's 0.25. All classes of a pixel are read at one point (one group): the
    channels here are the scores of classes, and a boundary between two classes is one place for both.

    Args:
        num_classes: Channels in and out.
        scale_factor: Output side over input side, s.

    Attributes:
        offset: W, C to 2 s^2 channels: rows first, then columns.
        scope: U, of the same shape, without a bias.
    """

    def __init__(self, num_classes: int, scale_factor: int) -> None:
        super().__init__()
        self.scale_factor = scale_factor
        self.offset = nn.Conv2d(num_classes, 2 * scale_factor**2, 1)
        self.scope = nn.Conv2d(num_classes, 2 * scale_factor**2, 1, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Put the offsets back to none."""
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def offsets(self, scores: torch.Tensor) -> torch.Tensor:
        """How far from its bilinear place each output pixel reads.

        Args:
            scores: Shape (N, C, h, w).

        Returns:
            Rows and columns, in coarse pixels, shape (N, 2, s h, s w), float32.
        """
        moved = 0.5 * self.scope(scores).sigmoid() * self.offset(scores)
        return functional.pixel_shuffle(moved.float(), self.scale_factor)

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, C, s h, s w)."""
        height, width = scores.shape[-2:]
        offsets = self.offsets(scores)
        # Places run from -1 at the outer edge of the first coarse pixel to 1 at that of the last.
        rows = self._places(height, offsets)[:, None] + offsets[:, 0] * (2 / height)
        columns = self._places(width, offsets) + offsets[:, 1] * (2 / width)
        # In 32 bits whatever the scores have: 8 bits of mantissa would place points to a tenth of a coarse pixel.
        return functional.grid_sample(
            scores.float(),
            torch.stack([columns, rows], dim=-1),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )

    def _places(self, side: int, like: torch.Tensor) -> torch.Tensor:
        """Centres of the output pixels of one side."""
        fine = side * self.scale_factor
        return (2 * torch.arange(fine, device=like.device, dtype=torch.float32) + 1) / fine - 1
