"""Masks as polygons: valid, with their holes, and the mask again when they are filled."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco
from scipy import ndimage

from service.errors import ServiceError
from service.masks import run_lengths
from service.polygons import polygons_of

label_maps = arrays(
    np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 7, 255])
)


def as_shape(coordinates):
    return shapely.MultiPolygon([(rings[0], rings[1:]) for rings in coordinates])


def filled(coordinates, shape):
    """The mask of the pixels whose middles lie inside."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return shapely.contains_xy(as_shape(coordinates), columns + 0.5, rows + 0.5)


def check_rings(coordinates):
    for rings in coordinates:
        for place, ring in enumerate(rings):
            assert ring[0] == ring[-1]
            assert len(ring) >= 4
            assert all(isinstance(number, int) for point in ring for number in point)
            assert shapely.LinearRing(ring).is_ccw == (place == 0)


@given(label_maps)
@settings(max_examples=300, deadline=None)
def test_polygons_without_tolerance_are_the_mask_again_when_filled(labels):
    polygons = polygons_of(labels, 0)
    assert set(polygons) == set(np.unique(labels).tolist()) - {255}
    for label, coordinates in polygons.items():
        shape = as_shape(coordinates)
        assert shape.is_valid, shapely.is_valid_reason(shape)
        assert shape.area == (labels == label).sum()
        np.testing.assert_array_equal(filled(coordinates, labels.shape), labels == label)
        check_rings(coordinates)
        assert len(coordinates) == ndimage.label(labels == label)[1]


@given(label_maps, st.integers(1, 4), st.floats(0.25, 6))
@settings(max_examples=200, deadline=None)
def test_simplified_polygons_are_valid_and_near_the_border(labels, times, tolerance):
    labels = labels.repeat(times, axis=0).repeat(times, axis=1)
    exact = polygons_of(labels, 0)
    for label, coordinates in polygons_of(labels, tolerance).items():
        shape = as_shape(coordinates)
        assert shape.is_valid, shapely.is_valid_reason(shape)
        check_rings(coordinates)
        assert [len(rings) for rings in coordinates] == [len(rings) for rings in exact[label]]
        border = as_shape(exact[label]).boundary
        assert shapely.hausdorff_distance(shape.boundary, border, densify=0.25) <= tolerance + 1e-9


# pycocotools 2.0.11 has an array class of before numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@given(label_maps)
@settings(max_examples=100, deadline=None)
def test_run_lengths_are_the_mask_again_in_pycocotools(labels):
    for label in np.unique(labels):
        runs = run_lengths(labels == label)
        decoded = coco.decode({"size": list(runs.size), "counts": runs.counts})
        np.testing.assert_array_equal(decoded, labels == label)


def test_a_whole_picture_is_one_rectangle():
    assert polygons_of(np.full((3, 5), 4, dtype=np.uint8), 0) == {4: [[[[0, 0], [5, 0], [5, 3], [0, 3], [0, 0]]]]}


def test_one_pixel_is_a_square_and_the_rest_has_a_hole_of_it():
    labels = np.zeros((3, 3), dtype=np.uint8)
    labels[1, 1] = 1
    polygons = polygons_of(labels, 0)
    assert polygons[1] == [[[[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]]]
    ((outer, hole),) = polygons[0]
    assert sorted(map(tuple, outer[1:])) == [(0, 0), (0, 3), (3, 0), (3, 3)]
    assert sorted(map(tuple, hole[1:])) == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_pixels_that_meet_in_a_corner_are_two_polygons():
    labels = np.array([[1, 255], [255, 1]], dtype=np.uint8)
    assert len(polygons_of(labels, 0)[1]) == 2
    assert len(polygons_of(labels[::-1].copy(), 0)[1]) == 2


def test_a_border_that_would_touch_itself_becomes_a_hole():
    labels = np.ones((4, 4), dtype=np.uint8)
    labels[1, 1] = labels[2, 2] = 0  # two holes that meet in a corner
    ((_outer, *holes),) = polygons_of(labels, 0)[1]
    assert len(holes) == 2
    ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]], dtype=np.uint8)  # the hole meets the outside in a corner
    ((_outer, *holes),) = polygons_of(ring, 0)[1]
    assert len(holes) == 1


def test_a_staircase_becomes_a_line():
    labels = np.tril(np.ones((50, 50), dtype=np.uint8))
    exact, simple = polygons_of(labels, 0)[1], polygons_of(labels, 1.0)[1]
    assert len(exact[0][0]) > 100
    assert len(simple[0][0]) < 8


def corners(polygons):
    return sum(len(ring) - 1 for coordinates in polygons.values() for rings in coordinates for ring in rings)


def test_more_tolerance_leaves_fewer_corners_though_small_pieces_lie_near_every_border():
    random = np.random.default_rng(3)
    labels = np.argmax([ndimage.gaussian_filter(random.normal(size=(160, 160)), 6) for _ in range(4)], axis=0)
    specks = random.random((160, 160)) < 0.02
    labels = np.where(specks, random.integers(0, 4, (160, 160)), labels).astype(np.uint8)
    found = {tolerance: polygons_of(labels, tolerance) for tolerance in (0, 1, 2, 5, 20, 100)}
    counts = [corners(polygons) for polygons in found.values()]
    assert counts == sorted(counts, reverse=True)
    pieces = sum(len(rings) for coordinates in found[0].values() for rings in coordinates)
    assert counts[1] - 4 * pieces < 0.4 * (counts[0] - 4 * pieces)
    assert counts[-1] < 5 * pieces
    assert all(as_shape(coordinates).is_valid for polygons in found.values() for coordinates in polygons.values())


def test_nothing_wanted_is_no_polygon():
    assert polygons_of(np.full((4, 4), 255, dtype=np.uint8), 0) == {}
    assert polygons_of(np.full((4, 4), 255, dtype=np.uint8), 1) == {}


@pytest.mark.parametrize("tolerance", [0, 1])
def test_bands_change_nothing(tolerance, noise, monkeypatch):
    labels = noise(33, 27)[..., 0] % 3
    whole = polygons_of(labels, tolerance)
    monkeypatch.setattr("data.bands.BAND_PIXELS", 60)
    assert polygons_of(labels, tolerance) == whole


@pytest.mark.parametrize("budget", [0, 2000])
def test_polygons_beyond_the_budget_keep_their_border(budget, noise, monkeypatch):
    labels = (noise(40, 40)[..., 0] < 170).astype(np.uint8)
    monkeypatch.setattr("service.simplified._BUDGET", budget)
    polygons = polygons_of(labels, 2.0)
    assert all(as_shape(coordinates).is_valid for coordinates in polygons.values())
    if budget == 0:
        assert polygons == polygons_of(labels, 0)


def test_noise_beyond_what_is_answered_is_refused(noise, monkeypatch):
    monkeypatch.setattr("service.rings.MAX_CORNERS", 100)
    with pytest.raises(ServiceError) as raised:
        polygons_of(noise(40, 30)[..., 0] % 3, 0)
    assert (raised.value.status, raised.value.code) == (422, "invalid_option")
    assert "resize" in raised.value.hint


def test_work_that_nobody_waits_for_ends_between_steps():
    class OverError(Exception):
        pass

    def check():
        raise OverError

    with pytest.raises(OverError):
        polygons_of(np.zeros((3, 3), dtype=np.uint8), 1, check)
