"""Results to what the report says: report.json, whose schema docs/comparison.md tells."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.compare.arm_scores import arm_scores
from model.compare.config import BASELINE, Arm
from model.compare.kernels import frequency_response, kernel_facts
from model.compare.measures import BAND_WIDTHS, SIZE_EDGES, WIDTH_EDGES, Measurement
from model.compare.statistics import (
    RULE,
    SEEN,
    Difference,
    chance_of_a_false_call,
    difference,
    plain_difference,
    resamplings,
    seeds_to_see,
)
from model.compare.verdict import verdict
from model.transposed import count_multiplications

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from model.compare.folder import Plan
    from model.compare.results import ArmResult

    Results = Mapping[tuple[Arm, int], ArmResult]

SCHEMA_VERSION: Final = 1

FORMS_SIZE: Final = (8, 8)
"""Coarse map on which the four forms of a transposed convolution are counted."""


def summarise(
    plan: Plan, results: Results, latency: dict[str, Any], missing: list[str], times: dict[str, Any]
) -> dict[str, Any]:
    """Everything that the report says, JSON-able once ``results.json_bytes`` has written it.

    Args:
        plan: Of the comparison.
        results: By arm and seed; only seeds with every arm's are used.
        latency: From ``ComparisonFolder.latency``.
        missing: What ``ComparisonFolder.results`` did not find.
        times: Of the forms of a transposed convolution, from ``ComparisonFolder.forms``.
    """
    seeds = [seed for seed in plan.seeds if all((arm, seed) in results for arm in plan.arms)]
    pictures = plan.scored_pictures
    weights = resamplings(pictures, plan.config["bootstrap"])
    arms = [arm_scores(plan, arm, [results[arm, seed] for seed in seeds], latency) for arm in plan.arms]
    comparisons = [
        _comparison(plan, arm, [results[arm, seed] for seed in seeds], [results[base, seed] for seed in seeds], weights)
        for arm in plan.arms
        if arm.upsampler != BASELINE
        for base in [Arm(BASELINE, arm.stride)]
    ]
    within, across = _unshared(results, per_stride=True), _unshared(results, per_stride=False)
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": verdict(arms, comparisons, len(seeds)),
        "mode": plan.mode,
        "data": {
            "name": plan.data_name,
            "split": plan.config["split"],
            "train_pictures": plan.train_pictures,
            "scored_pictures": pictures,
            "classes": list(plan.labels.names),
            "absent": plan.absent,
            "untrained": plan.untrained,
        },
        "seeds": seeds,
        "baseline": BASELINE,
        "arms": arms,
        "comparisons": comparisons,
        "kernels": [
            _kernels(arm, [results[arm, seed] for seed in seeds]) for arm in plan.arms if _learned(results, arm)
        ],
        "forms": [
            _forms(factor, times)
            for factor in sorted(
                {arm.stride for arm in plan.arms} | {2} | {row["scale_factor"] for row in _rows(times)}
            )
        ],
        "forms_timing": {name: value for name, value in times.items() if name != "rows"},
        "statistics": {
            "rule": RULE,
            "bootstrap": plan.config["bootstrap"],
            "comparisons": len(comparisons),
            "chance_of_a_false_call": chance_of_a_false_call(len(comparisons)),
        },
        "pairing": {"unshared_within_a_stride": within, "unshared_across_strides": across},
        "latency": {name: value for name, value in latency.items() if name not in ("milliseconds", "peak_bytes")},
        "missing": missing,
        "one_class": _one_class(results),
        "config": _without_places(plan.config),
        "provenance": {
            **{name: value for name, value in plan.provenance.items() if name not in ("git_commit", "machine")},
            "machine": {name: plan.provenance["machine"][name] for name in ("processor", "cores")},
            "git_commits": sorted({result.git_commit or "none" for result in results.values()}),
        },
    }


def _comparison(
    plan: Plan, arm: Arm, ours: list[ArmResult], theirs: list[ArmResult], weights: NDArray[np.float64]
) -> dict[str, Any]:
    def compared(of: Callable[[Measurement], NDArray[np.int64]], *, shares: bool = False) -> Difference:
        if not ours:
            return Difference((), float("nan"), None, None)
        return difference(
            [of(result.measurement) for result in ours],
            [of(result.measurement) for result in theirs],
            weights,
            shares=shares,
        )

    def by_bin(edges: Sequence[int], of: Callable[[Measurement], NDArray[np.int64]]) -> list[dict[str, Any]]:
        return [
            {"from": low, "to": high, **compared(lambda m, i=index: of(m)[:, i], shares=True).to_dict()}  # type: ignore[misc]
            for index, (low, high) in enumerate(zip([0, *edges], [*edges, None], strict=True))
        ]

    miou = compared(lambda m: m.overlaps)
    errors = [
        a.measurement.calibration_error() - b.measurement.calibration_error() for a, b in zip(ours, theirs, strict=True)
    ]
    deviation = miou.deviation
    return {
        "arm": arm.name,
        "upsampler": arm.upsampler,
        "stride": arm.stride,
        "miou": miou.to_dict(),
        "boundary_iou": compared(lambda m: m.boundary).to_dict(),
        "trimap": [
            {"width": width, **compared(lambda m, w=width: m.within(w)).to_dict()}  # type: ignore[misc]
            for width in BAND_WIDTHS
        ],
        "class_iou": {
            name: compared(lambda m, i=index: m.overlaps[..., [i]]).to_dict()  # type: ignore[misc]
            for index, name in enumerate(plan.labels.names)
            if name not in plan.absent
        },
        "by_width": by_bin(WIDTH_EDGES, lambda m: m.by_width),
        "by_size": by_bin(SIZE_EDGES, lambda m: m.by_size),
        "calibration_error": plain_difference(np.asarray(errors)).to_dict() if errors else None,
        "deviation": deviation,
        "seen_difference": SEEN,
        "seeds_to_see": seeds_to_see(deviation) if deviation is not None else None,
    }


def _kernels(arm: Arm, results: list[ArmResult]) -> dict[str, Any]:
    """Facts of every upsampler of a learned arm, means over seeds."""
    stages = []
    for index in range(len(results[0].ends)):
        factor = results[0].ends[index].shape[-1] // 3
        facts = [
            kernel_facts(
                result.starts[index].astype(np.float64),
                result.ends[index].astype(np.float64),
                result.across[index],
                factor,
            ).to_dict()
            for result in results
        ]
        responses = [
            frequency_response(kernel.astype(np.float64), factor) for result in results for kernel in result.ends[index]
        ]
        stages.append(
            {
                "scale_factor": factor,
                **{name: float(np.mean([fact[name] for fact in facts])) for name in facts[0] if name != "scale_factor"},
                "frequency_response": {
                    "mean": np.mean(responses, axis=0).tolist(),
                    "low": np.min(responses, axis=0).tolist(),
                    "high": np.max(responses, axis=0).tolist(),
                },
            }
        )
    return {"arm": arm.name, "upsampler": arm.upsampler, "stride": arm.stride, "stages": stages}


def _forms(factor: int, times: dict[str, Any]) -> dict[str, Any]:
    """Multiplications of one transposed convolution of one channel in its four forms, and their times."""
    counts = count_multiplications(FORMS_SIZE, 2 * factor - factor % 2, factor, padding=factor // 2)
    timed = [row for row in _rows(times) if row["scale_factor"] == factor]
    return {
        "scale_factor": factor,
        "side": FORMS_SIZE[0],
        **asdict(counts),
        "milliseconds": {row["form"]: row["milliseconds"] for row in timed},
        "spread": {row["form"]: row["spread"] for row in timed},
    }


def _rows(times: dict[str, Any]) -> list[dict[str, Any]]:
    """Of ``measure_forms``; none where they were taken on a map of another size than is counted."""
    rows: list[dict[str, Any]] = times.get("rows", []) if times.get("side") == FORMS_SIZE[0] else []
    return rows


def _without_places(config: dict[str, Any]) -> dict[str, Any]:
    """The recipe without folders of this machine: a report is made to be handed on."""
    train = config["train"]
    places = {"data": {**train["data"], "root": None}, "loader": {**train["loader"], "cache_dir": None}}
    return {**config, "train": {**train, **places}}


def _unshared(results: Results, *, per_stride: bool) -> list[str]:
    """Which parts did not begin with the same weights in all arms of a seed (and stride): none when paired."""
    first: dict[tuple[int, int, str], str] = {}
    found = []
    for (arm, seed), result in results.items():
        for name, value in result.shared.items():
            if first.setdefault((arm.stride if per_stride else 0, seed, name), value) != value:
                found.append(f"{name} of {arm.name}, seed {seed}")
    return found


def _one_class(results: Results) -> list[str]:
    """Arms and seeds whose network answers with one class everywhere though several occur: they learned nothing."""
    found = []
    for (arm, seed), result in results.items():
        _, true, predicted = result.measurement.overlaps.sum(axis=0)
        if np.count_nonzero(predicted) == 1 < np.count_nonzero(true):
            found.append(f"{arm.name}, seed {seed}")
    return found


def _learned(results: Results, arm: Arm) -> bool:
    return any(found.ends for (other, _), found in results.items() if other == arm)
