"""Headers: what kind of picture some bytes are, and whether reading them would ever end.

Pillow reads a header piece by piece in Python. A few megabytes of empty pieces hold a thread for a minute, and it
cannot be stopped. So the pieces are counted first; the bounds are far beyond what cameras and programs write.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from PIL import ExifTags

from data.errors import CorruptImageError, ImageError, UnsupportedImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from PIL import Image

FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is read. Closed on purpose: Pillow's long tail of readers is where hostile files find faults.

JPEG opens the two-picture MPO files of cameras and telephones too; MPO has no reader of its own."""

MAX_SCANS: Final = 100
"""Most scans of a JPEG. Progressive files have about ten. Each takes a pass over all pixels and few bytes."""

MAX_PIECES: Final = 4000
"""Most segments, chunks, blocks or directory entries of a file, beside one for each kilobyte of it."""

_MAX_BETWEEN: Final = 65536
"""Most bytes between the segments of a JPEG's header."""

_PNM_HEADER: Final = 4096
"""Most bytes of a PNM's header."""

_SIGNATURES: Final = {
    name: re.compile(start, re.DOTALL)
    for name, start in {
        "JPEG": rb"\xff\xd8\xff",
        "PNG": rb"\x89PNG\r\n\x1a\n",
        "WebP": rb"RIFF....WEBP",
        "GIF": rb"GIF8[79]a",
        "TIFF": rb"II[*+]\0|MM\0[*+]",
        "BMP": rb"BM....\0\0\0\0",
        "PNM": rb"P[1-7FfyY]",
    }.items()
}
_MANY_KINDS: Final = ("TIFF", "BMP", "PNM")
"""Formats of which some kinds are not read. Of the others every kind is."""

_BINARY_PNM: Final = {b"P4": 3, b"P5": 4, b"P6": 4, b"Pf": 4}
"""PNM kinds that are read, and the words of their headers. The others are text, read by Pillow at 2 MB/s."""

_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
"""A marker with a length, or the end; within a scan's data FF is followed by 00 or a restart."""

_EXTENSION: Final = 0x21
"""What a GIF's extension begins with."""

_SEPARATE: Final = 2
"""TIFF's planar configuration in which each colour is a plane of its own."""

_SUBDIRECTORIES: Final = (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo, ExifTags.IFD.Interop)


def kind_of(data: bytes) -> str | None:
    """The format that the first bytes name, whether or not the rest is sound."""
    return next((name for name, start in _SIGNATURES.items() if start.match(data)), None)


def check_header(data: bytes, kind: str | None) -> None:
    """Refuse files of countless pieces, which would hold a thread for minutes.

    Args:
        data: The whole file.
        kind: As ``kind_of`` says.

    Raises:
        CorruptImageError: more pieces than any program writes.
        UnsupportedImageError: a PNM in text.
    """
    if kind == "JPEG":
        _check_jpeg(data)
    elif kind == "PNM":
        _check_pnm(data)
    elif kind in _PIECES:
        most = MAX_PIECES + len(data) // 1024
        if next(islice(_PIECES[kind](data), most, None), None) is not None:
            raise CorruptImageError(
                f"the {kind} has more than {most} pieces, which no program writes: save the picture again"
            )


def unidentified(data: bytes, kind: str | None) -> ImageError:
    """Why no reader took the bytes: they are no picture, or one that is cut off, damaged or of a rare kind."""
    if kind is None:
        return UnsupportedImageError(
            f"these {len(data)} bytes are not a picture in a known format: send one of {', '.join(FORMATS)}"
        )
    if kind in _MANY_KINDS:
        return UnsupportedImageError(
            f"these {len(data)} bytes begin as a {kind} but are damaged, or of a kind that is not read (as floating "
            "colours are): save the picture with 8 bits a colour"
        )
    return CorruptImageError(
        f"these {len(data)} bytes begin as a {kind} but are cut off or damaged: send the whole file again"
    )


def check_tiff(image: Image.Image) -> None:
    """Refuse what Pillow would read wrongly, and tiles far larger than the picture, which are decoded whole.

    Raises:
        UnsupportedImageError: planes of more than 8 bits.
        CorruptImageError: such tiles.
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})
    tile = tags.get(ExifTags.Base.TileWidth, 0), tags.get(ExifTags.Base.TileLength, 0)
    most = max(4 * image.width * image.height, 4_000_000)
    if not all(isinstance(side, int) for side in tile) or tile[0] * tile[1] > most:
        raise CorruptImageError(
            f"the TIFF has {image.width}x{image.height} pixels in tiles of {tile[0]}x{tile[1]}: save it in strips"
        )
    depth = tags.get(ExifTags.Base.BitsPerSample, (1,))
    if tags.get(ExifTags.Base.PlanarConfiguration) == _SEPARATE and len(depth) > 1 and max(depth) > 8:
        raise UnsupportedImageError(
            f"the TIFF holds {len(depth)} planes of {max(depth)} bits, which cannot be read: save it with the colours "
            "of a pixel side by side (planar configuration 1), or with 8 bits"
        )


def _check_jpeg(data: bytes) -> None:
    place, scans, segments, between = 2, 0, 0, 0
    most = MAX_PIECES + len(data) // 1024
    while (marker := _JPEG_MARKER.search(data, place)) and marker[0] != b"\xff\xd9":
        between += 0 if scans else marker.start() - place
        scans += marker[0] == b"\xff\xda"
        segments += 1
        if scans > MAX_SCANS:
            raise CorruptImageError(f"the JPEG has more than {MAX_SCANS} scans, which no camera writes: save it again")
        if segments > most:
            raise CorruptImageError(f"the JPEG has more than {most} segments, which no camera writes: save it again")
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    # Pillow goes through what lies between segments byte by byte, up to the first scan.
    between += 0 if scans else max(0, len(data) - place)
    if between > _MAX_BETWEEN:
        raise CorruptImageError(f"the JPEG's header holds {between} bytes that are none of it: save it again")


def _check_pnm(data: bytes) -> None:
    if data[:2] not in _BINARY_PNM:
        raise UnsupportedImageError(
            f"these {len(data)} bytes begin as a PNM of kind {data[:2].decode('ascii')}; the kinds P4, P5, P6 and Pf "
            "are read: save the picture in binary, or as PNG"
        )
    words = re.sub(rb"#[^\r\n]*", b"", data[:_PNM_HEADER]).split(maxsplit=4)
    if len(words) < _BINARY_PNM[data[:2]]:
        raise CorruptImageError(f"the PNM's header does not end within {_PNM_HEADER} bytes: send the whole file again")


def _png_chunks(data: bytes) -> Iterator[int]:
    place = 8
    while place + 8 <= len(data):
        yield place
        place += 12 + int.from_bytes(data[place : place + 4])


def _gif_blocks(data: bytes) -> Iterator[int]:
    """Blocks before the first picture's data: extensions, their parts, and bytes that are none."""
    flags = data[10] if len(data) > 12 else 0
    place = 13 + (3 << ((flags & 7) + 1) if flags & 128 else 0)
    while place + 2 < len(data) and data[place] not in b",;":
        yield place
        if data[place] != _EXTENSION:
            place += 1
            continue
        place += 2
        while place < len(data) and data[place]:
            yield place
            place += 1 + data[place]
        place += 1


def _tiff_entries(data: bytes) -> Iterator[int]:
    """Entries of a TIFF's first directory and of those below it."""
    order: Any = "little" if data[:2] == b"II" else "big"
    # Bytes of an offset, of a directory's count, of an entry: those of a BigTIFF are twice as wide, or wider.
    wide, count, entry = (8, 8, 20) if data[2:4] in (b"+\0", b"\0+") else (4, 2, 12)

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place : place + size], order)

    directories = [number(wide, wide)]
    for directory in directories:
        for index in range(min(number(directory, count), len(data) // entry)):
            place = directory + count + entry * index
            yield place
            if directory == directories[0] and number(place, 2) in _SUBDIRECTORIES:
                directories.append(number(place + entry - wide, wide))


_PIECES: Final = {"PNG": _png_chunks, "GIF": _gif_blocks, "TIFF": _tiff_entries}
