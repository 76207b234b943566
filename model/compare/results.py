"""The result of one arm with one seed: a JSON file, and its arrays beside it. The report is made from these alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from model.compare.config import Arm
from model.compare.measures import Measurement
from model.compare.record import reading, write_record

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


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
    text = {
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
    }
    write_record(path, text, arrays)


def read_result(path: Path, *, confusion: bool = True) -> ArmResult:
    """Read a result back.

    Args:
        path: Of the JSON file.
        confusion: As in ``Measurement.from_arrays``.

    Raises:
        RunError: it is missing, half-written, altered or of another version.
    """
    with reading(path) as (text, arrays):
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
