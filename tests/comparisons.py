"""Comparisons made up in an instant: results as trainings leave them, without a training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from data.labels import LabelMap
from model.compare.folder import ComparisonFolder, Plan
from model.compare.impulses import all_impulses
from model.compare.measures import Measurement, measure_picture
from model.compare.results import ArmResult, result_file, write_result
from model.compare.stack import UpsamplerStack

if TYPE_CHECKING:
    from pathlib import Path

    from model.compare.config import Arm, CompareConfig

LABELS = LabelMap.from_names(["ground", "thing & <other> $x_$y", "wire", "never"])
PICTURES = 6
SIZE = (48, 64)


def targets() -> list[np.ndarray]:
    found = []
    for index in range(PICTURES):
        target = np.zeros(SIZE, np.uint8)
        target[8 + index : 28 + index, 10:40] = 1
        target[:, 50 + index % 3] = 2
        target[0, :5] = 255
        found.append(target)
    return found


def answered(target: np.ndarray, share: float, random: np.random.Generator) -> np.ndarray:
    """The truth with some rows of pixels beside contours painted over."""
    wrong = np.where(target == 255, 0, target)
    rolled = np.roll(wrong, 1, axis=1)
    where = random.random(SIZE) < share
    return np.where(where, rolled, wrong).astype(np.uint8)


def measured(share: float, seed: int) -> tuple[Measurement, list[np.ndarray]]:
    random = np.random.default_rng([seed, round(1000 * share)])
    maps = [answered(target, share, random) for target in targets()]
    found = [
        measure_picture(answer, np.full(SIZE, 0.9, np.float32), target, LABELS.num_classes)
        for answer, target in zip(maps, targets(), strict=True)
    ]
    return Measurement.from_arrays({n: np.stack([m.arrays()[n] for m in found]) for n in found[0].arrays()}), maps


def make_result(config: CompareConfig, arm: Arm, seed: int, share: float) -> ArmResult:
    measurement, maps = measured(share, seed)
    stack = UpsamplerStack(arm.upsampler, LABELS.num_classes, arm.stride)
    has_kernels = bool(list(stack.parameters())) and arm.upsampler != "dysample"
    starts = all_impulses(stack.modules_in_order(), LABELS.num_classes) if has_kernels else []
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    ends = all_impulses(stack.modules_in_order(), LABELS.num_classes) if starts else []
    return ArmResult(
        arm=arm,
        seed=seed,
        identity=config.identity(),
        pictures=[f"p{index}" for index in range(PICTURES)],
        measurement=measurement,
        curve=[{"epoch": 1.0, "loss": 1.0 + share}, {"epoch": 2.0, "loss": 0.5 + share}],
        parameters={"total": 3_600_000, "upsamplers": sum(p.numel() for p in stack.parameters())},
        multiplications=123_456,
        picture_size=SIZE,
        training_seconds=12.0,
        git_commit="0123456789abcdef",
        shared={"encoder": f"e{seed}", "score head at stride 32": f"h{seed}"},
        starts=[part.kernels for part in starts],
        ends=[part.kernels for part in ends],
        across=[part.across for part in ends],
        shown={"p0": maps[0]} if seed == 0 else {},
    )


def make_comparison(root: Path, config: CompareConfig, shares: dict[str, float]) -> ComparisonFolder:
    folder = ComparisonFolder(root)
    folder.prepare(config)
    folder.write_plan(
        Plan(
            config=config.to_dict(),
            identity=config.identity(),
            labels=LABELS,
            absent=["never"],
            untrained=[],
            train_pictures=10,
            scored_pictures=PICTURES,
            provenance={
                "git_commit": "0123456789abcdef",
                "python": "3.11",
                "packages": {"torch": "2.15.0", "lightning": None},
                "machine": {"processor": "a processor", "cores": 2, "system": "a system"},
            },
        )
    )
    image = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    folder.write_gallery(["p0"], [image], [targets()[0]])
    for seed in config.seed_values:
        for arm in config.arms:
            share = shares[arm.upsampler] * (1 + 0.03 * seed)
            write_result(result_file(root, arm, seed), make_result(config, arm, seed, share))
    return folder
