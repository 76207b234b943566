"""The result of one arm with one seed: a JSON file, and its arrays beside it. The report is made from these alone."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import RunError
from model.compare.config import Arm
from model.compare.measures import Measurement

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class ArmResult:
    """One arm, trained with one seed and measured.

    Attributes:
        arm: Which.
        seed: Which.
        identity: What the result depends on beside these: ``CompareConfig.identity``.
        pictures: Names of those that score, in the order of the counts.
        measurement: Their counts.
        curve: One row an epoch: ``epoch``, ``loss`` and, where measured, ``miou``.
        parameters: Of the whole network (``total``) and of its ``upsamplers``.
        multiplications: Of the upsampling of one picture.
        picture_size: Height and width of that picture.
        training_seconds: Of this arm; in the upsampler-only mode of its upsamplers.
        shared: Digests of what the arm shared with others when its training began, by name.
        git_commit: Of the checkout that made it; None outside one.
        starts: Kernels before training, one (C, 3 s, 3 s) an upsampler; empty for fixed ones.
        ends: The same after it.
        across: Share of the energy between classes after it, one an upsampler.
        shown: Label maps of the pictures shown in the report, by name; of the first seed only.
    """

    arm: Arm
    seed: int
    identity: dict[str, Any]
    pictures: list[str]
    measurement: Measurement
    curve: list[dict[str, float]]
    parameters: dict[str, int]
    multiplications: int
    picture_size: tuple[int, int]
    training_seconds: float
    shared: dict[str, str]
    git_commit: str | None
    starts: list[NDArray[np.float32]]
    ends: list[NDArray[np.float32]]
    across: list[float]
    shown: dict[str, NDArray[np.uint8]]


def result_file(root: Path, arm: Arm, seed: int) -> Path:
    """Where the result of an arm and seed lies in the folder of a comparison."""
    return root / "results" / f"{arm.name}-seed{seed}.json"


def write_result(path: Path, result: ArmResult) -> None:
    """Write a result, whole or not at all: the arrays first, then the JSON that holds their digest.

    Raises:
        RunError: the disk is full or may not be written.
    """
    arrays: dict[str, NDArray[Any]] = dict(result.measurement.arrays())
    groups: dict[str, list[NDArray[Any]]] = {
        "starts": [*result.starts],
        "ends": [*result.ends],
        "shown": [*result.shown.values()],
    }
    for name, group in groups.items():
        arrays |= {f"{name}_{index}": array for index, array in enumerate(group)}
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    data = packed.getvalue()
    text = {
        "schema_version": SCHEMA_VERSION,
        "arm": result.arm.name,
        "upsampler": result.arm.upsampler,
        "stride": result.arm.stride,
        "seed": result.seed,
        "identity": result.identity,
        "pictures": result.pictures,
        "curve": result.curve,
        "parameters": result.parameters,
        "multiplications": result.multiplications,
        "picture_size": list(result.picture_size),
        "training_seconds": result.training_seconds,
        "shared": result.shared,
        "git_commit": result.git_commit,
        "across": result.across,
        "upsamplers": len(result.ends),
        "shown": list(result.shown),
        "arrays": {"file": path.with_suffix(".npz").name, "sha256": hashlib.sha256(data).hexdigest()},
    }
    write_whole(path.with_suffix(".npz"), data)
    write_whole(path, json_bytes(text))


def read_result(path: Path, *, confusion: bool = True) -> ArmResult:
    """Read a result back.

    Args:
        path: Of the JSON file.
        confusion: As in ``Measurement.from_arrays``.

    Raises:
        RunError: it is missing, half-written, altered or of another version.
    """
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
        if text["schema_version"] != SCHEMA_VERSION:
            raise RunError(
                f"{path.name} has schema version {text['schema_version']}; this version reads {SCHEMA_VERSION}"
            )
        data = path.with_name(text["arrays"]["file"]).read_bytes()
        if hashlib.sha256(data).hexdigest() != text["arrays"]["sha256"]:
            raise RunError(f"{path.with_suffix('.npz').name} does not belong to {path.name}")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return ArmResult(
                arm=Arm(text["upsampler"], text["stride"]),
                seed=text["seed"],
                identity=text["identity"],
                pictures=text["pictures"],
                measurement=Measurement.from_arrays(arrays, confusion=confusion),
                curve=text["curve"],
                parameters=text["parameters"],
                multiplications=text["multiplications"],
                picture_size=(text["picture_size"][0], text["picture_size"][1]),
                training_seconds=text["training_seconds"],
                shared=text["shared"],
                git_commit=text["git_commit"],
                starts=[arrays[f"starts_{index}"] for index in range(text["upsamplers"])],
                ends=[arrays[f"ends_{index}"] for index in range(text["upsamplers"])],
                across=text["across"],
                shown={name: arrays[f"shown_{index}"] for index, name in enumerate(text["shown"])},
            )
    except FileNotFoundError as error:
        raise RunError(f"{Path(error.filename).name} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path.name} is damaged: {type(error).__name__}: {error}") from error


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all.

    Raises:
        RunError: the disk is full or may not be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
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
