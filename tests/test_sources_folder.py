"""Your own pictures: layouts, names, splits and what is refused."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.errors import DataError, ImageError, LabelError
from data.labels import LabelMap
from data.sources.catalogue import SourceConfig, open_source
from data.sources.folder import FolderSource
from data.sources.layout import survey
from data.sources.splits import hold_out

MASK = np.asarray([[0, 1, 0, 1], [1, 1, 255, 0], [0, 0, 0, 1]], dtype=np.uint8)


def write_pair(root: Path, name: str, images: str = "images", masks: str = "masks", ending: str = ".png") -> None:
    image_path, mask_path = root / images / f"{name}{ending}", root / masks / f"{name}.png"
    for path in (image_path, mask_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), (9, 8, 7)).save(image_path)
    Image.fromarray(MASK).save(mask_path)


def write_set(root: Path, names: Sequence[str] = ("a", "b", "c", "d", "e"), labels: str = "ground\ncat\n") -> Path:
    for name in names:
        write_pair(root, name)
    (root / "labels.txt").write_text(labels)
    return root


def all_names(source: FolderSource) -> list[str]:
    return sorted(source.names("train") + source.names("val") + source.names("test"))


def test_pictures_are_paired_with_masks_of_the_same_name(tmp_path: Path) -> None:
    source = FolderSource(write_set(tmp_path))
    assert all_names(source) == ["a", "b", "c", "d", "e"]
    assert source.label_map == LabelMap.from_names(["ground", "cat"])
    sample = source.load("train", 0)
    assert sample.name == source.names("train")[0]
    assert sample.image.tolist() == [[[9, 8, 7]] * 4] * 3
    assert sample.label_map.tolist() == MASK.tolist()


def test_unicode_spaces_dots_endings_in_capitals_and_nested_folders_are_names_like_any(tmp_path: Path) -> None:
    names = ["été à la mer", "街/写真 1", "deep/er/x.y.z", "[a]*?", "plain"]
    write_set(tmp_path, names)
    for ending in (".JPG", ".Tif", ".BMP"):
        write_pair(tmp_path, f"capital{ending[1:]}", ending=ending)
    source = FolderSource(tmp_path)
    assert set(names) < set(all_names(source))
    assert len(all_names(source)) == 8
    for split in ("train", "val"):
        for index in range(len(source.names(split))):
            assert source.load(split, index).image.shape == (3, 4, 3)


def test_accents_composed_and_taken_apart_are_one_name(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_pair(tmp_path, unicodedata.normalize("NFD", "né"))
    image = tmp_path / "images" / unicodedata.normalize("NFD", "né.png")
    image.rename(tmp_path / "images" / unicodedata.normalize("NFC", "né.png"))
    (tmp_path / "train.txt").write_text(unicodedata.normalize("NFD", "né\na\n"), encoding="utf-8")
    (tmp_path / "val.txt").write_text("b\n")
    assert FolderSource(tmp_path).names("train") == ["né", "a"]


def test_a_mask_may_be_called_name_mask_or_name_label(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "a_mask.png")
    (tmp_path / "masks" / "b.png").rename(tmp_path / "masks" / "b_label.png")
    layout = FolderSource(tmp_path).layout
    assert layout.masks["a"].name == "a_mask.png"
    assert layout.masks["b"].name == "b_label.png"
    assert not layout.strays


def test_hidden_files_and_thumbnails_are_left_out(tmp_path: Path) -> None:
    write_set(tmp_path)
    for folder in ("images", "masks"):
        for name in (".DS_Store", "._a.png", "Thumbs.db", ".hidden.png"):
            (tmp_path / folder / name).write_bytes(b"x")
        (tmp_path / folder / ".cache").mkdir()
        (tmp_path / folder / ".cache" / "z.png").write_bytes(b"x")
    layout = FolderSource(tmp_path).layout
    assert sorted(layout.images) == ["a", "b", "c", "d", "e"]
    assert not layout.unread


def test_links_to_folders_are_followed_and_rings_of_links_end(tmp_path: Path) -> None:
    write_set(tmp_path / "elsewhere", ["far"])
    write_set(tmp_path / "set", ["near"])
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder / "linked").symlink_to(tmp_path / "elsewhere" / folder)
        (tmp_path / "set" / folder / "ring").symlink_to(tmp_path / "set" / folder)
    assert all_names(FolderSource(tmp_path / "set")) == ["linked/far", "near"]


def test_a_picture_without_a_mask_is_refused_by_name(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "masks" / "c.png").unlink()
    with pytest.raises(DataError, match=r"1 of 5 pictures have no mask, first .*images/c\.png: add c\.png"):
        FolderSource(tmp_path)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_pair(tmp_path, "a", ending=".jpg")
    with pytest.raises(DataError, match=r"a\.png has the name of another file with another ending"):
        FolderSource(tmp_path)


def test_a_mask_without_a_picture_and_files_of_other_kinds_do_not_stop_training(tmp_path: Path) -> None:
    write_set(tmp_path)
    Image.fromarray(MASK).save(tmp_path / "masks" / "zz.png")
    (tmp_path / "images" / "notes.md").write_text("x")
    layout = FolderSource(tmp_path).layout
    assert [path.name for path in layout.strays] == ["zz.png"]
    assert [path.name for path in layout.unread] == ["notes.md"]


def test_folders_of_another_layout_are_refused_with_what_they_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no images/ with masks/.*it holds nothing"):
        FolderSource(tmp_path)
    (tmp_path / "pics").mkdir()
    with pytest.raises(DataError, match=r"it holds pics/: put pictures into images/"):
        FolderSource(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        FolderSource(tmp_path)


@pytest.mark.parametrize(
    ("source", "folders"),
    [
        ("camvid", ["train", "trainannot"]),
        ("camvid", ["Scripts", "CamVid/train", "CamVid/trainannot"]),
        ("pets", ["images", "annotations/trimaps", "annotations/xmls"]),
        ("voc", ["VOCdevkit/VOC2012/JPEGImages"]),
        ("cityscapes", ["leftImg8bit/train", "gtFine/train"]),
    ],
)
def test_the_folder_of_a_public_data_set_is_recognised(tmp_path: Path, source: str, folders: list[str]) -> None:
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=rf"looks like .*--data\.name {source} .*--source {source}"):
        FolderSource(tmp_path)


def test_a_label_file_that_is_a_folder_counts_as_none(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "labels.txt").unlink()
    (tmp_path / "labels.txt").mkdir()
    with pytest.raises(LabelError, match=r"has no labels\.txt"):
        FolderSource(tmp_path)


@pytest.mark.parametrize("place", ["splits", "", "ImageSets/Segmentation"])
def test_split_files_are_found_in_each_of_their_places(tmp_path: Path, place: str) -> None:
    write_set(tmp_path)
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "train.txt").write_text("c\na\n")
    (tmp_path / place / "val.txt").write_text("b\n")
    (tmp_path / place / "test.txt").write_text("d\n")
    source = FolderSource(tmp_path)
    assert [source.names(split) for split in ("train", "val", "test")] == [["c", "a"], ["b"], ["d"]]


@pytest.mark.parametrize(
    "line",
    ["deep/a 1", "deep/a 1.jpg", "images/deep/a 1.png", "./deep/a 1", "deep\\a 1.PNG", "DEEP/A 1", " deep/a 1  "],
)
def test_lines_of_split_files_may_have_endings_folders_and_backslashes(tmp_path: Path, line: str) -> None:
    write_set(tmp_path, ["deep/a 1", "b"])
    (tmp_path / "train.txt").write_text(f"\ufeff{line}\r\n\r\n", encoding="utf-8")
    (tmp_path / "val.txt").write_text("images/b.png masks/b.png\n")
    source = FolderSource(tmp_path)
    assert source.names("train") == ["deep/a 1"]
    assert source.names("val") == ["b"]


def test_a_split_line_that_names_no_picture_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "train.txt").write_text("a\nnobody.png\n")
    with pytest.raises(DataError, match=r"train\.txt names 'nobody\.png', which is no picture of this set \(1 such"):
        FolderSource(tmp_path)


def test_a_picture_in_two_splits_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "train.txt").write_text("a\nb\nb\n")
    (tmp_path / "val.txt").write_text("b\nc\n")
    with pytest.raises(DataError, match="1 pictures are in more than one split, first 'b'"):
        FolderSource(tmp_path)


def test_a_missing_split_file_is_made_up_for(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "val.txt").write_text("b\n")
    assert FolderSource(tmp_path).names("train") == ["a", "c", "d", "e"]
    (tmp_path / "val.txt").unlink()
    (tmp_path / "train.txt").write_text("a\nb\nc\n")
    source = FolderSource(tmp_path)
    assert sorted(source.names("train") + source.names("val")) == ["a", "b", "c"]
    assert source.names("val")


def test_folders_named_as_splits_are_the_splits(tmp_path: Path) -> None:
    write_set(tmp_path, ["train/a", "train/b", "valid/a", "test/z"])
    source = FolderSource(tmp_path)
    assert [source.names(split) for split in ("train", "val", "test")] == [
        ["train/a", "train/b"],
        ["valid/a"],
        ["test/z"],
    ]


def test_split_folders_may_hold_images_and_masks(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pair(tmp_path / "train", name)
    write_pair(tmp_path / "val", "a")
    (tmp_path / "labels.txt").write_text("ground\ncat\n")
    source = FolderSource(tmp_path)
    assert source.names("train") == ["train/a", "train/b"]
    assert source.names("val") == ["val/a"]
    assert source.load("val", 0).label_map.tolist() == MASK.tolist()


@pytest.mark.parametrize(("images", "masks"), [("Images", "Masks"), ("image", "annotations"), ("img", "labels")])
def test_the_two_folders_may_have_other_usual_names(tmp_path: Path, images: str, masks: str) -> None:
    for split, name in (("training", "a"), ("validation", "b")):
        write_pair(tmp_path, f"{split}/{name}", images, masks)
    (tmp_path / "classes.txt").write_text("ground\ncat\n")
    source = FolderSource(tmp_path)
    assert (source.names("train"), source.names("val")) == (["training/a"], ["validation/b"])
    (tmp_path / "train.txt").write_text(f"{images}/training/a.png\n")
    (tmp_path / "val.txt").write_text("validation/b\n")
    assert FolderSource(tmp_path).names("train") == ["training/a"]


def test_masks_comes_before_other_names_of_the_mask_folder(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "labels").mkdir()
    assert FolderSource(tmp_path).layout.masks["a"].parent.name == "masks"


def test_an_export_of_cvat_is_read_by_its_colours(tmp_path: Path) -> None:
    labels = LabelMap(("background", "cat"), ((0, 0, 0), (51, 221, 255)), explicit_colours=True)
    for name in ("one", "two", "three"):
        write_pair(tmp_path, name, "JPEGImages", "SegmentationClass", ".jpg")
        colours = labels.colourise(np.where(MASK == 255, 0, MASK))
        Image.fromarray(colours).save(tmp_path / "SegmentationClass" / f"{name}.png")
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:51,221,255::\n")
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "default.txt").write_text("one\ntwo\n")
    source = FolderSource(tmp_path)
    assert all_names(source) == ["one", "two"]
    assert source.load("train", 0).label_map.tolist() == np.where(MASK == 255, 0, MASK).tolist()


def test_pascal_voc_may_leave_pictures_without_masks_outside_its_splits(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_pair(tmp_path, name, "JPEGImages", "SegmentationClass", ".jpg")
    Image.new("RGB", (4, 3)).save(tmp_path / "JPEGImages" / "detection only.jpg")
    (tmp_path / "labels.txt").write_text("background\ncat\n")
    folder = tmp_path / "ImageSets" / "Segmentation"
    folder.mkdir(parents=True)
    for name, text in (("train", "one\n"), ("val", "two\n"), ("trainval", "one\ntwo\n")):
        (folder / f"{name}.txt").write_text(text)
    source = FolderSource(tmp_path)
    assert (source.names("train"), source.names("val")) == (["one"], ["two"])
    (folder / "train.txt").unlink()
    assert FolderSource(tmp_path).names("train") == ["one"]


def test_a_missing_label_file_is_refused_with_the_number_of_lines_to_write(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "labels.txt").unlink()
    Image.fromarray(np.full((3, 4), 6, dtype=np.uint8)).save(tmp_path / "masks" / "e.png")
    with pytest.raises(LabelError, match=r"has no labels\.txt: write one class name a line into it, 7 lines .* 0\.\.6"):
        FolderSource(tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.bool_])
def test_masks_of_any_depth_without_a_label_file_are_counted(tmp_path: Path, dtype: type) -> None:
    write_pair(tmp_path, "a")
    (tmp_path / "masks" / "a.png").unlink()
    Image.fromarray(np.eye(4, dtype=dtype)[:3]).save(tmp_path / "masks" / "a.tif")
    write_pair(tmp_path, "b")
    (tmp_path / "masks" / "b.png").write_text("damaged")
    with pytest.raises(LabelError, match=r"2 lines for the labels 0\.\.1"):
        FolderSource(tmp_path)
    (tmp_path / "masks" / "a.tif").write_text("damaged")
    with pytest.raises(LabelError, match="one class name a line into it, in the order of the labels"):
        FolderSource(tmp_path)


def test_black_and_white_masks_without_a_label_file_are_told_what_to_write(tmp_path: Path) -> None:
    write_set(tmp_path, ["a", "b"])
    (tmp_path / "labels.txt").unlink()
    for name in "ab":
        Image.fromarray(np.asarray([[0, 255, 0, 0]] * 3, dtype=np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(LabelError, match=r"only 0 and 255.*'object:255,255,255::'"):
        FolderSource(tmp_path)
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nobject:255,255,255::\n")
    assert FolderSource(tmp_path).load("train", 0).label_map.tolist() == [[0, 1, 0, 0]] * 3


def test_coloured_masks_without_labelmap_txt_are_told_to_write_it(tmp_path: Path) -> None:
    write_set(tmp_path, ["a", "b"])
    (tmp_path / "labels.txt").unlink()
    Image.new("RGB", (4, 3), (1, 2, 3)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(LabelError, match=r"a\.png is a coloured mask \(mode RGB\): write one line"):
        FolderSource(tmp_path)


def test_two_label_files_that_disagree_are_refused(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "labelmap.txt").write_text("ground:0,0,0::\ncat:9,9,9::\n")
    assert FolderSource(tmp_path).label_map.explicit_colours
    (tmp_path / "labels.txt").write_text("ground\ndog\n")
    with pytest.raises(LabelError, match=r"labelmap\.txt and labels\.txt in .* list different classes"):
        FolderSource(tmp_path)


def test_labels_are_changed_before_they_are_checked(tmp_path: Path) -> None:
    write_set(tmp_path)
    for name in "abcde":
        Image.fromarray(np.where(MASK == 0, 42, MASK)).save(tmp_path / "masks" / f"{name}.png")
    with pytest.raises(LabelError, match=r"holds label 42 .*--data\.remap\.42 255"):
        FolderSource(tmp_path).load("train", 0)
    source = open_source(SourceConfig(root=tmp_path, remap={42: 255, 255: 0}))
    assert (
        source.load("train", 0).label_map.tolist() == np.where(MASK == 0, 255, np.where(MASK == 255, 0, MASK)).tolist()
    )


def test_a_mask_drawn_over_the_upright_picture_fits_a_turned_photograph(tmp_path: Path) -> None:
    write_set(tmp_path, ["a", "b"])
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in "ab":
        (tmp_path / "images" / f"{name}.png").unlink()
        Image.new("RGB", (3, 4)).save(tmp_path / "images" / f"{name}.jpg", exif=exif)
    assert FolderSource(tmp_path).load("train", 0).image.shape == (3, 4, 3)
    for name in "ab":
        Image.new("RGB", (3, 4)).save(tmp_path / "images" / f"{name}.jpg")
    with pytest.raises(DataError, match=r"is 3x4 but its mask .* is 4x3"):
        FolderSource(tmp_path).load("train", 0)


def test_a_damaged_picture_is_refused_by_name(tmp_path: Path) -> None:
    write_set(tmp_path)
    source = FolderSource(tmp_path)
    name = source.names("train")[0]
    path = tmp_path / "images" / f"{name}.png"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ImageError, match=rf"images/{name}\.png: "):
        source.load("train", 0)


NAMES = st.lists(st.text(max_size=6), min_size=2, max_size=40, unique=True)


@settings(deadline=None)
@given(NAMES, st.floats(0.01, 0.99), st.integers(0, 9))
def test_holding_out_leaves_neither_side_empty_and_loses_nothing(names: list[str], fraction: float, seed: int) -> None:
    kept, held = hold_out(names, fraction, seed)
    assert kept
    assert held
    assert sorted(kept + held) == sorted(names)
    assert 0.75 * fraction * len(names) - 1 <= len(held) <= 1.25 * fraction * len(names) + 1
    assert hold_out(names, fraction, seed) == (kept, held)


def test_pictures_added_later_move_none_of_the_earlier_ones() -> None:
    names = [f"picture {index}" for index in range(300)]
    _, early = hold_out(names[:200], 0.2, 0)
    _, late = hold_out(names, 0.2, 0)
    assert set(early) == set(late) & set(names[:200])
    assert 40 <= len(late) <= 80
    assert hold_out(names, 0.2, 1)[1] != late


def test_one_picture_alone_is_for_training() -> None:
    assert hold_out(["only"], 0.9, 0) == (["only"], [])
    assert hold_out([], 0.9, 0) == ([], [])


def test_where_the_splits_come_from_is_told_in_words(tmp_path: Path) -> None:
    write_set(tmp_path)
    assert survey(tmp_path, 0.2, 3).division.origin == "the names; 20% held out as val by seed 3"
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "val.txt").write_text("b\n")
    assert survey(tmp_path, 0.2, 3).division.origin == "train.txt, val.txt"
