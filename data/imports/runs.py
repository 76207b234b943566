"""Runs: the three run-length codes of masks in exports, decoded within the bounds of their picture.

pycocotools trusts its texts: one that is cut off makes it read beyond the end. So they are decoded here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COCO_TEXT: Final = re.compile(r"(?:[P-o]{0,6}[0-O])+")
"""Numbers in COCO's compressed counts: six bits a character from 0 up, the highest says that more follow."""

_CHANNELS: Final = 4
_VALUE_BITS: Final = 8


def counts_of_text(text: str) -> NDArray[np.int64]:
    """The run lengths in COCO's compressed counts.

    Each number is written in groups of five bits, the lowest first, with a sign; from the fourth on it is the
    difference to the number two before (cocoapi, maskApi.c, rleFrString).

    Raises:
        DataError: the text is none, or is cut off.
    """
    if not _COCO_TEXT.fullmatch(text):
        raise DataError("compressed counts are damaged or cut off")
    codes = np.frombuffer(text.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = ends - starts + 1
    places = np.arange(codes.size) - np.repeat(starts, digits)
    values: NDArray[np.int64] = np.add.reduceat((codes & 31) << (5 * places), starts)
    values -= np.where((codes[ends] & 16) != 0, np.int64(1) << (5 * digits), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def mask_of_counts(counts: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.bool_]:
    """A mask from the lengths of its runs, by turns out of it and in it, row by row.

    Raises:
        DataError: a length is negative, or they do not fill the mask.
    """
    if counts.size and int(counts.min()) < 0:
        raise DataError("run lengths are damaged: one is negative")
    if int(counts.sum()) != rows * columns:
        raise DataError(
            f"run lengths cover {int(counts.sum())} pixels; {columns}x{rows} = {rows * columns} are expected"
        )
    inside = (np.arange(counts.size) % 2).astype(np.bool_)
    return np.repeat(inside, counts).reshape(rows, columns)


def decode_brush(data: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """The opacity of every pixel of a brush of Label Studio: the inverse of ``model.runtime.brush``.

    The code is that of thi.ng/rle-pack over the red, green, blue and alpha of all pixels: a header with the number of
    values and the widths of run lengths, then runs of one value or of several.

    Args:
        data: The bytes that stand as ``rle``.
        pixels: Of the picture.

    Returns:
        Alpha, 0 to 255, shape (pixels,).

    Raises:
        DataError: the bytes are damaged, cut off or of another size.
    """
    stream = data.tobytes()
    place = 0

    def read(size: int) -> int:
        nonlocal place
        place += size
        last = (place + 7) >> 3
        if last > len(stream):
            raise DataError("the brush's run lengths are cut off")
        # Whole numbers of any length come out of bytes at once; a loop over bits would take minutes.
        value = int.from_bytes(stream[(place - size) >> 3 : last])
        return value >> (8 * last - place) & ((1 << size) - 1)

    count, word = read(32), read(5) + 1
    widths = [read(4) + 1 for _ in range(4)]
    if word != _VALUE_BITS or count != pixels * _CHANNELS:
        raise DataError(
            f"the brush holds {count} values of {word} bits; {pixels * _CHANNELS} of {_VALUE_BITS} are expected, "
            "four a pixel: is it of another picture?"
        )
    values = np.empty(count, dtype=np.uint8)
    done = 0
    while done < count:
        repeated = read(1)
        length = read(widths[read(2)]) + 1
        if done + length > count:
            raise DataError("the brush's run lengths are damaged: they go on after the picture's last pixel")
        if repeated:
            values[done : done + length] = read(_VALUE_BITS)
        else:
            several = read(_VALUE_BITS * length).to_bytes(length)
            values[done : done + length] = np.frombuffer(several, dtype=np.uint8)
        done += length
    return values[_CHANNELS - 1 :: _CHANNELS]
