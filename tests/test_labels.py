"""Label maps: colours to classes and back, and the files that hold them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import LabelError
from data.labels import IGNORE_INDEX, LabelMap, voc_palette

TRAFFIC = LabelMap(("road", "car", "sky"), ((128, 64, 128), (0, 0, 142), (70, 130, 180)), ignore_colour=(0, 0, 0))

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: (
        name.strip() == name
        and name.splitlines() == [name]
        and ":" not in name
        and not name.startswith("#")
        and name.lower() not in {"ignore", "ignored", "void", "unlabelled", "unlabeled"}
        and name != "\ufeff"
    )
)
COLOURS = st.tuples(*[st.integers(0, 255)] * 3)


@st.composite
def label_maps(draw: st.DrawFn) -> LabelMap:
    names = draw(st.lists(NAMES, min_size=1, max_size=20, unique=True))
    colours = draw(st.lists(COLOURS, min_size=len(names) + 1, max_size=len(names) + 1, unique=True))
    return LabelMap(tuple(names), tuple(colours[:-1]), colours[-1], explicit_colours=True)


@settings(deadline=None, max_examples=40)
@given(label_maps(), st.data())
def test_colours_of_a_label_map_read_back_as_its_labels(labels: LabelMap, data: st.DataObject) -> None:
    known = st.sampled_from([*range(labels.num_classes), IGNORE_INDEX])
    rows = data.draw(st.lists(st.lists(known, min_size=3, max_size=3), min_size=1, max_size=4))
    label_map = np.asarray(rows, dtype=np.uint8)
    np.testing.assert_array_equal(labels.from_colours(labels.colourise(label_map)), label_map)


@settings(deadline=None, max_examples=40)
@given(label_maps())
def test_labelmap_txt_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, labels: LabelMap) -> None:
    path = tmp_path_factory.mktemp("labels") / "labelmap.txt"
    labels.write_cvat(path)
    assert LabelMap.read(path) == labels


@settings(deadline=None, max_examples=40)
@given(st.lists(NAMES, min_size=1, max_size=20, unique=True))
def test_labels_txt_gives_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.txt"
    labels = LabelMap.from_names(names)
    labels.write_labels(path)
    assert LabelMap.read(path) == labels


def test_voc_palette_has_the_published_colours() -> None:
    palette = voc_palette()
    assert palette[0] == (0, 0, 0)
    assert palette[1] == (128, 0, 0)
    assert palette[15] == (192, 128, 128)
    assert palette[20] == (0, 64, 128)
    assert palette[255] == (224, 224, 192)
    assert len(set(palette)) == 256


def test_a_coloured_mask_becomes_class_indices() -> None:
    mask = np.asarray([[(128, 64, 128), (0, 0, 142)], [(70, 130, 180), (0, 0, 0)]], dtype=np.uint8)
    assert TRAFFIC.from_colours(mask).tolist() == [[0, 1], [2, 255]]


def test_a_colour_of_no_class_is_refused_with_its_count_and_the_line_to_add() -> None:
    mask = np.full((4, 5, 3), (0, 0, 142), dtype=np.uint8)
    mask[0, :3] = (1, 2, 3)
    mask[1, 0] = (9, 9, 9)
    with pytest.raises(LabelError, match=r"3 pixels have colour \(1, 2, 3\).*2 such colours.*name:1,2,3::"):
        TRAFFIC.from_colours(mask)


def test_a_colour_just_beside_a_known_one_is_not_taken_for_it() -> None:
    with pytest.raises(LabelError, match=r"\(128, 64, 129\)"):
        TRAFFIC.from_colours(np.asarray([[(128, 64, 129)]], dtype=np.uint8))


def test_ignored_pixels_have_the_ignored_colour() -> None:
    assert TRAFFIC.colourise(np.asarray([[IGNORE_INDEX]], dtype=np.uint8)).tolist() == [[[0, 0, 0]]]


@pytest.mark.parametrize("text", ["road\ncar\n", "\ufeffroad\r\ncar\r\n", "# classes\n\n  road  \ncar"])
def test_labels_txt_is_read_whatever_editor_wrote_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(text.encode())
    labels = LabelMap.read(path)
    assert labels.names == ("road", "car")
    assert not labels.explicit_colours


def test_labelmap_txt_of_cvat_is_read_with_void_as_the_ignored_colour(tmp_path: Path) -> None:
    path = tmp_path / "labelmap.txt"
    path.write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\nvoid:1,1,1::\ncar:255, 0, 4:wheel,door:drive\n"
    )
    labels = LabelMap.read(path)
    assert labels == LabelMap(("background", "car"), ((0, 0, 0), (255, 0, 4)), (1, 1, 1), explicit_colours=True)


def test_classes_without_a_colour_take_one_that_no_other_class_has(tmp_path: Path) -> None:
    path = tmp_path / "labelmap.txt"
    path.write_text("first:::\nsecond:0,0,0::\nthird:::\n")
    palette = LabelMap.read(path).palette
    assert palette[1] == (0, 0, 0)
    assert len(set(palette)) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no class"),
        ("\n# nothing\n", "names no class"),
        ("road\nroad\n", "'road' stands twice"),
        ("road:1,2::\n", "line 1.*expected 'name:red,green,blue::'"),
        ("0: road\n1: car\n", "line 1.*expected 'name:red,green,blue::'"),
        ("road:1,2,300::\n", r"'road' has colour \(1, 2, 300\).*0 to 255"),
        ("road:1,2,3::\ncar:1,2,3::\n", "line 2: 'car' has the colour of 'road'"),
        ("void:1,2,3::\n", "0 classes"),
        ("\n".join(f"c{i}" for i in range(256)), "256 classes; 1 to 255"),
        ("\n".join(f"c{i}:::" for i in range(300)), "300 classes; 1 to 255"),
    ],
)
def test_a_malformed_label_file_is_refused_with_its_name_and_the_reason(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(LabelError, match=rf"labels\.txt.*{message}"):
        LabelMap.read(path)


def test_a_missing_or_binary_label_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="does not exist: write one class name a line"):
        LabelMap.read(tmp_path / "labels.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00r")
    with pytest.raises(LabelError, match="cannot be read as UTF-8"):
        LabelMap.read(tmp_path / "binary.txt")
    with pytest.raises(LabelError, match="cannot be read"):
        LabelMap.read(tmp_path)


@pytest.mark.parametrize("name", ["", " ", "a:b", "a\nb", "a\u2028b", " a", "#a"])
def test_names_that_a_label_file_could_not_give_back_are_refused(name: str) -> None:
    with pytest.raises(LabelError, match="class name"):
        LabelMap.from_names([name])


def test_a_class_called_void_is_not_written_where_it_would_be_read_as_ignored(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="'Void' would be read back as the ignored colour"):
        LabelMap.from_names(["road", "Void"]).write_cvat(tmp_path / "labelmap.txt")


def test_as_many_colours_as_names_are_needed() -> None:
    with pytest.raises(LabelError, match="2 class names but 1 colours"):
        LabelMap(("a", "b"), ((0, 0, 0),))
