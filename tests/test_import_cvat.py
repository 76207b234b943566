"""CVAT's exports become folders to train on: annotations.xml and segmentation masks, whole and broken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError, LabelError
from tests.exports import imported, masks, samples, write_pictures, zipped

if TYPE_CHECKING:
    from pathlib import Path

LABELS = "".join(f"<label><name>{name}</name><color>#ff0000</color></label>" for name in ("road", "car", "tree"))


def write(root: Path, images: str, ending: str = "</annotations>", labels: str = LABELS) -> Path:
    meta = f"<meta><job><id>1</id><labels>{labels}</labels></job><dumped>2024-01-01</dumped></meta>"
    root.mkdir(parents=True, exist_ok=True)
    text = f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{meta}{images}{ending}'
    (root / "annotations.xml").write_text(text, encoding="utf-8")
    return root


def image(shapes: str, name: str = "a.png", subset: str = "") -> str:
    extra = f' subset="{subset}"' if subset else ""
    return f'<image id="4" name="{name}"{extra} width="20" height="10">{shapes}</image>'


def box(label: str, left: int, top: int, right: int, bottom: int, z_order: int = 0, extra: str = "") -> str:
    corners = f'xtl="{left}.00" ytl="{top}.00" xbr="{right}.00" ybr="{bottom}.00"'
    return f'<box label="{label}" source="manual" occluded="0" {corners} z_order="{z_order}" {extra}></box>'


def polygon(label: str, points: str, z_order: int = 0) -> str:
    return f'<polygon label="{label}" source="manual" occluded="0" points="{points}" z_order="{z_order}"></polygon>'


def mask(label: str, rle: str, left: int, top: int, width: int, height: int, z_order: int = 0) -> str:
    place = f'left="{left}" top="{top}" width="{width}" height="{height}"'
    return f'<mask label="{label}" source="semi-auto" occluded="0" rle="{rle}" {place} z_order="{z_order}"></mask>'


def take(tmp_path: Path, shapes: str, **settings: object) -> np.ndarray:
    write_pictures(tmp_path / "set" / "images", {"a.png": (20, 10)})
    imported(write(tmp_path / "set", image(shapes)), tmp_path / "out", **settings)
    return masks(tmp_path / "out")["a"]


def test_polygons_masks_boxes_and_ellipses_become_one_mask(tmp_path: Path) -> None:
    found = take(
        tmp_path,
        polygon("road", "0.00,5.00;20.00,5.00;20.00,10.00;0.00,10.00")
        + mask("car", "1, 2, 3", 2, 6, 3, 2)
        + box("tree", 10, 0, 12, 4)
        + '<ellipse label="tree" cx="16.0" cy="2.0" rx="2.0" ry="2.0" occluded="0" z_order="0"></ellipse>',
    )
    expected = np.zeros((10, 20), dtype=np.uint8)
    expected[5:] = 1
    expected[6, 3:5] = 2  # of the mask's six pixels, row by row, the second and third
    expected[:4, 10:12] = 3
    np.testing.assert_array_equal(found[:, :13], expected[:, :13])
    assert (found[1:3, 14:18] == 3).all()
    assert found[0, 14] == 0
    assert (tmp_path / "out" / "labels.txt").read_text() == "background\nroad\ncar\ntree\n"


def test_z_order_decides_and_among_equals_the_later_shape(tmp_path: Path) -> None:
    found = take(
        tmp_path, box("car", 0, 0, 6, 6, z_order=2) + box("road", 4, 0, 10, 6, z_order=1) + box("tree", 8, 0, 12, 6, 1)
    )
    assert found[0, :13].tolist() == [2] * 6 + [1] * 2 + [3] * 4 + [0]


def test_a_hole_is_a_shape_of_the_background_on_top(tmp_path: Path) -> None:
    labels = LABELS + "<label><name>background</name></label>"
    write_pictures(tmp_path / "set" / "images", {"a.png": (20, 10)})
    ring = box("road", 0, 0, 10, 10) + box("background", 2, 2, 4, 4, z_order=1)
    imported(write(tmp_path / "set", image(ring), labels=labels), tmp_path / "out")
    found = masks(tmp_path / "out")["a"]
    assert (tmp_path / "out" / "labels.txt").read_text() == "road\ncar\ntree\nbackground\n"
    assert (found[0, 0], found[2, 2], found[0, 15]) == (0, 3, 3)


def test_a_box_is_turned_about_its_middle(tmp_path: Path) -> None:
    found = take(tmp_path, box("car", 4, 4, 12, 6, extra='rotation="90.0"'))
    rows, columns = np.nonzero(found)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 8, 7, 8)


def test_what_has_no_area_is_told_and_boxes_may_be_skipped(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set" / "images", {"a.png": (20, 10)})
    shapes = (
        box("car", 0, 0, 5, 5)
        + polygon("road", "0,5;20,5;20,10")
        + '<polyline label="road" points="0,0;5,5"></polyline><points label="road" points="1,1"></points>'
        + '<tag label="car"></tag>'
    )
    report = imported(write(tmp_path / "set", image(shapes)), tmp_path / "out", boxes="skip")
    told = "\n".join(report.lines())
    for kind in ("polyline", "points", "tag"):
        assert f"shapes of kind {kind} have no area, left out" in told
    assert "boxes left out" in told
    assert 2 not in masks(tmp_path / "out")["a"]


def test_masks_beyond_the_picture_are_cut(tmp_path: Path) -> None:
    write_pictures(tmp_path / "set" / "images", {"a.png": (20, 10)})
    shapes = mask("car", "0, 16", -2, -2, 4, 4) + mask("road", "0, 9", 18, 8, 3, 3) + mask("tree", "0, 4", 30, 3, 2, 2)
    report = imported(write(tmp_path / "set", image(shapes)), tmp_path / "out")
    found = masks(tmp_path / "out")["a"]
    assert (found == 2).sum() == 4
    assert (found[8:, 18:] == 1).all()
    assert (report.cut, report.empty) == (3, 1)


def test_subsets_of_a_project_in_a_zip_file_become_splits(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write_pictures(root / "images", {"Train/a.png": (20, 10), "Validation/a.png": (20, 10), "extra/b.png": (20, 10)})
    images = [("a.png", "Train"), ("a.png", "Validation"), ("b.png", "extra")]
    write(root, "".join(image(box("car", 0, 0, 5, 5), name, subset) for name, subset in images))
    report = imported(zipped(root, tmp_path / "cvat.zip"), tmp_path / "out", kind="cvat")
    assert report.splits == {"train": 2, "val": 1}
    assert sorted(samples(tmp_path / "out")) == ["Train/a", "Validation/a", "extra/b"]
    assert "subset 'extra' is no split's name: its pictures are in train" in report.lines()


@pytest.mark.parametrize(
    ("shapes", "told"),
    [
        (polygon("boat", "0,0;5,5;0,5"), r"image 4 \(a.png\): polygon 1: label 'boat' is none of the task's 3 labels"),
        (polygon("car", "0,0;5,five;0,5"), "polygon 1: coordinate 3 is 'five'"),
        (polygon("car", "0,0;5"), "polygon 1 has 3 coordinates"),
        (polygon("car", ""), "polygon 1: points is ''"),
        (box("car", 0, 0, 5, 5).replace('xtl="0.00"', ""), "box 1: xtl is missing"),
        (box("car", 0, 0, 5, 5).replace("0.00", "nan"), "box 1: xtl is 'nan'"),
        (mask("car", "1, 2", 2, 6, 3, 2), "mask 1: run lengths cover 3 pixels; 3x2 = 6"),
        (mask("car", "1, 2, x", 2, 6, 3, 2), "mask 1: rle is 'x'"),
        (mask("car", "1, -2, 7", 2, 6, 3, 2), "run lengths must be whole numbers"),
        (mask("car", "0, 100000000", 0, 0, 10000, 10000), "is 100000000; a number|is '100000000'; a number"),
        (mask("car", "0, 1000000", 0, 0, 1000, 1000), "its mask is 1000x1000; the picture is 20x10"),
        ('<blob label="car"></blob>', "blob 1 is of a kind that is not known"),
        ('<box xtl="0"></box>', "box 1: label is missing"),
    ],
)
def test_faulty_shapes_are_named(tmp_path: Path, shapes: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        take(tmp_path, shapes)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("<annotations><image", "is no XML"),
        ("<html></html>", "holds <html>"),
        ('<annotations><track id="0"></track></annotations>', "export the task again as 'CVAT for images 1.1'"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><annotations>&a;</annotations>', "declares entities"),
        ("<annotations></annotations>", "names no class"),
    ],
)
def test_lists_that_are_none_of_cvat_s_are_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "annotations.xml").write_text(text)
    with pytest.raises((DataError, LabelError), match=told):
        imported(tmp_path / "annotations.xml", tmp_path / "out")


def write_masks(root: Path) -> Path:
    """A task in CVAT's "Segmentation mask 1.1", without its pictures, as CVAT exports it unless asked for them."""
    (root / "SegmentationClass").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    lines = ("background:0,0,0::", "car:250,50,83::", "road:51,221,255::")
    (root / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    colours = np.zeros((10, 20, 3), dtype=np.uint8)
    colours[2:5, 3:9] = (250, 50, 83)
    colours[6:] = (51, 221, 255)
    Image.fromarray(colours).save(root / "SegmentationClass" / "a.png")
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("a\n")
    return root


def test_segmentation_masks_are_imported_from_a_zip_file_with_the_pictures_beside(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "set")
    write_pictures(tmp_path / "pictures", {"a.jpg": (20, 10)})
    report = imported(zipped(root, tmp_path / "masks.zip"), tmp_path / "out", images=tmp_path / "pictures")
    found = masks(tmp_path / "out")["a"]
    assert (found[3, 4], found[7, 0], found[0, 0]) == (1, 2, 0)
    assert (tmp_path / "out" / "labels.txt").read_text() == "background\ncar\nroad\n"
    assert report.pixels == {"background": 102, "car": 18, "road": 80}
    imported(root, tmp_path / "chosen", images=tmp_path / "pictures", classes=("road",), unlabelled="ignore")
    assert masks(tmp_path / "chosen")["a"][[0, 3, 7], [0, 4, 0]].tolist() == [255, 255, 0]


def test_broken_segmentation_masks_are_told(tmp_path: Path) -> None:
    root = write_masks(tmp_path / "set")
    write_pictures(tmp_path / "pictures", {"a.jpg": (20, 10)})
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match="ImageSets names 'b', and SegmentationClass has no mask of that name"):
        imported(root, tmp_path / "out", images=tmp_path / "pictures")
    (root / "SegmentationClass" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png"):
        imported(root, tmp_path / "out", images=tmp_path / "pictures")
