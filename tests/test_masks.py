"""Mask files of every usual kind to labels, and the checks that every source makes."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError, LabelError
from data.labels import LabelMap, voc_palette
from data.masks import (
    check_labels,
    decode_in_bands,
    decode_mask,
    open_mask,
    read_index_mask,
    refuse_black_and_white,
    remap_table,
    same_size,
)

NAMED = LabelMap.from_names(["background", "cat", "dog"])
COLOURED = LabelMap(
    ("background", "cat", "dog"), ((0, 0, 0), (250, 50, 50), (50, 50, 250)), (255, 255, 255), explicit_colours=True
)
BLACK_WHITE = LabelMap(("ground", "object"), ((0, 0, 0), (255, 255, 255)), explicit_colours=True)
EXPECTED = [[0, 1, 2], [2, 255, 0]]


def read(path: Path, labels: LabelMap) -> list[list[int]]:
    decoded = decode_mask(open_mask(path), labels, path)
    assert decoded.dtype == np.uint8
    values: list[list[int]] = decoded.tolist()
    return values


def with_palette(indices: list[list[int]], palette: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.fromarray(np.asarray(indices, dtype=np.uint8))
    image.putpalette([part for colour in palette for part in colour])
    return image


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mask.png"


@pytest.mark.parametrize("labels", [NAMED, COLOURED])
def test_grey_values_are_labels(path: Path, labels: LabelMap) -> None:
    Image.fromarray(np.asarray(EXPECTED, dtype=np.uint8)).save(path)
    assert read(path, labels) == EXPECTED
    assert read_index_mask(path).tolist() == EXPECTED


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_sixteen_bit_values_are_labels(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"mask.{kind}"
    Image.fromarray(np.asarray(EXPECTED, dtype=np.uint16)).save(path)
    assert read(path, NAMED) == EXPECTED


def test_a_sixteen_bit_value_above_255_is_refused_and_not_wrapped(path: Path) -> None:
    Image.fromarray(np.asarray([[0, 256 + 1]], dtype=np.uint16)).save(path)
    with pytest.raises(LabelError, match=r"mask\.png: holds label 257; labels lie between 0 and 254"):
        read(path, NAMED)


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_one_bit_values_are_labels(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"mask.{kind}"
    Image.fromarray(np.asarray([[False, True], [True, True]])).save(path)
    assert read(path, NAMED) == [[0, 1], [1, 1]]
    assert read(path, BLACK_WHITE) == [[0, 1], [1, 1]]
    for remap, expected in (({}, [[0, 1], [1, 1]]), ({1: 2}, [[0, 2], [2, 2]])):
        assert decode_mask(open_mask(path), NAMED, path, remap_table(remap)).tolist() == expected


def test_indices_of_a_palette_are_labels_when_only_names_are_known(path: Path) -> None:
    with_palette(EXPECTED, voc_palette(256)).save(path)
    assert read(path, NAMED) == EXPECTED


def test_indices_are_labels_when_the_palette_has_other_colours(path: Path) -> None:
    with_palette(EXPECTED, voc_palette(256)).save(path)
    assert read(path, COLOURED) == EXPECTED
    with_palette(EXPECTED, [(i, i, i) for i in range(256)]).save(path)
    assert read(path, COLOURED) == EXPECTED


def test_colours_of_a_palette_are_the_truth_when_labelmap_txt_has_them(path: Path) -> None:
    # As an export writes them whose palette is in another order than labelmap.txt.
    shuffled = [(255, 255, 255), (50, 50, 250), (0, 0, 0), (250, 50, 50)]
    with_palette([[2, 3, 1], [1, 0, 2]], shuffled).save(path)
    assert read(path, COLOURED) == EXPECTED


def test_a_colour_in_use_that_no_class_has_is_refused_when_the_palette_is_the_label_map(path: Path) -> None:
    with_palette([[0, 1, 2, 3]], [*COLOURED.palette, (1, 2, 3)]).save(path)
    with pytest.raises(LabelError, match=r"mask\.png: 1 pixels have colour \(1, 2, 3\)"):
        read(path, COLOURED)


def test_a_palette_that_contradicts_its_indices_is_refused(path: Path) -> None:
    # (50, 50, 250) is class 2 by colour and 1 by index; (1, 2, 3) is unknown: neither reading can be trusted.
    with_palette([[0, 1, 2]], [(0, 0, 0), (50, 50, 250), (1, 2, 3)]).save(path)
    with pytest.raises(LabelError, match=r"\(1, 2, 3\)"):
        read(path, COLOURED)


def test_transparency_does_not_change_labels(path: Path) -> None:
    with_palette(EXPECTED, voc_palette(256)).save(path, transparency=0)
    assert read(path, NAMED) == EXPECTED
    rgba = np.dstack([COLOURED.colourise(np.asarray(EXPECTED, dtype=np.uint8)), np.zeros((2, 3), dtype=np.uint8)])
    Image.fromarray(rgba).save(path)
    assert read(path, COLOURED) == EXPECTED
    grey_alpha = np.dstack([np.asarray(EXPECTED, dtype=np.uint8), np.zeros((2, 3), dtype=np.uint8)])
    Image.fromarray(grey_alpha).save(path)
    assert read(path, NAMED) == EXPECTED


def test_colours_become_labels(path: Path) -> None:
    Image.fromarray(COLOURED.colourise(np.asarray(EXPECTED, dtype=np.uint8))).save(path)
    assert read(path, COLOURED) == EXPECTED


def test_without_labelmap_txt_colours_are_those_of_voc(path: Path) -> None:
    Image.fromarray(NAMED.colourise(np.asarray(EXPECTED, dtype=np.uint8))).save(path)
    assert read(path, NAMED) == EXPECTED


def test_without_labelmap_txt_three_equal_channels_are_labels(path: Path) -> None:
    Image.fromarray(np.repeat(np.asarray(EXPECTED, dtype=np.uint8)[..., None], 3, axis=2)).save(path)
    assert read(path, NAMED) == EXPECTED


@pytest.mark.parametrize("width", [np.uint8, np.uint16])
def test_black_and_white_masks_are_colours_when_labelmap_txt_says_so(
    path: Path, width: type[np.unsignedinteger]
) -> None:
    Image.fromarray(np.asarray([[0, 255]], dtype=width)).save(path)
    assert read(path, BLACK_WHITE) == [[0, 1]]


def test_an_antialiased_mask_is_refused_with_the_colour_between(path: Path) -> None:
    Image.fromarray(np.asarray([[0, 128, 255]], dtype=np.uint8)).save(path)
    with pytest.raises(LabelError, match=r"\(128, 128, 128\)"):
        read(path, BLACK_WHITE)


def test_a_jpeg_is_no_mask(tmp_path: Path) -> None:
    path = tmp_path / "mask.jpg"
    Image.fromarray(np.asarray(EXPECTED, dtype=np.uint8)).save(path)
    with pytest.raises(DataError, match="is a JPEG, whose compression changes labels: export masks as PNG"):
        read(path, NAMED)


def test_a_floating_mask_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mask.tif"
    Image.fromarray(np.zeros((2, 2), dtype=np.float32)).save(path)
    with pytest.raises(DataError, match="holds floating values, and labels are whole: save it with 8 or 16 bits"):
        read(path, NAMED)


def test_masks_are_not_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.asarray(EXPECTED, dtype=np.uint8)).save(path, exif=exif)
    assert read(path, NAMED) == EXPECTED


def test_a_missing_or_damaged_mask_is_refused_with_its_name(tmp_path: Path, path: Path) -> None:
    with pytest.raises(DataError, match=r"mask .*mask\.png cannot be read \(No such file"):
        open_mask(path)
    with pytest.raises(DataError, match="cannot be read"):
        open_mask(tmp_path)
    Image.fromarray(np.zeros((64, 64), dtype=np.uint8)).save(path)
    data = path.read_bytes()
    for length in range(len(data) - 22):  # the last 22 bytes are checksums and the end mark
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"mask\.png"):
            open_mask(path)


def test_a_mask_too_large_to_decode_is_refused_from_its_header(path: Path) -> None:
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)), (b"IDAT", b"")):
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"mask\.png.*pixels"):
        open_mask(path)


def test_a_coloured_picture_is_no_index_mask(path: Path) -> None:
    Image.new("RGB", (2, 2)).save(path)
    with pytest.raises(DataError, match="mode RGB; a mask of class indices has one 8-bit channel"):
        read_index_mask(path)


def test_a_label_that_no_class_has_is_refused_with_both_remedies(path: Path) -> None:
    check_labels(np.asarray(EXPECTED, dtype=np.uint8), NAMED, path)
    with pytest.raises(
        LabelError,
        match=r"mask\.png holds label 3, 42 \(3 pixels\); the label map names 0\.\.2 and 255 is ignored: add a name, "
        r"or read it as ignored with --data\.remap\.3 255 \(in fcn data check: --remap\.3 255\)",
    ):
        check_labels(np.asarray([[0, 42, 42, 3]], dtype=np.uint8), NAMED, path)


def test_labels_that_seem_to_count_from_one_are_told_so(path: Path) -> None:
    with pytest.raises(LabelError, match="If the labels count from 1, name label 0 too"):
        check_labels(np.asarray([[1, 2, 3]], dtype=np.uint8), NAMED, path)


def test_many_unknown_labels_are_not_all_listed(path: Path) -> None:
    with pytest.raises(LabelError, match=r"label 3, 4, 5, 6, 7, 8, 9, 10, \.\.\. \(47 pixels\)"):
        check_labels(np.arange(50, dtype=np.uint8)[None], NAMED, path)


def test_a_mask_of_another_size_is_refused_with_both_sizes(path: Path) -> None:
    image, mask = np.zeros((3, 4, 3), dtype=np.uint8), np.zeros((4, 3), dtype=np.uint8)
    with pytest.raises(DataError, match=r"is 4x3 but its mask .* is 3x4.*EXIF orientation"):
        same_size(image, mask, path, path)
    same_size(image, mask.T, path, path)


def test_a_set_of_black_and_white_masks_is_refused_where_white_would_be_ignored() -> None:
    two = LabelMap.from_names(["ground", "tumour"])
    counts = np.zeros(256, dtype=np.int64)
    counts[[0, 255]] = 100, 10
    with pytest.raises(LabelError, match=r"not one pixel is 'tumour'.*--data\.remap\.255 1 .*--remap\.255 1"):
        refuse_black_and_white(counts, two)
    refuse_black_and_white(counts, LabelMap.from_names(["only"]))
    counts[1] = 1
    refuse_black_and_white(counts, two)
    counts[[1, 255]] = 0
    refuse_black_and_white(counts, two)


def planes(path: Path, *pages: list[list[int]], dtype: type = np.uint8) -> Path:
    """A TIFF with a page for each plane, as ImageJ writes stacks."""
    first, *others = [Image.fromarray(np.asarray(page, dtype=dtype)) for page in pages]
    first.save(path.with_suffix(".tif"), save_all=True, append_images=others)
    return path.with_suffix(".tif")


def test_sixteen_bits_hold_labels_and_larger_ones_are_remapped(path: Path) -> None:
    stored = path.with_suffix(".tif")
    for dtype in (np.uint16, np.int32):
        Image.fromarray(np.asarray([[0, 1, 2, 255]], dtype=dtype)).save(stored)
        assert read(stored, NAMED) == [[0, 1, 2, 255]]
        Image.fromarray(np.asarray([[0, 300, 2, 40_000]], dtype=dtype)).save(stored)
        with pytest.raises(LabelError, match=r"holds label 40000; .*--data\.remap\.40000 255"):
            read(stored, NAMED)
        remap = remap_table({300: 1, 40_000: 255, 1: 2, 2: 0})
        assert decode_mask(open_mask(stored), NAMED, stored, remap).tolist() == [[0, 1, 0, 255]]
    Image.fromarray(np.asarray([[0, 70_000]], dtype=np.int32)).save(stored)
    with pytest.raises(
        LabelError, match="holds label 70000; labels lie between 0 and 254, and 255 is ignored: write it"
    ):
        decode_mask(open_mask(stored), NAMED, stored, remap_table({1: 0}))


def test_pages_are_binary_planes_of_all_classes_or_of_all_but_the_first(path: Path) -> None:
    names = NAMED.num_classes
    assert names == 3
    for dtype, top in ((np.uint8, 255), (np.uint8, 1), (np.uint16, 9)):
        stored = planes(path, [[top, 0, 0, 0]], [[0, top, 0, 0]], [[0, 0, top, 0]], dtype=dtype)
        assert read(stored, NAMED) == [[0, 1, 2, 255]]
        stored = planes(path, [[top, 0, 0, 0]], [[0, top, 0, 0]], dtype=dtype)
        assert read(stored, NAMED) == [[1, 2, 0, 0]]
    assert decode_mask(open_mask(stored), NAMED, stored, remap_table({2: 255})).tolist() == [[1, 255, 0, 0]]


@pytest.mark.parametrize(
    ("pages", "told"),
    [
        (
            ([[0, 1]],) * 4,
            "is a TIFF of 4 pages; with 3 classes 3 are expected, or 2 where the first class is the rest",
        ),
        (([[0, 1]],) * 300, "more than 255 pages"),
        (([[0, 1]], [[1, 1]]), "has 1 pixels that are set on page 2 and on an earlier one"),
        (([[0, 1]], [[1, 2]]), "has page 2 with more than two values"),
        (([[0, 1]], [[1, 0, 0]]), r"has page 2 of 3x1 \(L\); page 1 is 2x1"),
    ],
)
def test_other_stacks_are_refused(path: Path, pages: tuple[list[list[int]], ...], told: str) -> None:
    with pytest.raises(LabelError, match=rf"mask.*\.tif: {told}|{told}"):
        read(planes(path, *pages), NAMED)


def test_a_page_that_is_cut_off_is_told(path: Path) -> None:
    stored = planes(path, [[0, 1]] * 50, [[1, 0]] * 50)
    data = stored.read_bytes()
    for length in (len(data) - 20, len(data) - 110):
        stored.write_bytes(data[:length])
        with pytest.raises((DataError, LabelError), match=r"mask.*\.tif"):
            read(stored, NAMED)


def test_pages_that_show_the_first_in_small_are_passed_over(path: Path) -> None:
    stored = path.with_suffix(".tif")
    small = Image.new("L", (1, 1))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    Image.fromarray(np.asarray(EXPECTED, dtype=np.uint8)).save(stored, save_all=True, append_images=[small])
    assert Image.open(io.BytesIO(stored.read_bytes())).n_frames == 2
    assert read(stored, NAMED) == EXPECTED


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_masks_are_decoded_in_bands_as_they_are_whole(path: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).integers(0, 3, (40, 7))
    image = Image.fromarray(values.astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        image.putpalette([part for colour in voc_palette(256) for part in colour])
    image.save(path)
    remap = remap_table({2: 255})
    whole = decode_mask(open_mask(path), NAMED, path, remap)
    monkeypatch.setattr("data.bands.BAND_PIXELS", 70)
    monkeypatch.setattr("data.masks.BAND_PIXELS", 70)
    parts = list(decode_in_bands(open_mask(path), NAMED, path, remap))
    assert [len(part) for part in parts] == [10] * 4
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(decode_mask(open_mask(path), NAMED, path, remap), whole)
    assert len(list(decode_in_bands(open_mask(path), COLOURED, path, remap))) == 1
