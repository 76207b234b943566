"""Which network of a comparison is exported, and where its verdict is seen."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from starlette.testclient import TestClient

from data.errors import RunError
from data.sources.catalogue import SourceConfig
from model.compare.config import CompareConfig
from model.compare.recommendation import recommend
from model.config import TrainConfig
from model.runtime.bundle import read_bundle, write_bundle
from model.runtime.predictor import Predictor
from service.routes import create_app
from service.settings import Settings
from service.station import Station
from tests.comparisons import make_comparison
from tests.conftest import tiny_manifest, tiny_model

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = CompareConfig(TrainConfig(SourceConfig("shapes")), strides=(32, 8))


def test_the_middle_seed_of_the_recommended_arm_is_taken(tmp_path: Path) -> None:
    folder = make_comparison(tmp_path / "c", CONFIG, {"bilinear": 0.5, "learned": 0.1})
    for seed in CONFIG.seed_values:
        folder.run_root("learned-32s", seed).mkdir(parents=True)
    found = recommend(folder.root)
    report = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    scores = dict(zip(report["seeds"], report["arms"][1]["miou"]["per_seed"], strict=True))
    middle = sorted(scores, key=scores.__getitem__)[1]
    assert found.run == folder.run_root("learned-32s", middle)
    assert found.checkpoint == "last"
    assert (found.verdict["arm"], found.verdict["seed"]) == ("learned-32s", middle)
    assert found.verdict["sentences"][0].startswith("Learned upsampling is better")
    assert {arm["name"] for arm in found.verdict["arms"]} == {
        "bilinear-32s",
        "learned-32s",
        "bilinear-8s",
        "learned-8s",
    }


def test_of_two_seeds_the_lower_one_is_taken_and_upsamplers_alone_have_one_checkpoint(tmp_path: Path) -> None:
    config = replace(CONFIG, seeds=2, mode="upsampler-only")
    folder = make_comparison(tmp_path / "c", config, {"bilinear": 0.5, "learned": 0.1})
    for seed in (0, 1):
        folder.run_root("learned-32s", seed).mkdir(parents=True)
    found = recommend(folder.root)
    report = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))
    lower = int(np.argmin(report["arms"][1]["miou"]["per_seed"]))
    assert found.run == folder.run_root("learned-32s", lower)
    assert found.checkpoint == "best"


def test_a_network_that_is_gone_and_a_folder_that_is_none_are_told(tmp_path: Path) -> None:
    folder = make_comparison(tmp_path / "c", CONFIG, {"bilinear": 0.5, "learned": 0.1})
    with pytest.raises(RunError, match="is gone, and the trained network with it"):
        recommend(folder.root)
    with pytest.raises(RunError, match="holds no comparison"):
        recommend(tmp_path)


@pytest.mark.parametrize("verdict", [{}, {"sentences": ["One.", "Two."], "arm": "learned-8s", "seed": 1}])
def test_the_service_shows_the_verdict_with_its_model(tmp_path: Path, verdict: dict[str, object]) -> None:
    write_bundle(tmp_path / "bundle", tiny_model(), replace(tiny_manifest(), comparison=verdict))
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.manifest.comparison == verdict
    station = Station(Settings(precision="f32"))
    station.open(Predictor(bundle, station.settings.engine_config()))
    answer = TestClient(create_app(station)).get("/v1/model").json()
    station.close()
    assert answer["comparison"] == (verdict or None)
