"""Masks on disk to label maps: index, palette and coloured files, and the checks that every source makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from data.errors import DataError, ImageError, LabelError
from data.labels import IGNORE_INDEX
from data.pixels import open_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from data.labels import LabelMap


def read_index_mask(path: Path) -> NDArray[np.uint8]:
    """Read a single-channel mask whose values are labels.

    Returns:
        Shape (H, W), uint8, values as they stand in the file.

    Raises:
        DataError: missing, damaged, or not single-channel.
    """
    image = open_mask(path)
    if image.mode not in ("1", "L", "P"):
        raise DataError(f"{path} has mode {image.mode}; a mask of class indices has one 8-bit channel")
    values = np.asarray(image)
    return values.astype(np.uint8)


def open_mask(path: Path) -> Image.Image:
    """Open and decode a mask file as it stands: no rotation, no conversion.

    Raises:
        DataError: missing or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"mask {path} cannot be read ({error.strerror}): every picture needs one") from None
    try:
        image = open_image(data)
        image.load()
    except ImageError as error:
        raise DataError(f"mask {path}: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"mask {path} is damaged ({error}): write it again") from None
    return image


def check_labels(mask: NDArray[np.uint8], labels: LabelMap, path: Path) -> None:
    """Refuse labels that no class has.

    Raises:
        LabelError: names the labels found, those known, and the two ways to mend it.
    """
    counts = np.bincount(mask.ravel(), minlength=256)
    counts[: labels.num_classes] = 0
    counts[IGNORE_INDEX] = 0
    wrong = np.flatnonzero(counts)
    if wrong.size:
        shown = ", ".join(str(int(label)) for label in wrong[:8]) + (", ..." if wrong.size > 8 else "")
        raise LabelError(
            f"mask {path} holds label {shown} ({int(counts.sum())} pixels); the label map names "
            f"0..{labels.num_classes - 1} and 255 is ignored: add a name, or map it with --remap {wrong[0]}:255"
        )


def same_size(image: NDArray[np.uint8], mask: NDArray[np.uint8], image_path: Path, mask_path: Path) -> None:
    """Refuse a mask that does not cover its picture pixel by pixel.

    Raises:
        DataError: names both files and sizes.
    """
    if image.shape[:2] != mask.shape[:2]:
        (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape[:2]
        raise DataError(
            f"{image_path} is {width}x{height} but its mask {mask_path} is {mask_width}x{mask_height}: "
            "both must have the same size (is the picture turned by its EXIF orientation?)"
        )
