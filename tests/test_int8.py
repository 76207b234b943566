"""A network brought to int8: read by both engines, really run in int8, and refused when it loses too much."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from data.errors import ConfigError, ExportError
from data.sources.catalogue import SourceConfig, open_source
from data.sources.source import Sample
from model import quantisation
from model.cli import main
from model.config import AugmentConfig, FitConfig, LoaderConfig, LossConfig, ModelConfig, OptimiserConfig, TrainConfig
from model.evaluate import evaluate, open_target
from model.export import export, score_calibrated
from model.int8 import to_int8, told
from model.quantisation import LARGEST_WINDOW, QuantisationConfig, layers, quantise, quantise_within, tail, window
from model.runtime.bundle import read_bundle, write_bundle
from model.runtime.engine import EngineConfig
from model.runtime.manifest import Manifest
from model.runtime.openvino_engine import process_core
from model.runtime.predictor import Predictor
from model.runtime.tta import TtaConfig
from model.train import train
from service.routes import create_app
from service.settings import Settings
from service.station import Station

ROOT = Path(__file__).resolve().parent.parent
F32 = EngineConfig(precision="f32")
COLOURS = np.array([(90, 90, 90), (200, 40, 40), (40, 60, 200)])


def draw(folder, count):
    """Red and blue rectangles on grey, in noise: learned in seconds."""
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    (folder / "labels.txt").write_text("ground\nred\nblue\n")
    for index in range(count):
        target = np.zeros((64, 96), np.uint8)
        for label in (1, 2, 1, 2):
            top, left = random.integers(0, 48), random.integers(0, 72)
            height, width = random.integers(16, 40, 2)
            target[top : top + height, left : left + width] = label
        image = np.clip(COLOURS[target] + random.normal(0, 25, (*target.shape, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
        Image.fromarray(target).save(folder / "masks" / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Trained until it knows most pixels: of a network that knows nothing, int8 could cost nothing."""
    place = tmp_path_factory.mktemp("int8")
    config = TrainConfig(
        data=SourceConfig(name="folder", root=draw(place / "pictures", 24), val_fraction=0.25),
        model=ModelConfig(encoder="tu-test_resnet", encoder_weights="none", head_channels=0),
        augment=AugmentConfig(crop_size=(64, 64), scale=(1.0, 1.0), colour=0.0),
        loader=LoaderConfig(batch_size=6, workers=0),
        loss=LossConfig(lovasz=0.0),
        optimiser=OptimiserConfig(decoder_rate=0.005, encoder_rate=0.005),
        fit=FitConfig(epochs=12, ema=0.0, precision="32-true", progress=False, validate_every=12),
    )
    return train(config, place / "run")


@pytest.fixture(scope="module")
def floating(run):
    return export(run.root, run.root / "bundle", progress=False)


@pytest.fixture(scope="module")
def int8(run, floating):
    """Exported by the command, whose words are kept."""
    words = io.StringIO()
    with redirect_stdout(words):
        assert main(["export", str(run.root), "--int8", "true", "--quantisation.max_fall", "20"]) == 0
    bundle = read_bundle(run.root / "bundle-int8")
    (run.root / "said").write_text(words.getvalue())
    return bundle


class FlatPicture:
    """The val pictures of a source, and in front of them an unlabelled one of one colour: a bad one to calibrate on."""

    def __init__(self, source):
        self.source = source
        self.label_map = source.label_map

    def names(self, split):
        return ["flat", *self.source.names(split)]

    def load(self, split, index):
        if index:
            return self.source.load(split, index - 1)
        shape = self.source.load(split, 0).label_map.shape
        return Sample("flat", np.full((*shape, 3), 124, np.uint8), np.full(shape, 255, np.uint8))

    def chosen_alone(self):
        """Settings by which the flat picture is the only one to calibrate on."""
        count = len(self.names("val"))
        tried = (QuantisationConfig(pictures=1, seed=seed) for seed in range(200))
        return next(config for config in tried if config.choose(count) == [0])


def precisions(model_path):
    """How many layers of each kind OpenVINO runs in each precision."""
    network = process_core().read_model(model_path)
    network.reshape({"image": [1, 64, 64, 3]})
    compiled = process_core().compile_model(network, "CPU")
    found = Counter()
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        found[facts["layerType"].astype(str), facts["runtimePrecision"].astype(str)] += 1
    return found


def test_openvino_runs_the_convolutions_in_int8(int8, floating):
    found = precisions(int8.model_path)
    convolutions = {precision: count for (kind, precision), count in found.items() if kind == "Convolution"}
    assert (
        sum(convolutions.get(precision, 0) for precision in ("u8", "i8"))
        >= int8.manifest.quantisation["layers"]["int8"]
    )
    assert not any(
        kind == "Convolution" and precision in ("u8", "i8") for kind, precision in precisions(floating.model_path)
    )


def test_upsampling_argmax_and_confidence_stay_in_floating_point(int8, floating):
    before, after = onnx.load(floating.model_path), onnx.load(int8.model_path)
    onnx.checker.check_model(after)
    behind = set(tail(before))
    kinds = {node.op_type for node in before.graph.node if node.name in behind}
    assert {"ArgMax", "ConvTranspose"} <= kinds
    dequantised = {name for node in after.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in after.graph.node:
        if node.name in behind or node.op_type in ("Sub", "Div"):
            assert dequantised.isdisjoint(node.input), node.name


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_label_maps_are_nearly_those_of_the_float_network(run, floating, int8, engine):
    source = open_source(run.config().data)
    count = len(source.names("val"))
    before, after = Predictor(floating, F32), Predictor(int8, EngineConfig(engine, "f32"))
    images = [source.load("val", index).image for index in range(count)] + [source.load("val", 0).image[:33, :51]]
    differing = [np.mean(before.predict(image).label_map != after.predict(image).label_map) for image in images]
    assert np.mean(differing) < 0.05
    assert max(differing) > 0  # it is not the float network


def test_the_bundle_says_what_int8_cost_and_gained(run, int8, floating):
    manifest = int8.manifest
    facts = manifest.quantisation
    assert (facts["precision"], facts["mode"]) == ("int8", "plain")
    assert facts["calibration"] == {"split": "val", "pictures": 4, "seed": 0}
    assert facts["miou"]["float"] == floating.manifest.scores["miou"]
    assert facts["miou"]["int8"] == manifest.scores["miou"]
    fall = 100 * (facts["miou"]["float"] - facts["miou"]["int8"])
    assert facts["miou"]["fall_points"] == pytest.approx(fall, abs=1e-3)
    assert facts["layers"]["float"] == []
    time = facts["time"]
    assert time["ratio"] == pytest.approx(time["int8_ms"] / time["float_ms"], rel=0.01)
    assert time["processor"]
    shares = facts["agreement"]["share_of_differing_pixels"]
    assert all(0 <= share < 0.1 for share in shares.values())
    assert int8.model_path.stat().st_size < 0.5 * floating.model_path.stat().st_size
    said = (run.root / "said").read_text()
    assert all(line in said for line in told(facts))
    assert "bundle-int8" in said
    assert "INFO:nncf" not in said
    assert "Statistics" not in said


def test_int8_that_is_not_worth_it_is_said_to_be_so(int8):
    facts = json.loads(json.dumps(dict(int8.manifest.quantisation)))
    facts["time"] |= {"float_ms": 10.0, "int8_ms": 9.0, "ratio": 0.9, "worth_it": False, "processor": "Old"}
    facts["layers"]["float"] = ["encoder.conv_stem"]
    lines = told(facts)
    assert lines[1] == "left in float: encoder.conv_stem"
    assert (
        lines[2]
        == "time on Old: 9.0 ms a picture against 10.0 ms in " + facts["time"]["float_precision"] + ", 0.90 of it"
    )
    assert "not worth it on this processor" in lines[3]
    assert "not worth it" not in " ".join(told(facts | {"time": facts["time"] | {"ratio": 0.5, "worth_it": True}}))


def test_a_bundle_in_int8_is_scored_and_averaged_as_any_other(run, int8):
    predict, *_ = open_target(int8.root, F32)
    source = open_source(run.config().data)
    scores = evaluate(predict, source, progress=False).scores
    assert scores.miou == pytest.approx(int8.manifest.scores["miou"])
    averaged, *_ = open_target(int8.root, F32, TtaConfig(flip=True))
    assert evaluate(averaged, source, progress=False).scores.miou > 0.5 * scores.miou


def test_the_service_and_the_card_tell_of_int8(int8, floating):
    for bundle in (int8, floating):
        station = Station(Settings())
        station.open(Predictor(bundle, F32))
        with TestClient(create_app(station)) as client:
            told_of = client.get("/v1/model").json()["quantisation"]
        station.close()
        assert told_of == (bundle.manifest.quantisation or None)
    assert "## Quantisation" in int8.card
    assert int8.manifest.quantisation["time"]["processor"] in int8.card
    assert "## Quantisation" not in floating.card


def test_a_manifest_of_before_is_read(floating):
    assert floating.manifest.quantisation == {}
    text = floating.manifest.to_json()
    assert "quantisation" not in text
    assert Manifest.from_json(text) == floating.manifest
    telling = replace(floating.manifest, quantisation={"mode": "plain", "layers": {"float": ["a"]}})
    assert Manifest.from_json(telling.to_json()) == telling


def test_int8_that_costs_too_much_is_refused_and_the_old_bundle_stays(run, floating, tmp_path):
    out = tmp_path / "bundle"
    write_bundle(out, floating.model_path.read_bytes(), floating.manifest)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    words = io.StringIO()
    with redirect_stderr(words):
        # A rise by 100 points, which nothing can reach.
        assert main(["export", str(run.root), "-o", str(out), "--int8", "--quantisation.max_fall=-100"]) == 1
    said = " ".join(words.getvalue().split())
    assert f"mIoU is {100 * floating.manifest.scores['miou']:.2f} in float and" in said
    assert "at most -100 are allowed" in said
    assert "nothing was written. Allow more with --quantisation.max_fall" in said
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(("groups", "max_fall"), [(24, 6.0), (1, 0.0)], ids=["reached", "refused"])
def test_layers_are_left_in_float_where_a_bad_calibration_costs_too_much(
    run, floating, groups, max_fall, monkeypatch, capfd
):
    source = FlatPicture(open_source(run.config().data))
    config = replace(source.chosen_alone(), max_fall=max_fall)
    score = partial(score_calibrated, source=source, split="val", progress=False)
    before = score(Predictor(floating, F32))
    monkeypatch.setattr(quantisation, "MOST_RESTORED", groups)
    monkeypatch.setattr(quantisation, "RANKED_PICTURES", 2)

    def attempt():
        return to_int8(floating, before, source, "val", config, score, progress=False)

    if groups == 1:
        miou = rf"mIoU is {100 * before['miou']:.2f} in float and \d+\.\d\d in int8 "
        how = r"\(calibrated on 1 pictures, accuracy-aware, \d+ of 18 layers in int8\), a fall of \d+\.\d\d points; "
        with pytest.raises(ExportError, match=miou + how + "at most 0 are allowed"):
            attempt()
        return
    found = attempt()
    assert found.facts["mode"] == "accuracy-aware"
    left = found.facts["layers"]["float"]
    assert left
    assert found.facts["layers"]["int8"] + len(left) == 18
    assert found.facts["miou"]["fall_points"] <= max_fall
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(("of_all_in_int8", "left"), [(0.85, False), (0.7, True)])
def test_the_accuracy_aware_mode_scores_the_very_graph_that_it_gives(floating, of_all_in_int8, left):
    graph, seen = floating.model_path.read_bytes(), []

    def validate(candidate, indices):
        seen.append(candidate)
        in_int8, in_float = layers(graph, candidate)
        metric = 0.9 if not in_int8 else 0.87 if in_float else of_all_in_int8
        return metric, [metric] * len(indices)

    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8))
    found = quantise_within(graph, pictures, validate, 8, 0.1)
    assert seen[-1] == found
    assert bool(layers(graph, found)[1]) is left


def test_the_pictures_to_calibrate_on_follow_from_the_seed():
    config = QuantisationConfig(pictures=5)
    assert config.choose(3) == [0, 1, 2]
    assert config.choose(100) == config.choose(100)
    assert config.choose(100) != replace(config, seed=1).choose(100)
    assert len(set(config.choose(100))) == 5
    assert window(np.zeros((3000, 40, 3), np.uint8)).shape == (LARGEST_WINDOW, 40, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pictures": 0}, "quantisation.pictures is 0: 1 at least"),
        ({"max_fall": float("nan")}, "quantisation.max_fall is nan: it is in points"),
        ({"seed": -1}, "quantisation.seed is -1: 0 or more"),
    ],
)
def test_settings_that_cannot_work_are_told(settings, message):
    with pytest.raises(ConfigError, match=message):
        QuantisationConfig(**settings)


def test_settings_of_int8_without_int8_are_told(run, capsys):
    assert main(["export", str(run.root), "--quantisation.pictures", "3"]) == 1
    assert "--quantisation options count with --int8 alone" in capsys.readouterr().err


def test_a_graph_without_score_heads_is_told(tiny_bundle):
    with pytest.raises(ExportError, match="no score heads"):
        quantise(tiny_bundle.model_path.read_bytes(), [np.zeros((32, 32, 3), np.uint8)])


def test_without_nncf_export_says_at_once_how_to_get_it(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nncf", None)
    assert main(["export", str(run.root), "-o", str(tmp_path / "out"), "--int8"]) == 1
    assert (
        "int8 needs NNCF, which is not installed (nncf): pip install 'fcn-segmenter[int8]'" in capsys.readouterr().err
    )
    assert not list(tmp_path.iterdir())


def test_nncf_reports_to_nobody_and_writes_nothing_at_home(tmp_path):
    program = """
import logging, sys
from model.nncf_session import import_nncf
kind = logging.getLoggerClass()
nncf = import_nncf()
from nncf.telemetry.wrapper import telemetry
assert type(telemetry).__name__ == "MagicMock", telemetry
assert "openvino_telemetry" not in sys.modules
assert logging.getLoggerClass() is kind
"""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [path for path in tmp_path.rglob("*") if "intel" in str(path).lower() or "nncf" in str(path).lower()]
