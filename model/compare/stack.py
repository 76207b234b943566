"""The upsamplers of an FCN without the rest: stored score maps in, scores of every pixel out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from model.upsample import make_upsampler

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.config import UpsamplerName
    from model.fcn import FCN


class UpsamplerStack(nn.Module):
    """What an FCN does after its score heads.

    Args:
        upsampler: Of every stage.
        num_classes: Channels of the score maps.
        finest_stride: 32, 16, 8 or 4.
    """

    def __init__(self, upsampler: UpsamplerName, num_classes: int, finest_stride: int) -> None:
        super().__init__()
        stages = 6 - finest_stride.bit_length()  # none for stride 32, one for 16
        self.stages = nn.ModuleList(make_upsampler(upsampler, num_classes, 2) for _ in range(stages))
        self.last = make_upsampler(upsampler, num_classes, finest_stride)

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Fuse and upsample.

        Args:
            maps: Outputs of the score heads from stride 32 to the finest, each (N, C, h, w).

        Returns:
            Logits, shape (N, C, H, W), sides multiples of 32.
        """
        scores = maps[0]
        for upsampler, finer in zip(self.stages, maps[1:], strict=True):
            scores = upsampler(scores) + finer
        logits: torch.Tensor = self.last(scores)
        return logits

    def modules_in_order(self) -> list[nn.Module]:
        """Every upsampler, from the coarsest to the last."""
        return [*self.stages, self.last]

    def put_into(self, network: FCN) -> None:
        """Copy the upsamplers' weights into a network of the same arm."""
        for ours, theirs in zip(self.modules_in_order(), network.upsampler_modules(), strict=True):
            theirs.load_state_dict(ours.state_dict())


@torch.inference_mode()
def score_maps(network: FCN, images: torch.Tensor) -> list[torch.Tensor]:
    """What the score heads of a network say, before any upsampling.

    Args:
        network: In evaluation mode.
        images: RGB on the 0 to 255 scale, shape (N, 3, H, W).

    Returns:
        From stride 32 to the finest, each (N, C, h, w), of the picture padded to multiples of 32.
    """
    found: list[torch.Tensor] = []
    hooks = [
        # A hook that returns None leaves the output as it is.
        head.register_forward_hook(lambda _module, _inputs, output: found.append(output))
        for head in network.decoder.score_heads
    ]
    try:
        network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found
