"""Decoding once, augmenting by seed, sampling by epoch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from data.augment import Augmentation
from data.dataset import SegmentationData, SegmentationDataset
from data.decoded import DecodedSplit
from data.errors import DataError
from data.labels import LabelMap
from data.samplers import EpochSampler, PlainSampler
from data.sources.shapes import ShapesSource
from data.sources.source import Sample

SOURCE = ShapesSource(train_size=5, val_size=2, image_size=(40, 48))
AUGMENTATION = Augmentation((32, 64), (0.5, 1.5), flip=0.5, vertical_flip=0.5, colour=0.2)


class UnlabelledSource:
    """Two pictures of which no pixel is labelled."""

    label_map = LabelMap.from_names(["a", "b"])

    def names(self, split):
        return ["x", "y"]

    def load(self, split, index):
        return Sample("x", np.zeros((4, 4, 3), np.uint8), np.full((4, 4), 255, np.uint8))


@pytest.mark.parametrize("memory_limit", [0, 10_000, 1 << 30])
def test_decoded_samples_are_the_sources_own_in_memory_or_on_disk(tmp_path, memory_limit):
    advanced = []
    decoded = DecodedSplit.decode(SOURCE, "train", memory_limit, tmp_path, lambda: advanced.append(1))
    assert decoded.names == SOURCE.names("train")
    assert len(advanced) == len(decoded) == 5
    counts = np.zeros(256, dtype=np.int64)
    for index in range(5):
        sample = SOURCE.load("train", index)
        np.testing.assert_array_equal(decoded.images[index], sample.image)
        np.testing.assert_array_equal(decoded.label_maps[index], sample.label_map)
        counts += np.bincount(sample.label_map.ravel(), minlength=256)
    np.testing.assert_array_equal(decoded.label_counts, counts)
    assert sum(isinstance(image, np.memmap) for image in decoded.images) == {0: 5, 10_000: 4, 1 << 30: 0}[memory_limit]
    assert not list(tmp_path.iterdir()), "the cache has no name that a crash could leave behind"


def test_a_split_without_a_labelled_pixel_is_refused(tmp_path):
    with pytest.raises(DataError, match="not one labelled pixel"):
        DecodedSplit.decode(UnlabelledSource(), "train", 1 << 20, tmp_path)


def test_augmentation_follows_from_its_seed_alone():
    sample = SOURCE.load("train", 0)
    first = AUGMENTATION(sample.image, sample.label_map, 7)
    AUGMENTATION(sample.image, sample.label_map, 8)
    again = AUGMENTATION(sample.image, sample.label_map, 7)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert any((AUGMENTATION(sample.image, sample.label_map, seed)[0] != first[0]).any() for seed in range(3))


@pytest.mark.parametrize("size", [(1, 1), (20, 300), (200, 30), (64, 64)])
def test_crops_have_their_size_whatever_the_picture_s(size):
    for seed in range(8):  # large and small zooms
        image, label_map = AUGMENTATION(np.full((*size, 3), 9, np.uint8), np.zeros(size, np.uint8), seed)
        assert image.shape == (32, 64, 3)
        assert label_map.shape == (32, 64)
        assert image.dtype == label_map.dtype == np.uint8


def test_what_lies_beyond_the_picture_is_ignored_and_labels_are_never_mixed():
    label_map = np.zeros((16, 16), np.uint8)
    label_map[:, 8:] = 6
    seen = set()
    for seed in range(30):
        _, cropped = AUGMENTATION(np.zeros((16, 16, 3), np.uint8), label_map, seed)
        seen |= set(np.unique(cropped).tolist())
    assert seen == {0, 6, 255}


def test_of_a_large_picture_only_the_window_of_the_crop_is_read(tmp_path):
    height, width = 1600, 2600  # above the size that is zoomed whole
    stored = np.lib.format.open_memmap(tmp_path / "large.npy", "w+", np.uint8, (height, width, 3))
    rows, columns = np.mgrid[:height, :width]
    stored[..., 0], stored[..., 1] = rows * 255 // height, columns * 255 // width
    label_map = (columns * 200 // width).astype(np.uint8)
    plain = Augmentation((64, 96), (0.5, 2.0), flip=0, vertical_flip=0, colour=0)
    reads = []

    class Watched(np.memmap):
        def __getitem__(self, key):
            if isinstance(key, tuple):
                reads.append(tuple(part.stop - part.start for part in key[:2]))
            return super().__getitem__(key)

    spans, corners = set(), []
    for seed in range(60):
        image, target = plain(stored.view(Watched), label_map, seed)
        assert image.shape == (64, 96, 3)
        assert target.shape == (64, 96)
        # The labels lie where the picture lies: both tell the column, in steps of 13 and 10 pixels.
        np.testing.assert_allclose(target / 200, image[..., 1] / 255, atol=0.012)
        spans.add(int(image[-1, -1, 0]) - int(image[0, 0, 0]))
        corners.append(image[0, 0, :2] / 255)
    assert all(height <= 128 and width <= 192 for height, width in reads)
    assert len(reads) == 60
    assert min(spans) <= 6, "zoomed in, about twice"
    assert max(spans) >= 16, "and out, about to a half"
    assert (np.min(corners, axis=0) < 0.1).all()
    assert (np.max(corners, axis=0) > 0.8).all()
    again = plain(stored, label_map, 59)
    np.testing.assert_array_equal(again[0], image)


def test_a_large_picture_narrower_than_the_crop_is_taken_whole_and_padded():
    plain = Augmentation((64, 96), (0.5, 0.5), flip=0, vertical_flip=0, colour=0)
    image, target = plain(np.full((100_000, 41, 3), 9, np.uint8), np.zeros((100_000, 41), np.uint8), 3)
    assert image.shape == (64, 96, 3)
    assert int((target == 0).sum()) == 64 * 20
    assert int((target == 255).sum()) == 64 * 76


def test_every_epoch_shows_each_picture_once_in_another_order():
    sampler = EpochSampler(length=12, batch_size=4, seed=1)
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    assert sorted(index for index, _ in epochs[0]) == list(range(12))
    assert epochs[0] == epochs[2]
    assert epochs[0] != epochs[1]


def test_a_data_set_smaller_than_a_batch_fills_it_with_other_crops_of_the_same():
    items = list(EpochSampler(length=3, batch_size=8, seed=0))
    assert len(items) == 8
    assert {index for index, _ in items} == {0, 1, 2}
    assert len({seed for _, seed in items}) == 8


def test_validation_takes_each_picture_once_in_order():
    assert [index for index, _ in PlainSampler(5)] == [0, 1, 2, 3, 4]
    assert len(PlainSampler(5)) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_the_number_of_workers(tmp_path, workers):
    split = DecodedSplit.decode(SOURCE, "train", 1 << 30, tmp_path)
    batches = []
    for count in (0, workers):
        data = SegmentationData(split, split, AUGMENTATION, batch_size=2, workers=count, seed=5)
        batches.append(list(data.train_dataloader()))
    assert len(batches[0]) == 2
    for (images, targets), (other_images, other_targets) in zip(*batches, strict=True):
        assert images.shape == (2, 3, 32, 64)
        assert targets.shape == (2, 32, 64)
        assert images.dtype == targets.dtype == torch.uint8
        torch.testing.assert_close(images, other_images)
        torch.testing.assert_close(targets, other_targets)


def test_validation_pictures_are_whole(tmp_path):
    split = DecodedSplit.decode(SOURCE, "val", 0, tmp_path)
    image, target = SegmentationDataset(split)[(1, 0)]
    np.testing.assert_array_equal(image.numpy().transpose(1, 2, 0), SOURCE.load("val", 1).image)
    assert target.shape == (40, 48)
