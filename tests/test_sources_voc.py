"""Pascal VOC with and without SBD, on a few pixels in the layout of their archives, beside torchvision's readers."""

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from torchvision.datasets import SBDataset, VOCSegmentation

from data.errors import ConfigError, DataError, LabelError
from data.labels import voc_palette
from data.sources.catalogue import SourceConfig, open_source
from data.sources.voc import LABELS, VocSource
from tests.public_sets import OWN, VAL, mask_file, sbd, sbd_mask, voc


@pytest.fixture
def root(tmp_path: Path) -> Path:
    voc(tmp_path / "VOCdevkit")
    return tmp_path


@pytest.fixture
def both(root: Path) -> Path:
    sbd(root / "benchmark_RELEASE" / "dataset")
    return root


def test_splits_are_the_official_lists_and_classes_those_of_the_devkit(root: Path) -> None:
    source = VocSource(root)
    assert source.names("train") == OWN
    assert source.names("val") == VAL
    assert source.names("test") == []
    assert source.label_map.num_classes == 21
    assert source.label_map.palette == tuple(voc_palette(21))
    assert [source.label_map.names[label] for label in (0, 1, 11, 15, 20)] == [
        *("background", "aeroplane", "diningtable", "person", "tvmonitor")
    ]


def test_the_border_between_things_is_ignored(root: Path) -> None:
    sample = VocSource(root).load("train", 1)
    assert sample.name == OWN[1]
    assert sample.label_map[2].tolist() == [255] * 8
    assert sample.label_map[3].tolist() == [0, 0, *[19] * 6]


@pytest.mark.parametrize("inner", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_the_root_may_be_any_of_three_folders_and_sbd_is_found_from_each(both: Path, inner: str) -> None:
    source = VocSource(both / inner)
    assert source.names("train") == ["2007_000032", "2007_000039", "2008_000002", "2008_000003"]


def test_sbd_adds_what_it_labels_and_val_does_not_hold(both: Path) -> None:
    source = VocSource(both)
    assert set(source.names("train")) & set(source.names("val")) == set()
    index = source.names("train").index("2008_000003")
    assert np.array_equal(source.load("train", index).label_map, sbd_mask())
    own = source.load("train", source.names("train").index("2007_000032")).label_map
    assert own[2].tolist() == [255] * 8, "VOC's own mask is kept where there is one"
    assert VocSource(both, augmented=False).names("train") == OWN


def test_sbd_can_be_demanded(root: Path) -> None:
    with pytest.raises(DataError, match=r"holds no SBD .*`fcn data download voc`.*leave --data\.augmented out"):
        open_source(SourceConfig(name="voc", root=root, augmented=True))
    with pytest.raises(ConfigError, match="augmented is for the source voc"):
        SourceConfig(name="pets", augmented=False)


def test_torchvision_reads_the_same_pictures_and_masks(both: Path) -> None:
    ours = VocSource(both)
    for split in ("train", "val"):
        theirs = VOCSegmentation(both, image_set=split)
        for index, path in enumerate(theirs.images):
            image, mask = theirs[index]
            sample = ours.load(split, ours.names(split).index(Path(path).stem))  # type: ignore[arg-type]
            assert np.array_equal(np.asarray(image), sample.image)
            assert np.array_equal(np.asarray(mask), sample.label_map)
    added = SBDataset(both / "benchmark_RELEASE" / "dataset", image_set="val", mode="segmentation")
    _, mask = added[0]
    index = ours.names("train").index(Path(added.masks[0]).stem)
    assert np.array_equal(np.asarray(mask), ours.load("train", index).label_map)


def test_pictures_that_voc_has_not_come_from_sbd(both: Path) -> None:
    (both / "VOCdevkit" / "VOC2012" / "JPEGImages" / "2008_000003.jpg").unlink()
    source = VocSource(both)
    assert source.load("train", source.names("train").index("2008_000003")).image.shape == (6, 8, 3)


def test_every_fault_says_what_is_missing_or_broken(both: Path) -> None:
    source = VocSource(both)
    place = both / "VOCdevkit" / "VOC2012"
    mask_file(place / "SegmentationClass" / f"{VAL[0]}.png", np.full((6, 8), 21))
    with pytest.raises(LabelError, match=r"2007_000033\.png holds label 21 .*0\.\.20"):
        source.load("val", 0)
    mask = both / "benchmark_RELEASE" / "dataset" / "cls" / "2008_000003.mat"
    index = source.names("train").index("2008_000003")
    whole = mask.read_bytes()
    mask.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"2008_000003\.mat is damaged or holds no GTcls\.Segmentation"):
        source.load("train", index)
    savemat(mask, {"GTinst": {"Segmentation": sbd_mask()}})
    with pytest.raises(DataError, match=r"holds no GTcls\.Segmentation"):
        source.load("train", index)
    savemat(mask, {"GTcls": {"Segmentation": sbd_mask().astype(float)}})
    with pytest.raises(DataError, match=r"is float64 of 2 dimensions; labels of 8 bits"):
        source.load("train", index)
    savemat(mask, {"GTcls": {"Segmentation": sbd_mask()[1:]}})
    with pytest.raises(DataError, match="is 8x6 but its mask"):
        source.load("train", index)
    mask.unlink()
    with pytest.raises(DataError, match=r"2008_000003\.mat cannot be read"):
        source.load("train", index)


def test_a_folder_that_is_not_voc_is_refused(both: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no VOCdevkit/VOC2012/ImageSets/Segmentation.*fcn data download voc"):
        VocSource(both / "benchmark_RELEASE")
    lists = both / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation"
    (lists / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt names no picture"):
        VocSource(both)
    (lists / "train.txt").unlink()
    with pytest.raises(DataError, match=r"train\.txt cannot be read"):
        VocSource(both)
    (both / "VOCdevkit" / "VOC2012" / "JPEGImages").rename(tmp_path / "away")
    with pytest.raises(DataError, match="has no JPEGImages/"):
        VocSource(both)


def test_the_names_stay_in_step_with_the_colours() -> None:
    assert len(LABELS.names) == len(LABELS.palette) == 21
