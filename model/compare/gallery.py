"""Pictures of the report: what changed between two arms, and where."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from data.drawing import encode_png, overlay
from data.labels import IGNORE_INDEX
from model.compare.config import BASELINE, Arm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from data.labels import LabelMap
    from model.compare.results import ArmResult

GAINED: Final = (0, 114, 178)
LOST: Final = (213, 94, 0)
OTHER: Final = (150, 150, 150)
LARGEST_SIDE: Final = 512


@dataclass(frozen=True)
class Shown:
    """One row of pictures.

    Attributes:
        title: Picture and arm.
        pictures: Caption and PNG as a data URL of each.
        gained: Share of labelled pixels that the arm has right and bilinear wrong, percent.
        lost: The other way round, percent.
    """

    title: str
    pictures: list[tuple[str, str]]
    gained: float
    lost: float


def show_changes(
    pictures: list[tuple[str, NDArray[np.uint8], NDArray[np.uint8]]],
    results: Mapping[Arm, ArmResult],
    labels: LabelMap,
) -> list[Shown]:
    """Every picture once, with the arm whose answer differs most from bilinear's.

    Args:
        pictures: Name, image and target.
        results: Of one seed, by arm.
        labels: Colours.
    """
    rows = []
    for name, image, target in pictures:
        best: tuple[int, ArmResult, ArmResult] | None = None
        for arm, result in results.items():
            base = results.get(Arm(BASELINE, arm.stride))
            if base is None or arm.upsampler == BASELINE or name not in result.shown or name not in base.shown:
                continue
            changed = int(np.count_nonzero(result.shown[name] != base.shown[name]))
            if best is None or changed > best[0]:
                best = changed, result, base
        if best is not None:
            rows.append(_row(name, image, target, best[1], best[2], labels))
    return rows


def _row(
    name: str, image: NDArray[np.uint8], target: NDArray[np.uint8], result: ArmResult, base: ArmResult, labels: LabelMap
) -> Shown:
    ours, theirs = result.shown[name], base.shown[name]
    labelled = target != IGNORE_INDEX
    gained = labelled & (ours == target) & (theirs != target)
    lost = labelled & (ours != target) & (theirs == target)
    changed = (ours != theirs) & ~gained & ~lost
    grey = (image.mean(axis=2, keepdims=True) * 0.35 + 160).repeat(3, axis=2).astype(np.uint8)
    for where, colour in ((changed, OTHER), (lost, LOST), (gained, GAINED)):
        grey[where] = colour
    window = _busiest(ours != theirs)
    steps = [
        ("picture", image),
        ("truth", overlay(image, target, labels)),
        (BASELINE, overlay(image, theirs, labels)),
        (result.arm.upsampler, overlay(image, ours, labels)),
        ("changed pixels", grey),
    ]
    shown = [(caption, data_url(_fit(picture))) for caption, picture in steps]
    shown += [(f"{caption}, enlarged", data_url(_enlarge(picture[window]))) for caption, picture in steps]
    total = max(1, int(labelled.sum()))
    return Shown(
        title=f"{name}, stride {result.arm.stride}",
        pictures=shown,
        gained=100 * float(gained.sum()) / total,
        lost=100 * float(lost.sum()) / total,
    )


def _busiest(changed: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The window, a quarter of each side, that holds the most changed pixels."""
    height, width = (max(1, side // 4) for side in changed.shape)
    sums = np.pad(changed.astype(np.int64), ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return slice(int(top), int(top) + height), slice(int(left), int(left) + width)


def _fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every n-th pixel of a large picture, so that the page stays small."""
    step = -(-max(picture.shape[:2]) // LARGEST_SIDE)
    return np.ascontiguousarray(picture[::step, ::step])


def _enlarge(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Whole multiples, so that single pixels are seen."""
    times = max(1, 256 // max(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def data_url(picture: NDArray[np.uint8]) -> str:
    """A picture (H, W, 3) inside a page."""
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode("ascii")
