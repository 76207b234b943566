"""Brush: masks in Label Studio's own run lengths, as its BrushLabels reads them.

Label Studio packs the red, green, blue and alpha of every pixel with the run-length code of thi.ng/rle-pack: 32 bits
for the number of values, 5 for their width less one, four times 4 for the widths of run lengths less one; then runs of
one bit (1: repeated), two bits (which of the four widths), the length less one and the value. Bits go from the highest
down, row by row of the picture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

_CHANNELS: Final = 4
_VALUE_BITS: Final = 8
_LENGTH_BITS: Final = np.array([3, 4, 8, 16], dtype=np.int64)
_LONGEST: Final = 1 << 16
_WIDEST: Final = 3 + 16 + _VALUE_BITS
_AT_ONCE: Final = 1 << 15
"""Runs that are turned into bits together: 27 numbers each."""


def encode_brush(mask: NDArray[np.bool_], most_runs: int | None = None) -> NDArray[np.uint8]:
    """One mask as the bytes of a brush.

    Args:
        mask: Shape (H, W).
        most_runs: Refuse a mask of more runs.

    Returns:
        The bytes; Label Studio takes them as a list of numbers.

    Raises:
        ImageError: the mask has more runs.
    """
    flat = mask.reshape(-1)
    changes = flat[1:] != flat[:-1]
    runs = int(np.count_nonzero(changes)) + 1
    if most_runs is not None and runs > most_runs:
        raise ImageError(f"a mask has {runs} runs; at most {most_runs} are written: segment a smaller picture")
    starts = np.concatenate([[0], np.flatnonzero(changes) + 1, [flat.size]])
    lengths = np.diff(starts) * _CHANNELS
    values = flat[starts[:-1]].astype(np.int64) * 255

    # A run longer than a length can say is written in pieces; the last has what is left.
    pieces = (lengths - 1) // _LONGEST + 1
    last = np.cumsum(pieces) - 1
    piece_lengths = np.full(int(pieces.sum()), _LONGEST, dtype=np.int64)
    piece_lengths[last] = lengths - (pieces - 1) * _LONGEST
    piece_values = np.repeat(values, pieces)

    kind = (piece_lengths > 8).astype(np.int64) + (piece_lengths > 16) + (piece_lengths > 256)
    length_bits = _LENGTH_BITS[kind]
    codes = ((4 | kind) << (length_bits + _VALUE_BITS)) | ((piece_lengths - 1) << _VALUE_BITS) | piece_values
    return _pack(_header(flat.size * _CHANNELS), codes, length_bits + 3 + _VALUE_BITS)


def brush_regions(
    label_map: NDArray[np.uint8],
    labels: Mapping[int, str],
    scores: Mapping[int, float],
    from_name: str,
    to_name: str,
    most_runs: int | None = None,
) -> Iterator[tuple[dict[str, Any], NDArray[np.uint8]]]:
    """A result of Label Studio for every class that is present.

    Args:
        label_map: Class indices, shape (H, W).
        labels: What Label Studio calls each class, by id; a class that is not here is left out.
        scores: Mean probability of the classes, by id, 0 to 1; of those that are here.
        from_name: Name of the BrushLabels tag in the labelling configuration.
        to_name: Name of the Image tag there.
        most_runs: As in ``encode_brush``.

    Yields:
        The result without its run lengths, and these; they belong into ``value`` as ``rle``.

    Raises:
        ImageError: as in ``encode_brush``.
    """
    height, width = label_map.shape
    present = np.bincount(label_map.reshape(-1), minlength=256)
    for index, label in labels.items():
        if not present[index]:
            continue
        result: dict[str, Any] = {
            "id": f"class-{index}",
            "from_name": from_name,
            "to_name": to_name,
            "type": "brushlabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {"format": "rle", "brushlabels": [label]},
        }
        if index in scores:
            result["score"] = round(scores[index], 6)
        yield result, encode_brush(label_map == index, most_runs)


def _header(values: int) -> NDArray[np.uint8]:
    """The first 53 bits, a number each."""
    text = f"{values:032b}{_VALUE_BITS - 1:05b}" + "".join(f"{bits - 1:04b}" for bits in _LENGTH_BITS.tolist())
    return np.array([int(bit) for bit in text], dtype=np.uint8)


def _pack(header: NDArray[np.uint8], codes: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """The lowest ``widths`` bits of every code, one behind the other, in bytes."""
    shifts = np.arange(_WIDEST - 1, -1, -1)
    packed = []
    rest = header
    for start in range(0, codes.size, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        bits = (codes[part, None] >> shifts & 1).astype(np.uint8)[shifts < widths[part, None]]
        stream = np.concatenate([rest, bits])
        whole = stream.size - stream.size % 8
        packed.append(np.packbits(stream[:whole]))
        rest = stream[whole:]
    packed.append(np.packbits(rest))
    return np.concatenate(packed)
