"""The pets, on a few pixels in the layout of the two archives; torchvision's reader sees the same files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import OxfordIIITPet

from data.check import check_source
from data.errors import ConfigError, DataError, ImageError, LabelError
from data.sources.catalogue import SourceConfig, open_source
from data.sources.pets import BREEDS, PetsSource
from tests.public_sets import HEIGHT, TEST, TRAINVAL, mask_file, pets, trimap


@pytest.fixture
def root(tmp_path: Path) -> Path:
    pets(tmp_path / "oxford-iiit-pet")
    return tmp_path / "oxford-iiit-pet"


def test_val_is_held_out_of_trainval_and_test_is_the_official_one(root: Path) -> None:
    source = PetsSource(root, val_fraction=0.25, seed=3)
    train, val = source.names("train"), source.names("val")
    assert sorted(train + val) == sorted(TRAINVAL)
    assert 1 <= len(val) <= 2
    assert source.names("test") == list(TEST)
    assert PetsSource(root, val_fraction=0.25, seed=3).names("val") == val


def test_a_trimap_is_background_and_pet_and_its_border_is_ignored(root: Path) -> None:
    source = PetsSource(root)
    assert source.label_map.names == ("background", "pet")
    sample = source.load("test", 0)
    assert sample.name == "Bengal_7"
    assert sample.label_map.tolist() == [[0, 0, 0, 255, 255, 1, 1, 1]] * HEIGHT


def test_the_border_can_be_a_class_of_its_own(root: Path) -> None:
    source = PetsSource(root, border="class")
    assert source.label_map.names == ("background", "pet", "border")
    assert source.load("test", 0).label_map.tolist() == [[0, 0, 0, 2, 2, 1, 1, 1]] * HEIGHT


@pytest.mark.parametrize("border", ["ignore", "class"])
def test_a_breed_is_the_class_of_its_pixels(root: Path, border: str) -> None:
    source = open_source(SourceConfig(name="pets", root=root, target="breed", border=border))  # type: ignore[arg-type]
    assert source.label_map.names[:38] == ("background", *BREEDS)
    assert len(BREEDS) == 37
    edge = 38 if border == "class" else 255
    for index, breed in enumerate(("Bengal", "Yorkshire Terrier")):
        label = source.label_map.names.index(breed)
        assert source.load("test", index).label_map.tolist() == [[0, 0, 0, edge, edge, label, label, label]] * HEIGHT


def test_torchvision_reads_the_same_pictures_trimaps_and_breeds(root: Path) -> None:
    theirs = OxfordIIITPet(root.parent, split="test", target_types=["category", "segmentation"])
    ours = PetsSource(root, border="class")
    assert len(theirs) == len(ours.names("test"))
    for index in range(len(theirs)):
        image, (category, mask) = theirs[index]
        sample = ours.load("test", index)
        assert np.array_equal(np.asarray(image), sample.image)
        assert np.array_equal(np.asarray([255, 1, 0, 2])[np.asarray(mask)], sample.label_map)
        assert sample.name.rpartition("_")[0].replace("_", " ").title() == BREEDS[category]


def test_torchvisions_folder_around_the_two_is_taken_too(root: Path) -> None:
    assert PetsSource(root.parent).names("test") == list(TEST)


def test_breeds_numbered_in_another_way_get_their_own_names(root: Path) -> None:
    lists = root / "annotations"
    (lists / "trainval.txt").write_text("tabby_1 1 1 1\ntabby_2 1 1 1\n")
    (lists / "test.txt").write_text("husky_1 2 2 1\n")
    assert PetsSource(root, target="breed").label_map.names == ("background", "Tabby", "Husky")
    (lists / "test.txt").write_text("husky_1 3 2 1\n")
    with pytest.raises(DataError, match="neither the 37 breeds of the data set nor classes counted from 1"):
        PetsSource(root, target="breed")
    (lists / "test.txt").write_text("husky_1 1 2 1\n")
    with pytest.raises(DataError, match=r"class 1 to 'Tabby' and, at picture husky_1, to 'Husky'"):
        PetsSource(root, target="breed")


def test_every_fault_of_the_folder_says_what_is_missing(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither images/ nor annotations/.*fcn data download pets"):
        PetsSource(root / "images")
    lists = root / "annotations"
    (lists / "test.txt").write_text("Bengal_7 6 1 2\nAbyssinian_1 1 1 1\n")
    with pytest.raises(DataError, match=r"1 pictures are in trainval\.txt and in test\.txt .*'Abyssinian_1'"):
        PetsSource(root)
    for line in ("Bengal_7", "Bengal_7 six 1 2", "Bengal_7 38 1 2"):
        (lists / "test.txt").write_text(f"# a comment\n{line}\n")
        with pytest.raises(DataError, match=r"test\.txt, line 2: .*NAME CLASS SPECIES BREED"):
            PetsSource(root)
    (lists / "test.txt").write_text("")
    with pytest.raises(DataError, match="lists no picture"):
        PetsSource(root)
    (lists / "test.txt").unlink()
    with pytest.raises(DataError, match=r"test\.txt cannot be read"):
        PetsSource(root)
    (root / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="holds annotations/ alone"):
        PetsSource(root)


def test_every_fault_of_a_sample_names_its_file(root: Path) -> None:
    source = PetsSource(root)
    mask_path = root / "annotations" / "trimaps" / "Bengal_7.png"
    mask_file(mask_path, trimap() + 1)
    with pytest.raises(LabelError, match=r"Bengal_7\.png holds label 4 .*1 pet, 2 background, 3 border"):
        source.load("test", 0)
    mask_file(mask_path, trimap()[:, 1:])
    with pytest.raises(DataError, match="is 8x6 but its mask"):
        source.load("test", 0)
    mask_path.write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(DataError, match=r"mask .*Bengal_7\.png"):
        source.load("test", 0)
    (root / "images" / "Bengal_7.jpg").unlink()
    with pytest.raises(ImageError, match=r"Bengal_7\.jpg cannot be read"):
        source.load("test", 0)


def test_the_check_tells_the_broken_picture_and_the_shares_of_the_others(root: Path) -> None:
    (root / "images" / "beagle_3.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    report = check_source(SourceConfig(name="pets", root=root))
    assert [finding for finding in report.faults if "beagle_3.jpg" in finding.message]
    assert report.splits["test"].class_pixels == (2 * 3 * HEIGHT, 2 * 3 * HEIGHT)
    assert report.splits["test"].ignored_pixels == 2 * 2 * HEIGHT


def test_its_settings_are_refused_beside_another_source() -> None:
    with pytest.raises(ConfigError, match="target is for the source pets; the source is folder"):
        SourceConfig(target="breed")
    with pytest.raises(ConfigError, match="border is for the source pets; the source is voc"):
        SourceConfig(name="voc", border="class")


def test_pictures_of_another_format_under_a_jpg_name_are_read(root: Path) -> None:
    """Some of the authors' files are GIFs or PNGs."""
    Image.new("P", (8, 6), 3).save(root / "images" / "Bengal_7.gif")
    (root / "images" / "Bengal_7.gif").rename(root / "images" / "Bengal_7.jpg")
    assert PetsSource(root).load("test", 0).image.shape == (6, 8, 3)
