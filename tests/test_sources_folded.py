"""Training pictures parted into folds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from data.errors import ConfigError, DataError
from data.sources.catalogue import SourceConfig, open_source


def shapes(fold=None, train_size=43):
    return open_source(SourceConfig(name="shapes", train_size=train_size, val_size=2, image_size=(8, 8), fold=fold))


def test_the_folds_hold_every_training_picture_once_and_no_validation_picture():
    everything = shapes().names("train")
    held = [shapes(fold).names("val") for fold in range(5)]
    assert sorted(name for names in held for name in names) == sorted(everything)
    for fold, names in enumerate(held):
        assert 8 <= len(names) <= 10
        assert sorted(names + shapes(fold).names("train")) == sorted(everything)


def test_neighbours_stay_together():
    everything = shapes(train_size=200).names("train")
    held = set(shapes(1, train_size=200).names("val"))
    inside = [name in held for name in everything]
    assert sum(one != other for one, other in itertools.pairwise(inside)) == 8  # four stretches


def test_a_fold_gives_the_pictures_that_its_names_say():
    whole, fold = shapes(), shapes(2)
    for split in ("train", "val"):
        name = fold.names(split)[3]
        sample = fold.load(split, 3)
        assert sample.name == name
        assert np.array_equal(sample.image, whole.load("train", whole.names("train").index(name)).image)


def test_test_pictures_and_classes_stay():
    assert shapes(0).names("test") == shapes().names("test")
    assert shapes(0).label_map == shapes().label_map


def test_too_few_pictures_and_a_sixth_fold_are_refused():
    with pytest.raises(DataError, match="4 training pictures cannot be parted into 5 folds"):
        shapes(0, train_size=4)
    with pytest.raises(ConfigError, match="fold is 5"):
        SourceConfig(fold=5)
