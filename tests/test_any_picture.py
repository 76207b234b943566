"""Any picture: files of every usual kind with content known by hand, decoded and segmented as a viewer shows them."""

import io
import struct
import subprocess
import sys
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from starlette.testclient import TestClient

from data.pixels import decode_image
from model.runtime.predictor import Predictor
from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station

ROOT = Path(__file__).resolve().parent.parent
RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)

# Upright, 48 x 80, no two of its eight orientations alike, and borders that JPEG's blocks of 16 keep apart.
UPRIGHT = np.zeros((48, 80, 3), dtype=np.uint8)
UPRIGHT[:16, :32] = RED
UPRIGHT[:16, 32:] = GREEN
UPRIGHT[16:, :48] = BLUE
LABELS = np.zeros((48, 80), dtype=np.uint8)
LABELS[:16, :32], LABELS[:16, 32:], LABELS[16:, :48] = 1, 2, 3
PALETTE = [*BLACK, *RED, *GREEN, *BLUE]
PICTURE = Image.fromarray(UPRIGHT)


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def indexed():
    image = Image.fromarray(LABELS)
    image.putpalette(PALETTE)
    return image


def with_alpha(colours=UPRIGHT, alpha=255):
    return Image.fromarray(np.dstack([colours, np.full(colours.shape[:2], alpha, np.uint8)]))


def stored(orientation):
    """What a file of this orientation holds (EXIF 2.3, table 4.6.6), and the tag."""
    turned = UPRIGHT.transpose(1, 0, 2) if orientation > 4 else UPRIGHT
    rows = -1 if orientation in (3, 4, 6, 7) else 1
    columns = -1 if orientation in (2, 3, 7, 8) else 1
    exif = Image.Exif()
    exif[0x0112] = orientation
    return Image.fromarray(np.ascontiguousarray(turned[::rows, ::columns])), exif


def png(depth, colour, rows, *chunks, size=(80, 48), interlaced=0):
    """A PNG by hand: ``rows`` with their filter bytes, further chunks before the data."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, interlaced)
    parts = [chunk(b"IHDR", header), *(chunk(*c) for c in chunks), chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def filtered(pixels):
    """Rows of a PNG, each behind its filter byte, big-endian."""
    big = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big)


def adam7(pixels):
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    return b"".join(filtered(pixels[top::down, left::right]) for top, left, down, right in passes)


def packed(values, bits):
    """Rows of values of 1, 2 or 4 bits in bytes."""
    per_byte = 8 // bits
    padded = np.pad(values, ((0, 0), (0, -values.shape[1] % per_byte)))
    shifts = np.arange(per_byte)[::-1] * bits
    groups = padded.reshape(values.shape[0], -1, per_byte).astype(np.uint16)
    return (groups << shifts).sum(axis=2).astype(np.uint8)


def tiff(pixels, photometric, order="<", samples=1, form=1, tile=None):
    """An uncompressed TIFF by hand, in one strip or in tiles."""
    height, width = pixels.shape[:2]
    bits = pixels.dtype.itemsize * 8
    typed = pixels.astype(pixels.dtype.newbyteorder(order))
    blocks = [typed.tobytes()]
    if tile:
        places = [(top, left) for top in range(0, height, tile) for left in range(0, width, tile)]
        blocks = [np.ascontiguousarray(typed[t : t + tile, x : x + tile]).tobytes() for t, x in places]
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [1])}
    entries |= {262: (3, [photometric]), 277: (3, [samples]), 339: (3, [form] * samples)}
    offsets, counts = (324, 325) if tile else (273, 279)
    entries |= {322: (4, [tile]), 323: (4, [tile])} if tile else {278: (4, [height])}
    entries |= {offsets: (4, [0] * len(blocks)), counts: (4, [len(block) for block in blocks])}
    start = 8 + 2 + 12 * len(entries) + 4
    extra = sum(len(values) * (4 if kind == 4 else 2) for kind, values in entries.values() if len(values) > 1)
    entries[offsets] = (4, list(start + extra + np.cumsum([0, *map(len, blocks[:-1])])))
    body, more = b"", b""
    for tag, (kind, values) in sorted(entries.items()):
        packed_values = struct.pack(order + ("I" if kind == 4 else "H") * len(values), *values)
        if len(packed_values) > 4:
            field = struct.pack(order + "I", start + len(more))
            more += packed_values
        else:
            field = packed_values.ljust(4, b"\0")
        body += struct.pack(order + "HHI", tag, kind, len(values)) + field
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    return head + body + struct.pack(order + "I", 0) + more.ljust(extra, b"\0") + b"".join(blocks)


def bmp(bits, rows, height=48, compression=0, masks=b"", palette=b""):
    offset = 14 + 40 + len(masks) + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, 80, height, 1, bits, compression, len(rows), 0, 0, len(palette) // 4, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(rows), 0, 0, offset) + header + masks + palette + rows


BMP_PALETTE = b"".join(bytes((b, g, r, 0)) for r, g, b in (BLACK, RED, GREEN, BLUE))


def run_lengths(labels):
    """BMP's RLE8: runs of (count, index), rows from below."""
    rows = b""
    for row in labels[::-1]:
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1), len(row)]
        rows += b"".join(bytes((b - a, row[a])) for a, b in pairwise(edges)) + b"\0\0"
    return rows + b"\0\1"


def exact():
    """Files whose pixels must come out as ``UPRIGHT``, every one."""
    for name, options in {
        "raw": {},
        "deflate": {"compression": "tiff_deflate"},
        "lzw": {"compression": "tiff_lzw"},
    }.items():
        yield f"tiff {name}", encode(PICTURE, "TIFF", **options)
    for kind in ("PNG", "BMP", "PPM"):
        yield kind.lower(), encode(PICTURE, kind)
    yield "webp lossless", encode(PICTURE, "WEBP", lossless=True)
    for kind in ("PNG", "TIFF", "GIF", "BMP"):
        yield f"{kind.lower()} palette", encode(indexed(), kind)
    yield "gif interlaced", encode(indexed(), "GIF", interlace=1)
    for bits in (2, 4):
        yield f"png palette of {bits} bits", encode(indexed(), "PNG", bits=bits)
    for kind, options in {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True, "exact": True}}.items():
        yield f"{kind.lower()} with alpha", encode(with_alpha(), kind, **options)
    deep = UPRIGHT.astype(np.uint16) * 257
    yield "png 16 bits", png(16, 2, filtered(deep))
    yield "png 16 bits with alpha", png(16, 6, filtered(np.dstack([deep, np.full((48, 80), 65535, np.uint16)])))
    yield "png interlaced", png(8, 2, adam7(UPRIGHT), interlaced=1)
    yield (
        "png in parts behind text",
        png(8, 2, filtered(UPRIGHT), (b"tEXt", b"Comment\0hello"), (b"gAMA", b"\0\0\xb1\x8f")),
    )
    yield "tiff big-endian", tiff(UPRIGHT, 2, ">", 3)
    yield "tiff 16 bits", tiff(deep, 2, "<", 3)
    yield "tiff 16 bits big-endian", tiff(deep, 2, ">", 3)
    yield "tiff in tiles", tiff(UPRIGHT, 2, "<", 3, tile=16)
    yield "tiff multi-page", encode(PICTURE, "TIFF", save_all=True, append_images=[Image.new("RGB", (9, 9))] * 3)
    yield "tiff cmyk", encode(PICTURE.convert("CMYK"), "TIFF")
    yield "tiff packbits", encode(PICTURE, "TIFF", compression="packbits")
    yield "bmp from above", bmp(24, UPRIGHT[..., ::-1].tobytes(), -48)
    yield "bmp 32 bits", bmp(32, np.dstack([UPRIGHT[::-1, :, ::-1], np.zeros((48, 80), np.uint8)]).tobytes())
    yield "bmp 4 bits", bmp(4, packed(LABELS[::-1], 4).tobytes(), palette=BMP_PALETTE)
    yield "bmp run lengths", bmp(8, run_lengths(LABELS), compression=1, palette=BMP_PALETTE)
    short = (UPRIGHT[::-1] // 8).astype(np.uint16)
    yield "bmp 15 bits", bmp(16, (short[..., 0] << 10 | short[..., 1] << 5 | short[..., 2]).tobytes())
    greens = (UPRIGHT[::-1, :, 1] // 4).astype(np.uint16)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    rows = (short[..., 0] << 11 | greens << 5 | short[..., 2]).tobytes()
    yield "bmp 565", bmp(16, rows, compression=3, masks=masks)
    others = [Image.new("RGB", (80, 48), WHITE)]
    for kind, options in {"PNG": {}, "GIF": {}, "WEBP": {"lossless": True}}.items():
        yield f"{kind.lower()} animation", encode(PICTURE, kind, save_all=True, append_images=others, **options)
    yield "ppm 16 bits", b"P6\n# 16 bits\n80 48\n65535\n" + deep.astype(">u2").tobytes()
    for orientation in range(1, 9):
        image, exif = stored(orientation)
        for kind, options in {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}.items():
            yield f"{kind.lower()} of orientation {orientation}", encode(image, kind, exif=exif, **options)
    image, exif = stored(6)
    yield "tiff lzw of orientation 6", encode(image, "TIFF", exif=exif, compression="tiff_lzw")


def nearly():
    """Files whose compression changes colours a little."""
    for name, options in {
        "baseline": {},
        "progressive": {"progressive": True},
        "without subsampling": {"subsampling": 0},
        "optimised": {"optimize": True},
        "with restarts": {"restart_marker_rows": 1},
    }.items():
        yield f"jpeg {name}", encode(PICTURE, "JPEG", quality=90, **options)
    adobe = encode(PICTURE.convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in adobe
    yield "jpeg cmyk, inverted as Adobe has it", adobe
    yield "jpeg before junk", encode(PICTURE, "JPEG", quality=90) + b"\xff\xd9junk" * 99
    yield "jpeg of two pictures", encode(PICTURE, "MPO", save_all=True, append_images=[Image.new("RGB", (80, 48))])
    yield "webp", encode(PICTURE, "WEBP", quality=90)
    yield "webp with alpha", encode(with_alpha(), "WEBP", quality=90)
    yield "tiff jpeg", encode(PICTURE, "TIFF", compression="jpeg", quality=95)
    for orientation in range(1, 9):
        image, exif = stored(orientation)
        yield f"jpeg of orientation {orientation}", encode(image, "JPEG", quality=90, exif=exif)


EXACT, NEARLY = dict(exact()), dict(nearly())


@pytest.fixture(scope="module")
def client(tiny_bundle):
    station = Station(Settings())
    station.open(Predictor(tiny_bundle))
    yield TestClient(Guard(create_app(station), lambda: station.model_version))
    station.close()


def labels_of(client, data):
    response = client.post("/v1/segment", content=data)
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)))


@pytest.mark.parametrize("name", EXACT)
def test_the_answer_lies_over_the_picture_as_a_viewer_shows_it(client, name):
    np.testing.assert_array_equal(decode_image(EXACT[name]), UPRIGHT)
    np.testing.assert_array_equal(labels_of(client, EXACT[name]), LABELS)


@pytest.mark.parametrize("name", NEARLY)
def test_the_same_where_compression_changes_colours_a_little(client, name):
    found = labels_of(client, NEARLY[name])
    assert found.shape == LABELS.shape
    assert (found == LABELS).mean() > 0.97


GREY = np.asarray([[0, 64, 128], [192, 255, 32]], dtype=np.uint8)


def greys():
    """Files whose pixels must come out as ``GREY`` in all three colours."""
    deep = GREY.astype(np.uint16) * 257
    yield "png", encode(Image.fromarray(GREY), "PNG")
    yield "jpeg", encode(Image.fromarray(np.kron(GREY, np.ones((8, 8), np.uint8))), "JPEG", quality=100)
    yield "png 16 bits", png(16, 0, filtered(deep), size=(3, 2))
    yield (
        "png with alpha 16 bits",
        png(16, 4, filtered(np.dstack([deep, np.full((2, 3), 65535, np.uint16)])), size=(3, 2)),
    )
    for order in "<>":
        yield f"tiff 16 bits {order}", tiff(deep, 1, order)
        yield f"tiff floating {order}", tiff((GREY / 255).astype(np.float32), 1, order, form=3)
    yield "tiff, 0 is white", tiff(255 - GREY, 0)
    yield "tiff 16 bits, 0 is white", tiff(65535 - deep, 0)
    yield "tiff floating, 0 is white", tiff((1 - GREY / 255).astype(np.float32), 0, form=3)
    yield "pgm 16 bits", b"P5 3 2 65535\n" + deep.astype(">u2").tobytes()
    yield "pfm", b"Pf\n3 2\n-1.0\n" + (GREY[::-1] / 255).astype("<f4").tobytes()


GREYS = dict(greys())


@pytest.mark.parametrize("name", GREYS)
def test_grey_of_any_depth_keeps_its_tones(name):
    found = decode_image(GREYS[name])
    found = found[4::8, 4::8] if name == "jpeg" else found
    np.testing.assert_array_equal(found, np.repeat(GREY[..., None], 3, axis=2))


@pytest.mark.parametrize(("bits", "levels"), [(1, (0, 255)), (2, (0, 85, 170, 255)), (4, (0, 17, 136, 255))])
def test_grey_of_few_bits_is_spread_over_all_tones(bits, levels):
    values = np.asarray([[level * (2**bits - 1) // 255 for level in levels]], dtype=np.uint8)
    found = decode_image(png(bits, 0, b"\0" + packed(values, bits).tobytes(), size=(len(levels), 1)))
    assert found[0, :, 0].tolist() == list(levels)


def test_a_transparent_tone_of_16_bits_is_laid_over_white():
    rows = filtered(np.asarray([[1000, 1001]], dtype=np.uint16))
    found = decode_image(png(16, 0, rows, (b"tRNS", struct.pack(">H", 1000)), size=(2, 1)))
    assert found[0, :, 0].tolist() == [255, 4]


def test_a_frame_smaller_than_its_animation_lies_where_it_is_shown():
    # A GIF of 4 x 3 by hand whose one frame is 1 x 1, red, at column 2 and row 1; the rest was never drawn.
    head = b"GIF89a" + struct.pack("<HHBBB", 4, 3, 0x80, 0, 0) + bytes((*WHITE, *RED))
    frame = b"\x21\xf9\x04\x01\0\0\0\0" + b"," + struct.pack("<HHHHB", 2, 1, 1, 1, 0) + b"\x02\x02\x4c\x01\0;"
    expected = np.full((3, 4, 3), WHITE, np.uint8)
    expected[1, 2] = RED
    np.testing.assert_array_equal(decode_image(head + frame), expected)


def profile(changed=lambda tags: tags):
    """An ICC profile: sRGB's, with the names of its tags changed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack_from(">I", data, 128)[0]
    names = changed([bytes(data[132 + 12 * index :][:4]) for index in range(count)])
    for index, name in enumerate(names):
        data[132 + 12 * index : 136 + 12 * index] = name
    return bytes(data)


def swapped(tags):
    """What red is called green and the other way round: a device whose red lamp shines green."""
    other = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
    return [other.get(tag, tag) for tag in tags]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_embedded_profile_is_followed_to_srgb(kind):
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    image = Image.new("RGB", (16, 16), RED)
    found = decode_image(encode(image, kind, icc_profile=profile(swapped), **options))
    assert np.abs(found.astype(int) - GREEN).max() < 6
    clear = encode(with_alpha(np.full((2, 2, 3), RED, np.uint8), 0), "PNG", icc_profile=profile(swapped))
    assert (decode_image(clear) == 255).all()


def test_a_profile_of_srgb_changes_no_pixel():
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode_image(encode(Image.fromarray(noise), "PNG", icc_profile=profile())), noise)


@pytest.mark.parametrize("icc", [b"", b"no profile", profile()[:200], profile(swapped)[:-300], bytes(1000)])
def test_a_damaged_profile_does_not_spoil_a_sound_picture(icc):
    np.testing.assert_array_equal(decode_image(encode(PICTURE, "PNG", icc_profile=icc)), UPRIGHT)


def test_a_profile_of_other_pixels_is_left_out_of_account():
    grey = Image.fromarray(GREY)
    found = decode_image(encode(grey, "PNG", icc_profile=profile(swapped)))
    np.testing.assert_array_equal(found[..., 0], GREY)


def test_fuzzed_profiles_never_end_the_process():
    # In a process of its own, where a crash of the colour engine is seen as one.
    code = (
        "import io, sys; import numpy as np; from PIL import Image; from data.pixels import decode_image\n"
        "sound = sys.stdin.buffer.read(); random = np.random.default_rng(3); image = Image.new('RGB', (8, 8), 'red')\n"
        "for _ in range(600):\n"
        "    data = bytearray(sound)\n"
        "    for place in random.integers(0, len(data), 6): data[place] = random.integers(256)\n"
        "    file = io.BytesIO(); image.save(file, 'PNG', icc_profile=bytes(data)); decode_image(file.getvalue())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], input=profile(swapped), cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0


def test_a_hundred_megapixels_are_admitted_by_default_and_the_second_lock_stays():
    image = Image.new("P", (12_000, 9_000), 1)
    image.putpalette(PALETTE)
    found = decode_image(encode(image, "PNG", compress_level=1))
    assert found.shape == (9_000, 12_000, 3)
    assert found[0, 0].tolist() == found[-1, -1].tolist() == list(RED)
    assert Image.MAX_IMAGE_PIXELS is not None
