"""What several test files share: a real bundle that is small enough to be known by hand, and pictures for it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

# Before numpy and torch: where test processes share the machine, threads of each would only stand in each other's way.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from data.labels import LabelMap
from model.runtime.bundle import Bundle, Manifest, write_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from model.run import Run

pytest_plugins = ["tests.browser"]

TINY_LABELS = LabelMap(
    names=("background", "red", "green", "blue"),
    palette=((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)),
    ignore_colour=(224, 224, 192),
    explicit_colours=True,
)


def tiny_model() -> bytes:
    """An ONNX network with a bundle's interface: the label is the class whose colour is nearest to the pixel.

    With x the pixel and c a class's colour, both from 0 to 1, the score is 2 x.c - |c|^2, which is
    largest where |x - c|^2 is smallest; the confidence is the largest softmax of 8 times the score.
    """
    from onnx import TensorProto, helper, numpy_helper

    colours = np.asarray(TINY_LABELS.palette, dtype=np.float32) / 255
    constants = {
        "top": np.float32(255),
        "sharpness": np.float32(8),
        "towards": 2 * colours.T,
        "offset": (colours**2).sum(axis=1),
        "class_axis": np.asarray([3], dtype=np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["as_float", "top"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "towards"], ["products"]),
        helper.make_node("Sub", ["products", "offset"], ["scores"]),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=3, keepdims=0),
        helper.make_node("Cast", ["best"], ["label_map"], to=TensorProto.UINT8),
        helper.make_node("Mul", ["scores", "sharpness"], ["sharp"]),
        helper.make_node("Softmax", ["sharp"], ["probabilities"], axis=3),
        helper.make_node("ReduceMax", ["probabilities", "class_axis"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "top"], ["bytes"]),
        helper.make_node("Round", ["bytes"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["confidence"], to=TensorProto.UINT8),
    ]
    graph = helper.make_graph(
        nodes,
        "nearest_colour",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [
            helper.make_tensor_value_info("label_map", TensorProto.UINT8, ["n", "h", "w"]),
            helper.make_tensor_value_info("confidence", TensorProto.UINT8, ["n", "h", "w"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return model.SerializeToString()


def tiny_manifest() -> Manifest:
    """What the tiny bundle says of itself."""
    return Manifest(
        name="tiny-colours",
        labels=TINY_LABELS,
        stride=32,
        encoder="none",
        upsampler="none",
        finest_stride=32,
        model_sha256="",
        scores={"split": "val", "miou": 0.75, "class_iou": {"background": 1.0, "red": 0.5}},
        provenance={"run": "tests/conftest.py"},
        created="2025-01-01T00:00:00Z",
    )


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A real bundle of 4 classes whose answers are known by hand; read it, do not change its files."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny", tiny_model(), tiny_manifest())


@pytest.fixture
def own_bundle(tmp_path: Path) -> Bundle:
    """A copy of the tiny bundle that a test may damage."""
    return write_bundle(tmp_path / "own-bundle", tiny_model(), tiny_manifest())


@pytest.fixture(scope="session")
def exported_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run in a folder of its own, with its bundle; the network has random weights instead of a training."""
    import torch

    from data.sources.catalogue import SourceConfig, open_source
    from model.config import ModelConfig, TrainConfig
    from model.export import export
    from model.fcn import make_network
    from model.run import Run

    config = TrainConfig(
        data=SourceConfig(name="shapes", train_size=2, val_size=3, image_size=(48, 80)),
        model=ModelConfig(encoder="mobilenet_v2", encoder_weights="none", head_channels=8),
    )
    labels = open_source(config.data).label_map
    run = Run.create(tmp_path_factory.mktemp("exported") / "run", config, labels)
    torch.manual_seed(0)
    network = make_network(config.model, labels.num_classes)
    with torch.no_grad():  # skip heads start at zero: without noise every score would be smooth
        for head in network.decoder.score_heads:
            head[-1].weight.normal_(std=3)
    weights = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    torch.save({"state_dict": weights}, run.checkpoints / "best.ckpt")
    export(run.root, run.root / "bundle", licence="apache-2.0", progress=False)
    return run


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """RGB, 50x70 (no multiples of 32): red, green, blue and black quarters."""
    image = np.zeros((50, 70, 3), dtype=np.uint8)
    image[:25, :35] = (250, 10, 0)
    image[:25, 35:] = (0, 240, 20)
    image[25:, :35] = (5, 0, 255)
    return image


@pytest.fixture
def picture_labels() -> NDArray[np.uint8]:
    """What the tiny bundle says of ``picture``."""
    labels = np.zeros((50, 70), dtype=np.uint8)
    labels[:25, :35] = 1
    labels[:25, 35:] = 2
    labels[25:, :35] = 3
    return labels


@pytest.fixture
def noise() -> Callable[[int, int], NDArray[np.uint8]]:
    """Makes an RGB picture of random pixels, the same one for the same height and width."""

    def make(height: int, width: int) -> NDArray[np.uint8]:
        return np.random.default_rng(height * 10_007 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)

    return make


@pytest.fixture(scope="session")
def served(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of the tiny bundle behind `bentoml serve`, for other people's clients; bodies to 3 MB, 250,000 pixels."""
    place = tmp_path_factory.mktemp("served")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("FCN_", "BENTOML_", "PROMETHEUS"))}
    settings = {
        "FCN_BUNDLE": str(tiny_bundle.root),
        "FCN_PRECISION": "f32",
        "FCN_MAX_BODY_BYTES": "3_000_000",
        "FCN_MAX_PIXELS": "250_000",
        "BENTOML_HOME": str(place / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    command = ["serve", "service.app:Segmenter", "--host", "127.0.0.1", "--port", str(port)]
    with (place / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "bentoml", *command],
            cwd=Path(__file__).resolve().parent.parent,
            env={**kept, **settings},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 90
        while True:
            assert server.poll() is None, (place / "log").read_text()
            assert time.monotonic() < end, (place / "log").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5):
                    break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


@pytest.fixture(scope="session")
def read_brush() -> Callable[[list[int]], NDArray[np.uint8]]:
    """The published decoder of thi.ng/rle-pack, on which Label Studio's page and exports stand."""

    def read_values(rle: list[int]) -> NDArray[np.uint8]:
        bits = "".join(f"{value:08b}" for value in rle)
        place = 0

        def read(size: int) -> int:
            nonlocal place
            place += size
            return int(bits[place - size : place], 2)

        count, word = read(32), read(5) + 1
        sizes = [read(4) + 1 for _ in range(4)]
        values: list[int] = []
        while len(values) < count:
            repeated = read(1)
            length = read(sizes[read(2)]) + 1
            values += [read(word)] * length if repeated else [read(word) for _ in range(length)]
        return np.array(values, dtype=np.uint8)

    return read_values
