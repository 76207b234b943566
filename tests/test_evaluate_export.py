"""A run scored, exported and scored again: one function, the same label maps."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from rich.console import Console

from data.errors import BundleError, DataError, ExportError, RunError
from data.labels import LabelMap
from data.sources.catalogue import SourceConfig, open_source
from data.sources.source import Sample
from model.config import AugmentConfig, FitConfig, LoaderConfig, ModelConfig, TrainConfig
from model.evaluate import (
    _settings_of,
    choose_data,
    data_settings,
    default_folder,
    evaluate,
    open_matching,
    open_target,
    score_table,
    write_evaluation,
)
from model.export import check_agreement, export
from model.fcn import FCN
from model.graph import Labeller, to_onnx
from model.runtime.bundle import read_bundle
from model.runtime.engine import EngineConfig, open_engine
from model.runtime.predictor import Predictor
from model.train import train
from tests import public_sets

F32 = EngineConfig(precision="f32")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = TrainConfig(
        data=SourceConfig(name="shapes", train_size=16, val_size=4, image_size=(48, 80)),
        model=ModelConfig(head_channels=8),
        augment=AugmentConfig(crop_size=(32, 64)),
        loader=LoaderConfig(batch_size=4, workers=0),
        fit=FitConfig(epochs=2, precision="32-true", progress=False),
    )
    return train(config, tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="module")
def bundle(run):
    return export(run.root, run.root / "bundle", progress=False)


class OnePicture:
    """A source of one 2 x 2 picture whose labels are 0 0 / 1 255."""

    label_map = LabelMap.from_names(["a", "b"])

    def names(self, split):
        return ["only"] if split == "val" else []

    def load(self, split, index):
        return Sample("only", np.zeros((2, 2, 3), np.uint8), np.array([[0, 0], [1, 255]], np.uint8))


def test_evaluation_counts_by_hand_and_leaves_ignored_pixels_out():
    evaluation = evaluate(lambda _: np.array([[0, 1], [1, 1]], np.uint8), OnePicture(), progress=False)
    np.testing.assert_array_equal(evaluation.confusion, [[1, 1], [0, 1]])
    assert evaluation.scores.miou == pytest.approx(1 / 2)
    assert evaluation.pictures == 1


def test_an_empty_split_cannot_be_scored():
    with pytest.raises(DataError, match="no picture"):
        evaluate(lambda image: image[..., 0], OnePicture(), "test", progress=False)


def test_evaluation_is_written_as_picture_table_and_json(tmp_path):
    evaluation = evaluate(lambda _: np.array([[0, 1], [1, 1]], np.uint8), OnePicture(), progress=False)
    write_evaluation(evaluation, tmp_path)
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert found["class_iou"] == {"a": 0.5, "b": 0.5}
    assert found["schema_version"] == 1
    assert (tmp_path / "confusion.csv").read_text().splitlines()[1] == "a,1,1"
    named = replace(evaluation, labels=LabelMap.from_names(["car, van", "[/b]"]))
    write_evaluation(named, tmp_path)
    assert (tmp_path / "confusion.csv").read_text().splitlines()[1] == '"car, van",1,1'
    console = Console(record=True, file=io.StringIO())
    console.print(score_table(named))
    assert "[/b]" in console.export_text()
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.width > 300


def test_run_checkpoint_and_bundle_score_the_same(run, bundle):
    source = open_source(run.config().data)
    scored = []
    for target in (run.root, run.checkpoint("best"), bundle.root):
        predict, labels, _ = open_target(target, F32)
        assert labels.names == source.label_map.names
        scored.append(evaluate(predict, source, progress=False).scores.miou)
    assert scored[0] == scored[1]
    assert scored[2] == pytest.approx(scored[0], abs=1e-3)
    assert bundle.manifest.scores["miou"] == pytest.approx(scored[2])


def test_a_bundle_says_where_it_comes_from(run, bundle):
    manifest = read_bundle(bundle.root).manifest
    assert manifest.labels.names == run.labels().names
    assert manifest.labels.palette == run.labels().palette
    assert (manifest.encoder, manifest.upsampler, manifest.finest_stride) == (
        "timm-tf_efficientnet_lite0",
        "learned",
        8,
    )
    assert manifest.provenance["pictures"] == {"train": 16, "val": 4}
    assert manifest.provenance["packages"]["torch"] == torch.__version__.partition("+")[0]
    assert max(manifest.provenance["engine_agreement"]["share_of_differing_pixels"].values()) <= 1e-3
    assert "/" not in json.dumps(manifest.provenance["data"])


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_label_map_and_confidence_are_torchs_for_any_size(run, bundle, engine):
    network = run.network("best")
    predictor = Predictor(bundle, EngineConfig(engine=engine, precision="f32"))
    for height, width in ((1, 1), (33, 97), (48, 80)):
        image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        found = predictor.predict(image)
        with torch.inference_mode():
            probabilities = network(torch.from_numpy(image).permute(2, 0, 1)[None])[0].softmax(0)
        assert np.mean(found.label_map != probabilities.argmax(0).numpy()) <= 0.001
        np.testing.assert_allclose(found.confidence / 255, probabilities.amax(0).numpy(), atol=0.006)


def test_the_graph_is_valid_onnx_with_the_interface_of_every_bundle(bundle):
    model = onnx.load(bundle.model_path)
    onnx.checker.check_model(model)
    (given,) = model.graph.input
    assert given.name == "image"
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [output.name for output in model.graph.output] == ["label_map", "confidence"]
    assert {output.type.tensor_type.elem_type for output in model.graph.output} == {onnx.TensorProto.UINT8}


def test_a_batch_is_its_pictures_one_by_one(bundle):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 64, 3), dtype=np.uint8)
    engine = open_engine(bundle, F32)
    labels, _ = engine.run(images)
    for index in range(3):
        assert np.mean(engine.run(images[index : index + 1])[0][0] != labels[index]) <= 0.001


@pytest.mark.parametrize("upsampler", ["nearest", "bilinear", "bicubic", "learned-dense", "pixel-shuffle", "dysample"])
def test_every_upsampler_exports_and_agrees(upsampler, tmp_path, bundle):
    from dataclasses import replace

    from model.runtime.bundle import write_bundle

    torch.manual_seed(0)
    network = FCN("mobilenet_v2", "none", classes=7, upsampler=upsampler, head_channels=8).eval()
    with torch.no_grad():
        for parameter in (p for module in network.upsampler_modules() for p in module.parameters()):
            parameter.add_(0.1 * torch.randn_like(parameter))  # a start that is bilinear would hide what is learned
    in_place = [getattr(module, "inplace", None) for module in network.modules()]
    assert True in in_place
    exported = write_bundle(tmp_path / "bundle", to_onnx(network), replace(bundle.manifest, model_sha256=""))
    assert [getattr(module, "inplace", None) for module in network.modules()] == in_place
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected, _ = Labeller(network)(torch.from_numpy(image))
    for engine in ("openvino", "onnxruntime"):
        labels, _ = open_engine(exported, EngineConfig(engine=engine, precision="f32")).run(image)
        assert np.mean(labels != expected.numpy()) <= 0.002


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_manifest_with_half_the_stride_is_found_before_anybody_asks(engine, bundle, tmp_path):
    from model.runtime.bundle import write_bundle

    manifest = replace(bundle.manifest, stride=bundle.manifest.stride // 2)
    half = write_bundle(tmp_path / "half", bundle.model_path.read_bytes(), manifest)
    with pytest.raises(BundleError, match="cannot run a picture of 48x16"):
        Predictor(half, EngineConfig(engine=engine)).warm_up()


def test_export_refuses_with_the_numbers_when_engines_disagree(run, bundle):
    stranger = run.network("best")
    with torch.no_grad():
        stranger.decoder.score_heads[0][-1].bias.add_(torch.tensor([0.0, 50, 0, 0, 0, 0, 0]))
    with pytest.raises(ExportError, match=r"torch / onnxruntime: \d+.*nothing was written"):
        check_agreement(stranger, bundle, open_source(run.config().data), "val")


def test_what_can_not_be_scored_is_told(tmp_path, run):
    with pytest.raises(RunError, match="neither a run directory"):
        open_target(tmp_path / "absent", F32)
    with pytest.raises(RunError, match="does not know where its data"):
        choose_data(None, None, None)
    with pytest.raises(DataError, match="both need the same classes"):
        open_matching(SourceConfig(name="shapes"), LabelMap.from_names(["a", "b"]))


def test_a_bundle_reads_its_data_as_the_run_did(bundle, run):
    data = SourceConfig(name="folder", root=Path("/pictures"), val_fraction=0.3, seed=5, remap={255: 1})
    fields = {"data": "folder", "data_settings": json.loads(json.dumps(data_settings(data)))}
    assert "pictures" not in json.dumps(fields)
    assert _settings_of(replace(bundle.manifest, provenance=fields)) == replace(data, root=None)
    assert _settings_of(replace(bundle.manifest, provenance={"data": "folder"})) is None
    assert open_target(bundle.root, F32)[2] == run.config().data
    with pytest.raises(RunError, match=r"its data \(folder\) lies: give the folder with --root"):
        choose_data(replace(data, root=None), None, None)
    assert choose_data(replace(data, root=None), None, Path("/moved")).remap == {255: 1}


def test_scores_are_written_into_a_run_and_beside_a_bundle(tmp_path):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "manifest.json").touch()
    assert default_folder(bundle, "val") == tmp_path / "bundle-evaluation-val"
    assert default_folder(tmp_path, "test") == tmp_path / "evaluation-test"
    assert default_folder(tmp_path / "checkpoints" / "last.ckpt", "val") == tmp_path / "evaluation-val"


def test_data_that_has_moved_is_found_by_root(tmp_path):
    known = SourceConfig(name="camvid", root=tmp_path / "old")
    assert choose_data(known, None, tmp_path / "new").root == tmp_path / "new"
    assert choose_data(known, "shapes", None).name == "shapes"


def test_a_bundle_of_a_public_data_set_is_scored_where_it_was_fetched_to(tmp_path, monkeypatch):
    monkeypatch.setenv("FCN_DATA", str(tmp_path))
    known = SourceConfig(name="pets", target="breed")
    assert choose_data(known, None, None) == known
    public_sets.pets(tmp_path / "pets")
    assert open_source(choose_data(known, None, None)).label_map.num_classes == 38
    with pytest.raises(RunError, match=r"\(folder\) lies: give the folder with --root"):
        choose_data(SourceConfig(), None, None)
