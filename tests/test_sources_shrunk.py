"""Pictures shrunk while they are read."""

from __future__ import annotations

import numpy as np
import pytest

from data.errors import ConfigError
from data.sources.catalogue import SourceConfig, open_source

FULL = SourceConfig(name="shapes", train_size=3, val_size=2, image_size=(40, 60))


def shrunk(longest_side):
    return open_source(
        SourceConfig(name="shapes", train_size=3, val_size=2, image_size=(40, 60), longest_side=longest_side)
    )


def test_half_the_side_is_the_mean_of_two_by_two_pixels_and_the_label_at_their_centre():
    whole, half = open_source(FULL).load("train", 1), shrunk(30).load("train", 1)
    blocks = whole.image.reshape(20, 2, 30, 2, 3).astype(float).mean(axis=(1, 3))
    assert half.image.shape == (20, 30, 3)
    assert np.abs(half.image - blocks).max() <= 1  # rounded once a direction
    assert np.array_equal(half.label_map, whole.label_map[1::2, 1::2])
    assert half.name == whole.name


@pytest.mark.parametrize("longest_side", [0, 60, 100])
def test_pictures_that_are_small_enough_stay_as_they_are(longest_side):
    assert np.array_equal(shrunk(longest_side).load("val", 0).image, open_source(FULL).load("val", 0).image)


@pytest.mark.parametrize(("longest_side", "size"), [(45, (30, 45)), (7, (5, 7)), (1, (1, 1))])
def test_sides_keep_their_proportion_and_never_vanish(longest_side, size):
    sample = shrunk(longest_side).load("val", 0)
    assert sample.label_map.shape == size
    assert sample.image.shape == (*size, 3)


def test_names_and_classes_are_those_of_the_source():
    assert shrunk(30).names("train") == open_source(FULL).names("train")
    assert shrunk(30).label_map == open_source(FULL).label_map


def test_a_negative_side_is_refused():
    with pytest.raises(ConfigError, match="longest_side is -1"):
        SourceConfig(longest_side=-1)
