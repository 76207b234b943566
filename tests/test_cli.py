"""The command line as a user types it: a small run from check to prediction, and what it says to mistakes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from PIL import Image

from data.sources.shapes import LABELS, ShapesSource
from model.cli import main
from model.runtime.bundle import read_bundle

QUICK = [
    "--model.head_channels=8",
    "--augment.crop_size=[32,64]",
    "--loader.batch_size=4",
    "--loader.workers=0",
    "--fit.precision=32-true",
    "--fit.progress=false",
    "--fit.epochs=1",
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A user's folder: 10 JPEG pictures with palette masks and labels.txt."""
    root = tmp_path_factory.mktemp("user") / "pictures"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    source = ShapesSource(train_size=10, val_size=1, image_size=(48, 72))
    for index in range(10):
        sample = source.load("train", index)
        Image.fromarray(sample.image).save(root / "images" / f"picture {index}.jpg", quality=95)
        Image.fromarray(sample.label_map).save(root / "masks" / f"picture {index}.png")
    LABELS.write_labels(root / "labels.txt")
    return root


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs") / "mine"
    assert main(["train", f"--data.root={pictures}", f"--run={root}", *QUICK]) == 0
    return root


@pytest.fixture(scope="module")
def bundle(run):
    assert main(["export", str(run)]) == 0
    return run / "bundle"


def test_a_users_folder_is_checked_trained_scored_exported_and_labelled(pictures, run, bundle, tmp_path, capsys):
    assert main(["data", "check", str(pictures)]) == 0
    assert main(["evaluate", str(run)]) == 0
    assert "mean" in capsys.readouterr().out
    assert (run / "evaluation-val" / "confusion.png").is_file()
    assert main(["predict", str(bundle), str(pictures / "images"), "-o", str(tmp_path / "out")]) == 0
    label_maps = sorted((tmp_path / "out" / "label_maps").rglob("*.png"))
    assert len(label_maps) == 10
    with Image.open(label_maps[0]) as label_map:
        assert label_map.mode == "P"
        assert label_map.size == (72, 48)
        assert np.asarray(label_map).max() < LABELS.num_classes


def test_evaluate_prints_json_alone_when_asked(run, capsys):
    assert main(["evaluate", str(run), "--json=true"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["class_iou"]) == set(LABELS.names)


def test_a_bundle_is_scored_where_its_data_is_told(bundle, pictures, tmp_path, capsys):
    command = ["evaluate", str(bundle), f"--root={pictures}", f"--out={tmp_path}", "--json=true"]
    assert main(command) == 0
    held_out = read_bundle(bundle).manifest.provenance["pictures"]["val"]
    assert json.loads(capsys.readouterr().out)["pictures"] == held_out
    assert main(["evaluate", str(bundle)]) == 1
    assert "(folder) lies: give the folder with --root" in capsys.readouterr().err


def test_resume_starts_from_the_saved_configuration_and_options_override_it(run, capsys):
    assert main(["train", "--resume", str(run), "--fit.epochs", "2"]) == 0
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["loader"]["batch_size"] == 4
    assert saved["fit"]["epochs"] == 2
    assert len((run / "metrics.csv").read_text().splitlines()) == 3


def test_a_recipe_is_read_and_options_override_it(tmp_path, capsys):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump({"data": {"name": "shapes"}, "fit": {"epochs": 7}, "seed": 5}))
    with pytest.raises(SystemExit):
        main(["train", "--config", str(recipe), "--fit.epochs", "9", "--print_config"])
    printed = yaml.safe_load(capsys.readouterr().out)
    assert (printed["data"]["name"], printed["fit"]["epochs"], printed["seed"]) == ("shapes", 9, 5)


@pytest.mark.parametrize("recipe", ["camvid", "shapes"])
def test_the_recipes_are_valid(recipe, capsys, request):
    path = request.config.rootpath / "recipes" / f"{recipe}.yaml"
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config", str(path), "--print_config"])
    assert not stopped.value.code
    assert yaml.safe_load(capsys.readouterr().out)["data"]["name"] == recipe


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data.name=camvid"], "run `fcn data download camvid`"),
        (["train"], "needs a folder"),
        (["train", "--data.root=/no/such/folder"], "is not a folder"),
        (["train", "--data.name=shapes", "--model.encoder=resnet17"], "knows no encoder"),
        (["train", "--data.name=shapes", "--fit.epochs=0"], "epochs"),
        (["evaluate", "/no/such/run"], "neither a run directory"),
        (["export", "/no/such/run"], "is not a training run"),
        (["train", "--resume=/no/such/run"], "is not a training run"),
        (["export", "[/red] [run]"], "[/red] [run] is not a training run"),
        (["predict", "/no/such/bundle", "."], "bundle"),
        (["register", "/no/such/bundle"], "bundle"),
        (["data", "check", "/no/such/folder"], "folder"),
        (["compare", "c", "--data.name=shapes", "--arms", "magic"], "no upsampler is named 'magic': an arm is one of"),
        (["compare", "c", "--data.name=shapes", "--strides", "8,12"], "stride 12 is none that an FCN predicts at"),
        (["compare", "c", "--report-only"], "c holds no comparison"),
        (["export", "--from-comparison", "c"], "c holds no comparison"),
    ],
)
def test_mistakes_get_one_line_and_exit_status_1(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FCN_DATA", str(tmp_path / "sets"))
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_commands_that_are_offered_can_be_copied(pictures, tmp_path, capsys):
    run = tmp_path / "a run [/of] mine"
    assert main(["train", f"--data.root={pictures}", f"--run={run}", *QUICK]) == 0
    assert f"next: fcn evaluate '{run}'; fcn export '{run}'" in capsys.readouterr().out


def test_unknown_options_exit_with_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--fit.epoch=3"])
    assert stopped.value.code == 2
    assert "fit.epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [[], ["train"], ["evaluate"], ["export"], ["predict"], ["explain"], ["data", "check"], ["data", "download"]],
)
def test_help_is_there_for_every_command(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([*command, "--help"])
    assert not stopped.value.code
    assert "usage: fcn" in capsys.readouterr().out
