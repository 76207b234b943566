"""Zip files of exports: unpacked within their folder and within bounds, or refused."""

from __future__ import annotations

import json
import stat
import zipfile
from typing import TYPE_CHECKING

import pytest

from data.errors import ConfigError, DataError
from data.imports import archive
from tests.exports import coco, imported, masks, square, write_json, write_pictures, zipped

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = coco(
    [{"id": 1, "file_name": "a.png", "width": 20, "height": 10}],
    [{"image_id": 1, "category_id": 1, "segmentation": [square(0, 0, 5, 5)]}],
    {1: "car"},
)


def sound(tmp_path: Path) -> Path:
    write_pictures(tmp_path / "set" / "images", {"a.png": (20, 10)})
    write_json(tmp_path / "set" / "annotations" / "instances_default.json", DOCUMENT)
    return zipped(tmp_path / "set", tmp_path / "export.zip")


def test_a_zip_file_is_imported_and_nothing_unpacked_is_left(tmp_path: Path) -> None:
    export = sound(tmp_path)
    with zipfile.ZipFile(export, "a") as file:
        file.writestr("README.md", "left where it is")
        file.writestr("__MACOSX/._a.png", "no picture")
    imported(export, tmp_path / "deep" / "er" / "out")
    assert sorted(masks(tmp_path / "deep" / "er" / "out")) == ["a"]
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["out"]
    with pytest.raises(ConfigError, match="zip file"):
        imported(export, tmp_path / "linked", link=True)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png", "..\\a.png", "C:/a.png"])
def test_members_that_lead_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    export = sound(tmp_path)
    with zipfile.ZipFile(export, "a") as file:
        file.writestr(zipfile.ZipInfo(name), "x")
    with pytest.raises(DataError, match="which leads out of it: it is not unpacked; export it again"):
        imported(export, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"set", "export.zip"}


def test_links_doubles_and_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = sound(tmp_path)
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(export, "a") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match="which is a link or device and no file"):
        imported(export, tmp_path / "out")
    export = sound(tmp_path)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(export, "a") as file:
        file.writestr("images/a.png", "x")
    with pytest.raises(DataError, match=r"holds images/a\.png twice"):
        imported(export, tmp_path / "out")
    export = sound(tmp_path)
    with zipfile.ZipFile(export, "a") as file:
        file.writestr("images/a.png/b.png", "x")
    with pytest.raises(DataError, match=r"holds images/a\.png/b\.png twice"):
        imported(export, tmp_path / "out")
    monkeypatch.setattr(archive, "_LEAST_LIMIT", 1 << 20)  # a bomb of a gigabyte would take long to make
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("annotations.json", b" " * (8 << 20))
    with pytest.raises(DataError, match=r"holds more than \d+ bytes: it is not unpacked; .* give the folder"):
        imported(tmp_path / "bomb.zip", tmp_path / "out")
    assert not list(tmp_path.glob(".*"))


def test_damaged_and_protected_files_are_told(tmp_path: Path) -> None:
    whole = sound(tmp_path).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is no zip file, or is cut off"):
        imported(tmp_path / "cut.zip", tmp_path / "out")
    place = whole.index(b"images/a.png") + len("images/a.png") + 9
    (tmp_path / "bent.zip").write_bytes(whole[:place] + b"\xff\xff\xff" + whole[place + 3 :])
    with pytest.raises(DataError, match=r"bent\.zip (is damaged|cannot be unpacked)"):
        imported(tmp_path / "bent.zip", tmp_path / "out")
    protected = bytearray(whole)
    at = 0
    while (at := protected.find(b"PK\x01\x02", at)) >= 0:
        protected[at + 8] |= 1
        at += 4
    (tmp_path / "locked.zip").write_bytes(protected)
    with pytest.raises(DataError, match="password"):
        imported(tmp_path / "locked.zip", tmp_path / "out")
    with pytest.raises(DataError, match="does not exist"):
        imported(tmp_path / "gone.zip", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.json or \.xml file"):
        imported(tmp_path / "empty", tmp_path / "out")


def test_an_export_that_is_broken_off_while_it_is_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = sound(tmp_path)
    (tmp_path / "set" / "images" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"a\.png"):
        imported(tmp_path / "set", tmp_path / "out")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("data.imports.folder.encode_label_png", interrupted)
    with pytest.raises(KeyboardInterrupt):
        imported(export, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"set", "export.zip"}


def test_the_kind_is_recognised_and_another_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    export = write_json(tmp_path / "x.json", DOCUMENT)
    for kind in ("cvat", "label-studio"):
        with pytest.raises(DataError, match=r"CVAT|is not an export of label-studio: it holds annotations, categories"):
            imported(export, tmp_path / "out", kind=kind)
    assert json.loads(export.read_text())["categories"][0]["name"] == "car"
