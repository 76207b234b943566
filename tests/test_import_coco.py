"""COCO files become folders to train on: polygons, run lengths, boxes, crowds, subsets, and what is wrong with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as codec

from data.errors import ConfigError, DataError, LabelError
from data.imports.areas import Outline
from data.imports.runs import counts_of_text, mask_of_counts
from model.cli import main
from tests.exports import coco, imported, masks, samples, square, write_json, write_pictures, zipped

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {18: "dog", 3: "car"}  # not contiguous, not in order
GOOD = {"image_id": 7, "category_id": 3, "segmentation": [square(0, 0, 5, 5)]}
IMAGE = {"id": 7, "file_name": "a.png", "width": 20, "height": 10}


def write(tmp_path: Path, annotations: list[dict[str, Any]], images: list[dict[str, Any]] | None = None) -> Path:
    write_pictures(tmp_path / "pictures", {"a.png": (20, 10), "b.png": (8, 6)})
    document = coco([IMAGE] if images is None else images, annotations, NAMES)
    return write_json(tmp_path / "instances.json", document)


def take(tmp_path: Path, annotations: list[dict[str, Any]], **given: Any) -> Any:
    imported(write(tmp_path, annotations), tmp_path / "out", images=tmp_path / "pictures", **given)
    return masks(tmp_path / "out")["a"]


@st.composite
def _masks(draw: st.DrawFn) -> np.ndarray:
    height, width = draw(st.integers(1, 24)), draw(st.integers(1, 24))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    return (random.random((height, width)) < draw(st.floats(0, 1))).astype(np.uint8)


@settings(max_examples=60, deadline=None)
@given(_masks())
def test_compressed_counts_are_read_as_coco_s_own_tools_write_them(mask: np.ndarray) -> None:
    encoded = codec.encode(np.asfortranarray(mask))
    counts = counts_of_text(encoded["counts"].decode())
    np.testing.assert_array_equal(mask_of_counts(counts, mask.shape[1], mask.shape[0]).T, mask)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0.11
@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-10, 40), st.floats(-10, 30)), min_size=3, max_size=9))
def test_polygons_are_filled_as_coco_s_own_tools_fill_them(corners: list[tuple[float, float]]) -> None:
    cover = Outline((np.asarray(corners),)).cover(17, 23)
    mask = np.zeros((17, 23), dtype=bool)
    mask[cover.top : cover.top + cover.mask.shape[0], cover.left : cover.left + cover.mask.shape[1]] = cover.mask
    expected = codec.decode(codec.merge(codec.frPyObjects([np.ravel(corners).tolist()], 17, 23)))
    np.testing.assert_array_equal(mask, expected)


def test_polygons_and_both_kinds_of_run_lengths_become_one_mask(tmp_path: Path) -> None:
    plane = np.zeros((10, 20), dtype=np.uint8)
    plane[6:9, 2:5] = 1
    compressed = {"size": [10, 20], "counts": codec.encode(np.asfortranarray(plane))["counts"].decode()}
    found = take(
        tmp_path,
        [
            {"image_id": 7, "category_id": 18, "segmentation": [square(1, 1, 5, 4), square(12, 0, 14, 2)]},
            {"image_id": 7, "category_id": 3, "segmentation": {"size": [10, 20], "counts": [100, 10, 5, 5, 80]}},
            {"image_id": 7, "category_id": 3, "segmentation": compressed},
        ],
    )
    expected = np.zeros((10, 20), dtype=np.uint8)  # 0 background, then the categories by their ids
    expected[1:4, 1:5] = 2
    expected[0:2, 12:14] = 2
    expected[:, 10] = 1
    expected[5:, 11] = 1
    expected[6:9, 2:5] = 1
    np.testing.assert_array_equal(found, expected)
    assert (tmp_path / "out" / "labels.txt").read_text() == "background\ncar\ndog\n"
    with Image.open(tmp_path / "out" / "masks" / "a.png") as mask:
        assert mask.mode == "P"
    np.testing.assert_array_equal(samples(tmp_path / "out")["a"], expected)


def test_the_smaller_shape_lies_on_top_unless_the_order_counts(tmp_path: Path) -> None:
    both = [
        {"image_id": 7, "category_id": 3, "segmentation": [square(4, 2, 8, 4)]},
        {"image_id": 7, "category_id": 18, "segmentation": [square(0, 0, 10, 10)]},
    ]
    assert take(tmp_path, both)[3, 5] == 1
    report = imported(tmp_path / "instances.json", tmp_path / "ordered", images=tmp_path / "pictures", overlap="order")
    assert masks(tmp_path / "ordered")["a"][3, 5] == 2
    assert (report.overlapping_pictures, report.overlapped_pixels) == (1, 8)
    assert "the later one in the export wins" in "\n".join(report.lines())


def test_crowds_are_ignored_below_objects_and_counted_as_classes_where_all_are_crowds(tmp_path: Path) -> None:
    crowd = {
        "image_id": 7,
        "category_id": 18,
        "iscrowd": 1,
        "segmentation": {"size": [10, 20], "counts": [0, 100, 100]},
    }
    car = {"image_id": 7, "category_id": 3, "segmentation": [square(2, 2, 6, 6)]}
    found = take(tmp_path, [car, crowd])
    assert (found[3, 3], found[0, 0], found[0, 15]) == (1, 255, 0)
    export = write(tmp_path, [crowd])
    report = imported(export, tmp_path / "alone", images=tmp_path / "pictures")
    assert masks(tmp_path / "alone")["a"][0, 0] == 2
    assert "all annotations are crowd regions" in "\n".join(report.lines())
    with_crowds = write(tmp_path, [car, crowd])
    imported(with_crowds, tmp_path / "class", images=tmp_path / "pictures", crowd="class")
    assert masks(tmp_path / "class")["a"][0, 0] == 2


def test_boxes_alone_are_filled_or_skipped(tmp_path: Path) -> None:
    boxes = [{"image_id": 7, "category_id": 3, "bbox": [2, 3, 4, 5], "segmentation": []}]
    found = take(tmp_path, boxes)
    assert (np.argwhere(found == 1).min(0).tolist(), np.argwhere(found == 1).max(0).tolist()) == ([3, 2], [7, 5])
    with pytest.raises(DataError, match="none has an annotation"):
        imported(tmp_path / "instances.json", tmp_path / "none", images=tmp_path / "pictures", boxes="skip")
    assert not (tmp_path / "none").exists()


def test_what_no_shape_covers_may_be_ignored_or_a_class_of_the_export(tmp_path: Path) -> None:
    car = [{"image_id": 7, "category_id": 3, "segmentation": [square(0, 0, 10, 10)]}]
    found = take(tmp_path, car, unlabelled="ignore")
    assert (found[0, 0], found[0, 15]) == (0, 255)
    assert (tmp_path / "out" / "labels.txt").read_text() == "car\ndog\n"
    imported(tmp_path / "instances.json", tmp_path / "dog", images=tmp_path / "pictures", unlabelled="Dog")
    assert masks(tmp_path / "dog")["a"][0, 15] == 1


def test_no_background_is_made_up_where_every_pixel_is_covered(tmp_path: Path) -> None:
    halves = [
        {"image_id": 7, "category_id": 3, "segmentation": [square(0, 0, 10, 10)]},
        {"image_id": 7, "category_id": 18, "segmentation": [square(10, 0, 20, 10)]},
    ]
    found = take(tmp_path, halves)
    assert (tmp_path / "out" / "labels.txt").read_text() == "car\ndog\n"
    assert (found[0, 0], found[0, 15]) == (0, 1)


def test_classes_are_chosen_in_the_order_given(tmp_path: Path) -> None:
    both = [
        {"image_id": 7, "category_id": 3, "segmentation": [square(0, 0, 5, 5)]},
        {"image_id": 7, "category_id": 18, "segmentation": [square(5, 0, 10, 5)]},
    ]
    found = take(tmp_path, both, classes=("dog",))
    assert (tmp_path / "out" / "labels.txt").read_text() == "background\ndog\n"
    assert (found[0, 0], found[0, 6]) == (0, 1)
    with pytest.raises(ConfigError, match="'cat', which the export has not; it has car, dog"):
        imported(tmp_path / "instances.json", tmp_path / "x", images=tmp_path / "pictures", classes=("cat",))


def test_pictures_without_annotation_are_left_out_or_background(tmp_path: Path) -> None:
    images = [IMAGE, {"id": 8, "file_name": "b.png", "width": 8, "height": 6}]
    export = write(tmp_path, [{"image_id": 7, "category_id": 3, "segmentation": [square(0, 0, 5, 5)]}], images)
    report = imported(export, tmp_path / "out", images=tmp_path / "pictures")
    assert sorted(masks(tmp_path / "out")) == ["a"]
    assert (report.pictures, report.unannotated, report.unannotated_are) == (1, 1, "left out")
    imported(export, tmp_path / "all", images=tmp_path / "pictures", unannotated="unlabelled")
    assert (masks(tmp_path / "all")["b"] == 0).all()


def test_subsets_become_lists_of_splits_and_equal_names_stay_apart(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_pictures(root / "images", {"train2017/1.png": (20, 10), "val2017/1.png": (20, 10), "val2017/2.png": (20, 10)})
    car = {"category_id": 3, "segmentation": [square(0, 0, 5, 5)]}
    for name, count in (("train2017", 1), ("val2017", 2)):
        images = [{"id": n, "file_name": f"{name}/{n}.png", "width": 20, "height": 10} for n in range(1, count + 1)]
        annotations = [{"image_id": n, **car} for n in range(1, count + 1)]
        write_json(root / "annotations" / f"instances_{name}.json", coco(images, annotations, NAMES))
        write_json(root / "annotations" / f"captions_{name}.json", {"images": images, "annotations": []})
    archive = zipped(root, tmp_path / "coco.zip")
    for export, out in ((root, tmp_path / "one"), (archive, tmp_path / "two")):
        report = imported(export, out)
        assert report.splits == {"train": 1, "val": 2}
        assert (out / "splits" / "val.txt").read_text() == "val/val2017/1\nval/val2017/2\n"
        assert sorted(samples(out)) == ["train/train2017/1", "val/val2017/1", "val/val2017/2"]
    assert not list(tmp_path.glob(".*")), "nothing unpacked is left"


def test_roboflow_s_folders_of_subsets_are_read(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for subset in ("train", "valid"):
        write_pictures(root / subset, {"1.png": (20, 10)})
        car = {"image_id": 0, "category_id": 3, "segmentation": [square(0, 0, 5, 5)]}
        images = [{"id": 0, "file_name": "1.png", "width": 20, "height": 10}]
        write_json(root / subset / "_annotations.coco.json", coco(images, [car], NAMES))
    assert imported(root, tmp_path / "out").splits == {"train": 1, "val": 1}


def test_a_picture_that_may_be_several_files_is_told(tmp_path: Path) -> None:
    export = write(tmp_path, [GOOD])
    write_pictures(tmp_path / "several", {"x/a.png": (20, 10), "y/a.png": (20, 10)})
    with pytest.raises(DataError, match=r"'a\.png' may be .*x/a\.png or .*y/a\.png"):
        imported(export, tmp_path / "out", images=tmp_path / "several")


def test_pictures_are_linked_on_request_and_names_that_differ_in_the_ending_alone_stay_apart(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", {"a.png": (20, 10), "a.bmp": (20, 10)})
    images = [IMAGE, {"id": 8, "file_name": "a.bmp", "width": 20, "height": 10}]
    cars = [{"image_id": n, "category_id": 3, "segmentation": [square(0, 0, 5, 5)]} for n in (7, 8)]
    export = write_json(tmp_path / "x.json", coco(images, cars, NAMES))
    imported(export, tmp_path / "out", images=tmp_path / "pictures", link=True)
    assert sorted(samples(tmp_path / "out")) == ["a.bmp", "a.png"]
    assert (tmp_path / "out" / "images" / "a.png.png").is_symlink()


def test_labels_drawn_on_the_stored_picture_are_turned_with_it(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (20, 10)).save(tmp_path / "pictures" / "a.png", exif=exif)
    left = [{"image_id": 7, "category_id": 3, "segmentation": [square(0, 0, 5, 10)]}]
    export = write_json(tmp_path / "x.json", coco([IMAGE], left, NAMES))
    assert imported(export, tmp_path / "out", images=tmp_path / "pictures").turned == 1
    found = samples(tmp_path / "out")["a"]
    assert found.shape == (20, 10)
    assert (found[:5] == 1).all()
    assert (found[5:] == 0).all()
    upright = write_json(tmp_path / "y.json", coco([{**IMAGE, "width": 10, "height": 20}], left, NAMES))
    assert imported(upright, tmp_path / "upright", images=tmp_path / "pictures").turned == 0
    assert (samples(tmp_path / "upright")["a"][:10, :5] == 1).all()


def test_shapes_beyond_the_picture_are_cut_and_told(tmp_path: Path) -> None:
    export = write(
        tmp_path,
        [
            {"image_id": 7, "category_id": 3, "segmentation": [square(15, 5, 500, 600)]},
            {"image_id": 7, "category_id": 3, "segmentation": [square(50, 50, 60, 60)]},
            {"image_id": 7, "category_id": 3, "segmentation": [[1, 1, 2, 2]]},
        ],
    )
    report = imported(export, tmp_path / "out", images=tmp_path / "pictures")
    assert (report.cut, report.empty) == (2, 2)
    assert (masks(tmp_path / "out")["a"][5:, 15:] == 1).all()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"category_id": 99}, "instances.json: annotation 2: category_id is 99, and no category has that id"),
        ({"image_id": 5}, "annotation 2: image_id is 5, and no image has that id"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "annotation 2 has 5 coordinates; pairs"),
        ({"segmentation": [[1, 2, "x", 4, 5, 6]]}, "annotation 2: coordinate 2 is 'x'; a number"),
        ({"segmentation": [[1, 2, 1e300, 4, 5, 6]]}, "coordinate 2 is 1e[+]300"),
        ({"segmentation": [[0, 0, 9e6, 9e6, 0, 9e6]]}, "annotation 2: its outline is longer than"),
        ({"segmentation": "polygon"}, "annotation 2: segmentation is 'polygon'; a list"),
        ({"segmentation": {"size": [10, 20], "counts": [5, 5]}}, "annotation 2: run lengths cover 10 pixels; 20x10"),
        (
            {"segmentation": {"size": [10, 20], "counts": [300, -100]}},
            "annotation 2: counts: run lengths must be whole",
        ),
        ({"segmentation": {"size": [10, 20], "counts": "P"}}, "annotation 2: compressed counts are damaged or cut off"),
        ({"segmentation": {"size": [10, 20], "counts": "0" * 9}}, "annotation 2: run lengths cover 0 pixels"),
        ({"segmentation": {"size": [10, 20], "counts": "ooooooo0"}}, "compressed counts are damaged"),
        (
            {"segmentation": {"size": [20, 10], "counts": [0, 200]}},
            "annotation 2: its mask is 10x20; the picture is 20x10",
        ),
        ({"segmentation": {"counts": [0, 200]}}, "annotation 2: size is missing"),
        ({"segmentation": [], "bbox": [1, 2, 3]}, "annotation 2: bbox has 3 numbers"),
    ],
)
def test_a_faulty_annotation_is_named_and_nothing_is_written(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    export = write(tmp_path, [GOOD, {**GOOD, **wrong}])
    with pytest.raises(DataError, match=told):
        imported(export, tmp_path / "out", images=tmp_path / "pictures")
    assert {path.name for path in tmp_path.iterdir()} == {"pictures", "instances.json"}


def test_every_fault_is_told_and_faulty_pictures_are_left_out_on_request(tmp_path: Path) -> None:
    images = [
        IMAGE,
        {"id": 8, "file_name": "b.png", "width": 9, "height": 9},
        {"id": 9, "file_name": "gone.png", "width": 9, "height": 9},
        {"id": 10, "file_name": "sub/a.png", "width": 20, "height": 10},
    ]
    export = write(tmp_path, [{**GOOD, "image_id": n} for n in (7, 8, 9, 10)], images)
    with pytest.raises(DataError) as caught:
        imported(export, tmp_path / "out", images=tmp_path / "pictures")
    message = str(caught.value)
    assert "3 faults" in message
    assert "image 8" in message
    assert "is 8x6; the export says 9x9" in message
    assert "image 9: picture 'gone.png' is not in" in message
    assert "image 10: 'sub/a.png' is the same file as instances.json: image 7" in message
    report = imported(export, tmp_path / "out", images=tmp_path / "pictures", skip_faulty=True)
    assert (report.pictures, len(report.faulty)) == (1, 3)
    assert json.loads((tmp_path / "out" / "import.json").read_text())["pictures"] == 1


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "nested deeper"),
        ("{}", "is not an export of COCO, CVAT or Label Studio"),
        ('{"images": [], "annotations": [{"segments_info": []}]}', "panoptic"),
        ('{"images": [], "annotations": []}', "no categories"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}',
            "same id",
        ),
        ('{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "file_name is missing"),
        ('{"images": {}, "annotations": [], "categories": [{"id": 1, "name": "a"}]}', "images is {}; a list"),
    ],
)
def test_files_that_are_no_such_export_are_told(tmp_path: Path, document: str, told: str) -> None:
    write_pictures(tmp_path / "pictures", {"a.png": (20, 10)})
    (tmp_path / "x.json").write_text(document)
    with pytest.raises(DataError, match=told):
        imported(tmp_path / "x.json", tmp_path / "out", images=tmp_path / "pictures")
    assert not (tmp_path / "out").exists()


def test_names_that_labels_txt_cannot_hold_are_changed_and_told_and_void_is_ignored(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", {"a.png": (20, 10)})
    names = {1: "#a: b", 2: "Void", 3: "road"}
    shapes = [{"image_id": 7, "category_id": n, "segmentation": [square(n, 0, n + 1, 10)]} for n in (1, 2, 3)]
    export = write_json(tmp_path / "x.json", coco([IMAGE], shapes, names))
    report = imported(export, tmp_path / "out", images=tmp_path / "pictures")
    assert (tmp_path / "out" / "labels.txt").read_text() == "background\na- b\nroad\n"
    assert masks(tmp_path / "out")["a"][0, :5].tolist() == [0, 1, 255, 2, 0]
    assert {"class '#a: b' is called 'a- b'", "label 'Void' means ignored"} <= set(report.lines())
    many = coco([IMAGE], shapes, {n: f"c{n}" for n in range(300)})
    with pytest.raises(LabelError, match="300 classes; 253 are possible"):
        imported(write_json(tmp_path / "y.json", many), tmp_path / "many", images=tmp_path / "pictures")


def test_a_folder_that_is_there_is_not_written_into_and_a_broken_off_import_is_begun_again(tmp_path: Path) -> None:
    export = write(tmp_path, [GOOD])
    (tmp_path / ".out.partial" / "masks").mkdir(parents=True)
    imported(export, tmp_path / "out", images=tmp_path / "pictures")
    with pytest.raises(DataError, match="exists already"):
        imported(export, tmp_path / "out", images=tmp_path / "pictures")


def test_the_command_line_imports_tells_and_the_folder_passes_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [IMAGE, {"id": 8, "file_name": "b.png", "width": 8, "height": 6}]
    export = write(tmp_path, [{**GOOD, "image_id": n} for n in (7, 8)], images)
    command = ["data", "import", str(export), "--out", str(tmp_path / "out")]
    (tmp_path / "elsewhere").mkdir()
    assert main([*command, "--images", str(tmp_path / "elsewhere")]) == 1
    assert "give the folder that has it with --images" in capsys.readouterr().err
    assert main([*command, "--images", str(tmp_path / "pictures"), "--classes", "car,dog"]) == 0
    told = capsys.readouterr().out
    assert "COCO: 2 pictures with masks" in told
    assert "fcn train --data.root" in told
    assert main(["data", "check", str(tmp_path / "out")]) == 0
    assert main([*command, "--images", str(tmp_path / "pictures"), "-o", str(tmp_path / "json"), "--json"]) == 0
