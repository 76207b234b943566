"""Calibration: whether a confidence of 90 % is right nine times in ten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.bands import bands
from data.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS: Final = 15
"""Of equal width, as in Guo et al., 2017."""


@dataclass(frozen=True)
class Bin:
    """Pixels whose confidence lies within one range.

    Attributes:
        low: Of the range, 0 to 1.
        high: Of the range; the last one holds 1 itself.
        pixels: How many.
        confidence: Their mean confidence, 0 to 1.
        accuracy: The share of them that is right.
    """

    low: float
    high: float
    pixels: int
    confidence: float
    accuracy: float


class Calibration:
    """Right and wrong pixels by the confidence that the exported graph itself gave them, added up over pictures.

    The graph's confidence has 256 levels, so the counts hold all there is to know.
    """

    def __init__(self) -> None:
        self._counts = np.zeros((2, 256), dtype=np.int64)

    def update(self, predicted: NDArray[np.uint8], confidence: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Add one picture; all have shape (H, W), ignored pixels of the target are left out."""
        for top, bottom in bands(target.shape):
            rows = slice(top, bottom)
            labelled = target[rows] != IGNORE_INDEX
            right = (predicted[rows] == target[rows])[labelled]
            given = confidence[rows][labelled]
            for answer in (0, 1):
                self._counts[answer] += np.bincount(given[right == answer], minlength=256)

    def bins(self) -> list[Bin]:
        """The bins that hold a pixel, from the lowest."""
        levels = np.arange(256) / 255
        # In whole numbers: every edge is one of the levels. It belongs to the bin above, as torchmetrics has it.
        index = np.minimum(np.arange(256) * BINS // 255, BINS - 1)
        pixels = self._counts.sum(axis=0)
        found = []
        for number in range(BINS):
            here = index == number
            total = int(pixels[here].sum())
            if total:
                mean = float((pixels * levels)[here].sum() / total)
                right = int(self._counts[1, here].sum()) / total
                found.append(Bin(number / BINS, (number + 1) / BINS, total, mean, right))
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: the expected calibration error, mean confidence, accuracy and the bins; None for want of pixels.

        The expected calibration error is that of Guo et al., "On Calibration of Modern Neural Networks", 2017: the mean
        over all pixels of the distance of confidence and accuracy in their bin.
        """
        bins = self.bins()
        total = sum(entry.pixels for entry in bins)

        def mean(values: list[float]) -> float | None:
            return sum(v * entry.pixels for v, entry in zip(values, bins, strict=True)) / total if total else None

        return {
            "expected_calibration_error": mean([abs(entry.confidence - entry.accuracy) for entry in bins]),
            "mean_confidence": mean([entry.confidence for entry in bins]),
            "accuracy": mean([entry.accuracy for entry in bins]),
            "bins": [vars(entry) for entry in bins],
        }
