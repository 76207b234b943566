"""Pictures of the section: the original, its summary, what came back, and how far off it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
import numpy as np

from model.compare.gallery import data_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from model.compare.reconstruction.methods import MethodName
    from model.compare.reconstruction.results import Key, Part

SHOWN_METHODS: Final[tuple[MethodName, ...]] = (
    "nearest",
    "bilinear",
    "bicubic",
    "learned",
    "learned-wide",
    "learned-decoder",
    "autoencoder",
)
"""What learned-dense brings back looks as what learned does."""

BRIGHTEST: Final = 64
"""Error, of 255, from which on its map is brightest."""

_FRAME: Final = (255, 140, 0)


@dataclass(frozen=True)
class Strip:
    """One picture of the section.

    Attributes:
        name: Of the picture.
        whole: Caption and PNG as a data URL of the original, its summary and that of the autoencoder.
        details: The same of a window of the original and of what each method brought back.
        errors: The same of the autoencoder's summary in that window, and of each method's error.
    """

    name: str
    whole: list[tuple[str, str]]
    details: list[tuple[str, str]]
    errors: list[tuple[str, str]]


def show_reconstructions(
    originals: Mapping[str, NDArray[np.uint8]], parts: Mapping[Key, Part], seed: int, factor: int
) -> list[Strip]:
    """One strip for every picture that all methods kept.

    Args:
        originals: By name.
        parts: Of the experiment.
        seed: Whose pictures.
        factor: s.
    """
    chosen = {name: parts.get((name, None)) or parts.get((name, seed)) for name in SHOWN_METHODS}
    strips = []
    for picture, original in originals.items():
        mine = {name: part for name, part in chosen.items() if part is not None and picture in part.shown}
        if len(mine) == len(chosen):
            strips.append(_strip(picture, original, mine, factor))
    return strips


def _strip(picture: str, original: NDArray[np.uint8], parts: Mapping[MethodName, Part], factor: int) -> Strip:
    restored = {name: part.shown[picture].restored for name, part in parts.items()}
    window = _hardest(_error(restored["bilinear"], original), 16 * factor, factor)
    small = tuple(slice(part.start // factor, -(-part.stop // factor)) for part in window)
    code = parts["autoencoder"].shown[picture].summary
    scores = {name: part.psnr[part.pictures.index(picture)] for name, part in parts.items()}
    return Strip(
        name=picture,
        whole=[
            ("original", data_url(_framed(original, window))),
            ("its summary, enlarged", data_url(parts["bicubic"].shown[picture].summary)),
            ("the autoencoder's summary, enlarged", data_url(code)),
        ],
        details=[
            ("original", data_url(np.ascontiguousarray(original[window]))),
            *(
                (f"{name}\n{_decibels(scores[name])}", data_url(np.ascontiguousarray(image[window])))
                for name, image in restored.items()
            ),
        ],
        errors=[
            ("the autoencoder's\nsummary", data_url(np.ascontiguousarray(code[small]))),
            *(
                (f"error of\n{name}", data_url(_heat(_error(image, original)[window])))
                for name, image in restored.items()
            ),
        ],
    )


def _decibels(value: float) -> str:
    return f"{value:.1f} dB" if np.isfinite(value) else "exact"


def _error(restored: NDArray[np.uint8], original: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean absolute difference of the three colours, shape (H, W)."""
    difference: NDArray[np.float64] = np.abs(restored.astype(np.float64) - original).mean(axis=2)
    return difference


def _hardest(error: NDArray[np.float64], size: int, factor: int) -> tuple[slice, slice]:
    """The square window with the largest summed error, its corner on the summary's grid."""
    height, width = (min(size, side) for side in error.shape)
    sums = np.pad(error, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    on_grid = inside[::factor, ::factor]
    row, column = np.unravel_index(int(on_grid.argmax()), on_grid.shape)
    top, left = int(row) * factor, int(column) * factor
    return slice(top, top + height), slice(left, left + width)


def _framed(picture: NDArray[np.uint8], window: tuple[slice, slice]) -> NDArray[np.uint8]:
    """The picture with a frame around a window."""
    framed = picture.copy()
    thick = max(1, round(max(picture.shape[:2]) / 200))
    inner = tuple(slice(part.start + thick, part.stop - thick) for part in window)
    framed[window] = _FRAME
    framed[inner] = picture[inner]
    return framed


def _heat(error: NDArray[np.float64]) -> NDArray[np.uint8]:
    colours = mpl.colormaps["magma"](np.clip(error / BRIGHTEST, 0, 1))[..., :3]
    return np.ascontiguousarray((255 * colours).round().astype(np.uint8))
