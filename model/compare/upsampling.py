"""Training of upsamplers alone, on stored score maps."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from data.errors import RunError
from model.task import rate_factor

if TYPE_CHECKING:
    from model.compare.scoremaps import ScoreMaps
    from model.compare.stack import UpsamplerStack
    from model.config import OptimiserConfig
    from model.losses import SegmentationLoss

EVERY: Final = 8
"""A step sees one of so many cells of its crops: some 100 000 pixels, more than a few thousand taps need."""


def train_upsamplers(
    stack: UpsamplerStack,
    maps: ScoreMaps,
    loss: SegmentationLoss,
    config: OptimiserConfig,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
) -> tuple[list[float], float]:
    """Train the upsamplers in place; the same batches in the same order for every arm of a seed.

    Args:
        stack: Changed; one without a parameter is left as it is.
        maps: Of training crops.
        loss: As the network was trained with.
        config: Its upsampler_rate, schedule, warm-up and clipping are used.
        epochs: Passes over the maps.
        batch_size: Crops a step.
        seed: Of the order.

    Returns:
        Mean loss of each epoch, and seconds taken; nothing and 0 for an upsampler without a parameter.

    Raises:
        RunError: the loss is not finite.
    """
    parameters = list(stack.parameters())
    if not parameters:
        return [], 0.0
    started = time.perf_counter()
    batches = max(1, len(maps.targets) // batch_size)
    optimiser = torch.optim.AdamW(parameters, lr=config.upsampler_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: rate_factor(config, step, epochs * batches))
    curve = []
    stack.train()
    for epoch in range(epochs):
        random = np.random.default_rng([seed, epoch])
        order = random.permutation(len(maps.targets))
        losses = []
        for chosen in np.array_split(order, batches):
            scores, target = maps.batch(chosen)
            targets = stack.targets_of(scores, target)
            # By chance, and whole cells: on a grid of pixels, kernels would take it up as a checkerboard.
            count = targets.shape[1]
            cells = torch.from_numpy(random.permutation(count)[: math.ceil(count / EVERY)])
            value = loss(stack.at_cells(scores, cells), targets[:, cells])
            if not bool(torch.isfinite(value)):
                raise RunError(f"the loss is {value.item()} in epoch {epoch}: lower --optimiser.upsampler_rate")
            optimiser.zero_grad()
            value.backward()
            if config.clip_norm:
                torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm)
            optimiser.step()
            schedule.step()
            losses.append(value.item())
        curve.append(float(np.mean(losses)))
    stack.eval()
    return curve, time.perf_counter() - started
