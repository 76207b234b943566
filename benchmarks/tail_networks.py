"""The networks whose tails are measured: each whole, up to its last step, in its own graph, and the encoder alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final

import onnx
import onnx.utils

from benchmarks import seeded
from benchmarks.own_engine import ours
from model.runtime.bundle import read_bundle
from model.runtime.engine import INPUT
from model.runtime.openvino_engine import OpenVinoEngine
from model.runtime.trunk import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np

    from model.config import UpsamplerName
    from model.runtime.bundle import Bundle

    Forms = dict[str, Callable[[], object]]

ENCODER: Final = "encoder alone"
FIRST_LAYER: Final = re.compile(r"score_heads\.\d+\.0\.weight$")
UPSAMPLERS: Final[tuple[UpsamplerName, ...]] = ("bilinear", "learned", "learned-dense")


def compiled_form(network: Any, engine: OpenVinoEngine, image: np.ndarray) -> Callable[[], object]:  # noqa: ANN401 - openvino.Model
    """A part of a network, compiled for the picture's size as the engine that runs the whole does."""
    network.reshape({0: list(image.shape)})
    request = engine.compile(network).create_infer_request()
    return lambda: request.infer({0: image}, share_inputs=True, share_outputs=True)


@dataclass(frozen=True)
class Subjects:
    """What is measured.

    Attributes:
        forms: Everything that is timed, by name.
        bundles: Of the whole networks, by upsampler and classes.
        engine: One of the engines.
        features: Shapes (N, C, h, w) of what the encoder gives to the score heads.
    """

    forms: Forms
    bundles: dict[tuple[str, int], Bundle]
    engine: OpenVinoEngine
    features: list[tuple[int, ...]]


def write_encoder(bundle: Bundle, path: Path) -> Path:
    """Cut the encoder, with the normalisation of the picture, out of a whole network; all seeded ones have the same."""
    whole = onnx.load(bundle.model_path)
    first_layers = [node for node in whole.graph.node if any(FIRST_LAYER.search(name) for name in node.input)]
    features = [node.input[0] for node in first_layers]
    onnx.save(onnx.utils.Extractor(whole).extract_model([INPUT], features), path)
    return path


def needed(classes: Sequence[int], upsamplers: Sequence[UpsamplerName]) -> list[str]:
    """Names of what ``subjects`` reads, for ``seeded.export``."""
    return [seeded.name_of(upsampler, count) for count, upsampler in product(classes, upsamplers)]


def subjects(
    image: np.ndarray, classes: Sequence[int], upsamplers: Sequence[UpsamplerName], folder: Path, *, graphs: bool
) -> Subjects:
    """Open every network of a folder, and again to be run to the end of its graph where ``graphs`` asks for it."""
    bundles: dict[tuple[str, int], Bundle] = {}
    forms: Forms = {}
    config = ours("auto")
    for count, upsampler in product(classes, upsamplers):
        bundle = read_bundle(folder / seeded.name_of(upsampler, count))
        bundles[upsampler, count] = bundle
        engine = OpenVinoEngine(bundle, config)
        if not forms:
            encoder = engine.read(write_encoder(bundle, folder / "encoder.onnx"))
            forms[ENCODER] = compiled_form(encoder, engine, image)
            features = [tuple(output.shape) for output in encoder.outputs]
        forms[name_of(upsampler, count)] = lambda engine=engine: engine.run(image)
        if engine.tail == "fused" and upsampler == "learned":
            forms[f"{name_of(upsampler, count)}, up to the last step"] = trunk_form(engine, image)
        if graphs:
            graph = OpenVinoEngine(bundle, config, fused=False)
            forms[in_graph(upsampler, count)] = lambda graph=graph: graph.run(image)
    return Subjects(forms, bundles, engine, features)


def trunk_form(engine: OpenVinoEngine, image: np.ndarray) -> Callable[[], object]:
    """A network up to its coarse scores, compiled for the picture's size as the engine does."""
    found = cut(engine.network())
    if found is None:
        raise RuntimeError("the engine has a fused tail for a network that cannot be cut")
    return compiled_form(found.network, engine, image)


def name_of(upsampler: str, classes: int) -> str:
    """Of a row."""
    return f"{upsampler}, {classes} classes"


def in_graph(upsampler: str, classes: int) -> str:
    """Of a row of a network that is run to the end of its graph."""
    return f"{name_of(upsampler, classes)}, all in the graph"
