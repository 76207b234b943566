"""What is counted of each picture, so that every score and its bootstrap can be made later.

Counts are kept for every picture apart. All scores of a split follow from their sums.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from scipy import ndimage

from data.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from data.decoded import DecodedSplit

BAND_WIDTHS: Final = (1, 2, 3, 5, 10, 20)
"""Of the trimap, in pixels on either side of a contour."""

WIDTH_EDGES: Final = (4, 8, 16, 32)
"""Parts objects by their greatest inner width in pixels: up to 4, to 8, to 16, to 32, above."""

SIZE_EDGES: Final = (16, 32, 64, 96)
"""Parts objects by the square root of their area in pixels."""

CONFIDENCE_BINS: Final = 15

BOUNDARY_SHARE: Final = 0.02
"""Boundary IoU looks this share of the diagonal deep (Cheng et al., 2021)."""

_COUNTS: Final = ("confusion", "bands", "boundary", "by_width", "by_size")


@dataclass(frozen=True)
class Measurement:
    """Counts of P pictures with C classes.

    Overlaps are (pixels in both, true pixels, predicted pixels); shares are (correct, all) pixels.

    Attributes:
        confusion: By true (row) and predicted class (column), shape (P, C, C).
        bands: Overlaps in disjoint rings around the true contours, from one band width to the next, then the
            rest; shape (P, 7, 3, C). Their sum over rings is the overlap of the whole picture.
        boundary: Overlaps of the parts of both masks near their own contours, shape (P, 3, C).
        by_width: Shares of the pixels of objects of each width, shape (P, 5, 2).
        by_size: The same for each size, shape (P, 5, 2).
        calibration: Pixels, correct ones and the sum of confidences in each bin of confidence, shape (P, 15, 3).
    """

    confusion: NDArray[np.int64]
    bands: NDArray[np.int64]
    boundary: NDArray[np.int64]
    by_width: NDArray[np.int64]
    by_size: NDArray[np.int64]
    calibration: NDArray[np.float64]

    @property
    def overlaps(self) -> NDArray[np.int64]:
        """Of whole pictures, shape (P, 3, C)."""
        total: NDArray[np.int64] = self.bands.sum(axis=1)
        return total

    def within(self, width: int) -> NDArray[np.int64]:
        """Overlaps within one of ``BAND_WIDTHS`` of a true contour, shape (P, 3, C)."""
        total: NDArray[np.int64] = self.bands[:, : BAND_WIDTHS.index(width) + 1].sum(axis=1)
        return total

    def calibration_error(self) -> float:
        """Expected calibration error: Guo et al., "On Calibration of Modern Neural Networks", 2017, equation 5."""
        pixels, correct, confidence = self.calibration.sum(axis=0).T
        return float(np.abs(correct - confidence).sum() / pixels.sum()) if pixels.sum() else float("nan")

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """By name, for a file."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]], *, confusion: bool = True) -> Measurement:
        """The counterpart of ``arrays``; KeyError where one is missing.

        Args:
            arrays: By name.
            confusion: False leaves the confusion matrices out, shape (0, 0, 0): with many classes they are large.
        """
        counts = {name: np.asarray(arrays[name], np.int64) for name in _COUNTS if confusion or name != "confusion"}
        counts.setdefault("confusion", np.zeros((0, 0, 0), np.int64))
        return cls(**counts, calibration=np.asarray(arrays["calibration"], np.float64))


def measure_split(
    predict: Callable[[int], tuple[NDArray[np.uint8], NDArray[np.float32]]],
    split: DecodedSplit,
    num_classes: int,
    advance: Callable[[], None] = lambda: None,
) -> Measurement:
    """Count every picture of a split.

    Args:
        predict: Index of a picture to its label map (H, W) and the confidence (H, W), 0 to 1, in it.
        split: With P pictures.
        num_classes: C.
        advance: Called after every picture.
    """
    found = []
    for index in range(len(split)):
        label_map, confidence = predict(index)
        found.append(measure_picture(label_map, confidence, split.label_maps[index], num_classes))
        advance()
    return Measurement.from_arrays({name: np.stack([m.arrays()[name] for m in found]) for name in found[0].arrays()})


def measure_picture(
    predicted: NDArray[np.uint8], confidence: NDArray[np.float32], target: NDArray[np.uint8], num_classes: int
) -> Measurement:
    """Count one picture; the arrays have no axis of pictures.

    Args:
        predicted: Class indices, shape (H, W).
        confidence: Probability of the predicted class, shape (H, W).
        target: Class indices, 255 ignored, shape (H, W).
        num_classes: C.
    """
    labelled = target != IGNORE_INDEX
    true, found = target[labelled].astype(np.int64), predicted[labelled].astype(np.int64)
    correct = true == found
    confusion = np.bincount(true * num_classes + found, minlength=num_classes**2).reshape(num_classes, num_classes)

    rings = np.digitize(contour_distance(target)[labelled], BAND_WIDTHS)
    count = len(BAND_WIDTHS) + 1

    def by_ring(classes: NDArray[np.int64], where: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(where * num_classes + classes, minlength=count * num_classes).reshape(count, num_classes)

    bands = np.stack([by_ring(true[correct], rings[correct]), by_ring(true, rings), by_ring(found, rings)], axis=1)
    widths, sizes = object_measures(target)
    return Measurement(
        confusion=confusion.astype(np.int64),
        bands=bands.astype(np.int64),
        boundary=boundary_overlaps(predicted, target, num_classes),
        by_width=_shares(widths[labelled], WIDTH_EDGES, correct),
        by_size=_shares(sizes[labelled], SIZE_EDGES, correct),
        calibration=_calibration(confidence[labelled], correct),
    )


def contour_distance(target: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Distance of every pixel to the nearest one that touches another class; 0 on both sides of a contour.

    Where a class meets ignored pixels no one knows where it ends: that is no contour. The bands around
    contours are those of Kohli, Ladicky and Torr, "Robust higher order potentials for enforcing label
    consistency", 2009, section 6.

    Args:
        target: Class indices, 255 ignored, shape (H, W).

    Returns:
        Euclidean, in pixels, shape (H, W); very large where the picture has no contour.
    """
    away = np.ones(target.shape, dtype=np.uint8)
    for one, other in (
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
    ):
        meets = (target[one] != target[other]) & (target[one] != IGNORE_INDEX) & (target[other] != IGNORE_INDEX)
        away[one][meets] = 0
        away[other][meets] = 0
    if away.all():
        return np.full(target.shape, np.inf, dtype=np.float32)
    return np.asarray(cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), dtype=np.float32)


def boundary_overlaps(predicted: NDArray[np.uint8], target: NDArray[np.uint8], num_classes: int) -> NDArray[np.int64]:
    """Overlaps of the parts of both masks within 2 % of the diagonal of their own contours.

    Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021, and the
    same numbers as ``model.metrics.BoundaryIoU``, by a distance transform instead of repeated erosion.

    Args:
        predicted: Class indices, shape (H, W).
        target: Class indices, 255 ignored, shape (H, W).
        num_classes: C.

    Returns:
        Shape (3, C).
    """
    labelled = target != IGNORE_INDEX
    depth = max(1, round(BOUNDARY_SHARE * float(np.hypot(*target.shape))))
    overlaps = np.zeros((3, num_classes), dtype=np.int64)
    for index in np.union1d(np.unique(target[labelled]), np.unique(predicted[labelled])):
        true = _rim(target == index, depth)
        found = _rim((predicted == index) & labelled, depth)
        overlaps[:, index] = np.count_nonzero(true & found), np.count_nonzero(true), np.count_nonzero(found)
    return overlaps


def _rim(mask: NDArray[np.bool_], depth: int) -> NDArray[np.bool_]:
    """Pixels of a mask at most ``depth`` steps of a king from a pixel outside it; the picture's edge is outside."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    steps = cv2.distanceTransform(padded, cv2.DIST_C, cv2.DIST_MASK_3)[1:-1, 1:-1]
    return mask & (np.asarray(steps) <= depth)


def object_measures(target: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Width and size of the object that each pixel belongs to.

    An object is a connected piece (8 neighbours) of one class, as far as the picture shows it.

    Args:
        target: Class indices, 255 ignored, shape (H, W).

    Returns:
        Greatest inner width, 2 d - 1 with d the largest distance of its pixels to what is not the object, and
        the square root of the area, both in pixels and (H, W); 0 where the target is ignored.
    """
    widths = np.zeros(target.shape, dtype=np.float32)
    sizes = np.zeros(target.shape, dtype=np.float32)
    for index in np.unique(target[target != IGNORE_INDEX]):
        mask = cv2.copyMakeBorder((target == index).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
        number, pieces = cv2.connectedComponents(mask, connectivity=8)
        depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        names = np.arange(number)
        deepest = np.asarray(ndimage.maximum(depth, pieces, names), dtype=np.float32)
        area = np.bincount(pieces.ravel(), minlength=number)
        # Piece 0 is what the class does not cover.
        deepest[0], area[0] = 0.5, 0
        inside = pieces[1:-1, 1:-1]
        widths += (2 * deepest - 1)[inside]
        sizes += np.sqrt(area).astype(np.float32)[inside]
    return widths, sizes


def _shares(values: NDArray[np.float32], edges: tuple[int, ...], correct: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(correct, all) pixels whose value is up to the first edge, the second, ..., above the last."""
    bins = np.digitize(values, edges, right=True)
    count = len(edges) + 1
    return np.stack([np.bincount(bins[correct], minlength=count), np.bincount(bins, minlength=count)], axis=1).astype(
        np.int64
    )


def _calibration(confidence: NDArray[np.float32], correct: NDArray[np.bool_]) -> NDArray[np.float64]:
    bins = np.clip((confidence * CONFIDENCE_BINS).astype(np.int64), 0, CONFIDENCE_BINS - 1)
    return np.stack(
        [np.bincount(bins, weights, CONFIDENCE_BINS) for weights in (None, correct, confidence)], axis=1
    ).astype(np.float64)
