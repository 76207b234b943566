"""A plain training loop, written as the field's reference scripts are: to be measured beside the product's.

Files are decoded each time they are drawn, by PIL, and zoomed, cropped and flipped by torchvision in the loader's
processes; the network computes in 32-bit, with channels first, AdamW and cross-entropy; nothing else is done in a step.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2

from data.labels import IGNORE_INDEX
from model.fcn import make_network

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from model.config import TrainConfig

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class PictureFiles(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """ROOT/images with ROOT/masks; the crop is the product's, with neither colours nor upside-down flips.

    Args:
        root: Folder of the data set.
        config: Gives zoom and crop.
    """

    def __init__(self, root: Path, config: TrainConfig) -> None:
        self._images = sorted((root / "images").iterdir())
        self._masks = [root / "masks" / f"{path.stem}.png" for path in self._images]
        with Image.open(self._images[0]) as image:
            side = min(image.size)
        smallest, largest = (round(side * scale) for scale in config.augment.scale)
        self._transform = v2.Compose(
            [
                v2.RandomResize(smallest, largest),
                v2.RandomHorizontalFlip(config.augment.flip),
                v2.RandomCrop(
                    config.augment.crop_size,
                    pad_if_needed=True,
                    fill={Image.Image: 127, tv_tensors.Mask: IGNORE_INDEX},
                ),
                v2.PILToTensor(),
            ]
        )

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (3, h, w) uint8, which the network normalises, and target (h, w) int64."""
        with Image.open(self._images[index]) as file:
            image = file.convert("RGB")
        with Image.open(self._masks[index]) as file:
            target = tv_tensors.Mask(v2.functional.pil_to_tensor(file)[0])
        image, target = self._transform(image, target)
        return image, target.as_subclass(torch.Tensor).long()


def cross_entropy(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The reference scripts' loss."""
    return functional.cross_entropy(logits, target, ignore_index=IGNORE_INDEX)


def train_plainly(
    root: Path, config: TrainConfig, num_classes: int, workers: int, loss: Loss, *, warm_up: int, steps: int
) -> float:
    """Crops a second, over whole steps with what the loader takes of them.

    Args:
        root: Folder of the data set.
        config: Gives the network, the crops, their number a step and the rate.
        num_classes: Of the network.
        workers: Of the loader.
        loss: Of logits and targets.
        warm_up: Steps before the measured ones.
        steps: That are measured.
    """
    torch.manual_seed(config.seed)
    network = make_network(config.model, num_classes).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.optimiser.encoder_rate)
    loader = DataLoader(
        PictureFiles(root, config),
        config.loader.batch_size,
        shuffle=True,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
    )
    batches = _endless(loader)
    started = 0.0
    for step in range(warm_up + steps):
        if step == warm_up:
            started = time.perf_counter()
        image, target = next(batches)
        value = loss(network(image), target)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        value.item()  # they print it
    return steps * config.loader.batch_size / (time.perf_counter() - started)


def _endless(
    loader: DataLoader[tuple[torch.Tensor, torch.Tensor]],
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    while True:
        yield from loader
