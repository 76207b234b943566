"""The walk of a check: every picture and mask of a data set is opened once, and what is seen is written down."""

from __future__ import annotations

import functools
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.console import Console
from rich.progress import track

from data.bands import bands, count_pixels
from data.errors import DataError, FcnError, ImageError, LabelError
from data.huge import read_picture
from data.masks import check_labels, decode_mask, open_mask, same_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from data.labels import LabelMap
    from data.sources.layout import Layout
    from data.sources.source import Source, Split

SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")


@dataclass
class Sight:
    """What was seen of one picture and its mask.

    Attributes:
        split: Where it belongs.
        name: Of the sample.
        size: Width and height, when the picture can be read.
        digest: Of its decoded pixels: equal for equal pictures, however they are compressed.
        counts: Pixels of each label 0 to 255, shape (256,), when the mask can be read and fits.
        mask_kind: Mode of the mask file, such as "L" or "RGB"; empty when there is no file to look at.
        faults: A code, a message and the file or name concerned, each.
    """

    split: Split
    name: str
    size: tuple[int, int] | None = None
    digest: bytes = b""
    counts: NDArray[np.int64] | None = None
    mask_kind: str = ""
    faults: list[tuple[str, str, str]] = field(default_factory=list)

    def see_image(self, image: NDArray[np.uint8]) -> None:
        """Note size and digest of an RGB picture (H, W, 3)."""
        self.size = (image.shape[1], image.shape[0])
        digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
        for top, bottom in bands(image.shape):
            digest.update(np.ascontiguousarray(image[top:bottom]).data)
        self.digest = digest.digest()

    def see_mask(self, label_map: NDArray[np.uint8]) -> None:
        """Note the labels of a map (H, W)."""
        self.counts = count_pixels(label_map)


def looks_at_source(source: Source) -> list[Callable[[], Sight]]:
    """What to call to see each sample of any source, loaded whole: the first fault of a sample hides its others."""
    return [
        functools.partial(_look_at_sample, source, split, index, name)
        for split in SPLITS
        for index, name in enumerate(source.names(split))
    ]


def looks_at_layout(layout: Layout, labels: LabelMap | None, remap: NDArray[np.int32]) -> list[Callable[[], Sight]]:
    """What to call to see each picture of a folder and its mask, step by step.

    Args:
        layout: Names and files; pictures without a mask are looked at too.
        labels: Without them masks are only opened.
        remap: From ``remap_table``.
    """
    return [
        functools.partial(_look_at_files, layout, split, name, labels, remap)
        for split in SPLITS
        for name in layout.division.splits.get(split, [])
    ]


def see_all(looks: list[Callable[[], Sight]], *, progress: bool) -> list[Sight]:
    """Look at everything, in threads, in order.

    Args:
        looks: From the functions above.
        progress: Show a bar on stderr.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        seen = pool.map(lambda look: look(), looks)
        bar = track(
            seen, "Looking at pictures", len(looks), console=Console(stderr=True), transient=True, disable=not progress
        )
        try:
            return list(bar)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def _look_at_sample(source: Source, split: Split, index: int, name: str) -> Sight:
    sight = Sight(split, name)
    try:
        sample = source.load(split, index)
    except FcnError as error:
        sight.faults.append((_code(error), str(error), name))
    else:
        sight.see_image(sample.image)
        sight.see_mask(sample.label_map)
    return sight


def _look_at_files(layout: Layout, split: Split, name: str, labels: LabelMap | None, remap: NDArray[np.int32]) -> Sight:
    sight = Sight(split, name)
    image_path, mask_path = layout.images[name], layout.masks.get(name)
    image, label_map = None, None
    try:
        image = read_picture(image_path)
        sight.see_image(image)
    except (ImageError, DataError) as error:
        sight.faults.append((_code(error), str(error), str(image_path)))
    if mask_path is None:
        return sight
    try:
        mask = open_mask(mask_path)
        sight.mask_kind = mask.mode
        if labels is not None:
            label_map = decode_mask(mask, labels, mask_path, remap)
    except DataError as error:
        sight.faults.append((_code(error), str(error), str(mask_path)))
    if label_map is None or labels is None:
        return sight
    try:
        check_labels(label_map, labels, mask_path)
    except LabelError as error:
        sight.faults.append((_code(error), str(error), str(mask_path)))
    if image is not None:
        try:
            same_size(image, label_map, image_path, mask_path)
        except DataError as error:
            sight.faults.append(("size-mismatch", str(error), str(mask_path)))
    if not sight.faults:
        sight.see_mask(label_map)
    return sight


def _code(error: FcnError) -> str:
    if isinstance(error, ImageError):
        return "picture-unreadable"
    return "label-unknown" if isinstance(error, LabelError) else "mask-unusable"
