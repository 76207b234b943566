"""A source that validates on a part of its training pictures: choices made so leave the validation pictures unseen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from data.errors import DataError

if TYPE_CHECKING:
    from data.labels import LabelMap
    from data.sources.source import Sample, Source, Split

FOLDS: Final = 5
_RUNS: Final = 4
"""Stretches of neighbouring pictures in a fold, spread over the whole split."""


class FoldedSource:
    """Another source whose training split is parted: one fold is held out as val, the other four are train.

    Neighbouring names are often neighbouring frames of one film and nearly alike, so a fold is made of four long
    stretches of names in their order and not of pictures drawn one by one.

    Args:
        source: What is parted; its own val split is not given out.
        fold: Which fold is held out, 0 to 4.

    Raises:
        DataError: there are fewer training pictures than folds.
    """

    def __init__(self, source: Source, fold: int) -> None:
        self._source = source
        count = len(source.names("train"))
        if count < FOLDS:
            raise DataError(f"{count} training pictures cannot be parted into {FOLDS} folds: leave --data.fold out")
        pieces = min(FOLDS * _RUNS, count)
        held = {index for index in range(count) if (index * pieces // count) % FOLDS == fold}
        self._indices: dict[Split, list[int]] = {
            "val": sorted(held),
            "train": [index for index in range(count) if index not in held],
        }

    @property
    def label_map(self) -> LabelMap:
        """As the other source has it."""
        return self._source.label_map

    def names(self, split: Split) -> list[str]:
        """Names of a part of the training split; test is the other source's."""
        if split not in self._indices:
            return self._source.names(split)
        names = self._source.names("train")
        return [names[index] for index in self._indices[split]]

    def load(self, split: Split, index: int) -> Sample:
        """Decode one sample; its errors are those of the other source."""
        if split not in self._indices:
            return self._source.load(split, index)
        return self._source.load("train", self._indices[split][index])
