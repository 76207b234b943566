"""The kernels of an upsampler, by sending an impulse through it for each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import nn


@dataclass(frozen=True)
class Impulses:
    """What an upsampler makes of one coarse pixel.

    Attributes:
        kernels: Of each class to itself, shape (C, 3 s, 3 s): the frame of ``model.compare.kernels``.
        across: Share of the energy that comes out in other classes than it went in.
    """

    kernels: NDArray[np.float32]
    across: float


@torch.inference_mode()
def impulses(upsampler: nn.Module, num_classes: int) -> Impulses:
    """Send an impulse through a linear upsampler, one class at a time.

    Args:
        upsampler: From (N, C, h, w) to (N, C, s h, s w). Its kernels reach at most 1.5 coarse pixels from the centre
            of a pixel; the tails of bicubic ones, two pixels long, are cut.
        num_classes: C.
    """
    kernels = []
    inside = across = 0.0
    for index in range(num_classes):
        # Five pixels wide, so that what is added at the borders does not reach the impulse.
        coarse = torch.zeros(1, num_classes, 5, 5)
        coarse[0, index, 2, 2] = 1
        fine = upsampler(coarse)[0]
        scale_factor = fine.shape[-1] // 5
        frame = fine[:, scale_factor : 4 * scale_factor, scale_factor : 4 * scale_factor]
        energy = frame.square().sum(dim=(1, 2))
        inside += float(energy[index])
        across += float(energy[:index].sum() + energy[index + 1 :].sum())
        kernels.append(frame[index].numpy().copy())
    total = inside + across
    return Impulses(np.stack(kernels), across / total if total else 0.0)


def all_impulses(upsamplers: Sequence[nn.Module], num_classes: int) -> list[Impulses]:
    """Of every upsampler of a network, from the coarsest to the last."""
    return [impulses(upsampler, num_classes) for upsampler in upsamplers]
