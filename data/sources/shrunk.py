"""A source whose pictures are shrunk as they are read, for pictures larger than what is to be seen in them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from data.labels import LabelMap
    from data.sources.source import Sample, Source, Split


class ShrunkSource:
    """Another source with its larger pictures shrunk; smaller ones stay as they are.

    Colours are averaged over the area of the new pixel (Pillow's box filter, which no fine texture can alias
    through); labels are taken from the pixel at its centre, as they cannot be averaged.

    Args:
        source: What is shrunk.
        longest_side: Of the pictures given out, in pixels, at least 1.
    """

    def __init__(self, source: Source, longest_side: int) -> None:
        self._source = source
        self._longest_side = longest_side

    @property
    def label_map(self) -> LabelMap:
        """As the other source has it."""
        return self._source.label_map

    def names(self, split: Split) -> list[str]:
        """As the other source has them."""
        return self._source.names(split)

    def load(self, split: Split, index: int) -> Sample:
        """Decode one sample and shrink it; its errors are those of the other source."""
        sample = self._source.load(split, index)
        height, width = sample.label_map.shape
        if max(height, width) <= self._longest_side:
            return sample
        factor = self._longest_side / max(height, width)
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        return replace(
            sample,
            image=np.asarray(Image.fromarray(sample.image).resize(size, Image.Resampling.BOX)),
            label_map=np.asarray(Image.fromarray(sample.label_map).resize(size, Image.Resampling.NEAREST)),
        )
