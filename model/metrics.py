"""Scores from a confusion matrix, and boundary IoU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from data.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.labels import LabelMap


@dataclass(frozen=True)
class Scores:
    """What one confusion matrix says.

    A class that neither occurs nor is predicted has no IoU (NaN) and is left out of the means.

    Attributes:
        pixel_accuracy: Correct pixels over labelled pixels.
        mean_accuracy: Mean over the classes that occur of correct over labelled pixels of the class.
        miou: Mean over classes of intersection over union, from one matrix summed over the split.
        frequency_weighted_iou: IoU weighted by the share of labelled pixels.
        class_iou: Shape (C,).
        class_accuracy: Shape (C,).
    """

    pixel_accuracy: float
    mean_accuracy: float
    miou: float
    frequency_weighted_iou: float
    class_iou: NDArray[np.float64]
    class_accuracy: NDArray[np.float64]

    @classmethod
    def from_confusion(cls, confusion: NDArray[np.int64]) -> Scores:
        """Scores of Shelhamer, Long and Darrell, 2017, section 5.

        Args:
            confusion: Pixels by true class (row) and predicted class (column), shape (C, C).
        """
        matrix = confusion.astype(np.float64)
        correct = np.diag(matrix)
        occurring = matrix.sum(axis=1)
        union = occurring + matrix.sum(axis=0) - correct
        iou = _ratio(correct, union)
        accuracy = _ratio(correct, occurring)
        total = matrix.sum()
        return cls(
            pixel_accuracy=float(correct.sum() / total) if total else float("nan"),
            mean_accuracy=_mean(accuracy),
            miou=_mean(iou),
            frequency_weighted_iou=float(np.nansum(occurring * iou) / total) if total else float("nan"),
            class_iou=iou,
            class_accuracy=accuracy,
        )

    def to_dict(self, labels: LabelMap) -> dict[str, Any]:
        """JSON-able, with class names; what is not defined is None."""
        return {
            "pixel_accuracy": none_if_nan(self.pixel_accuracy),
            "mean_accuracy": none_if_nan(self.mean_accuracy),
            "miou": none_if_nan(self.miou),
            "frequency_weighted_iou": none_if_nan(self.frequency_weighted_iou),
            "class_iou": by_name(labels, self.class_iou),
            "class_accuracy": by_name(labels, self.class_accuracy),
        }


class BoundaryIoU:
    """Boundary IoU of every class, summed over pictures.

    Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021: the IoU of
    the parts of both masks that lie within d pixels of their own contours, d = 2 % of the picture's diagonal.
    Ignored pixels belong to neither. As in the authors' code the picture's edge counts as a contour.

    Args:
        num_classes: Number of classes.
        dilation_ratio: d over the diagonal.
    """

    def __init__(self, num_classes: int, dilation_ratio: float = 0.02) -> None:
        self._ratio = dilation_ratio
        self._intersection = np.zeros(num_classes, dtype=np.int64)
        self._union = np.zeros(num_classes, dtype=np.int64)

    def update(self, predicted: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        """Add one picture; both label maps have shape (H, W)."""
        labelled = target != IGNORE_INDEX
        distance = max(1, round(self._ratio * float(np.hypot(*target.shape))))
        for index in np.union1d(np.unique(target), np.unique(predicted)):
            if index >= len(self._union):
                continue
            # The prediction is cut to labelled pixels first, or its contour would run through unlabelled ground.
            predicted_band = _inner_band((predicted == index) & labelled, distance)
            target_band = _inner_band(target == index, distance)
            self._intersection[index] += np.count_nonzero(predicted_band & target_band)
            self._union[index] += np.count_nonzero(predicted_band | target_band)

    def class_iou(self) -> NDArray[np.float64]:
        """Boundary IoU a class, shape (C,); NaN where a class never occurred."""
        return _ratio(self._intersection.astype(np.float64), self._union.astype(np.float64))

    def mean(self) -> float:
        """Mean over the classes that occurred."""
        return _mean(self.class_iou())


def _inner_band(mask: NDArray[np.bool_], distance: int) -> NDArray[np.bool_]:
    """Pixels of a mask within ``distance`` of its contour (city-block steps with a 3x3 kernel)."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    band: NDArray[np.bool_] = mask & (eroded == 0)
    return band


def none_if_nan(value: float) -> float | None:
    """JSON has no NaN."""
    return None if np.isnan(value) else float(value)


def by_name(labels: LabelMap, values: NDArray[np.float64]) -> dict[str, float | None]:
    """Class name to value, None where there is none."""
    return {name: none_if_nan(float(value)) for name, value in zip(labels.names, values, strict=True)}


def _ratio(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
