"""Training of the methods that learn, all on the same crops."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import utils

from data.errors import RunError
from model.compare.reconstruction.methods import LINEAR, Method

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.compare.reconstruction.methods import MethodName


@dataclass(frozen=True)
class Recipe:
    """How a method is trained.

    Attributes:
        scale_factor: s.
        steps: Of Adam, one batch of crops each.
        batch_size: Crops a step.
        linear_rate: Peak rate of the methods that are one kernel, whose loss is a bowl.
        network_rate: Peak rate of the others.
    """

    scale_factor: int
    steps: int
    batch_size: int = 4
    linear_rate: float = 3e-2
    network_rate: float = 5e-3

    @property
    def crop_size(self) -> int:
        """Side of the crops, a multiple of s."""
        return max(64, 12 * self.scale_factor)


def crops(images: Sequence[NDArray[np.uint8]], recipe: Recipe, seed: int, step: int) -> NDArray[np.uint8]:
    """One batch; it follows from (seed, step) alone, so every method sees the same.

    Args:
        images: RGB, shape (H, W, 3), sizes may differ. One that is smaller than a crop is continued by its edge.
        recipe: Of the training.
        seed: Of the training.
        step: From 0.

    Returns:
        Shape (N, h, w, 3), half of the crops mirrored.
    """
    random = np.random.default_rng([seed, step])
    size = recipe.crop_size
    batch = np.empty((recipe.batch_size, size, size, 3), dtype=np.uint8)
    for crop in batch:
        image = images[int(random.integers(len(images)))]
        top, left = (int(random.integers(max(1, side - size + 1))) for side in image.shape[:2])
        part = image[top : top + size, left : left + size]
        missing = [(0, size - side) for side in part.shape[:2]]
        filled = np.pad(part, [*missing, (0, 0)], mode="edge") if part.shape != crop.shape else part
        crop[:] = filled[:, ::-1] if random.random() < 0.5 else filled
    return batch


def train_method(
    name: MethodName, images: Sequence[NDArray[np.uint8]], recipe: Recipe, seed: int
) -> tuple[Method, list[float], float]:
    """Train one method to bring the squared error down, which is to bring PSNR up.

    The loss leaves out a margin of s pixels, where the crop's border, and not the picture's, is repeated.

    Args:
        name: Which.
        images: Training pictures.
        recipe: How.
        seed: Of its random weights and of the crops. torch's own randomness is left as it was.

    Returns:
        The method in evaluation mode; its loss at every step, none for one without a parameter; seconds taken.

    Raises:
        RunError: the loss is not finite.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        method = Method(name, recipe.scale_factor)
    parameters = list(method.parameters())
    if not parameters or not recipe.steps:
        return method.eval(), [], 0.0
    started = time.perf_counter()
    method = method.to(memory_format=torch.channels_last)
    rate = recipe.linear_rate if name in LINEAR else recipe.network_rate
    optimiser = torch.optim.Adam(parameters, lr=rate, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_factor(step, recipe.steps))
    inside = slice(recipe.scale_factor, -recipe.scale_factor)
    losses = []
    for step in range(recipe.steps):
        pictures = to_tensor(crops(images, recipe, seed, step))
        loss = (method(pictures) - pictures)[..., inside, inside].square().mean()
        if not bool(torch.isfinite(loss)):
            raise RunError(
                f"reconstruction: the loss of {name}, seed {seed}, is {loss.item()} at step {step}. Leave the "
                "reconstruction out with --reconstruction false"
            )
        optimiser.zero_grad()
        loss.backward()
        utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return method.eval(), losses, time.perf_counter() - started


def to_tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """(N, H, W, 3) bytes to (N, 3, H, W) from 0 to 1, channels last in memory."""
    return torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)


def _rate_factor(step: int, steps: int) -> float:
    """Up over the first tenth of the steps, then down to 0 as a cosine."""
    rise = max(1, steps // 10)
    if step < rise:
        return (step + 1) / rise
    return 0.5 + 0.5 * float(np.cos(np.pi * (step - rise) / max(1, steps - rise)))
