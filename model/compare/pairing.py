"""What the arms of one seed share when training begins, shown by digests and not just meant."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from lightning.pytorch import seed_everything

from model.fcn import make_network

if TYPE_CHECKING:
    from torch import nn

    from model.config import TrainConfig
    from model.fcn import FCN


def start_network(config: TrainConfig, num_classes: int) -> FCN:
    """The network as ``model.train.train`` has it before its first step."""
    seed_everything(config.seed, workers=True, verbose=False)
    return make_network(config.model, num_classes)


def shared_digests(network: FCN) -> dict[str, str]:
    """Digests of the parts that other arms have too, by name: the encoder and each score head."""
    heads = zip(network.decoder.levels, network.decoder.score_heads, strict=True)
    parts: dict[str, nn.Module] = {"encoder": network.encoder}
    parts |= {f"score head at stride {2**level}": head for level, head in heads}
    return {name: digest(part) for name, part in parts.items()}


def digest(module: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 over a module's tensors."""
    found = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]
