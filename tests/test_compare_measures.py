"""What is counted of a picture, by hand on small ones and against other implementations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.labels import IGNORE_INDEX
from model.compare.measures import (
    BAND_WIDTHS,
    Measurement,
    boundary_overlaps,
    contour_distance,
    measure_picture,
    object_measures,
)
from model.compare.statistics import overlap_scores
from model.metrics import BoundaryIoU, Scores


def measure(predicted: np.ndarray, target: np.ndarray, classes: int, confidence: float = 0.5) -> Measurement:
    return measure_picture(predicted, np.full(target.shape, confidence, np.float32), target, classes)


@st.composite
def label_maps(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    coarse = random.integers(0, 4, (-(-height // 4), -(-width // 4)))
    target = coarse.repeat(4, axis=0).repeat(4, axis=1)[:height, :width].astype(np.uint8)
    target = np.where(target == 3, IGNORE_INDEX, target).astype(np.uint8)
    predicted = np.where(random.random(target.shape) < 0.3, random.integers(0, 3, target.shape), target)
    return np.where(predicted == IGNORE_INDEX, 0, predicted).astype(np.uint8), target


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(label_maps())
def test_counts_agree_with_the_confusion_matrix_and_with_boundary_iou(maps: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, target = maps
    found = measure(predicted, target, 3)
    both, true, guessed = found.bands.sum(axis=0)
    assert both.tolist() == np.diag(found.confusion).tolist()
    assert true.tolist() == found.confusion.sum(axis=1).tolist()
    assert guessed.tolist() == found.confusion.sum(axis=0).tolist()
    labelled = int((target != IGNORE_INDEX).sum())
    assert found.by_width[:, 1].sum() == found.by_size[:, 1].sum() == found.calibration[:, 0].sum() == labelled
    if true.all():
        expected = Scores.from_confusion(found.confusion).miou
        assert overlap_scores(found.bands.sum(axis=0).astype(float)) == pytest.approx(expected)
    reference = BoundaryIoU(3)
    reference.update(predicted, target)
    overlaps = found.boundary.astype(float)
    union = overlaps[1] + overlaps[2] - overlaps[0]
    expected_iou = reference.class_iou()
    assert np.isnan(expected_iou).tolist() == (union == 0).tolist()
    assert np.allclose((overlaps[0] / np.maximum(union, 1))[union > 0], expected_iou[union > 0])


def test_bands_grow_from_both_sides_of_a_contour() -> None:
    target = np.zeros((1, 60), np.uint8)
    target[0, 30:] = 1
    found = measure(target, target, 2)
    within = found.bands[:, 1].cumsum(axis=0)[: len(BAND_WIDTHS)]
    assert within.tolist() == [[width, width] for width in BAND_WIDTHS]


def test_where_a_class_meets_ignored_pixels_there_is_no_contour() -> None:
    target = np.zeros((4, 12), np.uint8)
    target[:, 5:7] = IGNORE_INDEX
    target[:, 7:] = 1
    assert np.isinf(contour_distance(target)).all()


def test_widths_and_sizes_of_objects_by_hand() -> None:
    target = np.zeros((40, 60), np.uint8)
    target[10:21, 5:40] = 1  # 11 wide, 385 pixels
    target[30, 5:25] = 2  # a line of one pixel, 20 pixels
    widths, sizes = object_measures(target)
    assert widths[15, 20] == pytest.approx(11)
    assert widths[30, 10] == pytest.approx(1)
    assert sizes[15, 20] == pytest.approx(385**0.5)
    assert sizes[30, 10] == pytest.approx(20**0.5)
    wrong = np.where(target == 2, 0, target).astype(np.uint8)
    found = measure(wrong, target, 3)
    assert found.by_width[0].tolist() == [0, 20]  # the line is lost
    assert found.by_width[2].tolist() == [385, 385]


def test_two_pieces_of_a_class_are_two_objects() -> None:
    target = np.ones((5, 20), np.uint8)
    target[:, 6] = 0
    _, sizes = object_measures(target)
    assert sizes[0, 0] == pytest.approx(30**0.5)
    assert sizes[0, 19] == pytest.approx(65**0.5)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    target = np.zeros((10, 10), np.uint8)
    predicted = target.copy()
    predicted[:3] = 1  # 70 % right
    found = measure(predicted, target, 2, confidence=0.9)
    whole = Measurement.from_arrays({name: array[None] for name, array in found.arrays().items()})
    assert whole.calibration_error() == pytest.approx(0.2, abs=1e-6)


def test_a_picture_without_a_labelled_pixel_counts_nothing() -> None:
    target = np.full((6, 6), IGNORE_INDEX, np.uint8)
    found = measure(np.zeros((6, 6), np.uint8), target, 2, confidence=1.0)
    assert all(not array.any() for array in found.arrays().values())
    assert not boundary_overlaps(np.zeros((6, 6), np.uint8), target, 2).any()
