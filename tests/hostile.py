"""Files that no client should send: cut, fuzzed, lying, huge, or something else. Seeded: the same every time."""

import base64
import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
import zlib

import numpy as np
from PIL import Image

RANDOM_SEED = 20
NOISE = np.random.default_rng(RANDOM_SEED).integers(0, 256, (24, 36, 3), dtype=np.uint8)


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(buffer, kind, **options)
    return buffer.getvalue()


def sound_files():
    """One file of every kind that is read."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"

    def several(kind):  # fresh frames: Pillow leaves the settings of one encoder in them
        frames = [Image.fromarray(np.roll(NOISE, shift, 0)) for shift in (1, 2)]
        return encode(NOISE, kind, save_all=True, append_images=frames)

    return {
        "png": encode(NOISE),
        "png palette": encode(Image.fromarray(NOISE).convert("P")),
        "png grey 16": encode(NOISE[..., 0].astype(np.uint16) * 257),
        "png alpha": encode(np.dstack([NOISE, NOISE[..., :1]])),
        "apng": several("PNG"),
        "jpeg": encode(NOISE, "JPEG", exif=exif),
        "jpeg progressive": encode(NOISE, "JPEG", progressive=True),
        "jpeg cmyk": encode(Image.fromarray(NOISE).convert("CMYK"), "JPEG"),
        "mpo": several("MPO"),
        "webp": encode(NOISE, "WEBP", exif=exif),
        "webp lossless": encode(NOISE, "WEBP", lossless=True),
        "webp animation": several("WEBP"),
        "tiff": encode(NOISE, "TIFF"),
        "tiff lzw": encode(NOISE, "TIFF", compression="tiff_lzw"),
        "tiff deflate": encode(NOISE, "TIFF", compression="tiff_deflate"),
        "tiff jpeg": encode(NOISE, "TIFF", compression="jpeg"),
        "tiff pages": several("TIFF"),
        "gif": encode(NOISE, "GIF"),
        "gif animation": several("GIF"),
        "bmp": encode(NOISE, "BMP"),
        "bmp palette": encode(Image.fromarray(NOISE).convert("P"), "BMP"),
        "ppm": encode(NOISE, "PPM"),
        "pgm": encode(NOISE[..., 0], "PPM"),
    }


def chunk(name, body=b""):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, data=b"", depth=8, colour=2):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND")


def tiff(*entries, following=0, order="<"):
    body = b"".join(struct.pack(order + "HHII", *entry) for entry in entries)
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    return head + body + struct.pack(order + "I", following)


def cut_and_fuzzed():
    random = np.random.default_rng(RANDOM_SEED)
    for name, data in sound_files().items():
        for share in (0.002, 0.02, 0.08, 0.25, 0.5, 0.75, 0.95, 0.995):
            yield f"{name} cut at {share:.1%}", data[: max(1, int(len(data) * share))]
        for number in range(8):
            damaged = bytearray(data)
            reach = min(len(data), 300) if number % 2 else len(data)
            for place in random.integers(0, reach, 1 + 2 * number):
                damaged[place] = random.integers(256)
            yield f"{name} fuzzed {number}", bytes(damaged)
        hole = bytearray(data)
        hole[len(data) // 3 : len(data) // 2] = bytes(len(data) // 2 - len(data) // 3)
        yield f"{name} with a hole", bytes(hole)
        yield f"{name} without its middle", data[: len(data) // 3] + data[len(data) // 2 :]


def png_bombs():
    zeros = zlib.compress(bytes(8_000_000), 9)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    yield "png of 60000x60000 zeros", start + chunk(b"IDAT", zeros) + chunk(b"IEND")
    yield "png of 990x990 in little data", png(990, 990)
    yield "png of 990x990 in far more data", png(990, 990, bytes(8_000_000))
    for width, height in ((0, 0), (0, 9), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (1, 2**31)):
        yield f"png of {width}x{height}", png(width, height)
    for depth, colour in ((3, 2), (8, 1), (32, 2), (16, 3), (1, 6), (255, 255)):
        yield f"png of depth {depth} and colour {colour}", png(9, 9, bytes(999), depth, colour)
    good = encode(NOISE)
    for name in (b"zTXt", b"iTXt", b"iCCP"):
        prefix = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"p\0\0"}[name]
        yield f"png with a {name.decode()} bomb", good[:33] + chunk(name, prefix + zeros) + good[33:]
    yield "png whose chunk claims 2 GB", good[:33] + struct.pack(">I", 2**31 - 1) + b"tEXt" + good[33:]
    yield "png whose chunk claims less", good[:33] + struct.pack(">I", 1) + good[37:]
    yield "png of wrong checksums", good[:29] + bytes(4) + good[33:]
    yield "png of countless chunks", good[:33] + chunk(b"abCd") * 200_000 + good[33:]
    yield "png without data", good[:33] + chunk(b"IEND")
    yield (
        "png with exif that points at itself",
        good[:33] + chunk(b"eXIf", tiff((34665, 4, 1, 8), following=8)) + good[33:],
    )


def jpeg_bombs():
    jpeg = encode(NOISE, "JPEG")
    size = jpeg.index(b"\xff\xc0") + 5
    yield "jpeg of 65500x65500", jpeg[:size] + struct.pack(">HH", 65_500, 65_500) + jpeg[size + 4 :]
    yield "jpeg of 0x0", jpeg[:size] + bytes(4) + jpeg[size + 4 :]
    yield "jpeg of 990x990 in little data", jpeg[:size] + struct.pack(">HH", 990, 990) + jpeg[size + 4 :]
    yield "jpeg of 255 colours", jpeg[: size + 4] + b"\xff" + jpeg[size + 5 :]
    yield "jpeg of countless comments", jpeg[:2] + b"\xff\xfe\0\2" * 500_000 + jpeg[2:]
    yield "jpeg of fill bytes", jpeg[:2] + b"\xff" * 2_000_000 + jpeg[2:]
    scans = encode(NOISE, "JPEG", progressive=True)
    yield "jpeg of countless scans", scans[:-2] + scans[scans.rindex(b"\xff\xda") : -2] * 300 + scans[-2:]
    loop = b"Exif\0\0" + tiff((34665, 4, 1, 8), (34853, 4, 1, 8), (40965, 4, 1, 8), following=8)
    yield (
        "jpeg with exif that points at itself",
        jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(loop) + 2) + loop + jpeg[2:],
    )


def other_bombs():
    for frames in (1, 400):
        frame = b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\x02\x02\x4c\x01\0"
        yield (
            f"gif of 65535x65535 with {frames} frames",
            b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + frame * frames + b";",
        )
    frame = b"," + struct.pack("<HHHHB", 0, 0, 9, 9, 0) + b"\x02\x02\x4c\x01\0"
    yield "gif of 100000 frames", b"GIF89a\x09\0\x09\0\x80\0\0" + bytes(6) + frame * 100_000 + b";"
    yield "gif of comments", b"GIF89a\x09\0\x09\0\x80\0\0" + bytes(6) + b"\x21\xfe\0" * 500_000 + frame + b";"
    yield "gif whose code size is 255", b"GIF89a\x09\0\x09\0\x80\0\0" + bytes(6) + frame[:10] + b"\xff\x02\x4c\x01\0;"
    yield (
        "gif beyond its canvas",
        b"GIF89a\x09\0\x09\0\x80\0\0" + bytes(6) + b"," + b"\xff" * 8 + b"\0\x02\x02\x4c\x01\0;",
    )
    webp = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + b"\xff" * 6
    yield "webp of 16777216x16777216", webp
    lossless = encode(NOISE, "WEBP", lossless=True)
    yield "webp of 16384x16384", lossless[:21] + b"\xff\xff\xff\x0f" + lossless[25:]
    yield "webp of a false size", lossless[:4] + b"\xff\xff\xff\xff" + lossless[8:]
    for width, height in ((2**32 - 1, 2**32 - 1), (60_000, 60_000), (0, 0), (990, 990)):
        entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 1, 8)]
        yield f"tiff of {width}x{height}", tiff(*entries, (278, 4, 1, height), (279, 4, 1, 100))
    yield "tiff that points at itself", tiff((256, 4, 1, 9), (257, 4, 1, 9), following=8)
    yield "tiff whose directory is itself", b"II*\0\0\0\0\0"
    yield "tiff far beyond its end", b"II*\0" + struct.pack("<I", 2**32 - 1)
    yield "tiff of 65535 entries", b"II*\0\x08\0\0\0\xff\xff" + bytes(12) * 65_535
    yield "tiff of huge counts", tiff(*[(256 + tag, 4, 2**32 - 1, 8) for tag in range(40)])
    tile = [(256, 4, 1, 99), (257, 4, 1, 99), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)]
    yield "tiff of one huge tile", tiff(*tile, (322, 4, 1, 60_000), (323, 4, 1, 60_000), (324, 4, 1, 8), (325, 4, 1, 8))
    yield "tiff of a million samples", tiff(*tile, (277, 3, 1, 65_535), (273, 4, 1, 8), (279, 4, 1, 8))
    yield "big tiff of endless entries", b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2**63) + bytes(100_000)
    dib = struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0)
    yield "bmp of 2^31", b"BM" + bytes(8) + struct.pack("<I", 54) + dib
    dib = struct.pack("<IiiHHIIiiII", 40, 990, 990, 1, 8, 1, 0, 0, 0, 2**32 - 1, 0)
    yield "bmp of run lengths to nowhere", b"BM" + bytes(8) + struct.pack("<I", 54) + dib + b"\0\2\xff\xff" * 5000
    yield "bmp whose pixels lie beyond its end", b"BM" + bytes(8) + b"\xff" * 4 + dib
    for text in (
        b"P6 99999 99999 255\n",
        b"P6 9 9 0\n",
        b"P6 -9 9 255\n",
        b"P6 9 9 99999999999\n",
        b"P6 1e9 1e9 255\n",
    ):
        yield f"ppm {text!r}", text + bytes(300)
    yield "ppm of text", b"P3 900 900 255\n" + b"7 " * 1_000_000
    yield "ppm of spaces", b"P6" + b" " * 2_000_000
    yield "pfm of nan", b"Pf 9 9 nan\n" + b"\xff" * 400
    yield "pfm of scale 0", b"Pf 9 9 0\n" + b"\xff" * 400


def strangers():
    """Things that are no picture, and things that are a picture and something else."""
    picture = encode(NOISE)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../evil.png", picture)
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:gz") as file:
        member = tarfile.TarInfo("/etc/passwd")
        member.size = 4
        file.addfile(member, io.BytesIO(b"root"))
    yield "empty", b""
    for size in (1, 2, 3, 4, 8, 16, 100, 5000, 200_000):
        yield f"{size} random bytes", np.random.default_rng(size).bytes(size)
    yield "zeros", bytes(50_000)
    yield "ones", b"\xff" * 50_000
    yield "new lines", b"\n" * 10_000
    yield "zip", archive.getvalue()
    yield "zip bomb", gzip.compress(bytes(5_000_000))
    yield "gzip of a picture", gzip.compress(picture)
    yield "tar", tar.getvalue()
    yield "pickle", pickle.dumps(print)
    yield "pickle of a call", b"cposix\nsystem\n(S'touch /tmp/owned'\ntR."
    yield "numpy", b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + b" " * 50 + b"\n"
    yield "elf", b"\x7fELF\x02\x01\x01" + bytes(200)
    yield "exe", b"MZ" + bytes(200)
    yield "class file", b"\xca\xfe\xba\xbe" + bytes(200)
    yield "shell", b"#!/bin/sh\nrm -rf /\n"
    yield "json", json.dumps({"image": "http://localhost/x.png"}).encode()
    yield "json of depth 100000", b"[" * 100_000
    yield "data url", b"data:image/png;base64," + base64.b64encode(picture)
    yield "base64", base64.b64encode(picture)
    for url in (
        "http://169.254.169.254/latest/meta-data/",
        "https://localhost/x.png",
        "file:///etc/passwd",
        "gopher://x",
    ):
        yield url, url.encode()
    yield "path", b"../../../../etc/passwd"
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>"
    yield "xml bomb", b"<!DOCTYPE a [<!ENTITY b 'x'><!ENTITY c '&b;&b;'>]><svg>&c;</svg>"
    yield "html", b"<html><script>alert(1)</script></html>"
    yield "pdf", b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n"
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n(/etc/passwd) run\n"
    yield "avif", b"\0\0\0\x20ftypavif" + bytes(300)
    yield "heic", b"\0\0\0\x20ftypheic" + bytes(300)
    yield "jpeg 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(300)
    for kind in ("ICO", "TGA", "PCX", "EPS", "ICNS", "SGI", "XBM", "DDS", "JPEG2000", "PDF", "AVIF", "DIB"):
        image = Image.new("1" if kind == "XBM" else "RGB", (16, 16))
        yield f"{kind.lower()}, not read", encode(image, kind)
    yield from polyglots(archive.getvalue())


def polyglots(archive):
    picture, jpeg, gif = encode(NOISE), encode(NOISE, "JPEG"), encode(NOISE, "GIF")
    yield "gif and jar", gif + archive
    yield "png and zip", picture + archive
    yield "jpeg and pdf", jpeg[:2] + b"\xff\xfe\0\x20%PDF-1.7\n1 0 obj stream".ljust(34, b" ") + jpeg[2:]
    yield "jpeg and html", jpeg[:2] + b"\xff\xfe\0\x2a<script>alert(document.cookie)</script>xx" + jpeg[2:]
    yield "jpeg and php", jpeg + b"<?php system($_GET['x']); ?>"
    yield "bmp and shell", b"BM=1;#" + encode(NOISE, "BMP")[6:]
    yield "html before a png", b"<html>" + picture
    yield "byte order mark before a png", b"\xef\xbb\xbf" + picture
    yield "png in utf-8", picture.decode("latin-1").encode()
    yield "png as text", picture.replace(b"\r\n", b"\n")
    yield "two pngs", picture * 2
    names = list(sound_files())
    files = sound_files()
    for one, other in zip(names, names[5:] + names[:5], strict=True):
        yield f"head of {one} on {other}", files[one][:24] + files[other][24:]


def hostile_files():
    """All of them by name."""
    found = {}
    for source in (cut_and_fuzzed, png_bombs, jpeg_bombs, other_bombs, strangers):
        for name, data in source():
            assert name not in found
            found[name] = data
    return found
