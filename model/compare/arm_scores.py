"""Scores of one arm, over its seeds, as report.json has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model.compare.measures import BAND_WIDTHS, SIZE_EDGES, WIDTH_EDGES, Measurement
from model.compare.statistics import overlap_scores, share_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from model.compare.config import Arm
    from model.compare.folder import Plan
    from model.compare.results import ArmResult


def arm_scores(plan: Plan, arm: Arm, results: list[ArmResult], latency: dict[str, Any]) -> dict[str, Any]:
    """An entry of ``arms``.

    Args:
        plan: Of the comparison.
        arm: Which.
        results: Of the arm, one a seed.
        latency: From ``ComparisonFolder.latency``.
    """
    counts = [result.measurement for result in results]
    names = plan.labels.names
    return {
        "name": arm.name,
        "upsampler": arm.upsampler,
        "stride": arm.stride,
        "miou": _over_seeds([_overlap(m.overlaps) for m in counts]),
        "pixel_accuracy": _over_seeds([_accuracy(m) for m in counts]),
        "boundary_iou": _over_seeds([_overlap(m.boundary) for m in counts]),
        "calibration_error": _over_seeds([m.calibration_error() for m in counts]),
        "class_iou": {
            name: _over_seeds([_overlap(m.overlaps[..., [index]]) for m in counts]) for index, name in enumerate(names)
        },
        "trimap": [
            {"width": width, **_over_seeds([_overlap(m.within(width)) for m in counts])} for width in BAND_WIDTHS
        ],
        "by_width": _by_bin(WIDTH_EDGES, [m.by_width for m in counts]),
        "by_size": _by_bin(SIZE_EDGES, [m.by_size for m in counts]),
        "parameters": results[0].parameters if results else None,
        "multiplications": results[0].multiplications if results else None,
        "picture_size": list(results[0].picture_size) if results else None,
        "training_seconds": _over_seeds([result.training_seconds for result in results]),
        "latency_ms": latency.get("milliseconds", {}).get(arm.name),
        "peak_bytes": latency.get("peak_bytes", {}).get(arm.name),
        "curves": [result.curve for result in results],
    }


def _overlap(counts: NDArray[np.int64]) -> float:
    return float(overlap_scores(counts.sum(axis=0).astype(np.float64)))


def _accuracy(measurement: Measurement) -> float:
    both, true, _ = measurement.overlaps.sum(axis=(0, 2)).astype(np.float64)
    return float(share_scores(np.array([both, true])))


def _by_bin(edges: Sequence[int], counts: list[NDArray[np.int64]]) -> list[dict[str, Any]]:
    """Accuracy and share of pixels in each bin."""
    found = []
    for index, (low, high) in enumerate(zip([0, *edges], [*edges, None], strict=True)):
        parts = [part[:, index].sum(axis=0).astype(np.float64) for part in counts]
        totals = [part[..., 1].sum() for part in counts]
        found.append(
            {
                "from": low,
                "to": high,
                "pixel_share": float(parts[0][1] / totals[0]) if parts and totals[0] else None,
                **_over_seeds([float(share_scores(part)) for part in parts]),
            }
        )
    return found


def _over_seeds(values: list[float]) -> dict[str, Any]:
    """Mean, standard deviation and every value."""
    defined = [value for value in values if np.isfinite(value)]
    return {
        "mean": float(np.mean(defined)) if defined else None,
        "deviation": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        "per_seed": values,
    }
