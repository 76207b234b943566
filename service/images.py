"""A segmentation as an image: palette PNG, greyscale labels, overlay, confidence and cut-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from data.bands import bands
from data.drawing import encode_label_png, encode_png, overlay
from data.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.labels import LabelMap
    from model.runtime.predictor import Segmentation
    from service.options import SegmentOptions


SHOW_PICTURE: Final = frozenset({"overlay", "rgba"})
"""Formats that show the picture itself, and not what was found in it alone."""


def image_answer(
    image: NDArray[np.uint8], segmentation: Segmentation, labels: LabelMap, options: SegmentOptions
) -> bytes:
    """The PNG that ``format`` asks for; any format but ``json``.

    Args:
        image: RGB, shape (H, W, 3).
        segmentation: Of the same size; label 255 where a class is not wanted.
        labels: Gives the colours.
        options: Format, opacity and outline.
    """
    match options.format:
        case "png":
            return encode_label_png(segmentation.label_map, labels)
        case "label":
            return encode_png(segmentation.label_map)
        case "confidence":
            return encode_png(segmentation.confidence)
        case "overlay":
            return overlay_answer(image, segmentation.label_map, labels, options.opacity, options.outline)
        case "rgba":
            return cut_out(image, segmentation.label_map)
        case "json":
            raise ValueError("json is no image")


def overlay_answer(
    image: NDArray[np.uint8], label_map: NDArray[np.uint8], labels: LabelMap, opacity: float, outline: int = 1
) -> bytes:
    """RGB PNG of the picture under the class colours; the plain picture where no class is.

    Args:
        image: RGB, shape (H, W, 3).
        label_map: Shape (H, W).
        labels: Gives the colours.
        opacity: 0 (the picture alone) to 1 (the colours alone).
        outline: Width of the borders between classes in pixels.
    """
    result = np.empty_like(image)
    for top, bottom in bands(label_map.shape):
        # A border looks at the rows around it.
        above = min(top, outline + 1)
        rows = slice(top - above, bottom + outline + 1)
        drawn = overlay(image[rows], label_map[rows], labels, opacity, outline=outline)
        result[top:bottom] = drawn[above : above + bottom - top]
    return encode_png(result)


def cut_out(image: NDArray[np.uint8], label_map: NDArray[np.uint8]) -> bytes:
    """RGBA PNG: the picture where a class is, elsewhere nothing: black and transparent, so that no colour leaks."""
    result: NDArray[np.uint8] = np.zeros((*label_map.shape, 4), dtype=np.uint8)
    for top, bottom in bands(label_map.shape):
        kept = (label_map[top:bottom] != IGNORE_INDEX)[..., None]
        np.multiply(image[top:bottom], kept, out=result[top:bottom, :, :3])
        np.multiply(kept[..., 0], np.uint8(255), out=result[top:bottom, :, 3])
    return encode_png(result)
