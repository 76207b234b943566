"""Small pieces given to what lies around them: against scipy's components and one piece after the other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from service.errors import ServiceError
from service.pieces import without_small_pieces
from service.runs import Runs, pieces


def components(labels):
    """Number of the piece of every pixel (4 neighbours), from 0."""
    numbers, count = np.full(labels.shape, -1), 0
    for label in np.unique(labels):
        found, here = ndimage.label(labels == label)
        numbers[found > 0] = found[found > 0] - 1 + count
        count += here
    return numbers, count


def one_after_the_other(labels, min_area):
    numbers, count = components(labels)
    settled = np.bincount(numbers.ravel(), minlength=count) >= min_area
    classes = [int(labels[numbers == number][0]) for number in range(count)]
    sides = {}
    for here, there in ((numbers[:, :-1], numbers[:, 1:]), (numbers[:-1], numbers[1:])):
        for one, other in zip(here.ravel(), there.ravel(), strict=True):
            for pair in ((one, other), (other, one)):
                sides[pair] = sides.get(pair, 0) + 1
    while True:
        given = {}
        for number in np.flatnonzero(~settled):
            votes = {}
            for other in np.flatnonzero(settled):
                if (number, other) in sides:
                    votes[classes[other]] = votes.get(classes[other], 0) + sides[number, other]
            if votes:
                given[number] = min(name for name in votes if votes[name] == max(votes.values()))
        if not given:
            return np.asarray(classes, dtype=np.uint8)[numbers]
        for number, label in given.items():
            classes[number] = label
            settled[number] = True


label_maps = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3))


@given(label_maps, st.integers(0, 15))
@settings(max_examples=150, deadline=None)
def test_small_pieces_go_where_counting_them_one_by_one_sends_them(labels, min_area):
    before = labels.copy()
    np.testing.assert_array_equal(without_small_pieces(labels, min_area), one_after_the_other(labels, min_area))
    np.testing.assert_array_equal(labels, before)


@given(label_maps, st.integers(0, 15))
@settings(max_examples=100, deadline=None)
def test_no_piece_of_the_result_is_small_unless_all_were(labels, min_area):
    answer = without_small_pieces(labels, min_area)
    numbers, count = components(answer)
    areas = np.bincount(numbers.ravel(), minlength=count)
    assert areas.min() >= min_area or np.array_equal(answer, labels)


@given(label_maps)
@settings(max_examples=100, deadline=None)
def test_pieces_of_runs_are_the_components_of_pixels(labels):
    runs = Runs.of(labels)
    piece = np.repeat(pieces(runs.starts.size, runs.touches()[0]), runs.lengths).reshape(labels.shape)
    numbers, count = components(labels)
    pairs = set(zip(piece.ravel().tolist(), numbers.ravel().tolist(), strict=True))
    assert len(pairs) == count == len(np.unique(piece))


def test_an_island_goes_to_the_class_that_borders_it_most():
    labels = np.array([[1, 1, 1, 2], [1, 3, 2, 2], [1, 1, 2, 2]], dtype=np.uint8)
    # The 3 has the sides 1 above, 1 left, 1 below (three of class 1) and 2 right.
    assert without_small_pieces(labels, 2)[1, 1] == 1
    labels = np.array([[1, 1, 2, 2], [1, 3, 2, 2]], dtype=np.uint8)
    labels[0, 1] = 2
    assert without_small_pieces(labels, 2)[1, 1] == 2


def test_of_equal_borders_the_lower_class_wins():
    assert without_small_pieces(np.array([[5, 5, 9, 4, 4]], dtype=np.uint8), 2).tolist() == [[5, 5, 4, 4, 4]]


def test_pixels_that_touch_at_a_corner_are_two_pieces():
    labels = np.zeros((6, 6), dtype=np.uint8)
    labels[1, 1] = labels[2, 2] = 1
    assert not without_small_pieces(labels, 2).any()


def test_where_no_piece_is_large_enough_nothing_changes():
    labels = np.array([[0, 1], [1, 0]], dtype=np.uint8)
    assert without_small_pieces(labels, 2) is labels


def test_one_picture_of_one_class_stays():
    labels = np.full((3, 3), 7, dtype=np.uint8)
    assert without_small_pieces(labels, 100) is labels


def test_bands_change_nothing(noise, monkeypatch):
    labels = noise(40, 30)[..., 0] % 3
    whole = without_small_pieces(labels, 9)
    monkeypatch.setattr("data.bands.BAND_PIXELS", 95)
    np.testing.assert_array_equal(without_small_pieces(labels, 9), whole)


def test_noise_beyond_what_memory_is_kept_for_is_refused(noise, monkeypatch):
    monkeypatch.setattr("service.runs.MAX_RUNS", 100)
    with pytest.raises(ServiceError) as raised:
        without_small_pieces(noise(40, 30)[..., 0] % 3, 9)
    assert (raised.value.status, raised.value.code) == (422, "invalid_option")
    assert "resize" in raised.value.hint
