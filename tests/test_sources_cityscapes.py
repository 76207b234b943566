"""Cityscapes on a few pixels in its own layout, beside torchvision's table and reader."""

from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import Cityscapes

from data.errors import ConfigError, DataError, LabelError
from data.sources.catalogue import SourceConfig, open_source
from data.sources.cityscapes import LABEL_IDS, LABELS, CityscapesSource
from tests.public_sets import cityscapes, label_ids, mask_file, photograph


@pytest.fixture
def root(tmp_path: Path) -> Path:
    cityscapes(tmp_path)
    return tmp_path


def test_the_19_classes_their_ids_and_colours_are_those_of_the_authors_table() -> None:
    theirs = {entry.train_id: entry for entry in Cityscapes.classes if 0 <= entry.train_id < 255}
    assert LABELS.names == tuple(theirs[label].name for label in range(19))
    assert LABELS.palette == tuple(theirs[label].color for label in range(19))
    assert tuple(theirs[label].id for label in range(19)) == LABEL_IDS


def test_pictures_are_found_in_the_folders_of_their_cities(root: Path) -> None:
    source = CityscapesSource(root)
    assert source.names("train") == ["aachen_000000_000019", "zurich_000000_000019"]
    assert source.names("val") == ["lindau_000000_000019"]
    assert source.names("test") == [], "the test labels that are given out are dummies"


def test_ids_become_train_ids_and_all_others_are_ignored(root: Path) -> None:
    expected = {entry.id: entry.train_id for entry in Cityscapes.classes}
    found = CityscapesSource(root).load("train", 1).label_map
    assert found.tolist() == [[expected.get(value, 255) for value in row] for row in label_ids().tolist()]


def test_torchvision_reads_the_same_pictures_and_ids(root: Path) -> None:
    theirs = Cityscapes(root, split="val", target_type="semantic")
    image, mask = theirs[0]
    sample = CityscapesSource(root).load("val", 0)
    table = np.full(256, 255)
    table[list(LABEL_IDS)] = np.arange(19)
    assert np.array_equal(np.asarray(image), sample.image)
    assert np.array_equal(table[np.asarray(mask)], sample.label_map)


def test_masks_that_hold_train_ids_already_are_taken_as_they_are(root: Path) -> None:
    masks = root / "gtFine" / "val" / "lindau"
    ready = np.resize([*range(19), 255], (6, 8))
    mask_file(masks / "lindau_000000_000019_gtFine_labelTrainIds.png", ready)
    assert np.array_equal(CityscapesSource(root).load("val", 0).label_map, ready)
    mask_file(masks / "lindau_000000_000019_gtFine_labelTrainIds.png", label_ids())
    with pytest.raises(LabelError, match=r"labelTrainIds\.png holds label 19, 20.*train ids are 0\.\.18"):
        CityscapesSource(root).load("val", 0)


def test_coarse_masks_train_and_fine_ones_still_validate(root: Path) -> None:
    with pytest.raises(DataError, match=r"has no gtCoarse/train/: unpack .* gtCoarse\.zip"):
        CityscapesSource(root, coarse=True)
    for part, city in (("train", "aachen"), ("train", "zurich"), ("train_extra", "bayreuth"), ("val", "lindau")):
        stem = f"{city}_000000_000019"
        mask_file(root / "gtCoarse" / part / city / f"{stem}_gtCoarse_labelIds.png", np.full((6, 8), 26))
        photograph(root / "leftImg8bit" / part / city / f"{stem}_leftImg8bit.png")
    source = open_source(SourceConfig(name="cityscapes", root=root, coarse=True))
    assert [name.partition("_")[0] for name in source.names("train")] == ["aachen", "zurich", "bayreuth"]
    assert set(source.load("train", 1).label_map.ravel().tolist()) == {LABELS.names.index("car")}
    assert len(set(source.load("val", 0).label_map.ravel().tolist())) == 20
    with pytest.raises(ConfigError, match="coarse is for the source cityscapes"):
        SourceConfig(name="camvid", coarse=True)


def test_every_fault_says_what_is_missing_or_broken(root: Path, tmp_path: Path) -> None:
    mask = root / "gtFine" / "val" / "lindau" / "lindau_000000_000019_gtFine_labelIds.png"
    mask_file(mask, np.full((6, 8), 34))
    with pytest.raises(LabelError, match=r"labelIds\.png holds label 34 .*0\.\.33"):
        CityscapesSource(root).load("val", 0)
    mask_file(mask, np.zeros((3, 8)))
    with pytest.raises(DataError, match="is 8x6 but its mask"):
        CityscapesSource(root).load("val", 0)
    mask.unlink()
    with pytest.raises(DataError, match=r"labelIds\.png cannot be read"):
        CityscapesSource(root).load("val", 0)
    with pytest.raises(DataError, match=r"no leftImg8bit/train/: unpack leftImg8bit_trainvaltest\.zip and gtFine"):
        CityscapesSource(root / "gtFine")


def test_without_a_folder_it_says_that_it_needs_a_login_and_where_to_put_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("FCN_DATA", str(tmp_path / "sets"))
    with pytest.raises(DataError, match=r"account at https://www\.cityscapes-dataset\.com") as told:
        open_source(SourceConfig(name="cityscapes"))
    assert str(tmp_path / "sets" / "cityscapes") in str(told.value)
    cityscapes(tmp_path / "sets" / "cityscapes")
    assert open_source(SourceConfig(name="cityscapes")).names("val") == ["lindau_000000_000019"]
