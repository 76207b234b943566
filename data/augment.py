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
        self._least_side = math.ceil(1 / scale[0])
        steps: list[albumentations.BasicTransform] = [
            albumentations.RandomScale((scale[0] - 1, scale[1] - 1), interpolation=cv2.INTER_LINEAR, p=1),
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
        self._compose = albumentations.Compose(steps)

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
        self._compose.set_random_seed(seed)
        result = self._compose(image=image, mask=label_map)
        return result["image"], result["mask"]
