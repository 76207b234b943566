"""Headers of files that would keep a reader busy for minutes: refused at once, while nothing sound is."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from data.errors import CorruptImageError, ImageError, UnsupportedImageError
from data.headers import kind_of
from data.pixels import decode_image

NOISE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
MILLIONS = 8_000_000


def encode(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(NOISE).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(name, body=b""):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def many(piece, size=MILLIONS):
    return piece * (size // len(piece))


def tiff(entries, big=False):
    """A directory of the entries alone, each tag, type, count and value."""
    if big:
        body = b"".join(struct.pack("<HHQQ", *entry) for entry in entries)
        return b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, len(entries)) + body + struct.pack("<Q", 0)
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", 0)


def endless():
    png, jpeg, gif = encode("PNG"), encode("JPEG"), encode("GIF")
    after_palette = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    yield "png of empty chunks", png[:33] + many(chunk(b"abCd")) + png[33:]
    yield "png of texts", png[:33] + many(chunk(b"tEXt", b"a\0b")) + png[33:]
    yield "png of empty data", png[:33] + many(chunk(b"IDAT")) + png[33:]
    yield "png with chunks behind", png[:-12] + many(chunk(b"abCd")) + png[-12:]
    yield "jpeg of comments", jpeg[:2] + many(b"\xff\xfe\0\2") + jpeg[2:]
    yield "jpeg of profiles", jpeg[:2] + many(b"\xff\xe2\0\x10ICC_PROFILE\0\1\1") + jpeg[2:]
    yield "jpeg of fill bytes", jpeg[:2] + b"\xff" * MILLIONS + jpeg[2:]
    yield "jpeg of stuffed bytes", jpeg[:4] + b"\xff\0" * (MILLIONS // 2)
    yield "jpeg of gaps", jpeg[:2] + many(b"\xff" * 4000 + b"\xfe\0\2") + jpeg[2:]
    yield "gif of comments", gif[:after_palette] + many(b"\x21\xfe\0") + gif[after_palette:]
    yield "gif of one comment", gif[:after_palette] + b"\x21\xfe" + many(b"\1a") + b"\0" + gif[after_palette:]
    yield "gif of junk", gif[:after_palette] + b"\1" * MILLIONS + gif[after_palette:]
    yield "tiff of tags", tiff([(tag + 256, 1, 1000, 8) for tag in range(60_000)])
    yield "big tiff of tags", tiff([(tag % 20_000 + 40_000, 4, 1, 1) for tag in range(200_000)], big=True)
    below = tiff([(34665, 4, 1, 0)], big=True)[:-28] + struct.pack("<HHQQQ", 34665, 4, 1, 44, 0)
    yield "big tiff of tags in exif", below + struct.pack("<Q", 200_000) + bytes(20 * 200_000)
    yield "ppm of text", b"P3 1600 1600 255\n" + many(b"7 ")
    yield "ppm without an end", b"P6" + b" " * MILLIONS
    yield "ppm of comments", b"P6 " + many(b"#\n")
    bomb = [
        (256, 4, 1, 100),
        (257, 4, 1, 100),
        (258, 3, 1, 8),
        (262, 3, 1, 1),
        (322, 4, 1, 20_000),
        (323, 4, 1, 20_000),
    ]
    yield "tiff of one huge tile", tiff([*bomb, (324, 4, 1, 8), (325, 4, 1, 8)])


ENDLESS = dict(endless())


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_file_of_countless_pieces_is_refused_at_once(name):
    start = time.process_time()
    with pytest.raises(ImageError):
        decode_image(ENDLESS[name])
    assert time.process_time() - start < 2


def test_many_pieces_in_a_large_file_are_no_offence():
    png, jpeg, gif = encode("PNG"), encode("JPEG"), encode("GIF")
    after_palette = 13 + 3 * 2 ** ((gif[10] & 7) + 1)
    for data in (
        png[:33] + many(chunk(b"abCd", bytes(2000)), 4_000_000) + png[33:],
        png[:33] + many(chunk(b"abCd"), 3000 * 12) + png[33:],
        jpeg[:2] + many(b"\xff\xe2" + struct.pack(">H", 60_000) + bytes(59_998), 4_000_000) + jpeg[2:],
        jpeg[:2] + b"\xff" * 500 + jpeg[2:],
        gif[:after_palette] + b"\x21\xfe" + many(b"\xff" + bytes(255), 500_000) + b"\0" + gif[after_palette:],
    ):
        assert decode_image(data).shape == NOISE.shape


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_header_that_is_cut_off_is_told_by_the_name_of_its_format(kind):
    data = encode(kind)
    name = kind_of(data)
    assert name is not None
    with pytest.raises(ImageError, match=name) as raised:
        decode_image(data[:14] if kind != "PPM" else data[:5])
    assert "not a picture" not in str(raised.value)


def test_a_kind_of_tiff_that_is_not_read_says_what_to_do():
    floating = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 64), (262, 3, 1, 1), (273, 4, 1, 8), (339, 3, 1, 3)]
    with pytest.raises(UnsupportedImageError, match=r"begin as a TIFF.*save the picture with 8 bits a colour"):
        decode_image(tiff(floating))


def test_a_tiff_of_separate_deep_planes_is_refused_and_not_read_wrongly():
    entries = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 3, 206)]
    entries += [(277, 3, 1, 3), (278, 4, 1, 1), (279, 4, 3, 218), (284, 3, 1, 2)]
    data = tiff(entries).ljust(200, b"\0") + struct.pack("<3H6I", 16, 16, 16, 230, 232, 234, 2, 2, 2) + bytes(12)
    with pytest.raises(UnsupportedImageError, match="3 planes of 16 bits"):
        decode_image(data)


def test_text_pnm_is_refused_with_the_kinds_that_are_read():
    with pytest.raises(UnsupportedImageError, match="of kind P3; the kinds P4, P5, P6 and Pf are read"):
        decode_image(b"P3 1 1 255 1 2 3\n")
    with pytest.raises(CorruptImageError, match="header does not end"):
        decode_image(b"P6 1")
