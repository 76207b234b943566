"""Scores computed by hand on tiny matrices and masks."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from data.labels import LabelMap
from model.metrics import BoundaryIoU, Scores

LABELS = LabelMap.from_names(["sky", "road", "car"])


def test_scores_of_a_two_by_two_label_map_are_those_counted_by_hand():
    # True 0 0 / 1 1, predicted 0 1 / 1 1: one pixel of class 0 was taken for class 1.
    scores = Scores.from_confusion(np.array([[1, 1], [0, 2]]))
    assert scores.pixel_accuracy == pytest.approx(3 / 4)
    assert scores.mean_accuracy == pytest.approx((1 / 2 + 1) / 2)
    np.testing.assert_allclose(scores.class_iou, [1 / 2, 2 / 3])
    assert scores.miou == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert scores.frequency_weighted_iou == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_a_class_that_neither_occurs_nor_is_predicted_is_left_out():
    scores = Scores.from_confusion(np.array([[2, 0, 0], [0, 2, 0], [0, 0, 0]]))
    assert scores.miou == 1
    assert math.isnan(scores.class_iou[2])
    assert scores.to_dict(LABELS)["class_iou"] == {"sky": 1.0, "road": 1.0, "car": None}


def test_a_class_predicted_where_it_never_occurs_counts_as_zero():
    scores = Scores.from_confusion(np.array([[1, 0, 1], [0, 2, 0], [0, 0, 0]]))
    np.testing.assert_allclose(scores.class_iou, [1 / 2, 1, 0])
    assert scores.miou == pytest.approx(1 / 2)
    assert scores.mean_accuracy == pytest.approx((1 / 2 + 1) / 2)


def test_nothing_scored_is_none_in_json_and_never_nan():
    scores = Scores.from_confusion(np.zeros((3, 3), dtype=np.int64))
    text = json.dumps(scores.to_dict(LABELS), allow_nan=False)
    assert json.loads(text)["miou"] is None


def test_boundary_iou_of_a_perfect_answer_is_one():
    target = np.zeros((60, 80), dtype=np.uint8)
    target[20:40, 20:50] = 1
    boundary = BoundaryIoU(2)
    boundary.update(target, target)
    np.testing.assert_allclose(boundary.class_iou(), [1, 1])


def test_boundary_iou_of_a_shifted_square_is_the_one_counted_by_hand():
    # Diagonal 50 of a 30 x 40 picture: bands of one pixel. Two 10 x 10 squares, one pixel apart sideways.
    target, predicted = np.zeros((30, 40), dtype=np.uint8), np.zeros((30, 40), dtype=np.uint8)
    target[10:20, 10:20] = 1
    predicted[10:20, 11:21] = 1
    boundary = BoundaryIoU(2)
    boundary.update(predicted, target)
    # Each ring has 36 pixels; they share the top and bottom rows over 9 columns each.
    assert boundary.class_iou()[1] == pytest.approx(18 / (36 + 36 - 18))


def test_boundary_iou_leaves_ignored_pixels_out():
    target = np.zeros((30, 40), dtype=np.uint8)
    target[:, 20:] = 255
    predicted = np.zeros((30, 40), dtype=np.uint8)
    predicted[:, 20:] = 1
    boundary = BoundaryIoU(2)
    boundary.update(predicted, target)
    assert boundary.class_iou()[0] == 1
    assert math.isnan(boundary.class_iou()[1])
    assert boundary.mean() == 1
