"""The upsamplers of an FCN without the rest: stored score maps in, scores of every pixel out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from data.labels import IGNORE_INDEX
from model.phases import PhasedUpsampler, cells_of
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
        self.finest_stride = finest_stride

    def forward(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        """Fuse and upsample.

        Args:
            maps: Outputs of the score heads from stride 32 to the finest, each (N, C, h, w).

        Returns:
            Logits, shape (N, C, H, W), sides multiples of 32.
        """
        logits: torch.Tensor = self.last(self._fuse(maps))
        return logits

    def at_cells(self, maps: Sequence[torch.Tensor], cells: torch.Tensor) -> torch.Tensor:
        """The same at some cells of the finest map; see ``model.phases.cells_of``.

        Args:
            maps: As above.
            cells: Indices, shape (M,).

        Returns:
            Logits, shape (1, C, M, s^2), s the finest stride.
        """
        scores = self._fuse(maps)
        if isinstance(self.last, PhasedUpsampler) and scores.device.type == "cpu":
            return self.last.at_cells(scores, cells)[None]
        return cells_of(self.last(scores), self.finest_stride, 0.0)[:, cells][None]

    def targets_of(self, maps: Sequence[torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """What every cell is to be.

        Args:
            maps: As above.
            target: Of the crops that the maps were made of, shape (N, H, W).

        Returns:
            Shape (1, cells, s^2); 255 beyond the crops.
        """
        s = self.finest_stride
        below, right = (side * s - whole for side, whole in zip(maps[-1].shape[-2:], target.shape[-2:], strict=True))
        return cells_of(functional.pad(target[:, None], (0, right, 0, below), value=IGNORE_INDEX), s, IGNORE_INDEX)

    def _fuse(self, maps: Sequence[torch.Tensor]) -> torch.Tensor:
        scores = maps[0]
        for upsampler, finer in zip(self.stages, maps[1:], strict=True):
            scores = upsampler(scores) + finer
        return scores

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
