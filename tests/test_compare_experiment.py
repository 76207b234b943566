"""Comparisons, small and real: paired arms, both modes, going on, and what is refused."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from PIL import Image

from data.errors import ConfigError, DataError, RunError
from data.sources.catalogue import SourceConfig, open_source
from model.averaging import network_predict
from model.cli import main
from model.compare.config import Arm, CompareConfig
from model.compare.experiment import compare
from model.compare.pairing import shared_digests, start_network
from model.compare.results import read_result, result_file
from model.config import (
    AugmentConfig,
    FitConfig,
    LoaderConfig,
    LossConfig,
    ModelConfig,
    OptimiserConfig,
    TrainConfig,
    UpsamplerName,
)
from model.evaluate import evaluate
from model.run import Run
from model.runtime.bundle import read_bundle

if TYPE_CHECKING:
    from pathlib import Path

TINY = TrainConfig(
    data=SourceConfig(name="shapes", train_size=8, val_size=3, image_size=(40, 64)),
    model=ModelConfig(encoder="resnet18", encoder_weights="none", head_channels=8),
    augment=AugmentConfig(crop_size=(32, 64)),
    loader=LoaderConfig(batch_size=4, workers=0),
    optimiser=OptimiserConfig(upsampler_rate=0.0),
    loss=LossConfig(lovasz=0.5),
    fit=FitConfig(epochs=2, precision="32-true", progress=False, ema=0.9, threads=1),  # many runs share the cores
)
CONFIG = CompareConfig(TINY, strides=(8,), seeds=1, latency=False, pictures=1, reconstruction_steps=2)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("compare") / "c"
    assert compare(CONFIG, root) == root / "report.html"
    return root


def result(root: Path, upsampler: str, seed: int = 0) -> Any:
    return read_result(result_file(root, Arm(upsampler, 8), seed))  # type: ignore[arg-type]


def report(root: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / "report.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("stride", [32, 8])
def test_arms_of_a_seed_begin_with_the_same_encoder_and_score_heads(stride: int) -> None:
    found = [
        shared_digests(start_network(CONFIG.of(Arm(upsampler, stride), 5), 3))  # type: ignore[arg-type]
        for upsampler in get_args(UpsamplerName)
    ]
    assert all(digests == found[0] for digests in found)
    assert len(found[0]) == 1 + 6 - stride.bit_length() + 1
    other = shared_digests(start_network(CONFIG.of(Arm("bilinear", stride), 6), 3))
    assert all(other[name] != value for name, value in found[0].items())


def test_with_upsamplers_held_still_learned_and_bilinear_train_alike(finished: Path) -> None:
    bilinear, learned = result(finished, "bilinear"), result(finished, "learned")
    assert len(bilinear.curve) == len(learned.curve) == TINY.fit.epochs
    for one, other in zip(bilinear.curve, learned.curve, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)
    assert learned.parameters["upsamplers"] == 7 * (16 + 16 + 256)
    assert all(np.array_equal(a, b) for a, b in zip(learned.starts, learned.ends, strict=True))
    assert report(finished)["pairing"]["unshared_within_a_stride"] == []


def test_scores_are_those_that_evaluate_gives(finished: Path) -> None:
    run = Run.open(finished / "runs" / "learned-8s-seed0")
    expected = evaluate(network_predict(run.network("last")), open_source(TINY.data), "val", progress=False)
    found = result(finished, "learned").measurement
    assert found.confusion.sum(axis=0).tolist() == expected.confusion.tolist()


def test_what_is_missing_or_half_written_is_made_again_and_the_rest_kept(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "c"
    shutil.copytree(finished, root)
    before = report(root)
    kept = result_file(root, Arm("bilinear", 8), 0)
    stamp = kept.stat().st_mtime_ns
    broken = result_file(root, Arm("learned", 8), 0)
    broken.write_bytes(broken.read_bytes()[:200])
    (root / "report.json").unlink()
    compare(CONFIG, root)
    told = " ".join(capsys.readouterr().err.split())
    assert "the result of learned-8s, seed 0 is not whole" in told
    assert "1 of 2 results are there already" in told
    assert kept.stat().st_mtime_ns == stamp
    after = report(root)
    for found in (before, after):  # others may commit while this runs
        found["provenance"].pop("git_commits")
    assert after == before


def test_a_training_broken_off_before_its_first_checkpoint_is_begun_again(finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    shutil.copytree(finished, root)
    result_file(root, Arm("learned", 8), 0).unlink()
    run = root / "runs" / "learned-8s-seed0"
    (run / "checkpoints" / "last.ckpt").write_bytes(b"half")
    compare(CONFIG, root)
    again, first = result(root, "learned"), result(finished, "learned")
    assert [row["loss"] for row in again.curve] == pytest.approx([row["loss"] for row in first.curve], rel=1e-4)


def test_a_report_can_be_made_from_the_results_alone(finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    root.mkdir()
    for name in ("results", "reconstruction"):
        shutil.copytree(finished / name, root / name)
    for name in ("comparison.json", "gallery.npz"):
        shutil.copy(finished / name, root / name)
    compare(CompareConfig(), root, report_only=True)
    for name in ("report.json", "report.md", "report.html"):
        assert (root / name).read_bytes() == (finished / name).read_bytes()


def test_pictures_are_brought_back_beside_the_arms(finished: Path) -> None:
    found = report(finished)["reconstruction"]
    assert (found["scored_pictures"], found["seeds"], found["steps"]) == (3, [0], 2)
    assert report(finished)["missing"] == []


def test_another_recipe_in_the_same_folder_is_refused_with_the_difference(finished: Path) -> None:
    other = replace(CONFIG, train=replace(TINY, fit=replace(TINY.fit, epochs=3)))
    with pytest.raises(RunError, match=r"train\.fit\.epochs: 2 -> 3"):
        compare(other, finished)


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="holds no comparison"):
        compare(CONFIG, tmp_path)


def test_upsamplers_alone_are_trained_on_stored_score_maps(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "c"
    train = replace(TINY, optimiser=OptimiserConfig(upsampler_rate=0.01))
    config = replace(
        CONFIG, train=train, mode="upsampler-only", upsamplers=("bilinear", "learned", "pixel-shuffle"), passes=2
    )
    config = replace(config, upsampler_epochs=3)
    compare(config, root)
    bilinear, learned = result(root, "bilinear"), result(root, "learned")
    # The bilinear arm is the network that was trained: same answers but for the rounding of stored scores.
    run = Run.open(root / "runs" / "base-8s-seed0")
    expected = evaluate(network_predict(run.network("last")), open_source(TINY.data), "val", progress=False)
    assert bilinear.measurement.confusion.sum(axis=0) == pytest.approx(expected.confusion, abs=20)
    assert bilinear.curve == []
    assert len(learned.curve) == 3
    assert learned.curve[-1]["loss"] < learned.curve[0]["loss"]
    assert not np.array_equal(learned.starts[-1], learned.ends[-1])
    assert bilinear.shared == learned.shared
    assert not (root / "scores").exists()
    told = capsys.readouterr().err
    assert sum("training and" in line for line in told.splitlines()) == 1  # one network, three arms
    assert re.search(r"3 of 3  pixel-shuffle-8s, seed 0  about \d+ s left", told)
    # Every arm is a run that can be evaluated and exported.
    arm = Run.open(root / "runs" / "learned-8s-seed0")
    again = evaluate(network_predict(arm.network()), open_source(TINY.data), "val", progress=False)
    assert again.confusion == pytest.approx(learned.measurement.confusion.sum(axis=0), abs=20)
    assert "upsampler-only" in (root / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"upsamplers": ("bilinear", "magic")}, "no upsampler is named 'magic'"),
        ({"upsamplers": ("learned",)}, "needs bilinear, the baseline"),
        ({"upsamplers": ("bilinear", "bilinear")}, "name each arm once"),
        ({"strides": (64,)}, "stride 64"),
        ({"strides": ()}, "name each stride once"),
        ({"seeds": 0}, "1 at least"),
        ({"bootstrap": 10}, "fewer than 100"),
        ({"pictures": -1}, "pictures is -1"),
        ({"mode": "both"}, "mode is 'both'"),
    ],
)
def test_settings_that_cannot_work_are_told(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        replace(CONFIG, **change)


def test_an_encoder_that_does_not_exist_is_told_before_any_training(tmp_path: Path) -> None:
    train = replace(TINY, model=replace(TINY.model, encoder="nonesuch"))
    with pytest.raises(ConfigError, match="nonesuch"):
        compare(replace(CONFIG, train=train), tmp_path / "c")
    assert not (tmp_path / "c" / "runs").exists()


def test_pictures_without_one_labelled_pixel_count_nowhere_and_a_split_of_such_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def folder(name: str, blank: int) -> Path:
        root = tmp_path / name
        for part in ("images", "masks", "splits"):
            (root / part).mkdir(parents=True)
        source = open_source(TINY.data)
        names = [f"p{index}" for index in range(8)]
        for index, stem in enumerate(names):
            sample = source.load("train", index)
            mask = sample.label_map if index >= blank else np.full_like(sample.label_map, 255)
            Image.fromarray(sample.image).save(root / "images" / f"{stem}.png")
            Image.fromarray(mask).save(root / "masks" / f"{stem}.png")
        (root / "labels.txt").write_text("\n".join(source.label_map.names) + "\n", encoding="utf-8")
        (root / "val.txt").write_text("\n".join(names[:3]) + "\n", encoding="utf-8")
        (root / "train.txt").write_text("\n".join(names[3:]) + "\n", encoding="utf-8")
        return root

    def config(root: Path) -> CompareConfig:
        train = replace(TINY, data=SourceConfig(name="folder", root=root), fit=replace(TINY.fit, epochs=1))
        return replace(CONFIG, train=train, reconstruction=False)

    compare(config(folder("one", blank=1)), tmp_path / "c")
    found = result(tmp_path / "c", "learned").measurement
    assert found.overlaps[0].sum() == found.by_width[0].sum() == found.calibration[0].sum() == 0
    assert found.overlaps[1].sum() > 0
    assert report(tmp_path / "c")["arms"][0]["miou"]["mean"] is not None
    with pytest.raises(DataError, match="the 3 masks of split 'val' hold not one labelled pixel"):
        compare(config(folder("all", blank=3)), tmp_path / "d")


def test_an_encoder_without_the_strides_is_told_before_any_training(tmp_path: Path) -> None:
    train = replace(TINY, model=replace(TINY.model, encoder="tu-vit_tiny_patch16_224"))
    with pytest.raises(ConfigError, match=r"cannot be built: .* needs features at each of the strides 2 to 32"):
        compare(replace(CONFIG, train=train), tmp_path / "c")
    assert not (tmp_path / "c" / "runs").exists()


def test_seeds_and_arms_do_not_belong_to_the_recipe() -> None:
    more = replace(CONFIG, seeds=5, upsamplers=("bilinear", "learned", "nearest"), strides=(32, 16), bootstrap=500)
    assert more.identity() == CONFIG.identity()
    assert replace(CONFIG, mode="upsampler-only").identity() != CONFIG.identity()


def test_the_recommended_arm_is_exported_with_the_verdict(finished: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    shutil.copytree(finished, root)
    assert main(["export", "--from-comparison", str(root)]) == 0
    manifest = read_bundle(root / "bundle").manifest
    verdict = report(root)["verdict"]
    assert manifest.comparison["sentences"] == verdict["sentences"]
    assert manifest.comparison["arm"] == verdict["recommended"] == "bilinear-8s"
    assert (manifest.upsampler, manifest.finest_stride) == ("bilinear", 8)
    assert [arm["name"] for arm in manifest.comparison["arms"]] == ["bilinear-8s", "learned-8s"]
    scored = result(root, "bilinear").measurement.confusion.sum(axis=0)
    expected = np.diag(scored) / (scored.sum(axis=0) + scored.sum(axis=1) - np.diag(scored))
    assert manifest.scores["miou"] == pytest.approx(np.nanmean(expected), abs=2e-3)
    (root / "results" / "bilinear-8s-seed0.json").unlink()
    assert main(["export", "--from-comparison", str(root)]) == 1


KILLED = """
import sys
from model.cli import main
sys.exit(main(sys.argv[1:]))
"""


def command(root: Path, mode: str) -> list[str]:
    return [
        *(sys.executable, "-c", KILLED, "compare", str(root), "--mode", mode, "--arms", "bilinear,learned"),
        *("--strides", "16", "--seeds", "2", "--pictures", "1", "--latency", "false", "--passes", "1"),
        *("--data.name", "shapes", "--data.train-size", "8", "--data.val-size", "2", "--data.image-size", "32,64"),
        *("--model.encoder", "resnet18", "--model.encoder-weights", "none", "--model.head-channels", "4"),
        *("--augment.crop-size", "32,32", "--loader.batch-size", "4", "--loader.workers", "0"),
        *("--fit.epochs", "2", "--fit.threads", "1", "--fit.precision", "32-true", "--fit.progress", "false"),
        *("--upsampler-epochs", "2", "--optimiser.upsampler-rate", "0.01"),
    ]


@pytest.mark.parametrize("mode", ["end-to-end", "upsampler-only"])
def test_killed_at_any_moment_it_goes_on_and_ends_with_the_same_report(mode: str, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run(command(whole, mode), check=True, capture_output=True, timeout=300)
    # Killed when this appears: the first checkpoint of the second training, a whole result, the last JSON half-way.
    names = {
        "end-to-end": ["runs/learned-16s-seed0/checkpoints/last.ckpt", "results/bilinear-16s-seed1.npz"],
        "upsampler-only": ["scores/16s-seed0/train-0.npy", "runs/base-16s-seed1/checkpoints/last.ckpt"],
    }[mode]
    for name in names:
        process = subprocess.Popen(command(broken, mode), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 240
        while not (broken / name).exists():
            assert process.poll() is None, f"it ended before {name} was there"
            assert time.monotonic() < end
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (broken / "report.json").exists()
    subprocess.run(command(broken, mode), check=True, capture_output=True, timeout=300)
    assert without_times(report(broken)) == without_times(report(whole))


@pytest.mark.parametrize("mode", ["end-to-end", "upsampler-only"])
def test_a_full_disk_is_told_and_what_was_done_is_kept(mode: str, tmp_path: Path) -> None:
    root = tmp_path / "c"
    # No file may grow above this: checkpoints and stored score maps cannot be written, small files can.
    limit = 300_000
    done = subprocess.run(
        command(root, mode),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 1, done.stderr
    told = " ".join(done.stderr.split())
    assert "cannot be written" in told
    assert "free some disk" in told
    assert "Traceback" not in told
    assert not list(root.rglob("*.part*"))
    subprocess.run(command(root, mode), check=True, capture_output=True, timeout=300)
    assert report(root)["missing"] == []


def without_times(value: Any) -> Any:
    """What a report says, but for how long it took."""
    if isinstance(value, dict):
        timed = {"seconds", "training_seconds", "git_commits", "milliseconds"}
        return {name: without_times(item) for name, item in value.items() if name not in timed}
    return [without_times(item) for item in value] if isinstance(value, list) else value
