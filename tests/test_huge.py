"""Huge pictures: decoded band by band into a file, cropped and validated in windows, in memory that does not grow."""

from __future__ import annotations

import io
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from data import huge
from data.dataset import SegmentationData, TiledDataset
from data.decoded import DecodedSplit
from data.errors import CorruptImageError, DataError, ImageTooLargeError, UnsupportedImageError
from data.huge import read_picture
from data.labels import LabelMap
from data.pixels import read_image
from data.sources.folder import FolderSource
from data.sources.source import Sample
from model.averaging import network_predict
from model.callbacks import PredictionPictures

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def small_is_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of more than 200 pixels go the way of huge ones."""
    monkeypatch.setattr(huge, "HUGE_PIXELS", 200)


def smooth(height: int = 90, width: int = 130) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=2).astype(np.uint8)


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def save(path: Path, image: np.ndarray, **options: object) -> Path:
    Image.fromarray(image).save(path, **options)
    return path


@pytest.mark.usefixtures("small_is_huge")
@pytest.mark.parametrize("ending", ["png", "tif", "webp", "jpg"])
def test_a_huge_picture_is_what_a_small_one_would_be_and_lies_in_a_file_without_a_name(
    tmp_path: Path, ending: str
) -> None:
    (tmp_path / "cache").mkdir()
    options = {"lossless": True} if ending == "webp" else {"quality": 95, "subsampling": 0} if ending == "jpg" else {}
    path = save(tmp_path / f"a.{ending}", smooth(), **options)
    found = read_picture(path, tmp_path / "cache")
    assert isinstance(found, np.memmap)
    assert not found.flags.writeable
    assert found.shape == (90, 130, 3)
    difference = np.abs(found.astype(int) - read_image(path))
    assert difference.max() <= (2 if ending == "jpg" else 0)  # two decoders of JPEG round apart
    assert not list((tmp_path / "cache").iterdir())


@pytest.mark.usefixtures("small_is_huge")
@pytest.mark.parametrize(
    ("name", "make", "options"),
    [
        ("grey.png", lambda: smooth()[..., 0], {}),
        ("sixteen.png", lambda: smooth()[..., 0].astype(np.uint16) * 251, {}),
        ("sixteen.tif", lambda: smooth()[..., 0].astype(np.uint16) * 251, {}),
        ("alpha.png", lambda: np.dstack([smooth(), smooth()[..., 1]]), {}),
        ("grey-alpha.png", lambda: smooth()[..., :2], {}),
        ("one-bit.png", lambda: smooth()[..., 0] > 99, {}),
        ("lzw.tif", smooth, {"compression": "tiff_lzw"}),
        ("deflate.tif", smooth, {"compression": "tiff_adobe_deflate"}),
        ("profiled.png", smooth, {"icc_profile": profile("sRGB")}),
        ("unfitting.png", smooth, {"icc_profile": profile("LAB")}),
        ("broken-profile.png", smooth, {"icc_profile": b"no profile"}),
    ],
)
def test_colours_depths_and_profiles_are_read_as_in_small_pictures(
    tmp_path: Path, name: str, make: object, options: dict[str, object]
) -> None:
    path = save(tmp_path / name, make(), **options)  # type: ignore[operator]
    difference = np.abs(read_picture(path).astype(int) - read_image(path))
    assert difference.max() <= 1


@pytest.mark.usefixtures("small_is_huge")
def test_a_palette_shows_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(smooth()).quantize(64)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), read_image(tmp_path / "a.png"))


@pytest.mark.usefixtures("small_is_huge")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_huge_picture_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.jpg", smooth(), exif=exif, quality=95)
    found, expected = read_picture(path), read_image(path)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 3


@pytest.mark.usefixtures("small_is_huge")
def test_what_a_file_holds_now_is_read(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", smooth())
    read_picture(path)
    save(path, 255 - smooth())
    np.testing.assert_array_equal(read_picture(path), 255 - smooth())


@pytest.mark.usefixtures("small_is_huge")
@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "webp"])
def test_a_huge_picture_that_is_cut_off_is_refused(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    path = save(tmp_path / f"a.{ending}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((CorruptImageError, UnsupportedImageError), match=rf"a\.{ending}"):
        read_picture(path)


@pytest.mark.usefixtures("small_is_huge")
def test_kinds_that_cannot_be_read_in_bands_and_more_pixels_than_ever_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnsupportedImageError, match="is read from JPEG, PNG, TIFF, WebP: save it as one"):
        read_picture(save(tmp_path / "a.bmp", smooth()))
    Image.fromarray(smooth()[..., 0].astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(UnsupportedImageError, match="values of kind float"):
        read_picture(tmp_path / "a.tif")
    monkeypatch.setattr(huge, "MOST_PIXELS", 1000)
    with pytest.raises(ImageTooLargeError, match=r"130x90 pixels; at most 1000 are read"):
        read_picture(save(tmp_path / "a.png", smooth()))
    with pytest.raises(DataError, match=r"--loader\.cache_dir"):
        huge.write_map(iter([np.zeros((3, 3), np.uint8)]), (3, 3), tmp_path / "gone")


def write_set(root: Path, names: tuple[str, ...] = ("a", "b")) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in names:
        save(root / "images" / f"{name}.png", smooth())
        save(root / "masks" / f"{name}.png", (smooth()[..., 1] > 127).astype(np.uint8))
    (root / "labels.txt").write_text("left\nright\n")
    return root


@pytest.mark.usefixtures("small_is_huge")
def test_a_folder_s_huge_pictures_and_masks_lie_in_files_and_are_not_copied_to_memory(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    source = FolderSource(write_set(tmp_path / "set"), val_fraction=0.5, cache_dir=tmp_path / "cache")
    split = DecodedSplit.decode(source, "train", 1 << 30, tmp_path / "cache")
    assert isinstance(split.images[0], np.memmap)
    assert isinstance(split.label_maps[0], np.memmap)
    np.testing.assert_array_equal(split.images[0], smooth())
    assert split.label_counts[:2].tolist() == [90 * 66, 90 * 64]


class OneSource:
    """A picture that is larger than a tile."""

    def __init__(self, height: int, width: int) -> None:
        self.image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
        self.mask = np.random.default_rng(2).integers(0, 3, (height, width), dtype=np.uint8)

    def names(self, split: str) -> list[str]:
        return ["x"]

    def load(self, split: str, index: int) -> Sample:
        return Sample("x", self.image, self.mask)


def test_every_pixel_of_a_large_picture_is_validated_once_and_smaller_ones_whole(tmp_path: Path) -> None:
    large, small = OneSource(2200, 2100), OneSource(70, 2048)
    split = DecodedSplit.decode(large, "val", 1 << 30, tmp_path)
    tiles = TiledDataset(split)
    assert len(tiles) == 4
    total, counts = 0, np.zeros(256, dtype=np.int64)
    for index in range(len(tiles)):
        image, target = tiles[(index, 0)]
        assert max(image.shape[1:]) <= 2048
        assert image.shape[1:] == target.shape
        total += int((target != 255).sum())
        counts += np.bincount(target.numpy().ravel(), minlength=256)
    assert total == 2200 * 2100
    assert counts[:3].tolist() == np.bincount(large.mask.ravel()).tolist()
    data = SegmentationData(split, DecodedSplit.decode(small, "val", 1 << 30, tmp_path), None, 2, 0, 0)  # type: ignore[arg-type]
    ((images, targets),) = list(data.val_dataloader())
    np.testing.assert_array_equal(images[0].numpy().transpose(1, 2, 0), small.image)
    np.testing.assert_array_equal(targets[0].numpy(), small.mask)
    assert images.dtype == targets.dtype == torch.uint8


class Brightness(torch.nn.Module):
    """Says of every pixel by itself whether it is red, and notes how much it was given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.sides: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.sides.append(max(image.shape[-2:]))
        red = image[:, :1].float()
        return torch.cat([127.5 - red, red - 127.5], dim=1)


def test_a_checkpoint_is_scored_in_tiles_and_shown_by_the_middle_of_what_is_large(tmp_path: Path) -> None:
    source = OneSource(2200, 2100)
    network = Brightness()
    found = network_predict(network)(source.image)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, source.image[..., 0] > 127)
    assert max(network.sides) <= 2048
    assert len(network.sides) == 4
    split = DecodedSplit.decode(source, "val", 1 << 30, tmp_path)  # type: ignore[arg-type]
    ((image, label_map),) = PredictionPictures(tmp_path, split, LabelMap.from_names(["a", "b", "c"]))._samples
    np.testing.assert_array_equal(image, source.image[76:2124, 26:2074])
    assert label_map.shape == (2048, 2048)


def big_png(path: Path, height: int, width: int, channels: int) -> None:
    """A picture far larger than what is held of it here, written row by row."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4) + name + data + zlib.crc32(name + data).to_bytes(4)

    packer = zlib.compressobj(1)
    parts = io.BytesIO()
    stripes = ((np.arange(width * channels) // 997) % 2).astype(np.uint8)
    rows = [b"\0" + (plane if channels == 1 else plane * 90).tobytes() for plane in (stripes, 1 - stripes)]
    for row in range(height):
        parts.write(packer.compress(rows[row // 997 % 2]))
    parts.write(packer.flush())
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 0 if channels == 1 else 2, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", parts.getvalue()) + chunk(b"IEND", b"")
    path.write_bytes(data)


MEASURED = """
import resource, sys
from pathlib import Path
import numpy as np
from data.augment import Augmentation
from data.dataset import SegmentationDataset, TiledDataset
from data.decoded import DecodedSplit
from data.sources.folder import FolderSource

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

root = Path(sys.argv[1])
before = peak()
split = DecodedSplit.decode(FolderSource(root, 0.5), "train", 4 << 30, root)
decoded = peak()
height, width = split.label_maps[0].shape
crops = SegmentationDataset(split, Augmentation((256, 256), (0.5, 2.0), 0.5, 0, 0.2))
for seed in range(20):
    image, target = crops[(0, seed)]
    assert image.shape == (3, 256, 256) and not bool((target == 255).any())
print(width * height, before, decoded - before, peak() - before)
"""


def test_more_than_a_hundred_megapixels_are_read_and_cropped_in_a_fraction_of_their_size(tmp_path: Path) -> None:
    for folder, channels in (("images", 3), ("masks", 1)):
        (tmp_path / folder).mkdir()
        big_png(tmp_path / folder / "a.png", 8000, 12_600, channels)
    for folder in ("images", "masks"):  # the one that is held out need not be large
        save(tmp_path / folder / "b.png", np.zeros((40, 40), np.uint8))
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "val.txt").write_text("b\n")
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    pixels, _, decoding, cropping = map(int, done.stdout.split())
    assert pixels == 8000 * 12_600
    size = pixels * 4 >> 20  # picture and mask, in MiB: 384
    # Pillow holds the mask, a byte a pixel; of the picture it would hold four, and the array three.
    assert decoding < 0.8 * size, (decoding, size)
    assert cropping < size, (cropping, size)  # pages of the file that were touched count, and can go at any time
