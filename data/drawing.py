"""Label maps as pictures: palette PNG, coloured overlay, outline and legend."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from data.labels import LabelMap


def encode_label_png(label_map: NDArray[np.uint8], labels: LabelMap) -> bytes:
    """Palette PNG whose pixel values are the class indices and whose palette holds their colours.

    Level 1 compression: 0.7 ms and 13 KB at 640x480, where Pillow's ``optimize`` takes 21 ms.

    Args:
        label_map: Shape (H, W), uint8.
        labels: Gives the palette.
    """
    picture = Image.fromarray(np.ascontiguousarray(label_map))
    picture.putpalette(labels.colour_table.tobytes())
    return encode_png(picture)


def encode_png(picture: Image.Image | NDArray[np.uint8]) -> bytes:
    """A picture (or an array that makes one) as PNG bytes, quickly compressed."""
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(np.ascontiguousarray(picture))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def overlay(
    image: NDArray[np.uint8],
    label_map: NDArray[np.uint8],
    labels: LabelMap,
    opacity: float = 0.5,
    *,
    outline: int = 1,
) -> NDArray[np.uint8]:
    """Lay the class colours over a picture.

    Args:
        image: RGB, shape (H, W, 3).
        label_map: Shape (H, W). Ignored pixels (255) keep the picture.
        labels: Gives the palette.
        opacity: 0 shows the picture alone, 1 the colours alone.
        outline: Width in pixels of the borders between classes, drawn in the plain class colour; 0 draws none.

    Returns:
        RGB, shape (H, W, 3).

    Raises:
        ConfigError: the opacity is not between 0 and 1.
    """
    if not 0 <= opacity <= 1:
        raise ConfigError(f"opacity is {opacity}: 0 shows the picture alone, 1 the colours alone")
    # Weights in 1/256 keep the blend in integers: five times the speed of float at 640x480.
    weight = np.uint16(round(opacity * 256))
    colours = labels.colourise(label_map)
    mixed = np.multiply(colours, weight, dtype=np.uint16)
    mixed += np.multiply(image, np.uint16(256) - weight, dtype=np.uint16)
    mixed >>= np.uint16(8)
    result = mixed.astype(np.uint8)
    # By index: few pixels lie at a border, and a mask over three channels is looked at three times.
    flat = result.reshape(-1, 3)
    ignored = np.flatnonzero(label_map == 255)
    flat[ignored] = image.reshape(-1, 3)[ignored]
    if outline and opacity > 0:
        edge = np.flatnonzero(borders(label_map, outline) & (label_map != 255))
        flat[edge] = colours.reshape(-1, 3)[edge]
    return result


def borders(label_map: NDArray[np.uint8], width: int = 1) -> NDArray[np.bool_]:
    """Pixels at a border between labels, shape (H, W).

    Args:
        label_map: Shape (H, W), uint8.
        width: 1 takes pixels whose right or lower neighbour has another label, and those whose left or upper
            neighbour is ignored (so that a class among ignored pixels has its border all round); more widens
            that to both sides by turns, lower right first.
    """
    edge = np.zeros(label_map.shape, dtype=np.bool_)
    ignored = label_map == 255
    edge[:, :-1] |= label_map[:, :-1] != label_map[:, 1:]
    edge[:-1] |= label_map[:-1] != label_map[1:]
    edge[:, 1:] |= ignored[:, :-1] & ~ignored[:, 1:]
    edge[1:] |= ignored[:-1] & ~ignored[1:]
    return _widened(_widened(edge, width).T, width).T if width > 1 else edge


def _widened(edge: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Every marked pixel becomes ``width`` pixels downwards around it, by doubling."""
    before = (width - 1) // 2
    wide = np.pad(edge, ((0, before), (0, 0)))
    reach = 1
    while reach < width:
        step = min(reach, width - reach)
        wide[step:] |= wide[:-step].copy()
        reach += step
    return wide[before:]


def legend(labels: LabelMap, width: int) -> NDArray[np.uint8]:
    """A strip of named colour swatches, wrapped to ``width`` pixels, RGB, shape (h, width, 3)."""
    font = ImageFont.load_default(size=14)
    row_height, swatch, gap = 26, 14, 8
    x, y = gap, 0
    places: list[tuple[int, int]] = []
    for name in labels.names:
        needed = swatch + 6 + int(font.getlength(name)) + 2 * gap
        if x > gap and x + needed > width:
            x, y = gap, y + row_height
        places.append((x, y))
        x += needed
    strip = Image.new("RGB", (width, y + row_height), "white")
    draw = ImageDraw.Draw(strip)
    for (left, top), name, colour in zip(places, labels.names, labels.palette, strict=True):
        box = (left, top + 6, left + swatch, top + 6 + swatch)
        draw.rectangle(box, fill=tuple(colour), outline=(90, 90, 90))
        draw.text((left + swatch + 6, top + 13), name, fill=(30, 30, 30), font=font, anchor="lm")
    return np.asarray(strip)
