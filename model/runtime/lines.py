"""Lines: where in a journal the last line on each picture stands, in a few bytes a picture however many there are."""

from __future__ import annotations

from array import array
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class LineIndex:
    """From keys to offsets of lines; the last line of a key counts.

    16 bytes a line are held, not the lines: of each key a number that stands for it, and the offset. Two keys
    may share a number, about once in 2^64 pairs: who reads the line finds its real key there.

    Args:
        lines: Key and offset of each line, in the order of the file.
    """

    def __init__(self, lines: Iterable[tuple[str, int]] = ()) -> None:
        numbers, offsets = array("Q"), array("q")
        for key, offset in lines:
            numbers.append(_number(key))
            offsets.append(offset)
        order = np.argsort(np.asarray(numbers), kind="stable")
        ordered = np.asarray(numbers)[order]
        last = np.ones(len(ordered), dtype=bool)
        last[:-1] = ordered[1:] != ordered[:-1]
        self._numbers = ordered[last]
        self._offsets = np.asarray(offsets)[order[last]]

    def find(self, key: str) -> int | None:
        """Offset of the last line of a key, or None."""
        number = np.uint64(_number(key))
        place = int(np.searchsorted(self._numbers, number))
        if place == len(self._numbers) or self._numbers[place] != number:
            return None
        return int(self._offsets[place])

    def offsets(self) -> Iterator[int]:
        """Offsets of the last line of every key, in the order of the file."""
        return map(int, np.sort(self._offsets))


def _number(key: str) -> int:
    # A file's name may hold bytes that are no UTF-8; Python has them as lone surrogates.
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
