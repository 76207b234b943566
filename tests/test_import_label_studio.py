"""Label Studio's tasks become folders to train on: brushes, polygons, rectangles, annotators and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import DataError
from data.imports.label_studio import address_of
from data.imports.runs import decode_brush
from model.runtime.brush import encode_brush
from tests.exports import imported, masks, write_json, write_pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def region(kind: str, value: dict[str, Any], label: str = "car", **other: Any) -> dict[str, Any]:
    """A result as Label Studio exports it, of a picture of 20x10."""
    return {
        "id": "Dx_aB91ISN",
        "type": kind,
        "from_name": "label",
        "to_name": "image",
        "original_width": 20,
        "original_height": 10,
        "image_rotation": 0,
        "origin": "manual",
        "value": {**value, kind: [label]},
        **other,
    }


def rectangle(
    x: float, y: float, width: float, height: float, label: str = "car", rotation: float = 0
) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation}
    return region("rectanglelabels", value, label)


def brush(mask: NDArray[np.bool_], label: str) -> dict[str, Any]:
    return region("brushlabels", {"format": "rle", "rle": encode_brush(mask).tolist()}, label)


def task(
    results: list[list[dict[str, Any]]], image: str = "/data/upload/1/0a1b2c3d-a.png", **other: Any
) -> dict[str, Any]:
    annotations = [
        {"id": 100 + place, "completed_by": place, "was_cancelled": False, "result": result}
        for place, result in enumerate(results)
    ]
    return {"id": 5, "data": {"image": image, "note": "x"}, "annotations": annotations, "predictions": [], **other}


def take(tmp_path: Path, tasks: list[dict[str, Any]], **given: Any) -> Any:
    write_pictures(tmp_path / "pictures", {"a.png": (20, 10)})
    export = write_json(tmp_path / "project.json", tasks)
    report = imported(export, tmp_path / "out", images=tmp_path / "pictures", **given)
    return masks(tmp_path / "out")["a"], report


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32))
def test_a_brush_comes_back_from_its_bytes(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((height, width)) < random.random()
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), mask.size) > 0, mask.reshape(-1))


def test_runs_of_different_values_are_read_as_the_published_decoder_reads_them(
    read_brush: Callable[[list[int]], NDArray[np.uint8]],
) -> None:
    # 3 pixels: a run of 8 values written one by one, then one of 4 that repeat.
    values = [1, 2, 3, 200, 5, 6, 7, 0]
    bits = f"{12:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    bits += "0" + "00" + f"{7:03b}" + "".join(f"{value:08b}" for value in values)
    bits += "1" + "01" + f"{3:04b}" + f"{255:08b}"
    bits += "0" * (-len(bits) % 8)
    data = [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]
    assert read_brush(data).tolist() == [*values, 255, 255, 255, 255]
    assert decode_brush(np.asarray(data, dtype=np.uint8), 3).tolist() == [200, 0, 255]


def test_brushes_polygons_rectangles_and_ellipses_become_one_mask(tmp_path: Path) -> None:
    stroke = np.zeros((10, 20), dtype=bool)
    stroke[8:, 3:17] = True
    found, _ = take(
        tmp_path,
        [
            task(
                [
                    [
                        brush(stroke, "road"),
                        region(
                            "polygonlabels", {"points": [[0, 0], [25, 0], [25, 50], [0, 50]], "closed": True}, "tree"
                        ),
                        rectangle(10, 20, 5, 20, "car"),
                        region("ellipselabels", {"x": 75, "y": 30, "radiusX": 10, "radiusY": 20, "rotation": 0}, "car"),
                    ]
                ]
            )
        ],
    )
    assert (tmp_path / "out" / "labels.txt").read_text() == "background\ncar\nroad\ntree\n"
    expected = np.zeros((10, 20), dtype=np.uint8)
    expected[stroke] = 2
    expected[:5, :5] = 3
    expected[2:4, 2] = 1
    np.testing.assert_array_equal(found[:, :12], expected[:, :12])
    assert (found[2:4, 14:16] == 1).all()


def test_a_rectangle_is_turned_about_its_first_corner_in_pixels(tmp_path: Path) -> None:
    # 8x2 pixels at (10, 1), a quarter turn clockwise: 2 wide to the left, 8 down.
    found, _ = take(tmp_path, [task([[rectangle(50, 10, 40, 20, rotation=90)]])])
    rows, columns = np.nonzero(found)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 8, 8, 9)


def test_cancelled_annotations_do_not_count_and_of_several_the_latest_does(tmp_path: Path) -> None:
    left, right = [rectangle(0, 0, 50, 100)], [rectangle(50, 0, 50, 100)]
    several = task([left, right, left])
    for place, day in enumerate(("2024-01-03", "2024-01-02", "2024-01-09")):
        several["annotations"][place]["updated_at"] = f"{day}T10:00:00Z"
    several["annotations"][2]["was_cancelled"] = True
    found, report = take(tmp_path, [several])
    assert (found[0, 0], found[0, 15]) == (1, 0)
    told = "\n".join(report.lines())
    assert "cancelled annotations, left out" in told
    assert "tasks have several annotations: the one marked as ground truth, else the latest is taken" in told
    several["annotations"][1]["ground_truth"] = True
    export = write_json(tmp_path / "truth.json", [several])
    imported(export, tmp_path / "truth", images=tmp_path / "pictures")
    assert masks(tmp_path / "truth")["a"][0, 15] == 1
    imported(export, tmp_path / "first", images=tmp_path / "pictures", annotators="first")
    assert masks(tmp_path / "first")["a"][0, 0] == 1


def test_where_annotators_differ_pixels_are_ignored_on_request(tmp_path: Path) -> None:
    found, report = take(tmp_path, [task([[rectangle(0, 0, 50, 100)], [rectangle(0, 0, 75, 100)]])], annotators="agree")
    assert found[0, [0, 12, 18]].tolist() == [1, 255, 0]
    assert report.disputed_pixels == 50


def test_predictions_are_taken_on_request_alone(tmp_path: Path) -> None:
    predicted = task([], predictions=[{"model_version": "1", "score": 0.9, "result": [rectangle(0, 0, 50, 100)]}])
    with pytest.raises(DataError, match=r"none has an annotation|names no class"):
        take(tmp_path, [predicted])
    found, _ = take(tmp_path, [predicted], predictions=True)
    assert found[0, 0] == 1


def test_a_shape_with_its_label_in_another_tag_counts_once(tmp_path: Path) -> None:
    value = {"x": 0, "y": 0, "width": 50, "height": 100, "rotation": 0}
    bare = region("rectangle", value)
    bare["value"] = value
    found, report = take(tmp_path, [task([[bare, region("labels", value, "tree")]])])
    assert found[0, 0] == 1
    assert report.shapes["tree"] == 1
    assert not any("without a label" in line for line in report.lines())


def test_a_picture_that_was_turned_for_looking_keeps_its_shapes(tmp_path: Path) -> None:
    turned = rectangle(0, 0, 50, 100)
    turned.update(image_rotation=90, original_width=10, original_height=20)
    found, _ = take(tmp_path, [task([[turned]])])
    assert found[0].tolist() == [1] * 10 + [0] * 10


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/data/upload/1/0a1b2c3d-my%20a.png", "/data/upload/1/0a1b2c3d-my a.png"),
        ("/data/local-files/?d=street/deep%20er/b%20%26%20c.png", "street/deep er/b & c.png"),
        ("https://host/x/a%20b.png?token=1", "/x/a b.png"),
        ("s3://bucket/x/a b#c.png", "bucket/x/a b#c.png"),
        ("a b#c.png", "a b#c.png"),
    ],
)
def test_a_picture_is_found_by_what_its_address_ends_in(address: str, path: str) -> None:
    assert address_of({"image": address, "id": 3}, "task 1") == path


def test_uploaded_pictures_are_found_with_and_without_what_was_put_before_their_names(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", {"1/0a1b2c3d-b.png": (20, 10), "deadbeef-c.png": (20, 10)})
    addresses = ("/data/upload/1/0a1b2c3d-a.png", "/data/upload/1/0a1b2c3d-b.png", "/data/upload/1/deadbeef-c.png")
    found, _ = take(tmp_path, [task([[rectangle(0, 0, 50, 100)]], address) for address in addresses])
    assert found[0, 0] == 1
    assert sorted(masks(tmp_path / "out")) == ["1/0a1b2c3d-b", "a", "deadbeef-c"]


OTHER = encode_brush(np.ones((9, 9), dtype=bool)).tolist()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"value": {"format": "rle", "rle": [1, 2, 3], "brushlabels": ["car"]}}, "the brush's run lengths are cut off"),
        ({"value": {"format": "rle", "rle": [1, 999], "brushlabels": ["car"]}}, "rle holds 999; bytes"),
        ({"value": {"format": "rle", "rle": "x", "brushlabels": ["car"]}}, "rle is 'x'; a list"),
        (
            {"value": {"format": "rle", "rle": encode_brush(np.ones((9, 9), bool)).tolist(), "brushlabels": ["car"]}},
            "324 v",
        ),
        ({"value": {"points": [[1], [2, 3]], "polygonlabels": ["car"]}}, "has 3 coordinates"),
        ({"value": {"x": None, "y": 0, "width": 5, "height": 5, "rectanglelabels": ["car"]}}, "x is missing"),
        ({"value": {"x": "inf", "y": 0, "width": 5, "height": 5, "rectanglelabels": ["car"]}}, "x is 'inf'"),
        ({"original_width": 40, "original_height": 20}, "is 20x10; the export says 40x20"),
        ({"original_width": "wide"}, "original_width is 'wide'"),
        (
            {"type": "bitmasklabels", "value": {"imageDataURL": "data:", "bitmasklabels": ["car"]}},
            "bitmask, which is not",
        ),
    ],
)
def test_faulty_regions_are_named(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told) as caught:
        take(tmp_path, [task([[{**rectangle(0, 0, 50, 50), "id": "r1", **changed}]])])
    assert "task 5" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("tasks", "told"),
    [
        ([{"id": 1, "image": "a.png", "label": []}], "task 1 has no data: export the project as JSON, not as JSON-MIN"),
        ([task([[rectangle(0, 0, 5, 5)]], "data:image/png;base64,AAAA")], "holds its picture itself"),
        ([{"id": 1, "data": {"text": "hello"}, "annotations": []}], "names 0 pictures"),
        ([{"id": 1, "data": {"a": "a.png", "b": "b.png"}, "annotations": []}], "names 2 pictures"),
        ([{"id": 1, "data": {"a": "a.png"}, "annotations": {}}], "annotations is {}; a list|names no class"),
        ([task([[rectangle(0, 0, 5, 5)]], "gone.png")], "'gone.png' is not in"),
    ],
)
def test_tasks_that_cannot_be_used_are_told(tmp_path: Path, tasks: list[dict[str, Any]], told: str) -> None:
    with pytest.raises(DataError, match=told):
        take(tmp_path, tasks)
