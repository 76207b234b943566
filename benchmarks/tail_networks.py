"""The networks whose tails are measured: each whole, up to its last step, in its own graph, and the encoder alone."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

import torch

from benchmarks.engines import ours
from benchmarks.network import THREADS
from data.labels import LabelMap
from model.config import ModelConfig
from model.fcn import make_network
from model.graph import to_onnx
from model.runtime.bundle import Manifest, read_bundle, write_bundle
from model.runtime.engine import INPUT
from model.runtime.openvino_engine import OpenVinoEngine
from model.runtime.trunk import cut

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np

    from model.config import UpsamplerName
    from model.fcn import FCN
    from model.runtime.bundle import Bundle

    Forms = dict[str, Callable[[], object]]

ENCODER: Final = "encoder alone"
UPSAMPLERS: Final[tuple[UpsamplerName, ...]] = ("bilinear", "learned", "learned-dense")


def network_of(upsampler: UpsamplerName, classes: int) -> FCN:
    """A seeded FCN-8s; every head at work, which at the start of a training the finer ones are not."""
    torch.manual_seed(0)
    network = make_network(ModelConfig(upsampler=upsampler, encoder_weights="none"), classes).eval()
    for head in network.decoder.score_heads:
        torch.nn.init.normal_(list(head.parameters())[-2], std=0.05)
    return network


def write_network(upsampler: UpsamplerName, classes: int, folder: Path) -> None:
    """Write its bundle."""
    labels = LabelMap.from_names([str(index) for index in range(classes)])
    manifest = Manifest("tail", labels, 32, "seeded", upsampler, 8, "", {}, {}, "2026-01-01T00:00:00+00:00")
    write_bundle(folder, to_onnx(network_of(upsampler, classes)), manifest)


class Features(torch.nn.Module):
    """The encoder with its normalisation: a picture (N, H, W, 3) to the features that score heads take."""

    def __init__(self, network: FCN) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Features of strides 8, 16 and 32."""
        network = self.network
        normalised = (image.permute(0, 3, 1, 2).to(network.mean.dtype) - network.mean) / network.std
        features: list[torch.Tensor] = network.encoder(normalised)[3:]
        return features


def write_encoder(image: np.ndarray, path: Path) -> None:
    """Write the encoder that all networks have, for pictures of one size."""
    network = network_of("bilinear", 2)
    torch.onnx.export(Features(network).eval(), (torch.from_numpy(image),), path, dynamo=True, verbose=False)


def encoder_form(path: Path, engine: OpenVinoEngine, image: np.ndarray) -> Callable[[], object]:
    """The encoder in the engine that runs the whole, with its settings."""
    request = engine.compile(engine.read(path)).create_infer_request()
    return lambda: request.infer({0: image}, share_inputs=True, share_outputs=True)


@dataclass(frozen=True)
class Subjects:
    """What is measured.

    Attributes:
        forms: Everything that is timed, by name.
        bundles: Of the whole networks, by upsampler and classes.
        engine: One of the engines.
    """

    forms: Forms
    bundles: dict[tuple[str, int], Bundle]
    engine: OpenVinoEngine


def subjects(
    image: np.ndarray, classes: Sequence[int], upsamplers: Sequence[UpsamplerName], folder: Path, *, graphs: bool
) -> Subjects:
    """Export every network and open it, and again to be run to the end of its graph where ``graphs`` asks for it."""
    # In processes of their own, as an exporter is busy for a quarter of a minute with one network; forked from one that
    # has imported torch.
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(THREADS, context) as exporters:
        exporting = [exporters.submit(write_encoder, image, folder / "encoder.onnx")]
        for count, upsampler in product(classes, upsamplers):
            exporting.append(exporters.submit(write_network, upsampler, count, folder / f"{upsampler}-{count}"))
        for one in exporting:
            one.result()
    bundles: dict[tuple[str, int], Bundle] = {}
    forms: Forms = {}
    config = ours("auto")
    for count in classes:
        for upsampler in upsamplers:
            bundle = read_bundle(folder / f"{upsampler}-{count}")
            bundles[upsampler, count] = bundle
            engine = OpenVinoEngine(bundle, config)
            if not forms:
                forms[ENCODER] = encoder_form(folder / "encoder.onnx", engine, image)
            forms[name_of(upsampler, count)] = lambda engine=engine: engine.run(image)
            if engine.tail == "fused" and upsampler == "learned":
                forms[f"{name_of(upsampler, count)}, up to the last step"] = trunk_form(engine, image)
            if graphs:
                graph = OpenVinoEngine(bundle, config, fused=False)
                forms[in_graph(upsampler, count)] = lambda graph=graph: graph.run(image)
    return Subjects(forms, bundles, engine)


def trunk_form(engine: OpenVinoEngine, image: np.ndarray) -> Callable[[], object]:
    """A network up to its coarse scores, compiled for the picture's size as the engine does."""
    found = cut(engine.network())
    if found is None:
        raise RuntimeError("the engine has a fused tail for a network that cannot be cut")
    found.network.reshape({INPUT: list(image.shape)})
    request = engine.compile(found.network).create_infer_request()
    return lambda: request.infer({INPUT: image}, share_inputs=True, share_outputs=True)


def name_of(upsampler: str, classes: int) -> str:
    """Of a row."""
    return f"{upsampler}, {classes} classes"


def in_graph(upsampler: str, classes: int) -> str:
    """Of a row of a network that is run to the end of its graph."""
    return f"{name_of(upsampler, classes)}, all in the graph"
