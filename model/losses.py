"""The loss: cross-entropy, Dice and Lovasz, weighted and added; ignored pixels count in none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch import nn
from torch.nn import functional

from data.labels import IGNORE_INDEX
from data.samplers import rank_and_world
from model.lovasz import lovasz_softmax
from model.processes import share_of_all

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.config import LossConfig


def median_frequency_weights(label_counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Median frequency balancing: weight of class c = median(f) / f(c).

    Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels with a Common Multi-Scale
    Convolutional Architecture", 2015, section 6.3.2; f(c) is here the share of c over all labelled pixels.
    A class that never occurs has weight 0, and the median is over those that do.

    Args:
        label_counts: Pixels a class, shape (C,).

    Returns:
        Weights, shape (C,).
    """
    present = label_counts > 0
    weights = np.zeros(len(label_counts), dtype=np.float32)
    counts = label_counts[present].astype(np.float64)
    weights[present] = np.median(counts) / counts
    return weights


class SegmentationLoss(nn.Module):
    """Weighted sum of cross-entropy, soft Dice and Lovasz-softmax.

    Args:
        config: Weights of the three terms.
        label_counts: Pixels a class in the training split, shape (C,), for class weights.
    """

    def __init__(self, config: LossConfig, label_counts: NDArray[np.int64]) -> None:
        super().__init__()
        self._config = config
        weights = np.ones(len(label_counts), np.float32)
        if config.class_weights != "none":
            weights = median_frequency_weights(label_counts)
        if config.class_weights == "root-median-frequency":
            weights = np.sqrt(weights)
        self.register_buffer("class_weights", torch.from_numpy(weights), persistent=False)
        self._dice = DiceLoss("multiclass", from_logits=True, ignore_index=IGNORE_INDEX)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of a batch.

        Args:
            logits: Shape (N, C, H, W).
            target: Class indices, 255 ignored, shape (N, H, W), any integer type.

        Returns:
            A scalar; 0 where no pixel is labelled.
        """
        logits, target = logits.float(), target.long()
        labelled = target != IGNORE_INDEX
        weights = self.get_buffer("class_weights")
        # Of a single process it is 1: looking up every pixel's weight would take as long as the cross-entropy itself.
        shared = rank_and_world()[1] > 1
        share = share_of_all(weights[target[labelled]].sum()) if shared else weights.new_ones(())
        if not bool(labelled.any()):
            return logits.sum() * 0.0  # joined to the graph all the same
        total = logits.new_zeros(())
        if self._config.cross_entropy:
            total = total + self._config.cross_entropy * share * functional.cross_entropy(
                logits, target, weight=weights, ignore_index=IGNORE_INDEX
            )
        if self._config.dice:
            total = total + self._config.dice * self._dice(logits, target)
        if self._config.lovasz:
            # From a corner drawn anew each time: always from the same one it draws its grid into learned kernels.
            step = self._config.lovasz_step
            corner = torch.randint(0, step, (2,)).tolist() if self.training else (0, 0)
            rows, columns = (slice(first, None, step) for first in corner)
            coarse = target[:, rows, columns]
            if bool((coarse != IGNORE_INDEX).any()):
                total = total + self._config.lovasz * lovasz_softmax(logits[:, :, rows, columns], coarse)
            elif not total.requires_grad:
                total = logits.sum() * 0.0
        return total
