"""Drawn pictures of textured figures: exact labels, thin structures, nothing to download."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from data.errors import ConfigError
from data.labels import LabelMap
from data.sources import geometry
from data.sources.painting import DISC, LINE, RING, SQUARE, STAR, TRIANGLE, Draws, Figure, Scene, draw_background, paint
from data.sources.source import Sample

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.sources.geometry import Point
    from data.sources.source import Split

LABELS: Final = LabelMap(
    names=("background", "disc", "triangle", "ring", "line", "star", "square"),
    palette=(
        (38, 43, 56),
        (230, 85, 75),
        (84, 190, 110),
        (70, 130, 225),
        (250, 215, 90),
        (175, 95, 215),
        (60, 195, 205),
    ),
)
"""Every figure takes any colour; form and texture tell the classes apart."""

_SPLITS: Final[dict[str, int]] = {"train": 0, "val": 1, "test": 2}


class ShapesSource:
    """Pictures drawn on demand; the same (seed, split, index) gives the same picture on every machine.

    A pixel's label is the topmost figure that holds its centre. Its colour is mixed by how much of it
    the figure covers, so edges lie between pixels as they do in photographs.

    Args:
        train_size: Number of training pictures.
        val_size: Number of validation pictures, and of test pictures.
        image_size: Height and width.
        seed: Not negative.

    Raises:
        ConfigError: a size is below 1 or the seed negative.
    """

    def __init__(self, train_size: int, val_size: int, image_size: tuple[int, int] = (192, 256), seed: int = 0) -> None:
        if train_size < 1 or val_size < 1 or min(image_size) < 1:
            raise ConfigError(
                f"shapes with train_size {train_size}, val_size {val_size}, image_size {image_size}: all are at least 1"
            )
        if seed < 0:
            raise ConfigError(f"shapes with seed {seed}: a seed is 0 or more")
        self._sizes = {"train": train_size, "val": val_size, "test": val_size}
        self._image_size = image_size
        self._seed = seed

    @property
    def label_map(self) -> LabelMap:
        """Background and six figures."""
        return LABELS

    def names(self, split: Split) -> list[str]:
        """``shapes_<split>_<index>``."""
        return [f"shapes_{split}_{index:05d}" for index in range(self._sizes[split])]

    def load(self, split: Split, index: int) -> Sample:
        """Draw one picture with its label map."""
        draws = Draws([self._seed, _SPLITS[split], index])
        image, label_map = _draw_scene(draws, *self._image_size)
        return Sample(f"shapes_{split}_{index:05d}", image, label_map)


def _draw_scene(draws: Draws, height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    # Figures keep their share of the picture, whatever its size.
    scale = max(math.sqrt(height * width / (192 * 256)), 0.1)
    hue = draws.uniform()
    canvas = draw_background(draws, height, width, scale, hue)
    scene = Scene(canvas, np.zeros((height, width), dtype=np.uint8), hue, draws.direction(), scale)
    for figure in _place_figures(draws, height, width, scale):
        paint(draws, scene, figure)
    grain = (draws.plane(height, width).astype(np.float32) - np.float32(0.5)) * np.float32(0.035)
    canvas += grain[..., None]
    image = np.floor(np.clip(canvas, 0.0, 1.0) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return image, scene.label_map


def _place_figures(draws: Draws, height: int, width: int, scale: float) -> list[Figure]:
    """Five or six figures of different classes and one or two lines, apart where there is room."""
    order = [DISC, TRIANGLE, RING, STAR, SQUARE]
    for last in range(len(order) - 1, 0, -1):
        other = draws.below(last + 1)
        order[last], order[other] = order[other], order[last]
    order += order[: draws.below(2)]
    placed: list[Figure] = []
    for label in order:
        radius = draws.uniform(20, 38) * scale
        best, best_room = (0.0, 0.0), -math.inf
        for _ in range(6):
            centre = (draws.uniform(0.04, 0.96) * width, draws.uniform(0.04, 0.96) * height)
            gaps = [
                math.sqrt((centre[0] - f.centre[0]) ** 2 + (centre[1] - f.centre[1]) ** 2) - f.radius for f in placed
            ]
            room = min(gaps, default=math.inf) - radius
            if room > best_room:
                best, best_room = centre, room
            if room > 0:
                break
        placed.append(_shape(draws, label, best, radius, scale))
    for _ in range(1 + draws.below(2)):
        placed.insert(draws.below(len(placed) + 1), _line(draws, height, width, scale))
    return placed


def _shape(draws: Draws, label: int, centre: Point, radius: float, scale: float) -> Figure:
    width = 0.0
    points: tuple[Point, ...] = ()
    if label == RING:
        width = max(draws.uniform(0.2, 0.45) * radius, 4.0 * scale, 2.0)
    if label == TRIANGLE:
        a, b = draws.uniform(0.7, 1.0), draws.uniform(-0.35, 0.35)
        points = tuple((radius * x, radius * y) for x, y in ((1.0, b), (-0.75, a), (-0.75, -a)))
    elif label == STAR:
        radius *= 1.15
        points = tuple(geometry.star(radius, draws.uniform(0.42, 0.55)))
    elif label == SQUARE:
        side, ratio = 0.8 * radius, draws.uniform(0.75, 1.0)
        points = tuple((side * x, side * ratio * y) for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1)))
    return Figure(label, centre, draws.direction(), radius, width, points)


def _line(draws: Draws, height: int, width: int, scale: float) -> Figure:
    """A bent stroke, 2 to 7 pixels wide at 192x256, mostly above 4."""
    along = draws.direction()
    reach = draws.uniform(0.3, 0.55) * math.sqrt(height * width)
    bend = draws.uniform(-0.3, 0.3) * reach
    points = ((-reach, 0.0), (draws.uniform(-0.3, 0.3) * reach, bend), (reach, draws.uniform(-0.3, 0.3) * reach))
    centre = (draws.uniform(0.25, 0.75) * width, draws.uniform(0.25, 0.75) * height)
    # The square root makes thin strokes rare: a network that predicts at stride 8 cannot follow them.
    stroke = max((2 + 5 * math.sqrt(draws.uniform())) * scale, 1.5)
    return Figure(LINE, centre, along, reach * 1.1, stroke, points)
