"""The model card: counted by hand, true to the run, whole in the bundle, served with a tag."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from fastapi.testclient import TestClient
from torchmetrics.functional.classification import binary_calibration_error

from data.errors import BundleError
from data.labels import LabelMap
from data.licences import data_licence, encoder_licence
from data.sources.catalogue import open_source
from data.sources.source import Sample
from model.calibration import Calibration
from model.model_card import known_limits, write_model_card
from model.runtime.bundle import read_bundle, write_bundle
from model.runtime.engine import EngineConfig
from model.runtime.predictor import Predictor
from model.survey import Survey, survey
from service.routes import create_app
from service.settings import Settings
from service.station import Station


@pytest.fixture(scope="module")
def bundle(exported_run):
    return read_bundle(exported_run.root / "bundle")


class Painted:
    """Three training pictures of classes a, b | c, never; c is a line of two pixels."""

    label_map = LabelMap.from_names(["a", "b", "c | d", "never"])

    def names(self, split):
        return ["1", "2", "3"]

    def load(self, split, index):
        target = np.zeros((10 + index, 40), np.uint8)
        target[:, 10:12] = 2
        target[:, 20:] = 1
        target[0, 0] = 255
        return Sample(str(index), np.zeros((*target.shape, 3), np.uint8), target)


@pytest.mark.parametrize("pixels", [1, 100, 4_000_000])
def test_a_survey_counts_pixels_sizes_and_the_width_of_strips(pixels, monkeypatch):
    monkeypatch.setattr("data.bands.BAND_PIXELS", pixels)  # in bands of one row, of two, and whole
    found = survey(Painted())
    assert (found.pictures, found.counted) == (3, 3)
    assert found.pixels.tolist() == [33 * 18 - 3, 33 * 20, 33 * 2, 0]
    assert found.ignored == 3
    assert (found.smallest, found.largest) == ((10, 40), (12, 40))
    assert found.widths[2] == 2
    assert np.isnan(found.widths[3])


def test_calibration_counted_by_hand():
    calibration = Calibration()
    predicted = np.array([[0, 1, 1, 0]], np.uint8)
    calibration.update(predicted, np.array([[255, 255, 51, 51]], np.uint8), np.array([[0, 0, 1, 255]], np.uint8))
    found = calibration.to_dict()
    # Two pixels at confidence 1, one of them right; one at 0.2, right. The ignored one does not count.
    assert found["expected_calibration_error"] == pytest.approx((2 * 0.5 + 0.8) / 3)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert [(entry["pixels"], entry["accuracy"]) for entry in found["bins"]] == [(1, 1.0), (2, 0.5)]
    assert Calibration().to_dict()["expected_calibration_error"] is None


def test_calibration_is_that_of_torchmetrics():
    random = np.random.default_rng(0)
    confidence = random.integers(0, 256, (60, 80), dtype=np.uint8)
    confidence[confidence % 17 == 0] += 1  # the edges of the bins, where torchmetrics rounds in 32 bits
    right = random.random((60, 80)) < (confidence / 255) ** 2
    calibration = Calibration()
    calibration.update(right.astype(np.uint8), confidence, np.ones_like(confidence))
    expected = binary_calibration_error(
        torch.from_numpy(confidence.ravel() / 255), torch.from_numpy(right.ravel().astype(int)), n_bins=15
    )
    assert calibration.to_dict()["expected_calibration_error"] == pytest.approx(float(expected), abs=1e-4)


def test_export_writes_a_card_whose_front_matter_a_hub_reads(bundle):
    from huggingface_hub import ModelCard

    card = ModelCard(bundle.card)
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "image-segmentation"
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results["mean_iou"] == pytest.approx(bundle.manifest.scores["miou"], abs=1e-4)
    assert card.data.eval_results[0].dataset_type == "shapes"


def test_the_card_tells_what_the_manifest_knows(bundle):
    scores, text = bundle.manifest.scores, bundle.card
    for name, iou in scores["class_iou"].items():
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
        assert ("-" if iou is None else f"{100 * iou:.1f}") in row
    assert f"**{100 * scores['calibration']['expected_calibration_error']:.2f} %**" in text
    assert sum(entry["pixels"] for entry in scores["calibration"]["bins"]) == 3 * 48 * 80
    assert f"version `{bundle.manifest.version}`" in text
    recipe = yaml.safe_load(text.split("## Recipe")[1].split("```yaml")[1].split("```")[0])
    assert recipe == bundle.manifest.provenance["recipe"]
    for title in ("Intended use", "Data", "Scores by class", "Calibration", "Known limits", "Licences", "Provenance"):
        assert f"\n## {title}\n" in text
    assert "Weights: apache-2.0" in text
    assert "nobody else has rights in them" in text
    assert "The encoder started from random numbers" in text
    assert bundle.manifest.provenance["git_commit"] in text


def test_known_limits_are_named(bundle):
    labels = Painted.label_map
    scores = {
        **bundle.manifest.scores,
        "class_iou": {"a": 0.9, "b": 0.8, "c | d": 0.07, "never": None},
        "class_accuracy": dict.fromkeys(labels.names, 0.5),
        "class_boundary_iou": dict.fromkeys(labels.names, 0.5),
        "calibration": {"expected_calibration_error": 0.2, "mean_confidence": 0.9, "accuracy": 0.7, "bins": []},
    }
    manifest = replace(bundle.manifest, labels=labels, scores=scores)
    limits = "\n".join(known_limits(manifest, survey(Painted())))
    assert "Never seen in training, so never to be trusted: `never`." in limits
    assert (
        "`c | d` is weak: IoU 7.0 %. Its pieces are about 2 pixels wide, and the network predicts once every 8 pixels"
        in limits
    )
    assert "Without a score, as it does not occur in the validation pictures: `never`." in limits
    assert "higher on average than the share of right pixels (90.0 against 70.0 %)" in limits
    assert "% of the training pixels have no label" in limits
    assert "pictures of 40x10 to 40x12 pixels, in crops of 384x320" in limits
    assert "`a`" not in limits
    card = write_model_card(
        manifest, "0" * 12, survey(Painted()), None, data_licence("folder"), encoder_licence("x.pt")
    )
    assert "license: unknown" in card
    assert r"| c \| d | 5.01 | 2 | 7.0 | 50.0 | 50.0 |" in card


def test_a_part_of_many_training_pictures_is_told_as_a_part(bundle):
    nothing = np.zeros(bundle.manifest.labels.num_classes, np.int64)
    part = Survey(1000, 400, nothing, 5, nothing * np.nan, (1, 1), (1, 1))
    assert any("Never seen in 400 training pictures" in limit for limit in known_limits(bundle.manifest, part))


def test_licences_are_known_for_public_data_and_stated_ones_win():
    assert "CC BY-NC 4.0" in data_licence("camvid").name
    assert "check" in data_licence("camvid").meaning
    assert data_licence("camvid", "mine, all rights reserved").name == "mine, all rights reserved"
    assert data_licence("folder").name == "unknown"
    assert encoder_licence("packaged").name == "Apache-2.0"


def test_any_licence_has_a_place_in_the_front_matter(bundle, exported_run):
    training = survey(open_source(exported_run.config().data))
    card = write_model_card(
        bundle.manifest, "0" * 12, training, "My own: v2", data_licence("shapes"), encoder_licence("packaged")
    )
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["license_name"]) == ("other", "My own: v2")


def test_a_card_is_listed_in_the_manifest_and_checked(bundle, tmp_path):
    copied = write_bundle(tmp_path / "b", bundle.model_path.read_bytes(), bundle.manifest, bundle.card)
    assert read_bundle(copied.root) == copied
    assert copied.manifest.card_sha256 == hashlib.sha256(bundle.card.encode()).hexdigest()
    (copied.root / "README.md").write_text("edited")
    with pytest.raises(BundleError, match=r"README\.md was altered"):
        read_bundle(copied.root)
    (copied.root / "README.md").unlink()
    with pytest.raises(BundleError, match=r"README\.md is missing"):
        read_bundle(copied.root)


def test_a_bundle_without_a_card_is_read_and_a_readme_of_its_owner_is_kept(own_bundle):
    assert own_bundle.card == ""
    assert "card_sha256" not in json.loads((own_bundle.root / "manifest.json").read_text())
    (own_bundle.root / "README.md").write_text("mine")
    assert read_bundle(own_bundle.root) == own_bundle
    with pytest.raises(BundleError, match=r"other things than a bundle \(README\.md\)"):
        write_bundle(own_bundle.root, b"model", own_bundle.manifest)


def asked(bundle, path, **headers):
    station = Station(Settings())
    try:
        station.open(Predictor(bundle, EngineConfig(precision="f32", threads=1)))
        return TestClient(create_app(station)).get(path, headers=headers)
    finally:
        station.close()


def test_the_card_is_served_with_a_tag(bundle):
    answer = asked(bundle, "/v1/model/card")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.text == bundle.card
    again = asked(bundle, "/v1/model/card", **{"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_bundle_without_a_card_says_so(tiny_bundle):
    answer = asked(tiny_bundle, "/v1/model/card")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "no_model_card"
    assert "fcn export" in answer.json()["error"]["hint"]
