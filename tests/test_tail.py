"""The last step in compiled code gives what torch gives, at every size, and the graph does it where it cannot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, get_args

import numpy as np
import openvino as ov
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from data.labels import LabelMap
from model.config import UpsamplerName
from model.graph import to_onnx
from model.runtime import library, tail_engine, trunk
from model.runtime.bundle import Manifest, write_bundle
from model.runtime.engine import EngineConfig, open_engine
from model.runtime.openvino_engine import OpenVinoEngine
from model.runtime.predictor import Predictor
from model.runtime.requests import Requests
from model.runtime.tail import F32Tail, Tail
from model.runtime.tail_bf16 import Bf16Tail, bf16
from model.runtime.tail_engine import EngineTail, phase_kernels
from model.upsample import TransposedUpsampler, bilinear_kernel, make_upsampler

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle

F32 = EngineConfig(precision="f32", threads=2)
FORMS = [*library.forms(), "bf16"] if library.has_bf16() else library.forms()
"""Machine codes that this processor runs: those in 32-bit, the fastest first, and bf16."""


def rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """To bf16, as 32-bit numbers."""
    return (bf16(values) << 16).view(np.float32)


def wanted(upsampler: TransposedUpsampler, scores: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """What torch makes of coarse scores (C, h, w)."""
    with torch.inference_mode():
        shares, labels = upsampler(torch.from_numpy(scores)[None])[0].double().softmax(dim=0).max(dim=0)
    return labels.to(torch.uint8).numpy(), (shares * 255).round().to(torch.uint8).numpy()


def make(
    classes: int, factor: int, spread: float, *, dense: bool = False, form: str = "plain"
) -> tuple[TransposedUpsampler, Tail]:
    """A transposed convolution that is not bilinear any more, and the compiled step of the same kernels."""
    upsampler = TransposedUpsampler(classes, factor, dense=dense, start="bilinear")
    with torch.no_grad():
        upsampler.weight.add_(torch.randn_like(upsampler.weight) * spread)
    kernels = upsampler.weight.detach().numpy()
    own = kernels if dense else kernels[:, 0]
    if form != "bf16":
        return upsampler, F32Tail(own, factor, threads=3, form=form)
    with torch.no_grad():  # what torch makes of the same filters
        upsampler.weight.copy_(torch.from_numpy(rounded(kernels)))
    return upsampler, Bf16Tail(own, factor, threads=3)


def make_with_engine(classes: int, factor: int, spread: float) -> tuple[TransposedUpsampler, Tail]:
    """The same with dense kernels whose matrix product the engine does."""
    upsampler, _ = make(classes, factor, spread, dense=True)
    network = ov.Core().compile_model(
        trunk.convolution(phase_kernels(upsampler.weight.detach().numpy())), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    requests = Requests(network)
    return upsampler, EngineTail(lambda padded: requests.infer({"scores": padded}), factor, threads=3)


def drawn(shape: tuple[int, int, int], form: str, seed: int = 0, spread: float = 1.0) -> NDArray[np.float32]:
    """Coarse scores; with bf16 such that the step, which rounds them in powers of two, changes next to nothing."""
    scores = np.random.default_rng(seed).normal(size=shape).astype(np.float32) * np.float32(spread)
    log2_e = np.float32(1.44269504)
    return rounded(scores * log2_e) / log2_e if form == "bf16" else scores


def same(found: tuple[NDArray[np.uint8], ...], expected: tuple[NDArray[np.uint8], ...]) -> None:
    """Equal but for ties and rounding."""
    assert [part.shape for part in found] == [part.shape for part in expected]
    assert (found[0] != expected[0]).mean() < 1e-3
    assert np.abs(found[1].astype(int) - expected[1]).max() <= 1


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 40),
    st.sampled_from([4, 8, 16, 32]),
    st.integers(1, 9),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from(FORMS),
    st.integers(0, 99),
)
def test_every_pixel_is_what_torch_makes_of_it(
    classes: int, factor: int, height: int, width: int, dense: bool, form: str, seed: int
) -> None:
    if dense:
        classes, factor = min(classes, 5), min(factor, 8)
    torch.manual_seed(seed)
    upsampler, step = make(classes, factor, 0.1, dense=dense, form=form)
    scores = drawn((classes, height, width), form, seed, spread=3)
    same(step.run(scores), wanted(upsampler, scores))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dense", [False, True])
def test_255_classes_are_not_too_many(dense: bool, form: str) -> None:
    torch.manual_seed(0)
    upsampler, step = make(255, 4, 0.1, dense=dense, form=form)
    scores = drawn((255, 12, 17), form)
    same(step.run(scores), wanted(upsampler, scores))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("size", [50.0, 5000.0])
def test_scores_far_from_nothing_neither_overflow_nor_vanish(size: float, dense: bool, form: str) -> None:
    torch.manual_seed(0)
    # Filters that lead far from the scores around.
    upsampler, step = make(4, 8, 1.0, dense=dense, form=form)
    scores = drawn((4, 9, 21), form, spread=size)
    labels, confidences = step.run(scores)
    expected = wanted(upsampler, scores)
    assert (labels != expected[0]).mean() < 2e-3
    assert np.abs(confidences.astype(int) - expected[1])[labels == expected[0]].max() <= 1


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dense", [False, True])
def test_scores_that_are_no_numbers_give_some_label_and_no_crash(dense: bool, form: str) -> None:
    _, step = make(3, 8, 0.0, dense=dense, form=form)
    labels, _ = step.run(np.full((3, 5, 5), np.nan, dtype=np.float32))
    assert labels.max() < 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dense", [False, True])
def test_many_threads_at_once_do_not_meet(dense: bool, form: str) -> None:
    upsampler, step = make(16, 8, 0.1, dense=dense, form=form)
    pictures = [drawn((16, 48, 60), form, seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as pool:
        for found, scores in zip(pool.map(step.run, pictures), pictures, strict=True):
            same(found, wanted(upsampler, scores))


@pytest.mark.parametrize(
    ("classes", "height", "width", "spread"), [(1, 1, 1, 1.0), (5, 9, 40, 3.0), (12, 20, 7, 5000.0)]
)
def test_the_engines_product_gives_what_torch_gives(classes: int, height: int, width: int, spread: float) -> None:
    torch.manual_seed(0)
    upsampler, step = make_with_engine(classes, 8, 0.1)
    scores = drawn((classes, height, width), "f32", spread=spread)
    same(step.run(scores), wanted(upsampler, scores))


def test_the_engines_product_in_many_strips_is_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    _, step = make_with_engine(3, 8, 0.1)
    scores = drawn((3, 20, 30), "f32")
    whole = step.run(scores)
    monkeypatch.setattr(tail_engine, "STRIP_BYTES", 3 * 4 * 3 * 64 * 31)  # three rows
    for found, expected in zip(step.run(scores), whole, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_processor_runs_the_plain_form_and_the_fastest_that_it_has_is_taken() -> None:
    assert library.forms()[-1] == "plain"
    assert library.forms() == [form for form in library.FORMS if form in library.forms()]
    kernels = bilinear_kernel(8).numpy()[None]
    scores = np.random.default_rng(0).normal(size=(1, 5, 5)).astype(np.float32)
    same(F32Tail(kernels, 8, 1).run(scores), F32Tail(kernels, 8, 1, library.forms()[0]).run(scores))


@pytest.mark.parametrize("factor", [2, 4, 8, 16, 32])
def test_the_tent_is_the_bilinear_kernel(factor: int) -> None:
    np.testing.assert_allclose(trunk.tent(factor), bilinear_kernel(factor).numpy(), atol=1e-7)


class Small(torch.nn.Module):
    """Scores of 8x8 pixels each, upsampled: as an FCN ends, without its encoder."""

    name = "small"

    def __init__(self, upsampler: UpsamplerName) -> None:
        super().__init__()
        self.score = torch.nn.Conv2d(3, 6, 8, stride=8)
        self.upsampler = make_upsampler(upsampler, 6, 8)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.upsampler(self.score(image.float() / 64))
        return scores


@pytest.fixture(scope="module", params=get_args(UpsamplerName))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A network of one convolution and each upsampler, none of them at its start."""
    torch.manual_seed(0)
    network = Small(request.param).eval()
    for weight in network.upsampler.parameters():
        torch.nn.init.normal_(weight, mean=0.1, std=0.1)
    labels = LabelMap.from_names([str(index) for index in range(6)])
    manifest = Manifest("seeded", labels, 32, "resnet18", request.param, 8, "", {}, {}, "2026-01-01T00:00:00+00:00")
    return write_bundle(tmp_path_factory.mktemp(request.param) / "bundle", to_onnx(network), manifest)


def test_a_bundle_of_every_upsampler_gives_the_same_fused_and_in_its_graph(
    exported: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)
    engine = open_engine(exported, F32)
    known = exported.manifest.upsampler in {"bilinear", "learned", "learned-dense", "learned-random"}
    assert engine.tail == ("fused" if known else "graph")
    monkeypatch.setattr("model.runtime.openvino_engine.compiled", lambda: None)
    graph = open_engine(exported, F32)
    assert graph.tail == "graph"
    expected = graph.run(images)
    for _ in range(3):  # for any shape, and compiled for this one
        same(engine.run(images), expected)


def test_the_last_step_is_in_the_precision_of_the_network(exported: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    fused = exported.manifest.upsampler in {"bilinear", "learned", "learned-random", "learned-dense"}
    dense = exported.manifest.upsampler == "learned-dense"
    assert type(OpenVinoEngine(exported, F32)._tail) is (F32Tail if fused else type(None))
    if not library.has_bf16():
        return  # bf16 is refused there: tests/test_engine.py
    bf16_config = EngineConfig(precision="bf16", threads=2)
    engine = OpenVinoEngine(exported, bf16_config)
    assert type(engine._tail) is (Bf16Tail if fused else type(None))
    images = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)
    found, expected = engine.run(images), open_engine(exported, F32).run(images)
    assert (found[0] != expected[0]).mean() < 0.03
    assert np.abs(found[1].astype(int) - expected[1]).mean() < 2
    # The engine's own matrix products are faster where the processor multiplies tiles.
    monkeypatch.setattr("model.runtime.openvino_engine.multiplies_tiles", lambda: True)
    assert type(OpenVinoEngine(exported, bf16_config)._tail) is (EngineTail if dense else type(engine._tail))


def test_a_machine_without_the_library_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(library, "__file__", str(tmp_path / "library.py"))
    library.compiled.cache_clear()
    try:
        assert library.compiled() is None
        assert "is not compiled here" in caplog.text
        library.compiled.cache_clear()
        (tmp_path / f"_tail{library.EXTENSION_SUFFIXES[0]}").write_bytes(b"from another machine")
        assert library.compiled() is None
        assert "cannot be used" in caplog.text
    finally:
        library.compiled.cache_clear()


def test_tiles_are_smaller_where_the_graph_holds_the_scores_of_many_classes(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.runtime.predictor.SCORES_BYTES", 4 * 4 * 64 * 64)
    predictor, tiles = Predictor(tiny_bundle, F32), []
    predictor.predict(np.zeros((200, 64, 3), dtype=np.uint8), lambda: tiles.append(1))
    assert len(tiles) > 3
