"""The encoder alone as an ONNX graph, to hold a whole network against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from benchmarks.seeded import HEIGHT, WIDTH, seeded_network

if TYPE_CHECKING:
    from pathlib import Path

    from model.fcn import FCN


class Features(torch.nn.Module):
    """The encoder with its normalisation: a picture (N, H, W, 3) to the features that score heads take."""

    def __init__(self, network: FCN) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Features of strides 8, 16 and 32."""
        network = self.network
        normalised = (image.permute(0, 3, 1, 2).to(network.mean.dtype) - network.mean) / network.std
        features: list[torch.Tensor] = network.encoder(normalised)[3:]
        return features


def write_encoder(path: Path) -> None:
    """Write the encoder that all seeded networks have; it can be given any size afterwards."""
    image = torch.zeros((1, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    torch.onnx.export(Features(seeded_network()).eval(), (image,), path, dynamo=True, verbose=False)
