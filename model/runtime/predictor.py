"""Predictor: a picture of any size to its label map and confidence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import BundleError, ConfigError, ImageError
from data.pixels import pad_to_multiple
from data.tiles import tile_axis
from model.runtime.engine import DEFAULT_CONFIG, open_engine
from model.runtime.tta import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from model.runtime.bundle import Bundle
    from model.runtime.engine import Engine, EngineConfig
    from model.runtime.tta import TtaConfig

SCORES_BYTES: Final = 512 << 20
"""Of the scores of all classes of one tile, where the graph holds them: tiles are made smaller where there are many."""

MANY_TILES: Final = 6
"""Of a picture for which the engine prepares: it takes half as long as a tile."""

RELEASE_PIXELS: Final = 1 << 25
"""Of a picture after which the engine gives its memory back, 0.3 GB after tiles of 2048x2048: the next huge one is
decoded before it is labelled, and needs not find that memory taken. Taking it anew costs as much as half a tile."""

OVERLAP: Final = 256
"""Pixels that neighbouring tiles share, at least, where the tiles are large enough for it."""


@dataclass(frozen=True)
class Segmentation:
    """The answer for one picture.

    Attributes:
        label_map: Class indices, shape (H, W), uint8.
        confidence: Probability of that class, shape (H, W), uint8; 255 is 1.
    """

    label_map: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


class Predictor:
    """Runs a bundle on pictures of any size. Safe to call from several threads at once.

    Args:
        bundle: Checked bundle.
        config: Engine, precision, threads.
        max_tile: Longest side that is run in one piece, in pixels. Longer pictures are run in
            overlapping tiles, so memory is that of one tile and the answer. It is rounded down to the
            network's stride.
        overlap: Pixels that neighbouring tiles share, at least; half a tile at most.
        tta: Test-time augmentation; by default none. Its tiles are smaller.

    Raises:
        BundleError: the network cannot be loaded.
        ConfigError: ``max_tile`` is below the stride, the processor cannot do what ``config`` asks, or ``tta`` asks
            for mirror images of a network that was trained without any.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: EngineConfig = DEFAULT_CONFIG,
        max_tile: int = 2048,
        overlap: int = OVERLAP,
        tta: TtaConfig = PLAIN,
    ) -> None:
        stride = bundle.manifest.stride
        if max_tile < stride:
            raise ConfigError(f"max_tile is {max_tile}; the network needs at least its stride, {stride}")
        self.bundle = bundle
        self.engine: Engine
        if tta.active:
            from model.runtime.averaging_engine import AveragingEngine, largest_tile  # noqa: PLC0415 - heavy

            tta.refuse_for(bundle.manifest.provenance.get("recipe") or {}, bundle.root)
            self.engine = AveragingEngine(bundle, config, tta)
            max_tile = largest_tile(max_tile, tta, bundle.manifest.labels.num_classes)
        else:
            self.engine = open_engine(bundle, config)
            if self.engine.tail == "graph":
                scores = 4 * bundle.manifest.labels.num_classes
                max_tile = min(max_tile, max(stride, math.isqrt(SCORES_BYTES // scores)))
        self._stride = stride
        self._max_tile = max_tile - max_tile % stride
        self._overlap = overlap

    def predict(self, image: NDArray[np.uint8], before_tile: Callable[[], None] = lambda: None) -> Segmentation:
        """Label every pixel of one picture.

        Args:
            image: RGB, shape (H, W, 3), from 1x1 up.
            before_tile: Called before every tile. What it raises ends the work: a huge picture takes minutes,
                and who waits for it may be gone.

        Returns:
            Label map and confidence, both (H, W), at the picture's own size.

        Raises:
            ImageError: the shape or dtype is not as above.
        """
        _check(image)
        height, width = image.shape[:2]
        label_map = np.empty((height, width), dtype=np.uint8)
        confidence = np.empty((height, width), dtype=np.uint8)
        columns, rows = (tile_axis(n, self._max_tile, self._overlap, self._stride) for n in (width, height))
        if len(rows) * len(columns) >= MANY_TILES:
            # All are of one size, and each is padded as below.
            sides = (side + -side % self._stride for side in (rows[0].source.stop, columns[0].source.stop))
            self.engine.expect((1, *sides, 3))
        for row in rows:
            for column in columns:
                before_tile()
                # Each tile is padded by itself: a padded copy of a huge picture would double its memory.
                tile = pad_to_multiple(image[row.source, column.source], self._stride)
                labels, probabilities = self.engine.run(tile[None])
                label_map[row.target, column.target] = labels[0, row.kept, column.kept]
                confidence[row.target, column.target] = probabilities[0, row.kept, column.kept]
        if height * width > RELEASE_PIXELS:
            self.engine.release()
        return Segmentation(label_map, confidence)

    def warm_up(self) -> None:
        """Run one small picture: the first caller need not wait, and a network that cannot run is found out.

        Raises:
            BundleError: the network loads and does not run, as one whose size is fixed.
        """
        # Sides that are no multiples of twice the stride: the manifest's may be smaller than the network's.
        height, width = self._stride, 3 * self._stride
        try:
            self.predict(np.zeros((height, width, 3), dtype=np.uint8))
        except Exception as error:  # the engines' own errors have no common base
            reason = " ".join(str(error).split())[:300]
            raise BundleError(
                f"{self.bundle.model_path} cannot run a picture of {width}x{height} ({reason}): export the run again"
            ) from error


def _check(image: object) -> None:
    if not isinstance(image, np.ndarray):
        raise ImageError(f"a picture is a {type(image).__name__}; a numpy array is expected: numpy.asarray(picture)")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ImageError(f"a picture has shape {image.shape}; RGB of shape (height, width, 3) is expected")
    if image.dtype != np.uint8:
        raise ImageError(f"a picture has dtype {image.dtype}; uint8 with values from 0 to 255 is expected")
    if 0 in image.shape:
        raise ImageError(f"a picture is {image.shape[1]}x{image.shape[0]}; at least 1x1 is needed")
