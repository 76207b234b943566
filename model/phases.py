"""Transposed convolutions that are quick to train on a CPU: one small matrix product instead of oneDNN's general code.

With kernel 2 s and stride s each output pixel sees 2 x 2 inputs, and which taps of the kernel meet them depends on its
place within s x s alone: its phase. So the 2 x 2 neighbourhoods of a class times a 4 x s^2 matrix are all phases at
once. Torch's transposed convolution with one kernel a class takes six times as long in bf16 (8 maps of 11 classes,
40x48 to 320x384, one processor: 72 ms forward and 87 back, against 8 and 21).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from model.upsample import TransposedUpsampler


def use_phases(network: nn.Module) -> int:
    """Let the learned upsamplers of a network with one kernel a class compute in the way of this module.

    Only their class changes: parameters, names and results stay.

    Args:
        network: Changed in place.

    Returns:
        The number of upsamplers that were changed.
    """
    count = 0
    for module in network.modules():
        if type(module) is TransposedUpsampler and module.groups == len(module.weight) and not module.scale_factor % 2:
            module.__class__ = PhasedUpsampler
            count += 1
    return count


class PhasedUpsampler(TransposedUpsampler):
    """One kernel a class, an even factor. On a CPU it uses this module's way."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) to (N, C, s h, s w)."""
        if scores.device.type != "cpu":
            return super().forward(scores)
        return upsample_by_phases(scores, self.weight, self.scale_factor)

    def at_cells(self, scores: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """What ``cells_of`` makes of the result, at some cells only, without computing the others."""
        return torch.bmm(_neighbours(scores)[:, cells], _taps(self.weight, self.scale_factor))


def cells_of(fine: torch.Tensor, scale_factor: int, fill: float) -> torch.Tensor:
    """Cut fine maps into the cells between the coarse map's pixels: the pixels of one see the same 2 x 2 of those.

    Args:
        fine: Shape (N, C, s h, s w).
        scale_factor: s, even.
        fill: Of what lies beyond the border: the cells there are half outside.

    Returns:
        Shape (C, N (h + 1) (w + 1), s^2).
    """
    s, (count, classes, height, width) = scale_factor, fine.shape
    padded = functional.pad(fine, [s // 2] * 4, value=fill)
    cells = padded.view(count, classes, height // s + 1, s, width // s + 1, s)
    return cells.permute(1, 0, 2, 4, 3, 5).reshape(classes, -1, s * s)


def upsample_by_phases(scores: torch.Tensor, weight: torch.Tensor, scale_factor: int) -> torch.Tensor:
    """What ``TransposedUpsampler`` computes.

    Args:
        scores: Shape (N, C, h, w).
        weight: Shape (C, 1, 2 s, 2 s).
        scale_factor: Output side over input side, s, even.

    Returns:
        Shape (N, C, s h, s w).
    """
    s, (count, classes, height, width) = scale_factor, scores.shape
    rows, columns = height + 1, width + 1
    phases = torch.bmm(_neighbours(scores), _taps(weight, s)).view(classes, count, rows, columns, s, s)
    fine = phases.permute(1, 0, 2, 4, 3, 5).reshape(count, classes, rows * s, columns * s)
    half = s // 2
    return fine[..., half : half + height * s, half : half + width * s]


def _neighbours(scores: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w) to (C, N (h + 1) (w + 1), 4): the 2 x 2 neighbours of every cell, the edge repeated by one."""
    height, width = scores.shape[-2:]
    padded = functional.pad(scores, (1, 1, 1, 1), mode="replicate").transpose(0, 1)
    corners = [padded[:, :, top : top + height + 1, left : left + width + 1] for top in (0, 1) for left in (0, 1)]
    return torch.stack(corners, dim=-1).reshape(len(padded), -1, 4)


def _taps(weight: torch.Tensor, scale_factor: int) -> torch.Tensor:
    """(C, 1, 2 s, 2 s) to (C, 4, s^2).

    Tap t s + p of a kernel meets the input t back: the upper and left neighbours are the ones further back.
    """
    s, classes = scale_factor, len(weight)
    return weight.view(classes, 2, s, 2, s).flip(1, 3).transpose(2, 3).reshape(classes, 4, s * s)
