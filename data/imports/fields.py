"""Fields: values in a JSON or XML file that someone else wrote, taken out one by one and never trusted."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_LARGEST: Final = 1e7
"""Largest coordinate or side: no picture has more pixels along a side, and wider numbers overflow when drawn."""


def read_json(path: Path) -> object:
    """A JSON file's content.

    Raises:
        DataError: it cannot be read, or is no JSON.
    """
    try:
        found: object = json.loads(path.read_text(encoding="utf-8-sig"))
        return found
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text: export it again") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path} is no JSON (line {error.lineno}, column {error.colno}: {error.msg}): is it cut off?"
        ) from None
    except RecursionError:
        raise DataError(f"{path} is nested deeper than any export: export it again") from None


def listed(value: object, where: str) -> list[Any]:
    """A list.

    Raises:
        DataError: it is something else; the message begins with ``where``.
    """
    if not isinstance(value, list):
        raise DataError(f"{where} is {_shown(value)}; a list is expected")
    return value


def mapped(value: object, where: str) -> dict[str, Any]:
    """An object with named fields.

    Raises:
        DataError: as in ``listed``.
    """
    if not isinstance(value, dict):
        raise DataError(f"{where} is {_shown(value)}; an object with fields is expected")
    return value


def text(value: object, where: str) -> str:
    """A text that is not empty.

    Raises:
        DataError: as in ``listed``.
    """
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{where} is {_shown(value)}; a text is expected")
    return value


def number(value: object, where: str) -> float:
    """A finite number; XML has them as texts.

    Raises:
        DataError: as in ``listed``.
    """
    try:
        found = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        found = math.nan
    if not abs(found) <= _LARGEST:
        raise DataError(f"{where} is {_shown(value)}; a number is expected")
    return found


def whole(value: object, where: str) -> int:
    """A whole number.

    Raises:
        DataError: as in ``listed``.
    """
    found = number(value, where)
    if found != int(found):
        raise DataError(f"{where} is {_shown(value)}; a whole number is expected")
    return int(found)


def points(values: Sequence[Any], where: str) -> NDArray[np.float64]:
    """Coordinates x, y, x, y, ... as points, shape (N, 2).

    Raises:
        DataError: an odd number of them, or one is no finite number.
    """
    if len(values) % 2:
        raise DataError(f"{where} has {len(values)} coordinates; pairs of x and y are expected")
    flat = [number(value, f"{where}: coordinate {place}") for place, value in enumerate(values)]
    return np.asarray(flat, dtype=np.float64).reshape(-1, 2)


def lengths(values: Sequence[Any], where: str) -> NDArray[np.int64]:
    """Lengths of runs.

    Raises:
        DataError: one is no whole number from 0 up.
    """
    try:
        found = np.asarray(values)
        if found.ndim != 1 or found.dtype.kind not in "iu" or found.size == 0 or int(found.min()) < 0:
            raise ValueError
    except (ValueError, OverflowError):
        raise DataError(f"{where}: run lengths must be whole numbers from 0 up") from None
    return found.astype(np.int64)


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:60]}..."
