"""Drawn pictures: the same everywhere, exact at the edges, every class present."""

import hashlib

import numpy as np
import pytest
from numpy.typing import NDArray

from data.errors import ConfigError
from data.sources import geometry
from data.sources.shapes import LABELS, ShapesSource

SIZE = (96, 128)


def grid(side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    axis = np.arange(side) + 0.5 - side / 2
    return axis[None, :], axis[:, None]


def test_a_picture_depends_on_seed_split_and_index_alone() -> None:
    small, large = ShapesSource(2, 1, SIZE, seed=5), ShapesSource(9, 4, SIZE, seed=5)
    for split in ("train", "val"):
        first, again = small.load(split, 0), large.load(split, 0)
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.label_map, again.label_map)
    seen = {
        hashlib.sha256(ShapesSource(2, 2, SIZE, seed).load(split, index).image.tobytes()).hexdigest()
        for seed in (0, 1)
        for split in ("train", "val", "test")
        for index in (0, 1)
    }
    assert len(seen) == 12


def test_pictures_are_the_same_on_every_machine_and_with_every_numpy() -> None:
    digest = hashlib.sha256()
    for index in range(3):
        sample = ShapesSource(3, 1, SIZE, seed=0).load("train", index)
        digest.update(sample.image.tobytes())
        digest.update(sample.label_map.tobytes())
    assert digest.hexdigest() == "b2f58984d9b57f1990ab3acda08c36bd6d0e0f049639f8788ddcbfe66b723123"


def test_names_are_unique_and_as_many_as_asked_for() -> None:
    source = ShapesSource(4, 3, SIZE)
    assert [len(source.names(split)) for split in ("train", "val", "test")] == [4, 3, 3]
    assert len(set(source.names("train"))) == 4
    assert source.load("val", 2).name == source.names("val")[2]


@pytest.mark.parametrize("size", [(192, 256), (33, 47), (256, 64), (1, 1), (5, 400)])
def test_pictures_of_any_size_are_drawn(size: tuple[int, int]) -> None:
    sample = ShapesSource(1, 1, size).load("train", 0)
    assert sample.image.shape == (*size, 3)
    assert sample.image.dtype == sample.label_map.dtype == np.uint8
    assert sample.label_map.shape == size
    assert sample.label_map.max() < LABELS.num_classes


def test_every_class_is_in_most_pictures() -> None:
    source = ShapesSource(20, 1, (192, 256))
    counts = np.stack([np.bincount(source.load("train", index).label_map.ravel(), minlength=7) for index in range(20)])
    assert ((counts > 0).sum(axis=0) >= 15).all()
    shares = counts.sum(axis=0) / counts.sum()
    assert shares[0] < 0.9
    assert (shares[1:] > 0.01).all()


def test_classes_cannot_be_told_by_their_mean_colour() -> None:
    source = ShapesSource(25, 1, SIZE)
    means = []
    for index in range(25):
        sample = source.load("train", index)
        means.append([sample.image[sample.label_map == label].mean(axis=0) for label in range(1, 7)])
    values = np.nan_to_num(np.asarray(means), nan=128.0)
    spread_within = values.std(axis=0).mean()
    spread_between = values.mean(axis=0).std(axis=0).mean()
    assert spread_within > 3 * spread_between


def test_impossible_sizes_and_seeds_are_refused() -> None:
    for arguments in ((0, 1, (8, 8), 0), (1, 0, (8, 8), 0), (1, 1, (0, 8), 0), (1, 1, (8, 8), -1)):
        with pytest.raises(ConfigError, match="shapes with"):
            ShapesSource(*arguments)


def test_distances_to_disc_and_ring_are_those_computed_by_hand() -> None:
    x, y = np.asarray([0.0, 3.0, 6.0]), np.asarray([0.0, 4.0, 8.0])
    np.testing.assert_allclose(geometry.disc(x, y, 5.0), [-5, 0, 5])
    np.testing.assert_allclose(geometry.ring(x, y, 5.0, 2.0), [4, -1, 4])


def test_distances_to_a_stroke_have_round_ends_and_joints() -> None:
    x, y = np.asarray([5.0, -3.0, 13.0, 5.0]), np.asarray([3.0, -4.0, 0.0, 0.0])
    corner = [(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)]
    np.testing.assert_allclose(geometry.polyline(x, y, corner, 2.0), [2, 4, 2, -1])


def test_distances_to_a_square_are_negative_inside_and_exact_outside() -> None:
    square = [(-2.0, -2.0), (2.0, -2.0), (2.0, 2.0), (-2.0, 2.0)]
    x, y = np.asarray([0.0, 1.5, 2.0, 5.0, 5.0]), np.asarray([0.0, 0.0, 0.0, 0.0, 6.0])
    for corners in (square, square[::-1]):
        np.testing.assert_allclose(geometry.polygon(x, y, corners), [-2, -0.5, 0, 3, 5], atol=1e-12)


def test_areas_are_those_of_the_formulas() -> None:
    x, y = grid(400)
    for distance, area in (
        (geometry.disc(x, y, 150.0), np.pi * 150**2),
        (geometry.ring(x, y, 100.0, 30.0), 2 * np.pi * 100 * 30),
        (geometry.polygon(x, y, geometry.regular_pentagon(150.0)), 2.5 * 150**2 * np.sin(2 * np.pi / 5)),
        (geometry.polygon(x, y, geometry.star(150.0, 0.5)), 5 * 150**2 * 0.5 * np.sin(np.pi / 5)),
        (geometry.polyline(x, y, [(-100.0, 0.0), (100.0, 0.0)], 20.0), 200 * 20 + np.pi * 10**2),
    ):
        assert (distance < 0).sum() == pytest.approx(area, rel=0.005)


def test_a_signed_distance_changes_by_one_a_pixel() -> None:
    x, y = grid(200)
    star = geometry.polygon(x, y, geometry.star(80.0, 0.45))
    slope = np.hypot(np.diff(star, axis=0)[:, :-1], np.diff(star, axis=1)[:-1])
    assert np.median(slope) == pytest.approx(1.0, abs=1e-3)
    assert slope.max() < 1.5
