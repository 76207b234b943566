"""Random crops, flips and colours of training pictures: the only importer of albumentations."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Final

# Without it, importing albumentations asks a package registry for a newer release.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations
import cv2
import numpy as np

from data.labels import IGNORE_INDEX

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The data loader's processes are the parallelism; OpenCV's own threads would fight the training's.
cv2.setNumThreads(0)

_GREY: Final = 127

_SCALED_WHOLE: Final = 4_000_000
"""Most pixels of a picture that is zoomed whole and then cropped. Of a larger one the crop's window is cut first."""


class Augmentation:
    """One random crop of a labelled picture, the same for the same seed.

    Args:
        crop_size: Height and width of what comes out.
        scale: Smallest and largest zoom, drawn evenly between them.
        flip: Probability of a left-right flip.
        vertical_flip: Probability of an upside-down flip.
        colour: Strength of brightness, contrast, saturation (and a fifth of it, hue) changes.
    """

    def __init__(
        self,
        crop_size: tuple[int, int],
        scale: tuple[float, float],
        flip: float,
        vertical_flip: float,
        colour: float,
    ) -> None:
        height, width = crop_size
        self._crop_size = crop_size
        self._scale = scale
        self._least_side = math.ceil(1 / scale[0])
        zoom = albumentations.RandomScale((scale[0] - 1, scale[1] - 1), interpolation=cv2.INTER_LINEAR, p=1)
        steps: list[albumentations.BasicTransform] = [
            # What lies beyond a small picture is grey and ignored: no one labelled it.
            albumentations.PadIfNeeded(
                height, width, border_mode=cv2.BORDER_CONSTANT, fill=_GREY, fill_mask=IGNORE_INDEX, position="random"
            ),
            albumentations.RandomCrop(height, width),
            albumentations.HorizontalFlip(p=flip),
            albumentations.VerticalFlip(p=vertical_flip),
        ]
        if colour:
            steps.append(
                albumentations.ColorJitter(
                    brightness=(1 - colour, 1 + colour),
                    contrast=(1 - colour, 1 + colour),
                    saturation=(1 - colour, 1 + colour),
                    hue=(-colour / 5, colour / 5),
                    p=0.8,
                )
            )
        self._compose = albumentations.Compose([zoom, *steps])
        self._compose_zoomed = albumentations.Compose(steps)

    def __call__(
        self, image: NDArray[np.uint8], label_map: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Augment one picture.

        Args:
            image: RGB, shape (H, W, 3).
            label_map: Shape (H, W).
            seed: Decides everything random.

        Returns:
            Image and label map of the crop size.
        """
        # A zoom that left less than one row or column would have no picture to give back.
        below, right = (max(0, self._least_side - side) for side in label_map.shape)
        if below or right:
            image = np.pad(image, [(0, below), (0, right), (0, 0)], constant_values=_GREY)
            label_map = np.pad(label_map, [(0, below), (0, right)], constant_values=IGNORE_INDEX)
        compose = self._compose
        if label_map.size > _SCALED_WHOLE:
            compose = self._compose_zoomed
            image, label_map = self._zoomed_window(image, label_map, seed)
        compose.set_random_seed(seed)
        result = compose(image=image, mask=label_map)
        return result["image"], result["mask"]

    def _zoomed_window(
        self, image: NDArray[np.uint8], label_map: NDArray[np.uint8], seed: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """The crop's window, cut at the picture's own resolution and zoomed.

        Zoom and place are drawn as of a picture that is zoomed whole, only that no more than the window is touched: a
        picture of gigabytes may lie on disk. Where the picture is smaller than the window all of it is taken.
        """
        random = np.random.default_rng(seed)
        zoom = random.uniform(*self._scale)
        window, size = [], []
        for side, wanted in zip(label_map.shape, self._crop_size, strict=True):
            zoomed = int(side * zoom)
            length = side if zoomed <= wanted else min(side, math.ceil(wanted / zoom))
            start = int(random.integers(0, side - length + 1))
            window.append(slice(start, start + length))
            size.append(min(zoomed, wanted))
        height, width = size
        rows, columns = window
        image, label_map = np.ascontiguousarray(image[rows, columns]), np.ascontiguousarray(label_map[rows, columns])
        picture = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        labels = cv2.resize(label_map, (width, height), interpolation=cv2.INTER_NEAREST)
        return picture.astype(np.uint8, copy=False), labels.astype(np.uint8, copy=False)
