"""Painting textured figures with exact labels; the arithmetic is that of ``geometry``, the same on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from data.sources import geometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.sources.geometry import Point

    _Plane = NDArray[np.float64]
    _Place = tuple[_Plane, _Plane, _Plane]

BACKGROUND, DISC, TRIANGLE, RING, LINE, STAR, SQUARE = range(7)


class Draws:
    """Random numbers from the raw stream of PCG64, which NumPy keeps for ever; its distributions may change."""

    def __init__(self, entropy: list[int]) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(entropy))

    def plane(self, height: int, width: int) -> NDArray[np.float64]:
        """Uniform in [0, 1), shape (height, width)."""
        raw = np.asarray(self._bits.random_raw(height * width), dtype=np.uint64)
        values: NDArray[np.float64] = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return values.reshape(height, width)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high)."""
        return low + (high - low) * (int(self._bits.random_raw()) >> 11) * 2.0**-53

    def below(self, count: int) -> int:
        """One of 0 to count - 1."""
        return int(self.uniform(0, count))

    def direction(self) -> Point:
        """A unit vector, by the rational parametrisation of the circle (no sin or cos)."""
        t = self.uniform(-1, 1)
        sign = 1.0 if self.uniform() < 0.5 else -1.0
        return sign * (1 - t * t) / (1 + t * t), sign * 2 * t / (1 + t * t)


@dataclass(frozen=True)
class Figure:
    """One figure to paint: its class, place (centre and the direction of its own x axis) and form."""

    label: int
    centre: Point
    axis: Point
    radius: float
    width: float = 0.0
    points: tuple[Point, ...] = ()

    def distance(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Signed distance in pixels; x and y in the figure's own frame."""
        if self.label == DISC:
            return geometry.disc(x, y, self.radius)
        if self.label == RING:
            return geometry.ring(x, y, self.radius - self.width / 2, self.width)
        if self.label == LINE:
            return geometry.polyline(x, y, self.points, self.width)
        return geometry.polygon(x, y, self.points)

    def own_frame(self, x: _Plane, y: _Plane) -> tuple[_Plane, _Plane]:
        """Turn offsets from the centre into the figure's own frame."""
        return self.axis[0] * x + self.axis[1] * y, self.axis[0] * y - self.axis[1] * x


@dataclass(frozen=True)
class Scene:
    """A picture while it is painted: canvas (H, W, 3), about 0 to 1, and label map (H, W), both written to."""

    canvas: NDArray[np.float32]
    label_map: NDArray[np.uint8]
    hue: float
    light: Point
    scale: float


def draw_background(draws: Draws, height: int, width: int, scale: float, hue: float) -> NDArray[np.float32]:
    """Cloudy mixture of two related colours under a slanting light, shape (H, W, 3), about 0 to 1."""
    dark = _rgb(hue, draws.uniform(0.15, 0.55), draws.uniform(0.2, 0.5))
    pale = _rgb(hue + draws.uniform(-0.12, 0.12), draws.uniform(0.1, 0.4), draws.uniform(0.5, 0.85))
    cloud = np.zeros((height, width), dtype=np.float32)
    for cell, share in ((80, 0.5), (30, 0.28), (11, 0.14), (4, 0.08)):
        cloud += share * _noise(draws, height, width, max(cell * scale, 1.5))
    rows, columns = (np.arange(height)[:, None] + 0.5) / height - 0.5, (np.arange(width) + 0.5) / width - 0.5
    slope = draws.direction()
    lighting = 1 + 0.35 * (slope[0] * columns + slope[1] * rows) - 0.35 * (rows * rows + columns * columns)
    blend = np.clip(1.6 * cloud - 0.3, 0.0, 1.0)[..., None]
    canvas: NDArray[np.float32] = dark.astype(np.float32) + (pale - dark).astype(np.float32) * blend
    canvas *= lighting.astype(np.float32)[..., None]
    return canvas


def _noise(draws: Draws, height: int, width: int, cell: float) -> NDArray[np.float32]:
    """Value noise in [0, 1): random values a ``cell`` apart, joined by 3t^2 - 2t^3 (Perlin, 1985)."""
    grid = draws.plane(int(height / cell) + 3, int(width / cell) + 3).astype(np.float32)
    # Columns first: whole rows of the result are then gathered at once.
    for axis, length in ((1, width), (0, height)):
        place = np.arange(length) / cell + draws.uniform()
        low = np.floor(place).astype(np.intp)
        t = place - low
        ease = (t * t * (3 - 2 * t)).astype(np.float32)
        first = np.take(grid, low, axis=axis)
        grid = first + (np.take(grid, low + 1, axis=axis) - first) * (ease if axis == 1 else ease[:, None])
    return grid


def paint(draws: Draws, scene: Scene, figure: Figure) -> None:
    """Lay one figure with its soft shadow onto the scene, and its class onto the label map."""
    height, width = scene.label_map.shape
    colours = _colours(draws, scene.hue)
    variant = draws.plane(1, 2)[0]
    reach = figure.radius + figure.width + 8 * scene.scale + 1
    top, bottom = max(0, int(figure.centre[1] - reach)), min(height, int(figure.centre[1] + reach) + 1)
    left, right = max(0, int(figure.centre[0] - reach)), min(width, int(figure.centre[0] + reach) + 1)
    if top >= bottom or left >= right:
        return
    canvas, label_map = scene.canvas[top:bottom, left:right], scene.label_map[top:bottom, left:right]
    x = np.arange(left, right) + 0.5 - figure.centre[0]
    y = np.arange(top, bottom)[:, None] + 0.5 - figure.centre[1]

    lift = min(3.0 * scene.scale, 1.5 if figure.label == LINE else 4.0)
    shade = figure.distance(*figure.own_frame(x - lift * scene.light[0], y - lift * scene.light[1]))
    near = shade < 1.25 * lift
    canvas[near] *= (1 - 0.45 * np.clip(0.5 - shade[near] / (2.5 * lift), 0.0, 1.0))[:, None].astype(np.float32)

    u, v = figure.own_frame(x, y)
    distance = figure.distance(u, v)
    label_map[distance < 0] = figure.label
    near = distance < 0.5
    depth = distance[near]
    fill = _texture(figure, (u[near], v[near], depth), colours, variant, scene.scale)
    # Share of the pixel's square on the inner side of a straight edge at this distance.
    coverage = np.clip(0.5 - depth, 0.0, 1.0)[:, None]
    canvas[near] += ((fill - canvas[near]) * coverage).astype(np.float32)


def _colours(draws: Draws, background_hue: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two tones of any hue but the background's."""
    hue = background_hue + draws.uniform(0.15, 0.85)
    saturation = draws.uniform(0.45, 0.9)
    value = draws.uniform(0.7, 1.0)
    return _rgb(hue, saturation, value), _rgb(hue + draws.uniform(-0.06, 0.06), saturation * 0.8, value * 0.5)


def _texture(
    figure: Figure, place: _Place, colours: tuple[_Plane, _Plane], variant: _Plane, scale: float
) -> NDArray[np.float64]:
    """Colour of a figure: spots on discs, stripes on triangles, checks on stars, a lattice on squares.

    Args:
        figure: Its class says which.
        place: Own coordinates and signed distance of the pixels, shape (n,) each.
        colours: The two tones.
        variant: Two numbers in [0, 1): how wide the pattern is, and which tone is the ground.
        scale: Of the picture.

    Returns:
        Shape (n, 3).
    """
    u, v, distance = place
    first, second = colours
    period = max((7 + 4 * float(variant[0])) * scale, 3.0)
    # Distance to the nearest multiple of the period, 0 to period / 2.
    across = np.abs(u - period * np.floor(u / period + 0.5))
    down = np.abs(v - period * np.floor(v / period + 0.5))
    if figure.label == DISC:
        tone = np.clip(0.5 + 0.33 * period - np.sqrt(across * across + down * down), 0.0, 1.0)
    elif figure.label == TRIANGLE:
        tone = np.clip(0.5 + 0.25 * period - across, 0.0, 1.0)
    elif figure.label == STAR:
        a, b = (np.clip(0.5 + 0.25 * period - side, 0.0, 1.0) for side in (across, down))
        tone = a + b - 2 * a * b
    elif figure.label == SQUARE:
        tone = np.clip(0.5 + 0.12 * period - np.minimum(across, down), 0.0, 1.0)
    elif figure.label == RING:
        depth = np.clip(-2 * distance / figure.width, 0.0, 1.0)
        tone = (1 - depth) * (1 - depth)
    else:
        tone = np.zeros(distance.shape)
    if variant[1] < 0.5 and figure.label in (DISC, TRIANGLE, STAR, SQUARE):
        tone = 1 - tone
    return np.asarray(first + (second - first) * tone[..., None], dtype=np.float64)


def _rgb(hue: float, saturation: float, value: float) -> NDArray[np.float64]:
    """Colour from hue (turns), saturation and value (Smith, 1978), shape (3,)."""
    turn = np.asarray([5.0, 3.0, 1.0]) + 6 * (hue - np.floor(hue))
    k = turn - 6 * np.floor(turn / 6)
    tint = np.clip(np.minimum(k, 4 - k), 0.0, 1.0)
    return np.asarray(value - value * saturation * tint, dtype=np.float64)
