"""Label maps as pictures."""

import io

import numpy as np
import pytest
from PIL import Image

from data.drawing import borders, encode_label_png, encode_png, legend, overlay
from data.errors import ConfigError
from data.labels import LabelMap

LABELS = LabelMap(("ground", "cat"), ((10, 20, 30), (200, 100, 50)), (1, 2, 3))
LABEL_MAP = np.asarray([[0, 0, 1], [0, 1, 255]], dtype=np.uint8)


def test_pixel_values_of_a_label_png_are_class_indices_and_its_colours_the_palette() -> None:
    picture = Image.open(io.BytesIO(encode_label_png(LABEL_MAP, LABELS)))
    assert picture.mode == "P"
    np.testing.assert_array_equal(np.asarray(picture), LABEL_MAP)
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), LABELS.colourise(LABEL_MAP))


def test_a_part_of_an_array_can_be_encoded() -> None:
    picture = Image.open(io.BytesIO(encode_png(np.asfortranarray(LABELS.colourise(LABEL_MAP))[::-1, ::2])))
    np.testing.assert_array_equal(np.asarray(picture), LABELS.colourise(LABEL_MAP)[::-1, ::2])


def test_an_overlay_of_opacity_nought_is_the_picture_and_of_one_the_colours() -> None:
    image = np.full((2, 3, 3), 77, dtype=np.uint8)
    np.testing.assert_array_equal(overlay(image, LABEL_MAP, LABELS, 0.0), image)
    solid = overlay(image, LABEL_MAP, LABELS, 1.0, outline=False)
    known = LABEL_MAP != 255
    np.testing.assert_array_equal(solid[known], LABELS.colourise(LABEL_MAP)[known])


def test_half_an_overlay_is_the_mean_of_picture_and_colour() -> None:
    image = np.full((1, 1, 3), 255, dtype=np.uint8)
    mixed = overlay(image, np.asarray([[1]], dtype=np.uint8), LABELS, 0.5, outline=False)
    assert mixed.tolist() == [[[227, 177, 152]]]


@pytest.mark.parametrize("opacity", [0.0, 0.3, 1.0])
def test_ignored_pixels_keep_the_picture(opacity: float) -> None:
    image = np.full((2, 3, 3), 77, dtype=np.uint8)
    assert (overlay(image, LABEL_MAP, LABELS, opacity)[1, 2] == 77).all()


def test_white_on_white_does_not_overflow() -> None:
    white = LabelMap(("white",), ((255, 255, 255),))
    image = np.full((2, 2, 3), 255, dtype=np.uint8)
    for opacity in (0.0, 0.25, 0.5, 0.999, 1.0):
        assert (overlay(image, np.zeros((2, 2), dtype=np.uint8), white, opacity) == 255).all()


@pytest.mark.parametrize("opacity", [-0.1, 1.1, float("nan")])
def test_an_opacity_outside_nought_to_one_is_refused(opacity: float) -> None:
    with pytest.raises(ConfigError, match="opacity"):
        overlay(np.zeros((1, 1, 3), dtype=np.uint8), np.zeros((1, 1), dtype=np.uint8), LABELS, opacity)


def test_borders_stand_where_right_or_lower_neighbours_differ() -> None:
    assert borders(LABEL_MAP).tolist() == [[False, True, True], [True, True, False]]
    assert not borders(np.zeros((1, 1), dtype=np.uint8)).any()


def test_class_borders_are_drawn_in_the_plain_colour() -> None:
    image = np.zeros((2, 3, 3), dtype=np.uint8)
    drawn = overlay(image, LABEL_MAP, LABELS, 0.1)
    assert tuple(drawn[0, 2]) == LABELS.palette[1]
    assert tuple(drawn[0, 0]) != LABELS.palette[0]


def test_a_legend_has_the_width_asked_for_and_grows_downwards() -> None:
    many = LabelMap.from_names([f"class {index}" for index in range(12)])
    wide, narrow = legend(many, 2000), legend(many, 120)
    assert wide.shape[1:] == (2000, 3)
    assert narrow.shape[1:] == (120, 3)
    assert narrow.shape[0] > wide.shape[0]
    for colour in many.palette:
        assert (narrow == colour).all(axis=2).any()
