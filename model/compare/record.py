"""Record: what a comparison keeps on disk, a JSON file with the arrays beside it, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import RunError
from model.runtime.whole import writing_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SCHEMA_VERSION: Final = 1


def write_record(path: Path, text: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a record: the arrays first, then the JSON that holds their digest.

    Args:
        path: Of the JSON file; the arrays lie beside it as ``.npz``.
        text: JSON-able but for numbers that are not finite, which become null.
        arrays: By name.

    Raises:
        RunError: the disk is full or may not be written.
    """
    data = packed(arrays)
    beside = path.with_suffix(".npz")
    digest = {"file": beside.name, "sha256": hashlib.sha256(data).hexdigest()}
    write_whole(beside, data)
    write_whole(path, json_bytes({"schema_version": SCHEMA_VERSION, **text, "arrays": digest}))


@contextmanager
def reading(path: Path) -> Iterator[tuple[dict[str, Any], Mapping[str, NDArray[Any]]]]:
    """Read a record back; what is made of it belongs inside, so that a field of a wrong kind is told as damage.

    Args:
        path: Of the JSON file.

    Yields:
        The JSON and the arrays.

    Raises:
        RunError: it is missing, half-written, altered or of another version.
    """
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        if text["schema_version"] != SCHEMA_VERSION:
            raise RunError(
                f"{path.name} has schema version {text['schema_version']}; this version reads {SCHEMA_VERSION}"
            )
        beside = path.with_suffix(".npz")
        data = beside.read_bytes()
        if hashlib.sha256(data).hexdigest() != text["arrays"]["sha256"]:
            raise RunError(f"{beside.name} does not belong to {path.name}")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            yield text, arrays
    except FileNotFoundError:
        raise RunError(f"{path.name} or its arrays are missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path.name} is damaged: {type(error).__name__}: {error}") from error


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays by name as the bytes of an ``.npz`` file."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        RunError: the disk is full or may not be written.
    """
    try:
        with writing_whole(path) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # hours of training: a machine that loses its power keeps them
    except OSError as error:
        raise RunError(
            f"{path} cannot be written ({error.strerror}): free some disk and start again to go on"
        ) from error


def json_bytes(value: object) -> bytes:
    """JSON with what is not finite as null."""
    return (json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _finite(value: object) -> Any:  # noqa: ANN401 - a JSON value of any kind
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value
