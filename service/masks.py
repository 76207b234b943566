"""A segmentation as answers: palette PNG, overlay, and JSON with COCO run lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from pycocotools import mask as coco

from data.drawing import encode_label_png, encode_png, overlay
from service.schema import ClassMask, ModelReference, RunLengths, SegmentAnswer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from model.runtime.bundle import Manifest
    from model.runtime.predictor import Segmentation

_BAND_PIXELS: Final = 4_000_000
"""Pixels worked on at once: the wide integers of a blend or a count then stay near 100 MB for any picture."""


def png_answer(segmentation: Segmentation, manifest: Manifest) -> bytes:
    """Palette PNG: pixel value = class id, palette = class colours."""
    return encode_label_png(segmentation.label_map, manifest.labels)


def overlay_answer(image: NDArray[np.uint8], segmentation: Segmentation, manifest: Manifest, opacity: float) -> bytes:
    """RGB PNG of the picture under the class colours.

    Args:
        image: RGB, shape (H, W, 3).
        segmentation: Of the same size.
        manifest: Gives the colours.
        opacity: 0 (the picture alone) to 1 (the colours alone).
    """
    labels = segmentation.label_map
    result = np.empty_like(image)
    for top, bottom in _bands(labels.shape):
        # One row more than is kept: an outline looks at the row below.
        drawn = overlay(image[top : bottom + 1], labels[top : bottom + 1], manifest.labels, opacity)
        result[top:bottom] = drawn[: bottom - top]
    return encode_png(result)


def json_answer(segmentation: Segmentation, manifest: Manifest) -> SegmentAnswer:
    """Size, and for every class that is present its share, mean confidence and COCO run lengths."""
    labels = segmentation.label_map
    height, width = labels.shape
    counts, confidences = tally(segmentation)
    columns = np.asfortranarray(
        labels
    )  # once: run lengths go down the columns, and turning every mask takes far longer
    classes = [
        ClassMask(
            id=index,
            name=manifest.labels.names[index],
            colour=manifest.labels.palette[index],
            pixels=int(counts[index]),
            share=float(counts[index]) / labels.size,
            confidence=float(confidences[index]) / (255 * float(counts[index])),
            rle=run_lengths(columns == index),
        )
        for index in range(manifest.labels.num_classes)
        if counts[index]
    ]
    reference = ModelReference(name=manifest.name, version=manifest.version)
    return SegmentAnswer(width=width, height=height, model=reference, classes=classes)


def run_lengths(mask: NDArray[np.bool_]) -> RunLengths:
    """One mask as COCO's compressed run lengths: column by column, as ``pycocotools.mask.decode`` reads it.

    Args:
        mask: Shape (H, W).
    """
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    height, width = mask.shape
    return RunLengths(size=(height, width), counts=encoded["counts"].decode("ascii"))


def count_pixels(label_map: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Pixels of every label, shape (256,)."""
    counts = np.zeros(256, dtype=np.int64)
    for top, bottom in _bands(label_map.shape):
        counts += np.bincount(label_map[top:bottom].ravel(), minlength=256)
    return counts


def tally(segmentation: Segmentation) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels and summed confidences of every label, shape (256,) each."""
    joint = np.zeros(256 * 256, dtype=np.int64)
    for top, bottom in _bands(segmentation.label_map.shape):
        pairs = segmentation.label_map[top:bottom].astype(np.uint16) << np.uint16(8)
        pairs |= segmentation.confidence[top:bottom]
        joint += np.bincount(pairs.ravel(), minlength=256 * 256)
    table = joint.reshape(256, 256)
    return table.sum(axis=1), table @ np.arange(256, dtype=np.int64)


def _bands(shape: tuple[int, ...]) -> list[tuple[int, int]]:
    height, width = shape
    rows = max(1, _BAND_PIXELS // width)
    return [(top, min(top + rows, height)) for top in range(0, height, rows)]
