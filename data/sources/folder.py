"""Your own pictures: ROOT/images with ROOT/masks, or a Pascal VOC or CVAT export."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import DataError, LabelError
from data.huge import ONE_AT_A_TIME, is_huge, read_picture, write_map
from data.labels import IGNORE_INDEX, MAX_CLASSES, LabelMap
from data.masks import check_labels, decode_in_bands, decode_mask, open_mask, remap_table, same_size
from data.pages import count_pages, is_stack
from data.sources.layout import Layout, survey
from data.sources.source import Sample

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from data.sources.source import Split

LABEL_FILES: Final = ("labelmap.txt", "labels.txt", "classes.txt")


class FolderSource:
    """Pictures with masks of the same names; see ``layout`` for the folders and splits, ``decode_mask`` for masks.

    Args:
        root: Folder that holds ``images`` and ``masks`` and one of ``LABEL_FILES``.
        val_fraction: Share held out for validation where no file or folder names the val split.
        seed: Of that choice.
        remap: Labels to change while masks are read, as {from: to}.
        cache_dir: Where huge pictures are kept while they are used; see ``data.huge``.

    Raises:
        DataError: the folder cannot be trained on as it is; the message says why and what to do.
        LabelError: the label map is missing or malformed.
    """

    def __init__(
        self,
        root: Path,
        val_fraction: float = 0.2,
        seed: int = 0,
        remap: Mapping[int, int] | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        layout = survey(root, val_fraction, seed)
        refuse_unusable(layout)
        self._layout = layout
        self._remap = remap_table(remap or {})
        self._cache_dir = cache_dir
        self._labels = read_label_map(layout)

    @property
    def label_map(self) -> LabelMap:
        """As the label file has it."""
        return self._labels

    @property
    def layout(self) -> Layout:
        """What was found in the folder."""
        return self._layout

    def names(self, split: Split) -> list[str]:
        """Paths below the picture folder, without ending; nested folders are kept."""
        return list(self._layout.division.splits.get(split, []))

    def load(self, split: Split, index: int) -> Sample:
        """Read a picture, turned upright, and its mask.

        Raises:
            DataError: the mask is missing, damaged, of another size or of no known kind.
            LabelError: the mask holds a label or colour that no class has.
            ImageError: the picture is damaged.
        """
        name = self._layout.division.splits[split][index]
        image_path, mask_path = self._layout.images[name], self._layout.masks[name]
        image = read_picture(image_path, self._cache_dir)
        label_map = self.read_mask(mask_path)
        check_labels(label_map, self._labels, mask_path)
        same_size(image, label_map, image_path, mask_path)
        return Sample(name, image, label_map)

    def read_mask(self, path: Path) -> NDArray[np.uint8]:
        """Decode one mask and apply the remapping; labels are not checked yet. A huge one is kept in a file.

        Raises:
            DataError: damaged, of no known kind, or with a colour that no class has.
        """
        if not is_huge(path):
            return decode_mask(open_mask(path), self._labels, path, self._remap)
        with ONE_AT_A_TIME:
            mask = open_mask(path)
            parts = decode_in_bands(mask, self._labels, path, self._remap)
            return write_map(parts, (mask.height, mask.width), self._cache_dir)


def refuse_unusable(layout: Layout) -> None:
    """Refuse a folder whose pictures would be dropped, mixed up or scored on what they were trained on.

    Raises:
        DataError: a picture has no mask, two files claim one name, a split names a picture that is not
            there, or a picture is in two splits.
    """
    division = layout.division
    more = "; `fcn data check` lists every fault"
    if layout.missing:
        name = layout.missing[0]
        raise DataError(
            f"{len(layout.missing)} of {len(layout.images)} pictures have no mask, first {layout.images[name]}: "
            f"add {layout.images[name].stem}.png to the mask folder or take the picture away{more}"
        )
    if layout.twins:
        raise DataError(
            f"{layout.twins[0]} has the name of another file with another ending: rename or remove one of them{more}"
        )
    if division.unknown:
        path, line = division.unknown[0]
        raise DataError(
            f"split file {path} names {line!r}, which is no picture of this set "
            f"({len(division.unknown)} such lines): correct the line or add the picture{more}"
        )
    if division.overlap:
        raise DataError(
            f"{len(division.overlap)} pictures are in more than one split, first {division.overlap[0]!r}: "
            f"keep each in one, or scores are of pictures that were trained on{more}"
        )


def read_label_map(layout: Layout) -> LabelMap:
    """Read the label file of a folder; without one, look at the masks to say what it must hold.

    Raises:
        LabelError: missing or malformed, or two label files disagree.
    """
    root = layout.root
    found = [root / name for name in LABEL_FILES if (root / name).is_file()]
    if found:
        labels = LabelMap.read(found[0])
        for other in found[1:]:
            if LabelMap.read(other).names != labels.names:
                raise LabelError(
                    f"{found[0].name} and {other.name} in {root} list different classes: remove the wrong one"
                )
        return labels
    top, white = -1, False
    for path in list(layout.masks.values())[:500]:
        try:
            image = open_mask(path)
        except DataError:
            continue  # told when the mask itself is read
        if len(image.getbands()) > 2:
            raise LabelError(
                f"{root} has no labelmap.txt, and {path.name} is a coloured mask (mode {image.mode}): "
                "write one line 'name:red,green,blue::' a class into labelmap.txt"
            )
        if is_stack(image):
            raise LabelError(
                f"{root} has no labels.txt, and {path.name} has {count_pages(image)} pages: write one class name "
                "a line into it, for each page, and one before them if pixels on no page are a class too"
            )
        values = np.asarray(image)
        values = values[..., 0] if values.ndim == 3 else values
        kept = values[(values != IGNORE_INDEX) & (values < MAX_CLASSES)]
        top = max(top, int(kept.max(initial=0)) if kept.size else -1)
        white |= bool((values == IGNORE_INDEX).any())
    if top < 0:
        raise LabelError(f"{root} has no labels.txt: write one class name a line into it, in the order of the labels")
    if white and top == 0:
        raise LabelError(
            f"{root} has no labels.txt, and its masks hold only 0 and 255. If they are black and white, write "
            "labelmap.txt with the lines 'background:0,0,0::' and 'object:255,255,255::', with your own names"
        )
    raise LabelError(
        f"{root} has no labels.txt: write one class name a line into it, {top + 1} line{'s' * (top > 0)} for the "
        f"labels 0..{top} that its masks hold (255 is ignored and has no line)"
    )
