"""How near a picture is to the one that it should be: PSNR and SSIM, of bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PEAK: Final = 255

WINDOW: Final = 11
"""Side of SSIM's window; a smaller picture has no SSIM."""

_SIGMA: Final = 1.5
_C1: Final = (0.01 * PEAK) ** 2
_C2: Final = (0.03 * PEAK) ** 2


def psnr(restored: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Peak signal-to-noise ratio, 10 log10(255^2 / mean squared error), in dB.

    Args:
        restored: Any shape.
        picture: The same shape.

    Returns:
        Infinite where both are equal.
    """
    error = float(np.square(restored.astype(np.float64) - picture).mean())
    return 10 * math.log10(PEAK**2 / error) if error else math.inf


def ssim(restored: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Structural similarity: Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity".

    As in the paper: a Gaussian window of 11 x 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, where the whole window
    lies inside; the mean of the three colours. These are torchmetrics' values at those places, by separable filters
    in a tenth of its time; its mean takes in a border of windows over mirrored pixels as well.

    Args:
        restored: RGB, shape (H, W, 3).
        picture: The same shape.

    Returns:
        At most 1; NaN where a side is below 11 pixels.
    """
    if min(picture.shape[:2]) < WINDOW:
        return math.nan
    # Variances do not change when all values are shifted, and small ones lose fewer digits.
    x, y = (values.astype(np.float32) - PEAK / 2 for values in (restored, picture))
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x * x + y * y) - mean_x * mean_x - mean_y * mean_y
    covariance = _blur(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + PEAK / 2, mean_y + PEAK / 2
    over = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    under = (mean_x * mean_x + mean_y * mean_y + _C1) * (variances + _C2)
    return float((over / under).mean(dtype=np.float64))


def _blur(values: NDArray[np.float32]) -> NDArray[np.float32]:
    edge = WINDOW // 2
    blurred = cv2.GaussianBlur(values, (WINDOW, WINDOW), _SIGMA)
    return np.asarray(blurred, dtype=np.float32)[edge:-edge, edge:-edge]
