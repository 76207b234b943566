"""The result of one method with one seed: a JSON file, and its arrays beside it, as those of the arms are kept."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import RunError
from model.compare.reconstruction.methods import FIXED, METHODS
from model.compare.reconstruction.training import Recipe
from model.compare.record import packed, reading, write_record, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from model.compare.reconstruction.methods import MethodName

FOLDER: Final = "reconstruction"

Key = tuple["MethodName", int | None]
"""A method and its seed; None for one that learns nothing."""


@dataclass(frozen=True)
class Shown:
    """One picture of the report, as a method has it.

    Attributes:
        restored: RGB, shape (H, W, 3).
        summary: What was kept of it, shape (h, w, 3).
    """

    restored: NDArray[np.uint8]
    summary: NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """One method, trained with one seed and scored.

    Attributes:
        method: Which.
        seed: Which; None where nothing is learned.
        identity: What the result depends on beside these.
        pictures: Names of those that score, in the order of the scores.
        psnr: In dB, of every picture; infinite where it came back exactly.
        ssim: Of every picture; NaN where it is too small to have one.
        parameters: How many are learned.
        seconds: Of training.
        curve: Loss, means over tenths of the training; none where nothing is learned.
        kernel: Of a linear method, one a colour, shape (3, 4 s, 4 s); empty of others.
        shown: Pictures of the report, by name.
    """

    method: MethodName
    seed: int | None
    identity: dict[str, Any]
    pictures: list[str]
    psnr: list[float]
    ssim: list[float]
    parameters: int
    seconds: float
    curve: list[float]
    kernel: NDArray[np.float32]
    shown: dict[str, Shown] = field(default_factory=dict)


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What every part depends on beside its method and seed, JSON-able.

    Args:
        config: Of ``CompareConfig.to_dict``.
    """
    recipe = Recipe(config["reconstruction_factor"], config["reconstruction_steps"])
    return {"data": config["train"]["data"], "split": config["split"], "recipe": asdict(recipe)}


def keys(seeds: Sequence[int]) -> list[Key]:
    """Every part of an experiment: fixed methods once, those that learn with every seed."""
    fixed: list[Key] = [(method, None) for method in FIXED]
    return fixed + [(method, seed) for seed in seeds for method in METHODS if method not in FIXED]


def part_file(root: Path, key: Key) -> Path:
    """Where a part lies in the folder of a comparison."""
    method, seed = key
    return root / FOLDER / (f"{method}.json" if seed is None else f"{method}-seed{seed}.json")


def write_part(path: Path, part: Part) -> None:
    """Write a part, whole or not at all: the arrays first, then the JSON that holds their digest.

    Raises:
        RunError: the disk is full or may not be written.
    """
    arrays: dict[str, NDArray[Any]] = {"kernel": part.kernel}
    for index, shown in enumerate(part.shown.values()):
        arrays |= {f"restored_{index}": shown.restored, f"summary_{index}": shown.summary}
    text = {
        "method": part.method,
        "seed": part.seed,
        "identity": part.identity,
        "pictures": part.pictures,
        # JSON has no infinity: null stands for it here, and for what is not defined below.
        "psnr": part.psnr,
        "ssim": part.ssim,
        "parameters": part.parameters,
        "seconds": part.seconds,
        "curve": part.curve,
        "shown": list(part.shown),
    }
    write_record(path, text, arrays)


def read_part(path: Path) -> Part:
    """Read a part back.

    Raises:
        RunError: it is missing, half-written, altered or of another version.
    """
    with reading(path) as (text, arrays):
        found = Part(
            method=text["method"],
            seed=text["seed"],
            identity=text["identity"],
            pictures=text["pictures"],
            psnr=[math.inf if value is None else float(value) for value in text["psnr"]],
            ssim=[math.nan if value is None else float(value) for value in text["ssim"]],
            parameters=text["parameters"],
            seconds=text["seconds"],
            curve=text["curve"],
            kernel=arrays["kernel"],
            shown={
                name: Shown(arrays[f"restored_{index}"], arrays[f"summary_{index}"])
                for index, name in enumerate(text["shown"])
            },
        )
    if not len(found.pictures) == len(found.psnr) == len(found.ssim):
        raise RunError(f"{path.name} is damaged: not one score a picture")
    return found


def read_parts(root: Path, config: Mapping[str, Any]) -> tuple[dict[Key, Part], list[int], list[str]]:
    """Every part of a comparison that is there.

    Args:
        root: Folder of the comparison.
        config: Of its plan. Without the setting, as older plans are, nothing is read.

    Returns:
        Parts by method and seed; seeds with every method's; what is missing or damaged, one sentence each.
    """
    if not config.get("reconstruction") or not (root / FOLDER).is_dir():
        return {}, [], []
    first = config["train"]["seed"]
    seeds = list(range(first, first + config["seeds"]))
    expected = identity(config)
    found: dict[Key, Part] = {}
    missing = []
    for key in keys(seeds):
        path = part_file(root, key)
        try:
            part = read_part(path)
        except RunError as error:
            missing.append(f"{FOLDER}: {error}")
            continue
        if part.identity != expected or any(part.pictures != other.pictures for other in found.values()):
            missing.append(f"{FOLDER}: {path.name} has other pictures or another recipe")
            continue
        found[key] = part
    complete = [seed for seed in seeds if all(key in found for key in keys([seed]))]
    return found, complete, missing


def write_originals(root: Path, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
    """Write the pictures that the report shows as they were before; with none, none are left.

    Raises:
        RunError: the disk is full or may not be written.
    """
    arrays: dict[str, NDArray[Any]] = {"names": np.asarray(list(pictures), dtype=np.str_)}
    arrays |= {f"original_{index}": picture for index, picture in enumerate(pictures.values())}
    write_whole(root / FOLDER / "originals.npz", packed(arrays))


def read_originals(root: Path) -> dict[str, NDArray[np.uint8]]:
    """By name; none where they are not there or damaged."""
    try:
        with np.load(root / FOLDER / "originals.npz", allow_pickle=False) as arrays:
            return {str(name): arrays[f"original_{index}"] for index, name in enumerate(arrays["names"])}
    except (OSError, ValueError, KeyError):
        return {}
