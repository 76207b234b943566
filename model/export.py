"""A trained network to a bundle: one ONNX graph from picture to label map, checked in three engines."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from data.errors import ExportError
from data.licences import data_licence, encoder_licence
from data.pixels import pad_to_multiple
from model.averaging import network_predict
from model.calibration import Calibration
from model.evaluate import choose_data, data_settings, evaluate, open_matching
from model.fcn import COARSEST_STRIDE
from model.graph import OPSET, to_onnx
from model.int8 import to_int8
from model.model_card import write_model_card
from model.nncf_session import import_nncf
from model.run import Run, checkpoint_sha256
from model.runtime.bundle import Bundle, Manifest, read_bundle, write_bundle
from model.runtime.engine import EngineConfig, open_engine
from model.runtime.predictor import Predictor
from model.survey import survey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from data.sources.source import Source, Split
    from model.config import TrainConfig
    from model.evaluate import Predict
    from model.fcn import FCN
    from model.quantisation import QuantisationConfig
    from model.runtime.engine import Engine
    from model.runtime.predictor import Segmentation

CHECKED_PICTURES: Final = 8
LARGEST_DISAGREEMENT: Final = 1e-3
"""Share of pixels on which two engines may differ: where two classes score the same to rounding."""


def export(
    root: Path,
    out: Path,
    *,
    which: str = "best",
    name: str | None = None,
    data_root: Path | None = None,
    comparison: Mapping[str, Any] | None = None,
    licence: str | None = None,
    stated_data_licence: str | None = None,
    quantisation: QuantisationConfig | None = None,
    progress: bool = True,
) -> Bundle:
    """Export a run's checkpoint as a bundle.

    The scores in its manifest are those of the exported graph itself, in 32-bit, on the val split.

    Args:
        root: Run directory.
        out: Folder of the bundle; an older bundle there is replaced once the new one has passed.
        which: best or last.
        name: Of the model; by default made of the data and the network.
        data_root: Where the run's pictures lie now, if they have moved.
        comparison: Verdict of the comparison that chose the run, for the manifest.
        licence: Under which the weights are given, for the model card.
        stated_data_licence: Of the pictures and masks, where the card does not know it, or knows another.
        quantisation: Bring the network to int8, as this says; the float network is exported by default.
        progress: Show bars.

    Raises:
        RunError: there is no such run or checkpoint.
        DataError: the val split cannot be read.
        ExportError: torch, ONNX Runtime and OpenVINO disagree, or int8 costs more than is allowed, or needs what is not
            installed; nothing is written then.
    """
    if quantisation:
        import_nncf()  # before minutes of work
    run = Run.open(root)
    config = run.config()
    network = run.network(which)
    labels = run.labels()
    source = open_matching(choose_data(config.data, None, data_root), labels)
    split: Split = "val"
    graph = to_onnx(network)
    manifest = Manifest(
        name=name or f"{config.data.name}-fcn{config.model.finest_stride}s",
        labels=labels,
        stride=COARSEST_STRIDE,
        encoder=config.model.encoder,
        upsampler=config.model.upsampler,
        finest_stride=config.model.finest_stride,
        model_sha256="",
        scores={},
        provenance={},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    with tempfile.TemporaryDirectory() as folder:
        trial = write_bundle(Path(folder) / "bundle", graph, manifest)
        agreement = check_agreement(network, trial, source, split)
        score = partial(score_calibrated, source=source, split=split, progress=progress)
        scores, facts = score(Predictor(trial, EngineConfig(precision="f32"))), {}
        if quantisation:
            quantised = to_int8(trial, scores, source, split, quantisation, score, progress=progress)
            graph, scores, facts = quantised.graph, quantised.scores, quantised.facts
            trial = write_bundle(Path(folder) / "int8", graph, manifest)
    data, encoder = data_licence(config.data.name, stated_data_licence), encoder_licence(config.model.encoder_weights)
    fields = {**asdict(manifest), "labels": labels}
    fields["scores"] = scores
    fields["comparison"] = comparison or {}
    fields["quantisation"] = facts
    fields["provenance"] = {
        **run.provenance(),
        "checkpoint": which,
        "checkpoint_sha256": checkpoint_sha256(run.checkpoint(which)),
        "data": config.data.name,
        "data_settings": data_settings(config.data),
        "recipe": recipe(config),
        "pictures": {part: len(source.names(part)) for part in ("train", "val")},
        "engine_agreement": agreement,
        "export": {"opset": OPSET, "torch": torch.__version__},
        "licences": {"weights": licence, "data": data.name, "encoder": encoder.name},
    }
    manifest = Manifest(**fields)
    card = write_model_card(manifest, trial.manifest.version, survey(source), licence, data, encoder)
    write_bundle(out, graph, manifest, card)
    return read_bundle(out)


def score_calibrated(predictor: Predictor, source: Source, split: Split, *, progress: bool = True) -> dict[str, Any]:
    """Scores of a bundle, and how far its confidence can be believed, from one look at every picture.

    Args:
        predictor: The bundle.
        source: Gives the pictures.
        split: Which of them.
        progress: Show a bar.

    Returns:
        ``Evaluation.to_dict`` with ``calibration``.

    Raises:
        DataError: the split is empty or a sample is faulty.
    """
    calibration = Calibration()
    answers: list[Segmentation] = []

    def predict(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        answers[:] = [predictor.predict(image)]
        return answers[0].label_map

    def count(predicted: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
        calibration.update(predicted, answers[0].confidence, target)

    scores = evaluate(predict, source, split, progress=progress, scored=count).to_dict()
    return {**scores, "calibration": calibration.to_dict()}


def recipe(config: TrainConfig) -> dict[str, Any]:
    """How the network was trained, without where anything lies: a bundle goes to other machines."""
    found = asdict(config)
    del found["data"]
    found["loader"].pop("cache_dir")
    # A file of weights is named and not placed.
    found["model"]["encoder_weights"] = Path(found["model"]["encoder_weights"]).name
    return found


def check_agreement(network: FCN, bundle: Bundle, source: Source, split: Split) -> dict[str, Any]:
    """Compare the label maps of torch, ONNX Runtime and OpenVINO, all in 32-bit.

    Args:
        network: What was trained.
        bundle: What was exported.
        source: Gives the pictures.
        split: The first pictures of this split, 8 at most.

    Returns:
        Number of pictures, and for each pair of engines the share of all their pixels that differ.

    Raises:
        ExportError: more than 1e-3 of the pixels differ; the message gives the shares.
    """
    engines: dict[str, Predict] = {"torch": network_predict(network)}
    for config in (EngineConfig("onnxruntime", "f32"), EngineConfig("openvino", "f32")):
        engines[config.engine] = _engine_predict(open_engine(bundle, config))
    pairs = [("torch", "onnxruntime"), ("torch", "openvino"), ("onnxruntime", "openvino")]
    differing, pixels = dict.fromkeys(pairs, 0), 0
    count = min(CHECKED_PICTURES, len(source.names(split)))
    for index in range(count):
        image = pad_to_multiple(source.load(split, index).image, COARSEST_STRIDE)
        found = {name: predict(image) for name, predict in engines.items()}
        for pair in pairs:
            differing[pair] += int(np.count_nonzero(found[pair[0]] != found[pair[1]]))
        pixels += found["torch"].size
    shares = {f"{one} / {other}": count / pixels for (one, other), count in differing.items()}
    if max(shares.values()) > LARGEST_DISAGREEMENT:
        told = "; ".join(f"{pair}: {share:.3%} of the pixels" for pair, share in shares.items())
        raise ExportError(
            f"the engines disagree on {count} pictures of {split} ({told}; at most {LARGEST_DISAGREEMENT:.1%} "
            "is allowed): nothing was written. Please report the encoder and versions"
        )
    return {"pictures": count, "share_of_differing_pixels": shares}


def _engine_predict(engine: Engine) -> Predict:
    return lambda image: engine.run(image[None])[0][0]
