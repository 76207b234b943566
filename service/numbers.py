"""Numbers: long arrays of bytes written as JSON numbers, read and written a piece at a time.

Python's JSON parser holds the interpreter's lock to the end of a document. For millions of numbers that is a
second in which no other request is even accepted, from whatever thread it is called. A piece takes a millisecond.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Final

import numpy as np

from service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_PIECE: Final = 1 << 16
_KEY: Final = b'"data"'
_MOST_KEYS: Final = 1000
_OPENING: Final = re.compile(rb"\s{0,64}:\s{0,64}(?=\[)")
_WHOLE_NUMBERS: Final = re.compile(rb"[\d,\[\]\s]*")
_BLANKS: Final = b" \t\n\r\v\f"
_ANY_DIGIT: Final = bytes.maketrans(b"123456789", b"0" * 9)
_NEVER_BESIDE: Final = (b"0[", b"]0", b"][", b"[,", b",]")
_NO_BRACKETS: Final = bytes.maketrans(b"[]", b"  ")
_TEXTS: Final = [str(value) for value in range(256)]


def set_apart(text: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Take the arrays of whole numbers that stand under the key ``data`` out of a JSON document.

    Args:
        text: A JSON document, not parsed yet.

    Returns:
        The document with a word in the place of every such array, and the arrays' own text by these words. Nobody
        can guess them, so no text of the client's is taken for one. What is no such array, or is malformed, stays
        where it stands: the parser tells what is wrong with it.

    Raises:
        ServiceError: 400, the key stands there more often than any request needs.
    """
    secret = secrets.token_hex(8)
    arrays: dict[str, bytes] = {}
    rest = []
    done = place = keys = 0
    while (place := text.find(_KEY, place)) >= 0:
        keys += 1
        if keys > _MOST_KEYS:
            raise ServiceError(
                400, "malformed_json", f"The document has more than {_MOST_KEYS} keys 'data'.", "Send fewer tensors."
            )
        opening = _OPENING.match(text, place + len(_KEY))
        # Behind a backslash the quotation mark stands within a text, and this is no key.
        if opening is None or text[place - 1 : place] == b"\\":
            place += len(_KEY)
            continue
        start = opening.end()
        end = _array_end(text, start)
        if end > start:
            word = f"{secret}-{len(arrays)}"
            arrays[word] = text[start:end]
            rest += [text[done:start], b'"', word.encode(), b'"']
            done = end
        place = end
    rest.append(text[done:])
    return b"".join(rest), arrays


def _array_end(text: bytes, start: int) -> int:
    """Where the array of whole numbers ends that begins here; ``start`` where there is none, or it is malformed."""
    depth, end, before = 0, start, b""
    while (piece := _WHOLE_NUMBERS.match(text, end, end + _PIECE)) and piece.end() > end:
        kinds = before + piece[0].translate(_ANY_DIGIT, _BLANKS)
        # A flat array has no bracket between its ends, and is spared the search.
        if (b"[" in kinds or b"]" in kinds) and any(pair in kinds for pair in _NEVER_BESIDE):
            return start
        brackets = np.frombuffer(kinds[len(before) :].translate(None, b"0,"), dtype=np.uint8)
        if brackets.size:
            # The code of "[" is 91 and that of "]" is 93.
            depths = depth + np.cumsum((92 - brackets).view(np.int8), dtype=np.int64)
            if (end > start and depth == 0) or depths[:-1].min(initial=1) < 1:
                return start
            depth = int(depths[-1])
        before = kinds[-1:]
        end = piece.end()
    # What follows an array begins with a comma, a brace or white space; the last bracket is its own.
    return start if depth else text.rfind(b"]", start, end) + 1


def read_numbers(text: bytes, count: int) -> NDArray[np.uint8]:
    """Read an array that ``set_apart`` found, flat or nested: only the order of its numbers counts.

    Args:
        text: From its first to its last bracket.
        count: How many numbers it must have.

    Returns:
        Shape (count,).

    Raises:
        ServiceError: 400, it is malformed, has another count, or a number above 255.
    """
    values = np.empty(count, dtype=np.uint8)
    filled = start = 0
    while start < len(text):
        end = text.find(b",", start + _PIECE)
        end = len(text) if end < 0 else end
        try:
            piece = np.array(json.loads(b"[" + text[start:end].translate(_NO_BRACKETS) + b"]"), dtype=np.int64)
        except (ValueError, OverflowError):
            raise _invalid("The data of a tensor is no JSON array of whole numbers.") from None
        if piece.size and not 0 <= piece.min() <= piece.max() <= 255:
            raise _invalid("The data of a tensor holds a number above 255.")
        if filled + piece.size > count:
            raise _invalid(f"The data of a tensor has more numbers than its shape, {count}.")
        values[filled : filled + piece.size] = piece
        filled += piece.size
        start = end + 1
    if filled < count:
        raise _invalid(f"The data of a tensor has {filled} numbers; its shape has {count}.")
    return values


def write_numbers(values: NDArray[np.uint8]) -> Iterator[bytes]:
    """A flat JSON array, in pieces.

    Args:
        values: Any shape; they are written in C order.
    """
    flat = values.reshape(-1)
    yield b"["
    for start in range(0, flat.size, _PIECE):
        comma = "," if start else ""
        yield (comma + ",".join([_TEXTS[value] for value in flat[start : start + _PIECE].tolist()])).encode()
    yield b"]"


def _invalid(message: str) -> ServiceError:
    return ServiceError(400, "invalid_tensor", message, "UINT8 takes whole numbers from 0 to 255.")
