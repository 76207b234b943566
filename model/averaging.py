"""A network as a function from picture to label map, by one pass or the mean of several, and what several cost."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Final, cast

import numpy as np
import torch
from torch.nn import functional

from data.dataset import MAX_TILE, OVERLAP
from data.errors import DataError
from data.pixels import pad_to_multiple
from data.tiles import tile_axis
from model.fcn import COARSEST_STRIDE
from model.runtime.averaging_engine import largest_tile
from model.runtime.tta import PLAIN, average

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn

    from data.sources.source import Source, Split
    from model.evaluate import Predict
    from model.fcn import FCN
    from model.runtime.tta import TtaConfig

TIMED_PICTURES: Final = 5
"""Pictures on which the cost of test-time augmentation is measured."""


@dataclass(frozen=True)
class TtaCost:
    """What test-time augmentation took, beside one pass on the same pictures in the same process.

    Attributes:
        flip: As asked for.
        scales: As asked for.
        passes: Runs of the network a picture.
        pictures: How many were timed.
        seconds_per_picture: Of all passes and their mean; the median.
        seconds_per_pass: Of one plain look; the median.
        ratio: Of the two.
    """

    flip: bool
    scales: tuple[float, ...]
    passes: int
    pictures: int
    seconds_per_picture: float
    seconds_per_pass: float
    ratio: float


def network_predict(network: FCN, tta: TtaConfig = PLAIN) -> Predict:
    """A network as a function from picture to label map, in 32-bit: whole pictures, or tiles of large ones.

    Args:
        network: In evaluation mode.
        tta: Test-time augmentation, by default none.
    """

    @torch.inference_mode()
    def predict(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        labels: NDArray[np.uint8] = _logits(network, image)[0].argmax(0).to(torch.uint8).numpy()
        return labels

    @torch.inference_mode()
    def probabilities(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
        found = _logits(network, image).softmax(dim=1)
        resized: NDArray[np.float32] = functional.interpolate(found, size, mode="bilinear", align_corners=False)[
            0
        ].numpy()
        return resized

    def predict_averaged(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        # Padded first, as a bundle's pictures are: mirrored, both have their padding on the same side.
        return average(pad_to_multiple(image, COARSEST_STRIDE), tta, probabilities)[0][:height, :width]

    if not tta.active:
        return _in_tiles(predict, MAX_TILE)
    scores = cast("nn.Conv2d", list(network.decoder.score_heads[0].children())[-1])
    tile = largest_tile(MAX_TILE, tta, scores.out_channels)  # as a bundle has it, so that both see the same
    return _in_tiles(predict_averaged, tile - tile % COARSEST_STRIDE)


def _in_tiles(predict: Predict, longest: int) -> Predict:
    """The same for pictures of any size: in the service's tiles, so that no more than one tile's logits are held."""

    def predict_tiles(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        label_map = np.empty(image.shape[:2], dtype=np.uint8)
        for row in tile_axis(image.shape[0], longest, OVERLAP, COARSEST_STRIDE):
            for column in tile_axis(image.shape[1], longest, OVERLAP, COARSEST_STRIDE):
                labels = predict(image[row.source, column.source])
                label_map[row.target, column.target] = labels[row.kept, column.kept]
        return label_map

    return predict_tiles


def _logits(network: FCN, image: NDArray[np.uint8]) -> torch.Tensor:
    logits: torch.Tensor = network(torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None])
    return logits


def measure_tta(augmented: Predict, plain: Predict, tta: TtaConfig, source: Source, split: Split) -> TtaCost:
    """Time both functions, turn by turn, on the first pictures of a split; each has one unmeasured run before.

    Args:
        augmented: Of several passes.
        plain: Of one.
        tta: The passes.
        source: Gives the pictures.
        split: Which of them.

    Raises:
        DataError: the split is empty.
    """
    count = min(TIMED_PICTURES, len(source.names(split)))
    if not count:
        raise DataError(f"split {split!r} has no picture to score")
    images = [source.load(split, index).image for index in range(count)]
    for predict in (augmented, plain):
        predict(images[0])
    seconds: dict[Predict, list[float]] = {augmented: [], plain: []}
    for image in images:
        for predict, taken in seconds.items():
            start = perf_counter()
            predict(image)
            taken.append(perf_counter() - start)
    several, one = (median(taken) for taken in seconds.values())
    return TtaCost(tta.flip, tta.scales, tta.passes, count, several, one, several / one)
