"""Predictor: any size in, the same size out; tiles that nobody can see."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import BundleError, ConfigError, ImageError
from data.tiles import tile_axis
from model.runtime.bundle import write_bundle
from model.runtime.engine import EngineConfig
from model.runtime.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle

    Noise = Callable[[int, int], NDArray[np.uint8]]

ROOT = Path(__file__).resolve().parent.parent
F32 = EngineConfig(precision="f32", threads=1)


@pytest.fixture(scope="session")
def wide_bundle(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network that looks around: random convolutions down to stride 32, two more there, and bilinear up again.

    An answer depends on 191 pixels about it: 63 by five 3x3 convolutions of stride 2, and 64 more by
    each of two 3x3 convolutions at stride 32; then 32 more to either side by the interpolation.
    """
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(7)
    nodes = [
        helper.make_node("Cast", ["image"], ["as_float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["as_float", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "middle"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["x0"], perm=[0, 3, 1, 2]),
    ]
    constants = {"middle": np.float32(127.5), "scales": np.asarray([1, 1, 32, 32], np.float32)}
    channels = [3, 8, 8, 8, 8, 8, 8, 4]
    for index, stride in enumerate([2, 2, 2, 2, 2, 1, 1]):
        shape = (channels[index + 1], channels[index], 3, 3)
        constants[f"w{index}"] = rng.normal(0, (2 / (9 * channels[index])) ** 0.5, shape).astype(np.float32)
        settings = {"strides": [stride, stride], "pads": [1, 1, 1, 1]}
        nodes.append(helper.make_node("Conv", [f"x{index}", f"w{index}"], [f"c{index}"], **settings))
        nodes.append(helper.make_node("LeakyRelu", [f"c{index}"], [f"x{index + 1}"], alpha=0.3))
    nodes += [
        helper.make_node(
            "Resize", ["x7", "", "scales"], ["logits"], mode="linear", coordinate_transformation_mode="half_pixel"
        ),
        helper.make_node("ArgMax", ["logits"], ["best"], axis=1, keepdims=0),
        helper.make_node("Cast", ["best"], ["label_map"], to=TensorProto.UINT8),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities", "one"], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "top"], ["bytes"]),
        helper.make_node("Cast", ["bytes"], ["confidence"], to=TensorProto.UINT8),
    ]
    constants |= {"one": np.asarray([1], np.int64), "top": np.float32(255)}
    graph = helper.make_graph(
        nodes,
        "looks_around",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", "h", "w", 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.UINT8, ["n", "h", "w"])
            for name in ("label_map", "confidence")
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    root = tmp_path_factory.mktemp("bundles") / "wide"
    return write_bundle(root, model.SerializeToString(), tiny_bundle.manifest)


@pytest.fixture(scope="module")
def predictor(tiny_bundle: Bundle) -> Predictor:
    return Predictor(tiny_bundle, F32)


def test_label_map_has_the_size_of_the_picture_and_the_answers_known_by_hand(
    predictor: Predictor, picture: NDArray[np.uint8], picture_labels: NDArray[np.uint8]
) -> None:
    answer = predictor.predict(picture)
    assert (answer.label_map == picture_labels).all()
    assert answer.label_map.dtype == answer.confidence.dtype == np.uint8
    assert answer.confidence.shape == (50, 70)
    assert answer.confidence.min() > 240


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 5000), (5000, 1), (32, 32), (31, 33), (64, 2048), (33, 2049), (2, 3)]
)
def test_any_size_from_one_pixel_up(predictor: Predictor, noise: Noise, height: int, width: int) -> None:
    image = noise(height, width)
    answer = predictor.predict(image)
    assert answer.label_map.shape == answer.confidence.shape == (height, width)
    alone = predictor.predict(image[-1:, -1:])  # the network looks at each pixel by itself
    assert answer.label_map[-1, -1] == alone.label_map[0, 0]


def test_pictures_that_are_views_or_cannot_be_written_to_are_taken(predictor: Predictor, noise: Noise) -> None:
    image = noise(64, 96)
    image.flags.writeable = False
    expected = predictor.predict(image).label_map
    assert (predictor.predict(image[:, ::-1]).label_map == expected[:, ::-1]).all()
    assert (predictor.predict(image.transpose(1, 0, 2)).label_map == expected.T).all()
    assert (predictor.predict(np.asfortranarray(image)).label_map == expected).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 5), np.uint8), r"shape \(4, 5\); RGB"),
        (np.zeros((4, 5, 4), np.uint8), r"shape \(4, 5, 4\); RGB"),
        (np.zeros((1, 4, 5, 3), np.uint8), "RGB of shape"),
        (np.zeros((4, 5, 3), np.float32), "dtype float32"),
        (np.zeros((0, 5, 3), np.uint8), "5x0"),
        ([[[1, 2, 3]]], "is a list; a numpy array"),
    ],
)
def test_what_is_no_picture_is_refused(predictor: Predictor, image: NDArray[np.uint8], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        predictor.predict(image)


def test_tiles_and_the_whole_give_the_same_where_each_pixel_stands_alone(
    tiny_bundle: Bundle, predictor: Predictor, noise: Noise
) -> None:
    image = noise(211, 533)
    whole = predictor.predict(image)
    for max_tile in (32, 33, 64, 100, 224):
        tiled = Predictor(tiny_bundle, F32, max_tile=max_tile).predict(image)
        assert (tiled.label_map == whole.label_map).all()
        assert (tiled.confidence == whole.confidence).all()


def test_no_seam_shows_where_the_network_looks_around(wide_bundle: Bundle) -> None:
    coarse = np.random.default_rng(3).integers(0, 256, (45, 60, 3), dtype=np.uint8)
    image = np.ascontiguousarray(coarse.repeat(20, axis=0).repeat(20, axis=1)[:870, :1190])
    whole = Predictor(wide_bundle, F32).predict(image)
    assert len(np.unique(whole.label_map)) > 1
    tiled = Predictor(wide_bundle, F32, max_tile=512).predict(image)
    assert (tiled.label_map == whole.label_map).mean() >= 0.998
    # A tile too small for the network's view still gives an answer near the whole's.
    small = Predictor(wide_bundle, F32, max_tile=256).predict(image)
    assert (small.label_map == whole.label_map).mean() >= 0.95


def test_a_huge_picture_is_run_in_tiles_of_one_shape(wide_bundle: Bundle, noise: Noise) -> None:
    predictor = Predictor(wide_bundle, F32, max_tile=256)
    shapes: list[tuple[int, ...]] = []
    expected: list[tuple[int, ...]] = []
    run = predictor.engine.run

    class Watched:
        name, precision = predictor.engine.name, predictor.engine.precision

        def run(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
            shapes.append(images.shape)
            return run(images)

        def expect(self, shape: tuple[int, ...]) -> None:
            expected.append(shape)

    predictor.engine = Watched()
    predictor.predict(noise(700, 500))
    assert len(shapes) > 4
    assert {*shapes} == {*expected}
    assert len(expected) == 1
    assert max(shapes[0][1:3]) <= 256


RELEASED = """
import sys
from pathlib import Path
import numpy as np
import psutil
import model.runtime.predictor as module
from model.runtime.bundle import read_bundle
from model.runtime.engine import EngineConfig

predictor = module.Predictor(read_bundle(Path(sys.argv[1])), EngineConfig(precision="f32", threads=1))
picture = np.random.default_rng(1).integers(0, 256, (2048, 2048, 3), dtype=np.uint8)
expected = predictor.predict(picture)
held = psutil.Process().memory_info().rss
module.RELEASE_PIXELS = 1000
found = predictor.predict(picture)
print(held - psutil.Process().memory_info().rss)
assert (found.label_map == expected.label_map).all()
assert (predictor.predict(picture).confidence == expected.confidence).all()
"""


def test_after_a_huge_picture_the_engines_memory_is_given_back(wide_bundle: Bundle) -> None:
    # In a process of its own: pages that other tests have freed are taken again and would not be counted.
    command = [sys.executable, "-c", RELEASED, str(wide_bundle.root)]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20e6


def test_threads_share_one_predictor(wide_bundle: Bundle, noise: Noise) -> None:
    predictor = Predictor(wide_bundle, F32, max_tile=128)
    pictures = [noise(40 + 60 * index, 150) for index in range(4)]
    alone = [predictor.predict(picture).label_map for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda index: predictor.predict(pictures[index % 4]).label_map, range(24)))
    assert all((answer == alone[index % 4]).all() for index, answer in enumerate(together))


def test_a_tile_below_the_stride_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="max_tile is 31; the network needs at least its stride, 32"):
        Predictor(tiny_bundle, F32, max_tile=31)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_warm_up_finds_a_network_that_takes_one_size_alone(tiny_bundle: Bundle, tmp_path: Path, engine: str) -> None:
    import onnx

    Predictor(tiny_bundle, F32, max_tile=32).warm_up()
    model = onnx.load(tiny_bundle.model_path)
    for index, size in enumerate((1, 96, 96)):
        model.graph.input[0].type.tensor_type.shape.dim[index].dim_value = size
    bundle = write_bundle(tmp_path / "fixed", model.SerializeToString(), tiny_bundle.manifest)
    with pytest.raises(BundleError, match="cannot run a picture of 96x32"):
        Predictor(bundle, EngineConfig(engine=engine)).warm_up()


@settings(deadline=None)
@given(
    length=st.integers(1, 3000),
    tiles=st.integers(1, 20),
    stride=st.sampled_from([1, 8, 32]),
    overlap=st.integers(0, 400),
)
def test_tiles_cover_every_pixel_once_and_meet_in_the_middle(
    length: int, tiles: int, stride: int, overlap: int
) -> None:
    longest = tiles * stride
    axis = tile_axis(length, longest, overlap, stride)
    covered = np.concatenate([np.arange(length)[tile.target] for tile in axis])
    assert (covered == np.arange(length)).all()
    sizes = {-(-(tile.source.stop - tile.source.start) // stride) for tile in axis}
    assert len(sizes) == 1
    assert sizes.pop() * stride <= max(longest, stride)
    shared = min(overlap, longest // 2) // stride * stride
    for tile, following in pairwise(axis):
        assert tile.source.start % stride == 0
        assert tile.source.stop - following.source.start >= min(shared, length - following.source.start)
    for tile in axis:
        assert tile.kept.stop - tile.kept.start == tile.target.stop - tile.target.start
        assert tile.source.start + tile.kept.start == tile.target.start
        # Away from the picture's own ends nothing is taken from a tile's outer half overlap.
        assert tile.source.start == 0 or tile.kept.start >= shared // 2
        last = tile.source.stop == length
        assert last or tile.source.stop - tile.target.stop >= shared // 2
