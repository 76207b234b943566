"""A segmentation as JSON: shares, mean confidences, and masks as COCO run lengths or polygons."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
from pycocotools import mask as coco

from data.drawing import encode_png
from model.runtime.tally import tally
from service.polygons import polygons_of
from service.schema import ClassMask, ModelReference, MultiPolygon, RunLengths, SegmentAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from model.runtime.bundle import Manifest
    from model.runtime.predictor import Segmentation
    from service.options import SegmentOptions


def json_answer(
    segmentation: Segmentation, manifest: Manifest, options: SegmentOptions, check: Callable[[], None] = lambda: None
) -> SegmentAnswer:
    """Size, and for every class that is present its share, mean confidence and mask.

    Args:
        segmentation: Label 255 where a class is not wanted.
        manifest: Gives names, colours and version.
        options: Form of the masks, and whether maps are added.
        check: Called between steps that may take long; what it raises ends the work.

    Raises:
        ServiceError: 422, polygons of noise.
    """
    labels = segmentation.label_map
    height, width = labels.shape
    counts, confidences = tally(segmentation)
    present = [index for index in range(manifest.labels.num_classes) if counts[index]]
    runs: dict[int, RunLengths] = {}
    if options.masks == "rle":
        # Once: run lengths go down the columns, and turning every mask takes far longer.
        columns = np.asfortranarray(labels)
        runs = {index: run_lengths(columns == index) for index in present}
    polygons = polygons_of(labels, options.tolerance, check) if options.masks == "polygon" else {}
    classes = [
        ClassMask(
            id=index,
            name=manifest.labels.names[index],
            colour=manifest.labels.palette[index],
            pixels=int(counts[index]),
            share=float(counts[index]) / labels.size,
            confidence=float(confidences[index]) / (255 * float(counts[index])),
            rle=runs.get(index),
            polygon=MultiPolygon(coordinates=polygons[index]) if index in polygons else None,
        )
        for index in present
    ]
    return SegmentAnswer(
        width=width,
        height=height,
        model=ModelReference(name=manifest.name, version=manifest.version),
        classes=classes,
        label_map=_png_text(labels) if options.maps else None,
        confidence_map=_png_text(segmentation.confidence) if options.maps else None,
    )


def run_lengths(mask: NDArray[np.bool_]) -> RunLengths:
    """One mask as COCO's compressed run lengths: column by column, as ``pycocotools.mask.decode`` reads it.

    Args:
        mask: Shape (H, W).
    """
    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    height, width = mask.shape
    return RunLengths(size=(height, width), counts=encoded["counts"].decode("ascii"))


def _png_text(plane: NDArray[np.uint8]) -> str:
    return base64.b64encode(encode_png(plane)).decode("ascii")
