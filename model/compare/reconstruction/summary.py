"""Parts to what the report says: ``reconstruction`` of report.json, whose schema docs/comparison.md tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.compare.reconstruction.experiment import LARGEST_SIDE
from model.compare.reconstruction.methods import FIXED, METHODS, WIDTH
from model.compare.reconstruction.training import Recipe
from model.compare.reconstruction.verdict import sentences
from model.compare.statistics import Difference, percentile_interval, resamplings, t_interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from model.compare.reconstruction.methods import MethodName
    from model.compare.reconstruction.results import Key, Part

REFERENCES: Final[tuple[MethodName, ...]] = ("bicubic", "bilinear")
"""What every other method is compared with."""


def summarise_reconstruction(
    config: Mapping[str, Any], parts: Mapping[Key, Part], seeds: Sequence[int]
) -> dict[str, Any]:
    """Everything that the section says, JSON-able once ``results.json_bytes`` has written it.

    Args:
        config: Of the comparison's plan.
        parts: Every one of ``seeds``, all of the same pictures.
        seeds: At least one.
    """
    recipe = Recipe(config["reconstruction_factor"], config["reconstruction_steps"])
    count = len(parts["bicubic", None].pictures)
    weights = resamplings(count, config["bootstrap"])
    scores = {
        "psnr": {name: _scores([part.psnr for part in _of(parts, name, seeds)]) for name in METHODS},
        "ssim": {name: _scores([part.ssim for part in _of(parts, name, seeds)]) for name in METHODS},
    }
    # A picture counts for all methods or for none: differences stay paired.
    counted = {
        score: np.all([np.isfinite(values).all(axis=0) for values in found.values()], axis=0)
        for score, found in scores.items()
    }
    methods: list[dict[str, Any]] = []
    for name in METHODS:
        mine = _of(parts, name, seeds)
        entry: dict[str, Any] = {
            "name": name,
            "does": describe(name, recipe.scale_factor),
            "learned": name not in FIXED,
            "parameters": mine[0].parameters,
            "training_seconds": float(np.mean([part.seconds for part in mine])),
            "curves": [part.curve for part in mine],
        }
        for score, found in scores.items():
            entry[score] = _level(found[name], weights, counted[score])
            for reference in REFERENCES:
                entry[f"{score}_from_{reference}"] = (
                    _difference(found[name], found[reference], weights, counted[score], learned=name not in FIXED)
                    if name != reference
                    else None
                )
        methods.append(entry)
    lead = _lead(methods, scores["psnr"], weights, counted["psnr"])
    return {
        "sentences": sentences(methods, lead),
        "scale_factor": recipe.scale_factor,
        "kernel_size": 2 * recipe.scale_factor,
        "split": config["split"],
        "scored_pictures": count,
        "psnr_pictures": int(counted["psnr"].sum()),
        "ssim_pictures": int(counted["ssim"].sum()),
        "largest_side": LARGEST_SIDE,
        "seeds": list(seeds),
        "steps": recipe.steps,
        "batch_size": recipe.batch_size,
        "crop_size": recipe.crop_size,
        "methods": methods,
        "lead": lead,
    }


def describe(name: MethodName, s: int) -> str:
    """A method in some words."""
    return {
        "nearest": f"each summary pixel {s}×{s} times",
        "bilinear": "fixed, from 2×2 summary pixels",
        "bicubic": "fixed, from 4×4 summary pixels",
        "learned": f"transposed convolution, {2 * s}×{2 * s} kernel a colour: from 2×2",
        "learned-dense": "the same, from every colour to every colour",
        "learned-wide": f"transposed convolution, {4 * s}×{4 * s} kernel a colour: from 4×4",
        "learned-decoder": f"transposed convolution of the summary and {WIDTH} feature maps of it",
        "autoencoder": "the same decoder, and the reduction learned too",
    }[name]


def _of(parts: Mapping[Key, Part], name: MethodName, seeds: Sequence[int]) -> list[Part]:
    """Of every seed; of a method that learns nothing the one part for each."""
    return [parts[name, None if name in FIXED else seed] for seed in seeds]


def _scores(values: list[list[float]]) -> NDArray[np.float64]:
    """Shape (seeds, pictures)."""
    return np.asarray(values, dtype=np.float64)


def _means(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of (P,) over the pictures of each resample (B, P); NaN where a resample holds none."""
    total = weights.sum(axis=1)
    means: NDArray[np.float64] = np.divide(weights @ values, total, out=np.full(len(weights), np.nan), where=total > 0)
    return means


def _level(values: NDArray[np.float64], weights: NDArray[np.float64], counted: NDArray[np.bool_]) -> dict[str, Any]:
    kept = values[:, counted]
    if not kept.size:
        return {"mean": None, "per_seed": [None] * len(values), "over_pictures": None}
    mean = float(kept.mean())
    interval = _over_pictures(mean, kept.mean(axis=0), weights[:, counted])
    return {
        "mean": mean,
        "per_seed": kept.mean(axis=1).tolist(),
        "over_pictures": interval.to_dict() if interval else None,
    }


def _difference(
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    weights: NDArray[np.float64],
    counted: NDArray[np.bool_],
    *,
    learned: bool,
) -> dict[str, Any]:
    """A paired difference; its ``call`` by both intervals, of fixed methods by that over pictures alone."""
    apart = ours[:, counted] - theirs[:, counted]
    if not apart.size:
        return Difference((), math.nan, None, None).to_dict() | {"call": "not defined"}
    per_seed = apart.mean(axis=1)
    mean = float(per_seed.mean())
    over_pictures = _over_pictures(mean, apart.mean(axis=0), weights[:, counted])
    if learned:
        found = Difference(tuple(map(float, per_seed)), mean, t_interval(per_seed), over_pictures)
        values = found.to_dict()
    else:  # nothing is trained: there is no chance of training
        found = Difference((mean,), mean, None, over_pictures)
        sign = over_pictures.sign if over_pictures else 0
        values = found.to_dict() | {"call": {1: "better", -1: "worse", 0: "no difference shown"}[sign]}
    return values if over_pictures else values | {"call": "too few pictures"}


def _over_pictures(mean: float, values: NDArray[np.float64], weights: NDArray[np.float64]) -> Any:  # noqa: ANN401
    """None where there are fewer than two pictures: one alone says nothing about others."""
    return percentile_interval(mean, _means(values, weights)) if len(values) > 1 else None


def _lead(
    methods: list[dict[str, Any]],
    scores: Mapping[MethodName, NDArray[np.float64]],
    weights: NDArray[np.float64],
    counted: NDArray[np.bool_],
) -> dict[str, Any] | None:
    """How far the best method by mean PSNR is before the next; None where PSNR is not defined."""
    ranked = sorted((m for m in methods if m["psnr"]["mean"] is not None), key=lambda m: -m["psnr"]["mean"])
    if not ranked:
        return None
    best, following = ranked[0], ranked[1]
    learned = best["learned"] or following["learned"]
    found = _difference(scores[best["name"]], scores[following["name"]], weights, counted, learned=learned)
    return {"method": best["name"], "next": following["name"], "psnr": found}
