"""Both engines give the same, from many threads, for shapes seen once and shapes that come back."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import openvino as ov
import pytest

from data.errors import BundleError, ConfigError, ImageError
from model.runtime.bundle import write_bundle
from model.runtime.engine import EngineConfig, open_engine
from model.runtime.openvino_engine import LARGEST_COMPILED, OpenVinoEngine
from model.runtime.processors import multiplies_tiles, usable_processors
from model.runtime.shapes import FrequentShapes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle

    Noise = Callable[[int, int], NDArray[np.uint8]]

HAS_BF16 = "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
NATIVE_BF16 = ov.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == ov.Type.bf16
CONFIGS = [
    EngineConfig(precision="f32"),
    EngineConfig(),
    EngineConfig(precision="f32", threads=1, streams=2),
    EngineConfig(engine="onnxruntime"),
]


def expected_labels(images: NDArray[np.uint8], bundle: Bundle) -> NDArray[np.uint8]:
    colours = np.asarray(bundle.manifest.labels.palette, dtype=np.int64)
    distance = ((images[..., None, :].astype(np.int64) - colours) ** 2).sum(axis=-1)
    return distance.argmin(axis=-1).astype(np.uint8)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_engine_gives_the_answers_known_by_hand(tiny_bundle: Bundle, config: EngineConfig, noise: Noise) -> None:
    engine = open_engine(tiny_bundle, config)
    assert engine.name == config.engine
    for images in (noise(64, 96)[None], np.stack([noise(32, 32), noise(32, 32)[::-1]])):
        label_maps, confidences = engine.run(images)
        assert label_maps.dtype == confidences.dtype == np.uint8
        assert label_maps.shape == confidences.shape == images.shape[:3]
        assert (label_maps == expected_labels(images, tiny_bundle)).mean() >= 0.995  # ties, and bf16's 8 bits
    black = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    # Scores 0 for black and -1 for the others, times 8: softmax 1 / (1 + 3 exp(-8)), 254.7 of 255.
    assert (engine.run(black)[1] == 255).all()
    # Grey 85 = 1/3: 2/3 - 1 for the colours, 0 for black; 1 / (1 + 3 exp(-8/3)) = 0.8275, 211 of 255.
    assert np.abs(engine.run(np.full_like(black, 85))[1].astype(int) - 211).max() <= (
        2 if config.precision == "auto" else 0
    )


def test_the_engines_agree_in_f32(tiny_bundle: Bundle, noise: Noise) -> None:
    images = noise(96, 64)[None]
    first = open_engine(tiny_bundle, EngineConfig(precision="f32")).run(images)
    second = open_engine(tiny_bundle, EngineConfig(engine="onnxruntime")).run(images)
    assert (first[0] == second[0]).mean() >= 0.999
    assert np.abs(first[1].astype(int) - second[1]).max() <= 1


def test_the_precision_in_force_is_told(tiny_bundle: Bundle) -> None:
    assert open_engine(tiny_bundle, EngineConfig()).precision == ("bf16" if NATIVE_BF16 else "f32")
    assert open_engine(tiny_bundle, EngineConfig(precision="f32")).precision == "f32"
    assert open_engine(tiny_bundle, EngineConfig(engine="onnxruntime")).precision == "f32"
    if HAS_BF16:
        assert open_engine(tiny_bundle, EngineConfig(precision="bf16")).precision == "bf16"
    else:
        with pytest.raises(ConfigError, match="processor has none"):
            open_engine(tiny_bundle, EngineConfig(precision="bf16"))


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_many_threads_get_their_own_answers(tiny_bundle: Bundle, config: EngineConfig, noise: Noise) -> None:
    engine = open_engine(tiny_bundle, config)
    pictures = [noise(32 * (1 + index % 3), 64)[None] for index in range(6)]
    alone = [engine.run(picture) for picture in pictures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda index: engine.run(pictures[index % 6]), range(120)))
    for index, (label_map, confidence) in enumerate(together):
        assert (label_map == alone[index % 6][0]).all()
        assert (confidence == alone[index % 6][1]).all()


def test_an_answer_is_not_overwritten_by_the_next(tiny_bundle: Bundle, noise: Noise) -> None:
    engine = open_engine(tiny_bundle, EngineConfig())
    first, _ = engine.run(noise(32, 32)[None])
    kept = first.copy()
    engine.run(noise(32, 32)[None, ::-1])
    assert (first == kept).all()


def test_a_shape_that_comes_back_gets_its_own_network_and_the_same_answer(tiny_bundle: Bundle, noise: Noise) -> None:
    engine = OpenVinoEngine(tiny_bundle, EngineConfig(precision="f32"))
    images = noise(64, 96)[None]
    seen = [(engine.run(images), len(engine.compiled_shapes)) for _ in range(4)]
    assert [held for _, held in seen] == [0, 0, 1, 1]
    for (label_maps, confidences), _ in seen:
        assert (label_maps == seen[0][0][0]).all()
        assert (confidences == seen[0][0][1]).all()


def test_no_more_shapes_are_held_than_there_is_room_for(tiny_bundle: Bundle, noise: Noise) -> None:
    engine = OpenVinoEngine(tiny_bundle, EngineConfig(precision="f32"))
    for _ in range(4):
        for height in range(1, 7):
            engine.run(noise(32 * height, 32)[None])
    held = engine.compiled_shapes
    assert len(held) == 4
    for _ in range(20):
        engine.run(noise(32, 320)[None])
    assert (1, 32, 320, 3) in engine.compiled_shapes
    assert len(engine.compiled_shapes) == 4


def test_a_large_shape_never_gets_its_own_network(tiny_bundle: Bundle) -> None:
    engine = OpenVinoEngine(tiny_bundle, EngineConfig(precision="f32"))
    images = np.zeros((1, LARGEST_COMPILED // 1024 + 32, 1024, 3), dtype=np.uint8)
    for _ in range(4):
        engine.run(images)
    assert engine.compiled_shapes == []


def test_a_large_shape_that_is_expected_has_one_until_another_is_or_the_memory_is_given_back(
    tiny_bundle: Bundle,
) -> None:
    engine = OpenVinoEngine(tiny_bundle, EngineConfig(precision="f32"))
    images = np.random.default_rng(0).integers(0, 256, (1, LARGEST_COMPILED // 1024 + 32, 1024, 3), dtype=np.uint8)
    before = engine.run(images)
    engine.expect(images.shape)
    assert engine.compiled_shapes == [images.shape]
    for found, kept in zip(engine.run(images), before, strict=True):
        assert (found == kept).mean() > 0.9999
    engine.expect((1, 1056, 1056, 3))
    assert engine.compiled_shapes == [(1, 1056, 1056, 3)]
    assert engine.run(images)[0].shape == before[0].shape
    engine.release()
    assert engine.compiled_shapes == []


def test_a_small_shape_is_not_compiled_for_before_it_came_back(tiny_bundle: Bundle) -> None:
    engine = OpenVinoEngine(tiny_bundle, EngineConfig(precision="f32"))
    engine.expect((1, 64, 64, 3))
    assert engine.compiled_shapes == []


def test_shapes_that_take_turns_do_not_push_each_other_out() -> None:
    frequent = FrequentShapes(capacity=2, sights=2, window=12)
    held = [(1,), (2,)]
    for _ in range(5):
        for shape in ((1,), (2,), (3,)):
            frequent.see(shape)
    assert not frequent.worth_compiling((3,), held)
    for _ in range(5):
        frequent.see((3,))
    assert frequent.worth_compiling((3,), held)
    assert frequent.to_drop(held) in held
    assert frequent.to_drop(held[:1]) is None


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 32, 33, 3), np.uint8),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 4), np.uint8),
        np.zeros((0, 32, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 3), np.float32),
    ],
    ids=lambda images: f"{images.shape} {images.dtype}",
)
def test_a_batch_that_the_network_cannot_take_is_refused(
    tiny_bundle: Bundle, engine: str, images: NDArray[np.generic]
) -> None:
    with pytest.raises(ImageError):
        open_engine(tiny_bundle, EngineConfig(engine=engine)).run(images)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_file_that_is_no_network_is_a_bundle_error(tiny_bundle: Bundle, engine: str, tmp_path: Path) -> None:
    whole = tiny_bundle.model_path.read_bytes()
    for index, content in enumerate((b"no network", whole[: len(whole) // 2])):
        bundle = write_bundle(tmp_path / str(index), content, tiny_bundle.manifest)
        with pytest.raises(BundleError, match="cannot be loaded as an ONNX network"):
            open_engine(bundle, EngineConfig(engine=engine))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_network_with_other_outputs_is_a_bundle_error(tiny_bundle: Bundle, engine: str, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(tiny_bundle.model_path)
    del model.graph.output[1]
    bundle = write_bundle(tmp_path / "one", model.SerializeToString(), tiny_bundle.manifest)
    with pytest.raises(BundleError, match="gives label_map uint8; it should take"):
        open_engine(bundle, EngineConfig(engine=engine))

    model = onnx.load(tiny_bundle.model_path)
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("best", onnx.TensorProto.INT64, ["n", "h", "w"]))
    bundle = write_bundle(tmp_path / "wide", model.SerializeToString(), tiny_bundle.manifest)
    with pytest.raises(BundleError, match="best int64"):
        open_engine(bundle, EngineConfig(engine=engine))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "tensorrt"}, "choose one of openvino, onnxruntime"),
        ({"precision": "int8"}, "choose one of auto, f32, bf16"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "needs engine openvino"),
        ({"threads": -1}, "threads is -1"),
        ({"streams": 0}, "streams is 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(EngineConfig(), **settings)


def test_a_unit_for_tiles_is_read_from_what_the_system_tells(tmp_path: Path) -> None:
    told = tmp_path / "cpuinfo"
    assert not multiplies_tiles(told)
    told.write_text("flags : avx512_bf16 amx_tile\n")
    assert not multiplies_tiles(told)
    told.write_text("flags : avx512_bf16 amx_bf16 amx_tile\n")
    assert multiplies_tiles(told)


def test_a_containers_quota_bounds_the_processors(tmp_path: Path) -> None:
    assert usable_processors(tmp_path / "none") >= 1
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_processors(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_processors(tmp_path) == usable_processors(tmp_path / "none")
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert usable_processors(tmp_path) == 1
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1")
    assert usable_processors(tmp_path) == usable_processors(tmp_path / "none")


def test_no_engine_is_loaded_before_it_is_opened() -> None:
    program = (
        "import sys, model.runtime.predictor, model.runtime.openvino_engine, model.runtime.onnxruntime_engine\n"
        "sys.exit(any(name in sys.modules for name in ('openvino', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_signal_after_engines_have_come_and_gone_is_survived(tiny_bundle):
    script = f"""
import gc, os, signal
from pathlib import Path
from model.runtime.bundle import read_bundle
from model.runtime.engine import EngineConfig, open_engine

bundle = read_bundle(Path({str(tiny_bundle.root)!r}))
first, second = (open_engine(bundle, EngineConfig(precision="f32")) for _ in range(2))
del first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
