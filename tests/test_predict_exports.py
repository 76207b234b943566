"""The answers of a folder for CVAT, COCO's tools and Label Studio, read back by readers that are not the writers."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from rich.console import Console

from data.errors import ConfigError, DataError, LabelError
from data.imports.config import ImportConfig
from data.imports.folder import import_export
from data.labels import LabelMap, voc_palette
from data.sources.folder import FolderSource
from model.cli import main
from model.runtime.bundle import write_bundle
from model.runtime.cvat import write_cvat
from model.runtime.engine import EngineConfig
from model.runtime.folder import predict_folder
from model.runtime.formats import LabelStudioConfig
from model.runtime.journal import Entry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle
    from model.runtime.folder import FolderSummary

F32 = EngineConfig(precision="f32", threads=1)
NAMES = ("background", "red", "green", "blue")


def predict(bundle: Bundle, pictures: Path, out: Path, form: Any, **settings: Any) -> FolderSummary:
    return predict_folder(
        bundle.root, pictures, out, F32, form=form, overlay=False, console=Console(file=io.StringIO()), **settings
    )


def files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


@pytest.fixture
def pictures(tmp_path: Path, picture: NDArray[np.uint8]) -> Path:
    root = tmp_path / "pictures"
    (root / "deep er").mkdir(parents=True)
    Image.fromarray(picture).save(root / "a.png")
    Image.fromarray(picture[:20, :30]).save(root / "deep er" / "b & c.png")  # all of it red
    return root


# pycocotools 2.0.11 has an array class of before numpy 2's copy keyword, and prints while it reads.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_is_read_by_its_own_tools(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, picture_labels: NDArray[np.uint8]
) -> None:
    summary = predict(tiny_bundle, pictures, tmp_path / "out", "coco")
    assert summary.exported == tmp_path / "out" / "coco.json"
    coco = COCO(str(summary.exported))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(NAMES)
    images = coco.loadImgs(coco.getImgIds())
    assert [(image["file_name"], image["width"], image["height"]) for image in images] == [
        ("a.png", 70, 50),
        ("deep er/b & c.png", 30, 20),
    ]
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[images[0]["id"]]))
    assert [annotation["category_id"] for annotation in annotations] == [1, 2, 3, 4]
    for annotation in annotations:
        mask = picture_labels == annotation["category_id"] - 1
        np.testing.assert_array_equal(coco.annToMask(annotation), mask)
        assert annotation["area"] == mask.sum()
        assert 0.9 < annotation["score"] <= 1
    assert annotations[1]["bbox"] == [0, 0, 35, 25]
    (only,) = coco.loadAnns(coco.getAnnIds(imgIds=[images[1]["id"]]))
    assert (only["category_id"], only["area"]) == (2, 600)
    ids = coco.getAnnIds()
    assert sorted(ids) == [1, 2, 3, 4, 5]


def test_predictions_for_cvat_can_be_trained_on(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, picture: NDArray[np.uint8], picture_labels: NDArray[np.uint8]
) -> None:
    out = tmp_path / "out"
    assert predict(tiny_bundle, pictures, out, "cvat").exported == out / "cvat"
    shutil.copytree(pictures, out / "cvat" / "JPEGImages")
    source = FolderSource(out / "cvat", val_fraction=0.5)
    assert source.label_map.names == NAMES
    assert source.label_map.palette == tiny_bundle.manifest.labels.palette
    samples = [source.load(split, 0) for split in ("train", "val")]
    by_name = {sample.name: sample for sample in samples}
    assert sorted(by_name) == ["a", "deep er/b & c"]
    np.testing.assert_array_equal(by_name["a"].label_map, picture_labels)
    np.testing.assert_array_equal(by_name["a"].image, picture)
    assert (by_name["deep er/b & c"].label_map == 1).all()


def test_cvat_gets_classes_and_instances_in_colours_and_no_instance_of_the_background(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, picture_labels: NDArray[np.uint8]
) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out, "cvat")
    assert files(out / "cvat") == [
        "ImageSets/Segmentation/default.txt",
        "SegmentationClass/a.png",
        "SegmentationClass/deep er/b & c.png",
        "SegmentationObject/a.png",
        "SegmentationObject/deep er/b & c.png",
        "labelmap.txt",
    ]
    assert (out / "cvat/ImageSets/Segmentation/default.txt").read_text() == "a\ndeep er/b & c\n"
    assert (out / "cvat/labelmap.txt").read_text().splitlines()[1:3] == ["background:0,0,0::", "red:255,0,0::"]
    with Image.open(out / "cvat/SegmentationClass/a.png") as classes:
        assert classes.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(classes), tiny_bundle.manifest.labels.colourise(picture_labels))
    instance = np.array([0, 2, 3, 4], dtype=np.uint8)[picture_labels]
    with Image.open(out / "cvat/SegmentationObject/a.png") as objects:
        np.testing.assert_array_equal(np.asarray(objects), np.array(voc_palette(), dtype=np.uint8)[instance])
    with zipfile.ZipFile(out / "cvat.zip") as archive:
        assert sorted(archive.namelist()) == files(out / "cvat")
        assert archive.read("labelmap.txt") == (out / "cvat/labelmap.txt").read_bytes()


def test_colours_that_do_not_tell_classes_apart_are_replaced(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8)).save(tmp_path / "x.png")
    grey = (9, 9, 9)
    labels = LabelMap(("a", "b", "c"), (grey, grey, (224, 224, 192)))
    entry = Entry("x.jpg", 1, 1, 3, 1, "x.png", None, 0.0, {})
    folder = write_cvat(tmp_path, labels, [entry])
    assert LabelMap.read(folder / "labelmap.txt").palette == tuple(voc_palette(3))


def test_a_name_that_cvat_keeps_for_itself_is_refused_before_the_work(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    labels = replace(tiny_bundle.manifest.labels, names=("background", "red", "void", "blue"))
    bundle = write_bundle(
        tmp_path / "bundle", tiny_bundle.model_path.read_bytes(), replace(tiny_bundle.manifest, labels=labels)
    )
    with pytest.raises(LabelError, match="'void'"):
        predict(bundle, pictures, tmp_path / "out", "cvat")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", [b"\xff.png", b" x.png", b"#x.png", b"a\nb.png"])
def test_a_picture_whose_name_cvat_cannot_hold_is_told(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, name: bytes
) -> None:
    import os

    shutil.copy(pictures / "a.png", os.fsencode(pictures) + b"/" + name)
    with pytest.raises(DataError, match="rename it"):
        predict(tiny_bundle, pictures, tmp_path / "out", "cvat")
    assert not (tmp_path / "out" / "cvat").exists()
    for form in ("coco", "label-studio"):
        made = predict(tiny_bundle, pictures, tmp_path / "out", form).exported
        assert made is not None
        json.loads(made.read_text())


def test_label_studio_gets_tasks_with_predictions(
    tiny_bundle: Bundle,
    pictures: Path,
    tmp_path: Path,
    picture_labels: NDArray[np.uint8],
    read_brush: Callable[[list[int]], NDArray[np.uint8]],
) -> None:
    names = LabelStudioConfig(prefix="/data/local-files/?d=street/", image="photo", brush="areas", key="url")
    summary = predict(tiny_bundle, pictures, tmp_path / "out", "label-studio", label_studio=names)
    assert summary.exported == tmp_path / "out" / "label_studio.json"
    first, second = json.loads(summary.exported.read_text())
    assert first["data"] == {"url": "/data/local-files/?d=street/a.png"}
    assert second["data"] == {"url": "/data/local-files/?d=street/deep%20er/b%20%26%20c.png"}
    (prediction,) = first["predictions"]
    assert prediction["model_version"] == tiny_bundle.manifest.version
    assert 0.9 < prediction["score"] <= 1
    assert [region["value"]["brushlabels"] for region in prediction["result"]] == [[name] for name in NAMES]
    for index, region in enumerate(prediction["result"]):
        assert (region["from_name"], region["to_name"], region["type"]) == ("areas", "photo", "brushlabels")
        size = region["original_height"], region["original_width"], 4
        mask = read_brush(region["value"]["rle"]).reshape(size)[..., 3]
        np.testing.assert_array_equal(mask, np.where(picture_labels == index, 255, 0))


@pytest.mark.parametrize(
    ("prefix", "address"),
    [
        ("s3://bucket/x/", "s3://bucket/x/a b#c.png"),
        ("https://host/x/", "https://host/x/a%20b%23c.png"),
        ("/data/local-files/?d=", "/data/local-files/?d=a%20b%23c.png"),
        ("", "a b#c.png"),
    ],
)
def test_pictures_are_named_as_the_storage_has_them(prefix: str, address: str) -> None:
    assert LabelStudioConfig(prefix=prefix).address("a b#c.png") == address


@pytest.mark.parametrize("wrong", [{"key": ""}, {"image": " "}, {"brush": ""}, {"key": "$image"}])
def test_names_that_no_project_can_have_are_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="label_studio"):
        LabelStudioConfig(**wrong)


@pytest.mark.parametrize(
    ("form", "name", "given"),
    [
        ("coco", "coco.json", {}),
        ("cvat", "cvat", {}),
        ("cvat", "cvat.zip", {}),
        ("label-studio", "label_studio.json", {"predictions": True, "classes": NAMES}),
    ],
)
def test_what_is_predicted_for_a_tool_is_imported_pixel_for_pixel(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, form: str, name: str, given: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out, form)
    import_export(out / name, tmp_path / "back", ImportConfig(images=pictures, **given))
    source = FolderSource(tmp_path / "back", val_fraction=0.5)
    assert source.label_map.names == NAMES
    found = {sample.name: sample for split in ("train", "val") for sample in [source.load(split, 0)]}
    assert sorted(found) == ["a", "deep er/b & c"]
    for stem, sample in found.items():
        answer = np.asarray(Image.open(io.BytesIO((out / "label_maps" / f"{stem}.png").read_bytes())))
        np.testing.assert_array_equal(sample.label_map, answer)
        assert (tmp_path / "back" / "images" / f"{stem}.png").read_bytes() == (pictures / f"{stem}.png").read_bytes()


def test_another_form_takes_no_second_run_of_the_network(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert predict(tiny_bundle, pictures, out, "png").exported is None
    for form in ("cvat", "coco", "label-studio"):
        summary = predict(tiny_bundle, pictures, out, form)
        assert (summary.written, summary.skipped) == (0, 2)
        assert summary.exported is not None
    assert not [name for name in files(out) if "partial" in name]


def test_answers_of_an_earlier_version_have_no_score_and_are_exported_all_the_same(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out, "png")
    lines = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    for line in lines:
        del line["confidences"]
    (out / "predictions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = predict(tiny_bundle, pictures, out, "coco").exported
    assert made is not None
    assert all("score" not in annotation for annotation in json.loads(made.read_text())["annotations"])


def test_pictures_that_cannot_be_read_are_left_out(tiny_bundle: Bundle, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out, "coco")
    (pictures / "a.png").write_text("no picture any more")
    summary = predict(tiny_bundle, pictures, out, "coco")
    assert len(summary.failed) == 1
    assert summary.exported is not None
    assert [image["file_name"] for image in json.loads(summary.exported.read_text())["images"]] == ["deep er/b & c.png"]


@pytest.mark.parametrize(
    ("form", "name"), [("coco", "coco.json"), ("label-studio", "label_studio.json"), ("cvat", "cvat.zip")]
)
def test_an_export_that_is_broken_off_leaves_the_former_one_whole(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, form: str, name: str
) -> None:
    out = tmp_path / "out"
    predict(tiny_bundle, pictures, out, form)
    before, classes = (out / name).read_bytes(), files(out / "cvat") if form == "cvat" else []
    (out / "label_maps" / "deep er" / "b & c.png").write_bytes(b"no label map")
    with pytest.raises(DataError):
        predict(tiny_bundle, pictures, out, form)
    assert (out / name).read_bytes() == before
    assert not list(out.rglob("*partial*"))
    if form == "cvat":
        assert files(out / "cvat") == classes


def test_another_models_exports_go_with_its_answers_and_a_persons_pictures_stay(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path
) -> None:
    import onnx

    out = tmp_path / "out"
    for form in ("coco", "label-studio", "cvat"):
        predict(tiny_bundle, pictures, out, form)
    shutil.copytree(pictures, out / "cvat" / "JPEGImages")
    model = onnx.load(tiny_bundle.model_path)
    model.graph.name = "other"
    other = write_bundle(tmp_path / "other", model.SerializeToString(), tiny_bundle.manifest)
    predict(other, pictures, out, "png", overwrite=True)
    left = [name for name in files(out) if not name.startswith("label_maps/")]
    assert left == ["cvat/JPEGImages/a.png", "cvat/JPEGImages/deep er/b & c.png", "manifest.json", "predictions.jsonl"]


def test_what_was_made_for_cvat_is_not_segmented_itself(tiny_bundle: Bundle, pictures: Path) -> None:
    predict(tiny_bundle, pictures, pictures / "out", "cvat")
    summary = predict(tiny_bundle, pictures, pictures / "out", "cvat")
    assert (summary.written, summary.skipped) == (0, 2)
    assert predict(tiny_bundle, pictures, pictures, "png").written == 2


def test_the_command_line_writes_every_form_and_says_where(
    tiny_bundle: Bundle, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(tiny_bundle.root), str(pictures), "-o", str(tmp_path / "out"), "--overlay=false"]
    assert main([*command, "--format", "cvat"]) == 0
    assert f"for cvat: {tmp_path / 'out' / 'cvat'}" in capsys.readouterr().out
    assert main([*command, "--format=label-studio", "--label_studio.prefix=s3://bucket/"]) == 0
    tasks = json.loads((tmp_path / "out" / "label_studio.json").read_text())
    assert tasks[0]["data"] == {"image": "s3://bucket/a.png"}
    assert main([*command, "--format=coco"]) == 0
    with pytest.raises(SystemExit):
        main([*command, "--format=yolo"])
