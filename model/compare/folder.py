"""The folder of a comparison: what it was told, and the results in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import RunError
from data.labels import LabelMap
from model.compare.config import Arm, differences
from model.compare.record import json_bytes, packed, write_whole
from model.compare.results import ArmResult, read_result, result_file

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from model.compare.config import CompareConfig

SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class Plan:
    """What the report needs beside the results.

    Attributes:
        config: As JSON, of ``CompareConfig.to_dict``.
        identity: Of ``CompareConfig.identity``.
        labels: Classes of the data.
        absent: Classes without a pixel in the pictures that score.
        untrained: Classes without a pixel in the training pictures.
        train_pictures: How many.
        scored_pictures: How many.
        provenance: Commit, versions, machine.
    """

    config: dict[str, Any]
    identity: dict[str, Any]
    labels: LabelMap
    absent: list[str]
    untrained: list[str]
    train_pictures: int
    scored_pictures: int
    provenance: dict[str, Any]

    @property
    def arms(self) -> list[Arm]:
        """As ``CompareConfig.arms``."""
        strides = sorted(self.config["strides"], reverse=True)
        return [Arm(upsampler, stride) for stride in strides for upsampler in self.config["upsamplers"]]

    @property
    def seeds(self) -> list[int]:
        """As ``CompareConfig.seed_values``."""
        first = self.config["train"]["seed"]
        return list(range(first, first + self.config["seeds"]))

    @property
    def mode(self) -> str:
        """``end-to-end`` or ``upsampler-only``."""
        return str(self.config["mode"])

    @property
    def data_name(self) -> str:
        """Kind of data."""
        return str(self.config["train"]["data"]["name"])


@dataclass(frozen=True)
class ComparisonFolder:
    """Where a comparison lies.

    Attributes:
        root: Holds comparison.json, results/, runs/, report.html, report.md, report.json.
    """

    root: Path

    @property
    def plan_file(self) -> Path:
        """What was told and found out before the first training."""
        return self.root / "comparison.json"

    @property
    def latency_file(self) -> Path:
        """Times in the serving engine."""
        return self.root / "latency.json"

    @property
    def forms_file(self) -> Path:
        """Times of the forms of a transposed convolution."""
        return self.root / "forms.json"

    @property
    def gallery_file(self) -> Path:
        """The pictures shown in the report."""
        return self.root / "gallery.npz"

    def run_root(self, name: str, seed: int) -> Path:
        """Training directory of an arm."""
        return self.root / "runs" / f"{name}-seed{seed}"

    def prepare(self, config: CompareConfig) -> None:
        """Make the folder, or make sure that what lies there belongs to the same comparison.

        Raises:
            RunError: it holds something else, results of another recipe, or cannot be written.
        """
        if self.plan_file.is_file():
            changed = differences(self.plan().identity, json.loads(json_bytes(config.identity())))
            if changed:
                raise RunError(
                    f"{self.root} holds a comparison with another recipe: {'; '.join(changed)}. Give another folder, "
                    f"or "
                    "the same recipe; arms, strides and seeds may be added to it"
                )
        elif self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            raise RunError(f"{self.root} exists, is not empty and holds no comparison: give another folder")
        try:
            (self.root / "results").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"{self.root} cannot be written ({error.strerror}): give another folder") from error

    def write_plan(self, plan: Plan) -> None:
        """Write comparison.json."""
        values = {
            "schema_version": SCHEMA_VERSION,
            "config": plan.config,
            "identity": plan.identity,
            "labels": [
                {"name": name, "colour": list(colour)}
                for name, colour in zip(plan.labels.names, plan.labels.palette, strict=True)
            ],
            "absent": plan.absent,
            "untrained": plan.untrained,
            "train_pictures": plan.train_pictures,
            "scored_pictures": plan.scored_pictures,
            "provenance": plan.provenance,
        }
        write_whole(self.plan_file, json_bytes(values))

    def plan(self) -> Plan:
        """Read comparison.json.

        Raises:
            RunError: there is none, or it is damaged.
        """
        try:
            values = json.loads(self.plan_file.read_text(encoding="utf-8"))
            if values["schema_version"] != SCHEMA_VERSION:
                raise RunError(
                    f"{self.plan_file} has schema version {values['schema_version']}; this version reads "
                    f"{SCHEMA_VERSION}"
                )
            labels = LabelMap(
                tuple(entry["name"] for entry in values["labels"]),
                tuple((entry["colour"][0], entry["colour"][1], entry["colour"][2]) for entry in values["labels"]),
            )
            names = ("config", "identity", "absent", "untrained", "train_pictures", "scored_pictures", "provenance")
            return Plan(labels=labels, **{name: values[name] for name in names})
        except FileNotFoundError:
            raise RunError(f"{self.root} holds no comparison: it has no {self.plan_file.name}") from None
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise RunError(f"{self.plan_file} is damaged: {type(error).__name__}: {error}") from error

    def results(self, plan: Plan) -> tuple[dict[tuple[Arm, int], ArmResult], list[str]]:
        """Every result of a plan that is there.

        Returns:
            Results by arm and seed, and what is missing or damaged, one sentence each.
        """
        found: dict[tuple[Arm, int], ArmResult] = {}
        missing = []
        for seed in plan.seeds:
            for arm in plan.arms:
                try:
                    result = read_result(result_file(self.root, arm, seed), confusion=False)
                except RunError as error:
                    missing.append(f"{arm.name}, seed {seed}: {error}")
                    continue
                found[arm, seed] = result
        return found, missing

    def write_gallery(
        self, names: list[str], images: list[NDArray[np.uint8]], targets: list[NDArray[np.uint8]]
    ) -> None:
        """Write the pictures that the report shows."""
        arrays: dict[str, NDArray[Any]] = {"names": np.asarray(names, dtype=np.str_)}
        for index, (image, target) in enumerate(zip(images, targets, strict=True)):
            arrays[f"image_{index}"], arrays[f"target_{index}"] = image, target
        write_whole(self.gallery_file, packed(arrays))

    def gallery(self) -> list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]]:
        """Name, image and target of the pictures that the report shows; none where there are none."""
        try:
            with np.load(self.gallery_file, allow_pickle=False) as arrays:
                return [
                    (str(name), arrays[f"image_{index}"], arrays[f"target_{index}"])
                    for index, name in enumerate(arrays["names"])
                ]
        except (OSError, ValueError, KeyError):
            return []

    def latency(self) -> dict[str, Any]:
        """Times and peak memory in the serving engine; empty where not measured."""
        found = _object(self.latency_file)
        whole = {"milliseconds", "peak_bytes", "picture", "rounds", "engine", "processor"} <= found.keys()
        return found if whole and _of_arms(found["milliseconds"]) and _of_arms(found["peak_bytes"]) else {}

    def forms(self) -> dict[str, Any]:
        """Times of the forms of a transposed convolution, from ``measure_forms``; empty where not measured."""
        found = _object(self.forms_file)
        rows = found.get("rows")
        whole = {"rows", "side", "rounds", "threads", "precision", "processor", "git_commit"} <= found.keys()
        if not whole or not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            return {}
        known = {"scale_factor", "form", "multiplications", "milliseconds", "spread"}
        return found if all(known <= row.keys() for row in rows) else {}


def _object(path: Path) -> dict[str, Any]:
    """What a JSON file holds; empty where it is missing, damaged or holds no object."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _of_arms(found: object) -> bool:
    """Whether a JSON value holds one number, or none, for each of some names."""
    return isinstance(found, dict) and all(value is None or type(value) in (int, float) for value in found.values())
