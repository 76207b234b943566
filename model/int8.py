"""Int8: a network brought to int8, what that cost and gained, and the refusal of one that it cost too much."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from rich.console import Console

from data.errors import ExportError
from data.pixels import pad_to_multiple
from model.provenance import processor_name
from model.quantisation import layers, quantise, quantise_within, window
from model.runtime.engine import EngineConfig, open_engine
from model.runtime.predictor import Predictor
from model.validation import EXACT, PartOfSplit, Pictures, Validation, trial_bundle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from data.sources.source import Source, Split
    from model.quantisation import QuantisationConfig
    from model.runtime.bundle import Bundle

    Score = Callable[[Predictor], dict[str, Any]]

WORTH_IT: Final = 0.8
"""Share of the float network's time above which int8 is said not to be worth it."""

COMPARED_PICTURES: Final = 8
ROUNDS: Final = 15
_UNTIMED: Final = 4  # an engine compiles for a shape at its third sight


@dataclass(frozen=True)
class Int8Network:
    """A network in int8 that lost no more than was allowed.

    Attributes:
        graph: ONNX.
        scores: Of it, as the float network's.
        facts: For the manifest, see docs/int8.md.
    """

    graph: bytes
    scores: dict[str, Any]
    facts: dict[str, Any]


def to_int8(
    bundle: Bundle,
    float_scores: dict[str, Any],
    source: Source,
    split: Split,
    config: QuantisationConfig,
    score: Score,
    *,
    progress: bool = True,
) -> Int8Network:
    """Quantise a bundle's network on pictures of a split, score it on all of them, and time it.

    Args:
        bundle: In floating point.
        float_scores: Of it, in 32-bit.
        source: Gives the pictures.
        split: Which of them.
        config: How many to calibrate on, and the fall that is allowed.
        score: Scores a bundle as ``float_scores`` were.
        progress: Show that something is going on.

    Raises:
        ExportError: NNCF is not installed or cannot quantise the network, or mIoU falls by more than is allowed, in the
            accuracy-aware mode too.
        DataError: a picture cannot be read.
    """
    graph, stride = bundle.model_path.read_bytes(), bundle.manifest.stride
    chosen = config.choose(len(source.names(split)))
    part = PartOfSplit(source, split, chosen)
    pictures = Pictures(part, split)
    before = _miou(float_scores, split)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        mode = "plain"
        with _status("quantising to int8", shown=progress):
            found = quantise(graph, pictures, stride)
        trial = trial_bundle(place / "plain", found, bundle)
        scores = score(Predictor(trial, EXACT))
        # The more layers go back, the nearer it comes to the float network: a rise is not to be had that way.
        if _fall(before, scores, split) > config.max_fall >= 0:
            mode = "accuracy-aware"
            validate = Validation(bundle, source, split, place, progress=progress)
            count = len(source.names(split))
            found = quantise_within(graph, pictures, validate, count, config.max_fall / 100, stride)
            trial = trial_bundle(place / "restored", found, bundle)
            scores = score(Predictor(trial, EXACT))
        in_int8, left_float = layers(graph, found)
        fall = _fall(before, scores, split)
        if fall > config.max_fall or not in_int8:
            raise ExportError(_refusal(before, scores, split, config, mode, len(in_int8), len(left_float), len(chosen)))
        facts = {
            "precision": "int8",
            "nncf": version("nncf"),
            "mode": mode,
            "calibration": {"split": split, "pictures": len(chosen), "seed": config.seed},
            "miou": {
                "float": before,
                "int8": scores["miou"],
                "fall_points": round(fall, 4),
                "allowed_points": config.max_fall,
                "pictures": scores["pictures"],
            },
            "layers": {"int8": len(in_int8), "float": left_float},
            "agreement": _agreement(bundle, trial, source, split),
            "time": _time(bundle, trial, pad_to_multiple(window(source.load(split, 0).image), stride)[None]),
        }
    return Int8Network(found, scores, facts)


def told(facts: dict[str, Any]) -> list[str]:
    """What a manifest's facts of int8 say, in sentences for a terminal.

    Args:
        facts: Of ``Int8Network``.
    """
    miou, time, left = facts["miou"], facts["time"], facts["layers"]["float"]
    total = facts["layers"]["int8"] + len(left)
    lines = [
        f"int8 ({facts['mode']}, {facts['calibration']['pictures']} pictures to calibrate on, "
        f"{facts['layers']['int8']} of {total} layers): val mIoU {100 * miou['int8']:.2f} against "
        f"{100 * miou['float']:.2f} in float, a fall of {miou['fall_points']:.2f} points "
        f"({miou['allowed_points']:g} allowed)",
        f"time on {time['processor']}: {time['int8_ms']:.1f} ms a picture against {time['float_ms']:.1f} ms in "
        f"{time['float_precision']}, {time['ratio']:.2f} of it",
    ]
    if left:
        lines.insert(1, f"left in float: {', '.join(left)}")
    if not time["worth_it"]:
        lines.append(
            f"int8 is not worth it on this processor: it takes {time['ratio']:.2f} of the float network's time, and is "
            f"said to be worth it up to {WORTH_IT:g}; serve the float bundle here"
        )
    return lines


def _miou(scores: dict[str, Any], split: Split) -> float:
    if scores["miou"] is None:
        raise ExportError(
            f"no pixel of {split} has a label, so it cannot be told what int8 costs: label some, or leave --int8 out"
        )
    return float(scores["miou"])


def _fall(before: float, scores: dict[str, Any], split: Split) -> float:
    """In points, rounded so that what is printed is what is judged by."""
    return round(100 * (before - _miou(scores, split)), 4)


def _refusal(
    before: float,
    scores: dict[str, Any],
    split: Split,
    config: QuantisationConfig,
    mode: str,
    in_int8: int,
    left_float: int,
    calibrated: int,
) -> str:
    how = f"calibrated on {calibrated} pictures, {mode}, {in_int8} of {in_int8 + left_float} layers in int8"
    return (
        f"int8 costs too much: on {scores['pictures']} pictures of {split} mIoU is {100 * before:.2f} in float and "
        f"{100 * scores['miou']:.2f} in int8 ({how}), a fall of {_fall(before, scores, split):.2f} points; at most "
        f"{config.max_fall:g} are allowed, with a layer in int8 at least: nothing was written. Allow more with "
        "--quantisation.max_fall, calibrate on more or other pictures with --quantisation.pictures or "
        "--quantisation.seed, or export without --int8"
    )


def _agreement(bundle: Bundle, trial: Bundle, source: Source, split: Split) -> dict[str, Any]:
    """Shares of pixels whose labels differ: of float and int8 on OpenVINO, and of the two engines in int8."""
    engines = {
        "float": open_engine(bundle, EXACT),
        "int8": open_engine(trial, EXACT),
        "onnxruntime": open_engine(trial, EngineConfig("onnxruntime", "f32")),
    }
    count = min(COMPARED_PICTURES, len(source.names(split)))
    from_float = from_other = pixels = 0
    for index in range(count):
        image = pad_to_multiple(window(source.load(split, index).image), bundle.manifest.stride)[None]
        labels = {name: engine.run(image)[0] for name, engine in engines.items()}
        from_float += int(np.count_nonzero(labels["int8"] != labels["float"]))
        from_other += int(np.count_nonzero(labels["int8"] != labels["onnxruntime"]))
        pixels += labels["int8"].size
    return {
        "pictures": count,
        "share_of_differing_pixels": {
            "float / int8": from_float / pixels,
            "onnxruntime / openvino, int8": from_other / pixels,
        },
    }


def _time(bundle: Bundle, trial: Bundle, image: NDArray[np.uint8]) -> dict[str, Any]:
    """Median time of both in the precision that they are served in, turn by turn."""
    engines = {"float": open_engine(bundle, EngineConfig()), "int8": open_engine(trial, EngineConfig())}
    for engine in engines.values():
        for _ in range(_UNTIMED):
            engine.run(image)
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            started = perf_counter()
            engine.run(image)
            taken[name].append(1000 * (perf_counter() - started))
    floating, quantised = median(taken["float"]), median(taken["int8"])
    return {
        "processor": processor_name(),
        "picture": list(image.shape[1:3]),
        "rounds": ROUNDS,
        "float_precision": engines["float"].precision,
        "float_ms": round(floating, 3),
        "int8_ms": round(quantised, 3),
        "ratio": round(quantised / floating, 4),
        "worth_it": quantised <= WORTH_IT * floating,
    }


def _status(words: str, *, shown: bool) -> Any:  # noqa: ANN401  rich's or contextlib's
    from contextlib import nullcontext  # noqa: PLC0415

    console = Console(stderr=True)
    return console.status(words) if shown and console.is_terminal else nullcontext()
