"""Test-time augmentation: one definition for a checkpoint and its bundle, bounded, told with its cost."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from data.errors import BundleError, ConfigError
from model.averaging import network_predict
from model.cli import main
from model.run import Run
from model.runtime.averaging_engine import MEAN_BYTES, AveragingEngine, largest_tile
from model.runtime.bundle import read_bundle, write_bundle
from model.runtime.engine import EngineConfig
from model.runtime.predictor import Predictor
from model.runtime.tta import TtaConfig, average

F32 = EngineConfig(precision="f32", threads=1)
SIX = TtaConfig(flip=True, scales=(0.75, 1, 1.25))


@pytest.fixture(scope="module")
def run(exported_run):
    return exported_run


@pytest.fixture(scope="module")
def bundle(run):
    return read_bundle(run.root / "bundle")


@pytest.fixture(scope="module")
def network(run):
    return run.network("best")


def test_one_plain_pass_is_the_default_and_averages_nothing():
    assert (TtaConfig().passes, TtaConfig().active, TtaConfig().told) == (1, False, "")
    assert (SIX.passes, SIX.active, SIX.told) == (6, True, "flip, scales 0.75,1,1.25")


@pytest.mark.parametrize(
    "scales", [(), (0.1,), (5.0,), (1.0, 1.0), tuple(1 + n / 10 for n in range(9)), (float("nan"),)]
)
def test_scales_that_make_no_sense_are_refused(scales):
    with pytest.raises(ConfigError, match=r"tta\.scales is \["):
        TtaConfig(scales=scales)


def test_the_mean_of_probabilities_decides_counted_by_hand():
    answers = iter(
        [[[[0.6, 0.1]], [[0.4, 0.9]]], [[[0.3, 0.1]], [[0.7, 0.9]]]]
    )  # the second one is of the mirror image
    label_map, confidence = average(
        np.zeros((1, 2, 3), np.uint8), TtaConfig(flip=True), lambda *_: np.asarray(next(answers), np.float32)
    )
    # Turned back, the second answer is 0.1 0.3 / 0.9 0.7; the means are 0.35 0.2 / 0.65 0.8.
    assert label_map.tolist() == [[1, 1]]
    assert confidence.tolist() == [[round(255 * 0.65), round(255 * 0.8)]]


def test_a_checkpoint_is_averaged_as_the_formula_says(network, noise):
    image = noise(50, 70)
    padded = np.pad(image, [(0, 14), (0, 26), (0, 0)], mode="edge")
    total = 0
    for scale, flip in product((0.5, 1.0), (False, True)):
        height, width = round(64 * scale), round(96 * scale)
        scaled = np.asarray(Image.fromarray(padded).resize((width, height), Image.Resampling.BILINEAR))
        looked_at = scaled[:, ::-1] if flip else scaled
        with torch.inference_mode():
            logits = network(torch.from_numpy(looked_at.transpose(2, 0, 1).copy())[None])
        found = functional.interpolate(logits.softmax(1), (64, 96), mode="bilinear", align_corners=False)
        total = total + (found.flip(3) if flip else found)
    expected = total[0].argmax(0).numpy()[:50, :70]
    found = network_predict(network, TtaConfig(flip=True, scales=(0.5, 1.0)))(image)
    assert np.mean(found == expected) > 0.999
    assert np.mean(found == network_predict(network)(image)) < 0.99  # and it is another map than that of one pass


def test_a_bundle_and_its_checkpoint_are_averaged_to_the_same_label_map(network, noise, bundle):
    smaller, mirrored = TtaConfig(scales=(0.6,)), TtaConfig(flip=True)
    for size, tta in (((50, 70), SIX), ((64, 96), smaller), ((1, 1), SIX), ((33, 200), mirrored)):
        image = noise(*size)
        found = Predictor(bundle, F32, tta=tta).predict(image)
        assert found.label_map.shape == size
        assert np.mean(found.label_map == network_predict(network, tta)(image)) >= 0.998


def test_both_cut_a_large_picture_into_the_same_tiles(network, noise, bundle):
    tta = TtaConfig(scales=(4,))
    assert largest_tile(2048, tta, 5) == 512
    image = noise(576, 64)
    found = Predictor(bundle, F32, tta=tta).predict(image)
    assert np.mean(found.label_map == network_predict(network, tta)(image)) >= 0.998


def test_the_averaged_confidence_is_the_mean_probability(tiny_bundle, picture, picture_labels):
    """The tiny bundle looks at single pixels: mirrored it says the same, so the mean is one pass's own."""
    once = Predictor(tiny_bundle, F32).predict(picture)
    twice = Predictor(tiny_bundle, F32, tta=TtaConfig(flip=True)).predict(picture)
    assert (twice.label_map == picture_labels).all()
    softmax_of = once.confidence.astype(int)  # the tiny graph sharpens the softmax of its confidence by 8
    assert (twice.confidence <= softmax_of).all()
    assert twice.confidence.min() >= 255 // 4


def test_tiles_are_smaller_where_there_are_many_classes_and_large_scales():
    assert largest_tile(2048, TtaConfig(flip=True), 4) == 2048
    assert largest_tile(2048, TtaConfig(scales=(1, 2)), 4) == 1024
    side = largest_tile(2048, SIX, 60)
    assert 512 < side < 1024
    assert side**2 * 60 * 4 <= MEAN_BYTES
    assert largest_tile(2048, SIX, 255) == 512
    assert largest_tile(256, SIX, 255) == 256


def test_a_large_picture_is_averaged_in_tiles(tiny_bundle, noise):
    image = noise(700, 150)
    tiled = Predictor(tiny_bundle, F32, max_tile=256, overlap=64, tta=TtaConfig(flip=True)).predict(image)
    assert (tiled.label_map == Predictor(tiny_bundle, F32).predict(image).label_map).all()


def test_onnx_runtime_cannot_average_and_says_why(tiny_bundle):
    with pytest.raises(ConfigError, match=r"\(flip, scales 0\.75,1,1\.25\) of a bundle needs engine openvino"):
        Predictor(tiny_bundle, EngineConfig(engine="onnxruntime"), tta=SIX)


def test_a_network_without_an_argmax_is_refused(tiny_bundle, tmp_path):
    import onnx
    from onnx import helper

    nodes = [
        helper.make_node("ReduceMax", ["image"], ["label_map"], axes=[3], keepdims=0),
        helper.make_node("ReduceMin", ["image"], ["confidence"], axes=[3], keepdims=0),
    ]
    interface = onnx.load(tiny_bundle.model_path).graph
    graph = helper.make_graph(nodes, "none", list(interface.input), list(interface.output))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9).SerializeToString()
    other = write_bundle(tmp_path / "other", model, replace(tiny_bundle.manifest, model_sha256=""))
    with pytest.raises(BundleError, match="has no argmax before its label map"):
        AveragingEngine(other, F32, SIX)


def test_evaluate_tells_passes_and_cost_and_scores_run_and_bundle_alike(run, bundle, capsys):
    told = {}
    for target, name in ((run.root, "evaluation-val-tta"), (bundle.root, "bundle-evaluation-val-tta")):
        assert main(["evaluate", str(target), "--tta.flip", "--tta.scales", "1,1.5", "--engine.threads", "1"]) == 0
        assert "test-time augmentation (flip, scales 1,1.5): 4 passes, " in capsys.readouterr().out
        told[target] = json.loads((run.root / name / "evaluation.json").read_text())
    by_run, by_bundle = told.values()
    cost = by_run["tta"]
    assert (cost["flip"], cost["scales"], cost["passes"], cost["pictures"]) == (True, [1, 1.5], 4, 3)
    assert cost["ratio"] == pytest.approx(cost["seconds_per_picture"] / cost["seconds_per_pass"])
    assert cost["ratio"] > 1
    assert by_bundle["miou"] == pytest.approx(by_run["miou"], abs=0.002)
    assert main(["evaluate", str(bundle.root), "--json"]) == 0
    assert "tta" not in json.loads(capsys.readouterr().out)


def test_mirror_images_are_refused_where_left_and_right_are_classes(run, bundle, tmp_path, capsys):
    config = run.config()
    copy = Run(tmp_path / "run")
    copy.checkpoints.mkdir(parents=True)
    for path in (run.labels_file, run.checkpoint("best")):
        (copy.root / path.relative_to(run.root)).write_bytes(path.read_bytes())
    copy.write_config(replace(config, augment=replace(config.augment, flip=0.0)))
    assert main(["evaluate", str(copy.root), "--tta.flip"]) == 1
    assert "was trained with augment.flip 0" in capsys.readouterr().err
    recipe = {**bundle.manifest.provenance["recipe"], "augment": {"flip": 0.0}}
    manifest = replace(bundle.manifest, provenance={**bundle.manifest.provenance, "recipe": recipe})
    one_handed = write_bundle(tmp_path / "bundle", bundle.model_path.read_bytes(), manifest)
    with pytest.raises(ConfigError, match=r"left and right are different classes.*--tta\.scales can stay"):
        Predictor(one_handed, F32, tta=SIX)
    Predictor(one_handed, F32, tta=TtaConfig(scales=(1, 2)))


def test_predict_does_pictures_again_that_were_labelled_with_fewer_passes(tiny_bundle, picture, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in" / "a.png")
    command = ["predict", str(tiny_bundle.root), str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    assert main(command) == 0
    capsys.readouterr()
    assert main([*command, "--tta.flip"]) == 0
    assert "1 labelled" in (said := capsys.readouterr().out)
    assert "test-time augmentation (flip, scales 1): 2 passes a picture" in said
    assert main([*command, "--tta.flip"]) == 0
    assert "0 labelled" in capsys.readouterr().out
    assert json.loads((tmp_path / "out" / "predictions.jsonl").read_text().splitlines()[-1])["tta"] == "flip, scales 1"


def test_a_bundle_tells_its_recipe_and_no_place(bundle):
    recipe = bundle.manifest.provenance["recipe"]
    assert recipe["augment"]["flip"] == 0.5
    assert recipe["model"]["encoder"] == "mobilenet_v2"
    assert "data" not in recipe
