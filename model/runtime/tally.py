"""Tally: how many pixels every label has in an answer, and how sure the network is of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from data.bands import bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.runtime.predictor import Segmentation


def tally(segmentation: Segmentation) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels and summed confidences of every label, shape (256,) each."""
    joint = np.zeros(256 * 256, dtype=np.int64)
    for top, bottom in bands(segmentation.label_map.shape):
        pairs = segmentation.label_map[top:bottom].astype(np.uint16) << np.uint16(8)
        pairs |= segmentation.confidence[top:bottom]
        joint += np.bincount(pairs.ravel(), minlength=256 * 256)
    table = joint.reshape(256, 256)
    return table.sum(axis=1), table @ np.arange(256, dtype=np.int64)
