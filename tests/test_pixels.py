"""Bytes to pictures: every usual kind, and nothing but ImageError for what is broken."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from data.errors import CorruptImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from data.pixels import ENDINGS, FORMATS, decode_image, pad_to_multiple, read_image

RANDOM = np.random.default_rng(0)
PICTURE: NDArray[np.uint8] = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(PICTURE).resize((40, 24), Image.Resampling.BICUBIC))


def encode(picture: Image.Image | NDArray[np.generic], kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes = b"") -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    decoded = decode_image(encode(PICTURE, kind))
    np.testing.assert_array_equal(decoded, PICTURE)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    assert decoded.flags.writeable


def test_lossless_webp_gives_the_pixels_back() -> None:
    np.testing.assert_array_equal(decode_image(encode(PICTURE, "WEBP", lossless=True)), PICTURE)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 100, "subsampling": 0}])
def test_jpeg_is_read(options: dict[str, object]) -> None:
    decoded = decode_image(encode(SMOOTH, "JPEG", **options))
    assert decoded.shape == SMOOTH.shape
    assert np.abs(decoded.astype(int) - SMOOTH).mean() < 25


def jpeg_with_scans(more: int, between: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan, which refines what is there, is repeated."""
    whole = encode(SMOOTH, "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + (between + whole[last:-2]) * more + whole[-2:]


def test_a_jpeg_of_countless_scans_is_refused_before_it_takes_hours() -> None:
    assert decode_image(jpeg_with_scans(20)).shape == SMOOTH.shape
    for between in (b"", b"\xff\x01", b"\xff\xff\xff", b"\xff\xfe\x00\x05\xff\xd9\x00"):
        with pytest.raises(CorruptImageError, match="more than 100 scans"):
            decode_image(jpeg_with_scans(120, between))


def test_what_looks_like_scans_behind_or_within_the_data_of_a_jpeg_does_no_harm() -> None:
    whole = encode(SMOOTH, "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 2002) + b"\xff\xda" * 1000
    np.testing.assert_array_equal(
        decode_image(whole[:2] + comment + whole[2:] + b"\xff\xda" * 1000), decode_image(whole)
    )


def test_the_endings_are_all_that_pillow_knows_for_the_formats() -> None:
    known = {ending for ending, name in Image.registered_extensions().items() if name in FORMATS}
    assert known <= ENDINGS


def test_cmyk_jpeg_is_converted() -> None:
    red = Image.new("RGB", (16, 16), (200, 30, 30)).convert("CMYK")
    assert np.abs(decode_image(encode(red, "JPEG")).astype(int) - (200, 30, 30)).max() < 12


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    for kind in ("GIF", "PNG", "TIFF"):
        data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
        np.testing.assert_array_equal(decode_image(data), np.full((4, 6, 3), (255, 0, 0)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_picture_is_turned_upright_by_its_orientation(kind: str, orientation: int) -> None:
    # The stored picture is made with array operations from the definition in EXIF 2.3, table 4.6.6: where
    # row 0 and column 0 of the stored picture lie in the upright one.
    upright = np.kron(np.asarray([[0, 80, 120], [160, 200, 255]], dtype=np.uint8), np.ones((8, 8), dtype=np.uint8))
    upright = np.repeat(upright[:, :, None], 3, axis=2)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[:, ::-1],
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, object] = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(kind, {})
    data = encode(np.ascontiguousarray(stored), kind, exif=exif, **options)
    decoded = decode_image(data)
    assert decoded.shape == upright.shape
    assert np.abs(decoded.astype(int) - upright).max() <= (8 if kind == "JPEG" else 0)


@pytest.mark.parametrize("exif", [b"", b"Exif\x00\x00", b"Exif\x00\x00MM\x00*\x00\x00\xff\xff", b"garbage" * 9])
@pytest.mark.filterwarnings("ignore")
def test_damaged_exif_data_does_not_spoil_a_sound_picture(exif: bytes) -> None:
    np.testing.assert_array_equal(decode_image(encode(PICTURE, exif=exif)), PICTURE)


@pytest.mark.filterwarnings("ignore")
def test_an_orientation_that_does_not_exist_leaves_the_picture_as_it_is() -> None:
    for value in (0, 9, 65535):
        exif = Image.Exif()
        exif[0x0112] = value
        np.testing.assert_array_equal(decode_image(encode(PICTURE, exif=exif)), PICTURE)


def test_grey_and_bilevel_become_rgb() -> None:
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(decode_image(encode(grey)), np.repeat(grey[..., None], 3, axis=2))
    bits = Image.fromarray(grey).convert("1")
    assert set(np.unique(decode_image(encode(bits)))) <= {0, 255}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    grey = np.asarray([[0, 257, 32768], [65535, 256, 128]], dtype=np.uint16)
    assert decode_image(encode(grey, kind))[..., 0].tolist() == [[0, 1, 128], [255, 1, 0]]


def test_sixteen_bit_colour_png_keeps_the_high_byte() -> None:
    rows = b"\x00" + struct.pack(">6H", 65535, 0, 32768, 256, 255, 65280)
    assert decode_image(png(2, 1, 16, 2, rows)).tolist() == [[[255, 0, 128], [1, 0, 255]]]


def test_deep_grey_is_scaled_alike_in_every_part_of_a_large_picture() -> None:
    deep = (np.arange(1500 * 1400) % 65536).astype(np.uint16).reshape(1500, 1400)
    np.testing.assert_array_equal(decode_image(encode(deep))[..., 0], np.rint(deep / 257))
    floating = deep.astype(np.float32) / 1000  # the largest value, 65.535, does not stand in every band's first row
    expected = np.rint(np.clip(floating / floating.max(), 0, 1) * 255)
    np.testing.assert_array_equal(decode_image(encode(floating, "TIFF"))[..., 0], expected)


def test_grey_of_32_bits_without_a_sign_is_not_taken_below_nought() -> None:
    buffer = io.BytesIO()
    values = np.array([[0, 1 << 31, 3 << 30, (1 << 32) - 1]], dtype=np.uint32)
    Image.fromarray(values.view(np.int32)).save(buffer, "TIFF")
    # Pillow writes 2, signed, into the tag 339; without a sign it is 1.
    unsigned = buffer.getvalue().replace(struct.pack("<HHIH", 339, 3, 1, 2), struct.pack("<HHIH", 339, 3, 1, 1))
    assert decode_image(unsigned)[0, :, 0].tolist() == [0, 128, 191, 255]
    assert decode_image(buffer.getvalue())[0, :, 0].tolist() == [0, 0, 0, 0]


def test_floating_tiff_is_taken_as_nought_to_one() -> None:
    values = np.asarray([[0.0, 0.5, 1.0, np.nan, -3.0]], dtype=np.float32)
    assert decode_image(encode(values, "TIFF"))[0, :, 0].tolist() == [0, 128, 255, 0, 0]


def test_transparent_pixels_are_laid_over_white() -> None:
    rgba = np.asarray([[(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 127)]], dtype=np.uint8)
    assert decode_image(encode(rgba)).tolist() == [[[255, 0, 0], [255, 255, 255], [128, 128, 128]]]


def test_a_transparent_palette_entry_is_laid_over_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    assert decode_image(encode(palette, transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]
    assert decode_image(encode(palette, "GIF", transparency=1)).tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_grey_with_alpha_and_rgb_with_a_transparent_colour_are_read() -> None:
    assert decode_image(encode(Image.new("LA", (1, 1), (7, 0)))).tolist() == [[[255, 255, 255]]]
    rgb = Image.new("RGB", (1, 1), (1, 2, 3))
    assert decode_image(encode(rgb, transparency=(1, 2, 3))).tolist() == [[[255, 255, 255]]]


def test_one_pixel_is_a_picture() -> None:
    assert decode_image(encode(PICTURE[:1, :1])).shape == (1, 1, 3)


def test_nothing_is_not_a_picture() -> None:
    with pytest.raises(UnsupportedImageError, match="empty"):
        decode_image(b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"hello, world",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7\n",
        b"\x89PN",
        RANDOM.bytes(999),
    ],
    ids=["zero", "text", "svg", "pdf", "half a signature", "random"],
)
def test_what_is_no_picture_is_refused_as_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError, match=rf"these {len(data)} bytes.*send one of JPEG, PNG"):
        decode_image(data)


def test_the_first_picture_of_a_stereo_photograph_is_taken() -> None:
    first, second = Image.fromarray(SMOOTH), Image.new("RGB", (40, 24))
    data = encode(first, "MPO", save_all=True, append_images=[second])
    assert np.abs(decode_image(data).astype(int) - SMOOTH).mean() < 25


def test_formats_outside_the_list_are_refused() -> None:
    for kind in ("ICO", "TGA", "PCX", "EPS"):
        with pytest.raises(UnsupportedImageError, match="send one of JPEG, PNG"):
            decode_image(encode(Image.new("RGB", (16, 16)), kind))


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (12_000, 10_001), (2**31 - 1, 1), (200_000_000, 1)])
def test_a_huge_header_is_refused_before_a_pixel_is_decoded(width: int, height: int) -> None:
    with pytest.raises(ImageTooLargeError, match="pixels"):
        decode_image(png(width, height, 8, 2))


def test_the_limit_is_the_callers() -> None:
    data = encode(PICTURE)
    assert decode_image(data, max_pixels=35).shape == (5, 7, 3)
    with pytest.raises(ImageTooLargeError, match="7x5 = 35 pixels; at most 34"):
        decode_image(data, max_pixels=34)


def test_a_header_without_pixels_is_corrupt() -> None:
    for size in ((0, 5), (5, 0)):
        with pytest.raises(ImageError):
            decode_image(png(*size, 8, 2))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
@pytest.mark.filterwarnings("ignore")
def test_a_picture_cut_anywhere_is_refused_or_has_all_its_pixels(kind: str) -> None:
    data = encode(SMOOTH, kind)
    whole = decode_image(data)
    refused = 0
    for length in range(0, len(data), max(1, len(data) // 150)):
        try:
            decoded = decode_image(data[:length])
        except ImageError:
            refused += 1
        else:
            np.testing.assert_array_equal(decoded, whole)
    assert refused > 100


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_cut_in_its_middle_is_corrupt(kind: str) -> None:
    data = encode(SMOOTH, kind)
    with pytest.raises(CorruptImageError, match="send the whole file again"):
        decode_image(data[: len(data) // 2])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
@pytest.mark.filterwarnings("ignore")
def test_a_picture_with_flipped_bytes_raises_an_image_error_or_is_read(kind: str) -> None:
    sound = encode(SMOOTH, kind, exif=Image.Exif()) if kind == "JPEG" else encode(SMOOTH, kind)
    random = np.random.default_rng(1)
    for _ in range(150):
        data = bytearray(sound)
        for place in random.integers(0, min(len(data), 400), 3):
            data[place] = random.integers(256)
        try:
            assert decode_image(bytes(data), max_pixels=1_000_000).ndim == 3
        except ImageError:
            continue


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"II*\x00", b"GIF89a", b"BM", b"P6 "]))
def test_random_bytes_raise_an_image_error(tail: bytes, head: bytes) -> None:
    try:
        decode_image(head + tail, max_pixels=1_000_000)
    except ImageError:
        return


def test_a_files_name_stands_in_the_message(tmp_path: Path) -> None:
    path = tmp_path / "naïve picture.png"
    path.write_bytes(encode(PICTURE)[:60])
    with pytest.raises(CorruptImageError, match=r"naïve picture\.png: "):
        read_image(path)
    with pytest.raises(ImageError, match=r"gone\.png cannot be read: No such file"):
        read_image(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="cannot be read"):
        read_image(tmp_path)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 33))
def test_padding_repeats_the_edge_and_crops_back(height: int, width: int, multiple: int) -> None:
    image = np.arange(height * width * 3, dtype=np.int64).reshape(height, width, 3)
    padded = pad_to_multiple(image, multiple)  # type: ignore[arg-type]  # any dtype works; wide numbers differ
    assert padded.shape[0] % multiple == padded.shape[1] % multiple == 0
    assert padded.shape[0] - height < multiple
    assert padded.shape[1] - width < multiple
    np.testing.assert_array_equal(padded[:height, :width], image)
    assert (padded[height:, :width] == image[-1]).all()
    assert (padded[:height, width:] == image[:, -1:]).all()


def test_padding_nothing_copies_nothing() -> None:
    image = np.zeros((64, 32, 3), dtype=np.uint8)
    assert pad_to_multiple(image, 32) is image
