"""A segmentation at another size: against areas counted pixel by pixel with fractions."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from model.runtime.predictor import Segmentation
from service.resize import resized, resized_picture


def by_hand(labels, confidence, height, width):
    """Every class's area and the mean of the confidence over each new pixel, exactly."""
    new_labels = np.zeros((height, width), dtype=np.uint8)
    new_confidence = np.zeros((height, width), dtype=np.uint8)
    down, across = Fraction(labels.shape[0], height), Fraction(labels.shape[1], width)
    for row in range(height):
        for column in range(width):
            votes, total = {}, Fraction(0)
            for y in range(int(row * down), ceil((row + 1) * down)):
                for x in range(int(column * across), ceil((column + 1) * across)):
                    tall = min((row + 1) * down, y + 1) - max(row * down, y)
                    wide = min((column + 1) * across, x + 1) - max(column * across, x)
                    votes[labels[y, x]] = votes.get(labels[y, x], 0) + tall * wide
                    total += tall * wide * int(confidence[y, x])
            new_labels[row, column] = min(label for label in votes if votes[label] == max(votes.values()))
            new_confidence[row, column] = int(total / (down * across) + Fraction(1, 2))
    return new_labels, new_confidence


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_smaller_answer_has_the_class_that_covers_most_and_the_mean_confidence(data):
    shape = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    labels = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 4)))
    confidence = data.draw(arrays(np.uint8, shape))
    height, width = data.draw(st.integers(1, shape[0])), data.draw(st.integers(1, shape[1]))
    answer = resized(Segmentation(labels, confidence), height, width)
    expected_labels, expected_confidence = by_hand(labels, confidence, height, width)
    np.testing.assert_array_equal(answer.label_map, expected_labels)
    np.testing.assert_array_equal(answer.confidence, expected_confidence)


@pytest.mark.parametrize("size", [(3, 4), (1, 1), (29, 40), (30, 1)])
def test_bands_change_nothing(size, noise, monkeypatch):
    image = noise(30, 41)
    segmentation = Segmentation(image[..., 0] % 7, image[..., 1])
    whole = resized(segmentation, *size)
    monkeypatch.setattr("service.resize._BAND", 50)
    banded = resized(segmentation, *size)
    np.testing.assert_array_equal(banded.label_map, whole.label_map)
    np.testing.assert_array_equal(banded.confidence, whole.confidence)


def test_a_thin_line_is_outvoted_everywhere_and_not_kept_by_chance():
    labels = np.zeros((12, 12), dtype=np.uint8)
    labels[:, 5] = 1
    answer = resized(Segmentation(labels, labels), 4, 4)
    assert not answer.label_map.any()


def test_a_larger_answer_repeats_pixels():
    labels = np.array([[1, 2], [3, 0]], dtype=np.uint8)
    answer = resized(Segmentation(labels, labels * 10), 4, 6)
    np.testing.assert_array_equal(answer.label_map, labels.repeat(2, axis=0).repeat(3, axis=1))
    np.testing.assert_array_equal(answer.confidence, answer.label_map * 10)


def test_one_side_may_grow_while_the_other_shrinks():
    labels = np.array([[1, 1, 2, 2]], dtype=np.uint8)
    np.testing.assert_array_equal(resized(Segmentation(labels, labels), 2, 2).label_map, [[1, 2], [1, 2]])


def test_the_same_size_is_the_same_answer():
    labels = np.zeros((3, 4), dtype=np.uint8)
    segmentation = Segmentation(labels, labels)
    assert resized(segmentation, 3, 4) is segmentation
    image = np.zeros((3, 4, 3), dtype=np.uint8)
    assert resized_picture(image, 3, 4) is image


def test_a_smaller_picture_has_the_means_of_its_areas():
    image = np.zeros((2, 4, 3), dtype=np.uint8)
    image[:, :2] = [[[0, 10, 20], [40, 30, 20]], [[0, 10, 20], [40, 30, 20]]]
    assert resized_picture(image, 1, 2).tolist() == [[[20, 20, 20], [0, 0, 0]]]
