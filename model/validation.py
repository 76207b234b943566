"""Validation: the score of a graph that is tried, on some pictures of a split, through the engine that serves."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.evaluate import evaluate
from model.metrics import Scores
from model.runtime.bundle import Bundle
from model.runtime.engine import EngineConfig
from model.runtime.predictor import Predictor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from data.labels import LabelMap
    from data.sources.source import Sample, Source, Split

EXACT: Final = EngineConfig(precision="f32")
"""What is not int8 runs in 32 bits while mIoU is measured, so that the fall is that of int8 alone."""


def trial_bundle(root: Path, graph: bytes, bundle: Bundle) -> Bundle:
    """A graph in the place of a bundle's own, in a folder while it is tried: nothing is flushed to the disk."""
    root.mkdir(exist_ok=True)
    found = Bundle(root, replace(bundle.manifest, model_sha256=hashlib.sha256(graph).hexdigest(), card_sha256=""))
    found.model_path.write_bytes(graph)
    return found


class PartOfSplit:
    """Some pictures of a split, as a source of their own.

    Args:
        source: Gives the pictures.
        split: Which of them; the others are empty here.
        indices: In that split.
    """

    def __init__(self, source: Source, split: Split, indices: Sequence[int]) -> None:
        self._source = source
        self._split: Split = split
        self._indices = list(indices)

    @property
    def label_map(self) -> LabelMap:
        """As of the whole source."""
        return self._source.label_map

    def names(self, split: Split) -> list[str]:
        """See ``Source.names``."""
        names = self._source.names(split)
        return [names[index] for index in self._indices] if split == self._split else []

    def load(self, split: Split, index: int) -> Sample:
        """See ``Source.load``."""
        return self._source.load(split, self._indices[index])


class Pictures(Sequence["NDArray[np.uint8]"]):
    """The pictures of a split, decoded when they are asked for.

    Args:
        source: Gives the pictures.
        split: Which of them.
    """

    def __init__(self, source: Source, split: Split) -> None:
        self._source = source
        self._split: Split = split

    def __len__(self) -> int:
        return len(self._source.names(self._split))

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401  a slice too, by the protocol; none is asked for here
        return self._source.load(self._split, index).image


class Validation:
    """mIoU of a graph through the engine that serves.

    Args:
        bundle: Whose graph is replaced by the one that is tried.
        source: Gives the pictures.
        split: Which of them.
        place: Folder for what is tried.
        progress: Show a bar.
    """

    def __init__(self, bundle: Bundle, source: Source, split: Split, place: Path, *, progress: bool) -> None:
        self._bundle = bundle
        self._source = source
        self._split: Split = split
        self._place = place
        self._progress = progress

    def __call__(self, graph: bytes, indices: Sequence[int]) -> tuple[float, list[float]]:
        """The mIoU over the pictures of these indices, and that of each picture; 0 where nothing is labelled."""
        trial = trial_bundle(self._place / "candidate", graph, self._bundle)
        predictor = Predictor(trial, EXACT)
        num_classes = self._source.label_map.num_classes
        each: list[float] = []

        def count(predicted: NDArray[np.uint8], target: NDArray[np.uint8]) -> None:
            labelled = target < num_classes
            pairs = target[labelled].astype(np.int64) * num_classes + predicted[labelled]
            matrix = np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
            each.append(float(np.nan_to_num(Scores.from_confusion(matrix).miou)))

        found = evaluate(
            lambda image: predictor.predict(image).label_map,
            PartOfSplit(self._source, self._split, indices),
            self._split,
            progress=self._progress,
            scored=count,
        )
        return float(np.nan_to_num(found.scores.miou)), each
