"""Masks on disk to label maps: index, palette and coloured files, and the checks that every source makes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from data.bands import BAND_PIXELS, bands, count_pixels
from data.errors import DataError, ImageError, LabelError
from data.labels import IGNORE_INDEX
from data.limits import MOST_PIXELS
from data.pages import decode_pages, is_stack
from data.pixels import open_image

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from data.labels import LabelMap


def read_index_mask(path: Path) -> NDArray[np.uint8]:
    """Read a single-channel mask whose values are labels.

    Returns:
        Shape (H, W), uint8, values as they stand in the file.

    Raises:
        DataError: missing, damaged, or not single-channel.
    """
    image = open_mask(path)
    if image.mode not in ("1", "L", "P"):
        raise DataError(f"{path} has mode {image.mode}; a mask of class indices has one 8-bit channel")
    values = np.asarray(image)
    return values.astype(np.uint8)


def open_mask(path: Path) -> Image.Image:
    """Open and decode a mask file as it stands: no rotation, no conversion.

    Raises:
        DataError: missing or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"mask {path} cannot be read ({error.strerror}): every picture needs one") from None
    try:
        image = open_image(data, MOST_PIXELS)
        image.load()
    except ImageError as error:
        raise DataError(f"mask {path}: {error}") from None
    except MemoryError:
        raise DataError(f"mask {path} does not fit into memory") from None
    except Exception as error:  # Pillow's readers raise many kinds on damaged files
        raise DataError(f"mask {path} is damaged ({error}): write it again") from error
    return image


def remap_table(remap: Mapping[int, int]) -> NDArray[np.int32]:
    """The label that each label of up to 16 bits becomes, shape (65536,)."""
    table = np.arange(1 << 16, dtype=np.int32)
    for old, new in remap.items():
        table[old] = new
    return table


def decode_mask(
    image: Image.Image, labels: LabelMap, path: Path, remap: NDArray[np.int32] | None = None
) -> NDArray[np.uint8]:
    """Turn a mask picture of any usual kind into labels. Transparency is left out of account.

    - One channel (modes L, I, 1): the values are labels, unless every class of ``labelmap.txt`` has a grey
      (black and white masks): then they are colours.
    - Palette (mode P): with ``labelmap.txt`` the palette's colours are read if the palette has the colour of
      every class, or if all colours in use are known; else the indices are the labels.
    - TIFF of several pages: a binary plane a class; see ``decode_pages``.
    - Colours (RGB, RGBA): as ``labelmap.txt`` has them. Without one, three equal channels are taken as
      labels, and other colours as those of the VOC palette.

    Args:
        image: Decoded; see ``open_mask``.
        labels: ``explicit_colours`` tells whether its colours come from ``labelmap.txt``.
        path: For the messages.
        remap: From ``remap_table``.

    Returns:
        Shape (H, W), uint8. Labels may still lie outside the label map: see ``check_labels``.

    Raises:
        DataError: a kind of picture that holds no labels.
        LabelError: a colour that no class has, or a label above 255.
    """
    if image.format in ("JPEG", "MPO"):
        raise DataError(f"mask {path} is a JPEG, whose compression changes labels: export masks as PNG")
    try:
        if is_stack(image):
            return _narrow(decode_pages(image, labels.num_classes), remap)
        if image.mode in ("RGB", "RGBA"):
            return _narrow(_from_rgb(np.asarray(image)[..., :3], labels), remap)
        if image.mode in ("P", "PA"):
            return _narrow(_from_palette(image, labels), remap)
        if image.mode in ("1", "L", "LA", "I") or image.mode.startswith("I;16"):
            return _narrow(_from_grey(image, labels), remap)
    except LabelError as error:
        raise LabelError(f"mask {path}: {error}") from None
    if image.mode == "F":
        raise DataError(f"mask {path} holds floating values, and labels are whole: save it with 8 or 16 bits a pixel")
    raise DataError(f"mask {path} has mode {image.mode}: write it as a PNG of class indices or of colours")


def decode_in_bands(
    image: Image.Image, labels: LabelMap, path: Path, remap: NDArray[np.int32] | None = None
) -> Iterator[NDArray[np.uint8]]:
    """``decode_mask`` of some rows at a time, from the top; of coloured masks and stacks all rows at once.

    Whether a palette's indices or its colours are the labels is decided by all that are in use.

    Raises:
        DataError, LabelError: as in ``decode_mask``.
    """
    if image.mode not in ("L", "P", "I", "I;16") or labels.explicit_colours or is_stack(image):
        yield decode_mask(image, labels, path, remap)
        return
    for top, bottom in bands((image.height, image.width)):
        yield decode_mask(image.crop((0, top, image.width, bottom)), labels, path, remap)


def _from_rgb(colours: NDArray[np.uint8], labels: LabelMap) -> NDArray[np.uint8]:
    if not labels.explicit_colours:
        grey: NDArray[np.uint8] = colours[..., 0]
        known = (grey < labels.num_classes) | (grey == IGNORE_INDEX)
        if known.all() and (colours[..., 1] == grey).all() and (colours[..., 2] == grey).all():
            return np.ascontiguousarray(grey)
    return labels.from_colours(colours)


def _from_palette(image: Image.Image, labels: LabelMap) -> NDArray[np.uint8]:
    indices = _values(image if image.mode == "P" else image.getchannel(0)).astype(np.uint8, copy=False)
    flat = image.getpalette("RGB") or []
    palette = [(flat[at], flat[at + 1], flat[at + 2]) for at in range(0, len(flat) - 2, 3)]
    if not labels.explicit_colours:
        return indices
    used = [int(index) for index in np.flatnonzero(count_pixels(indices))]
    known = {colour: index for index, colour in reversed(list(enumerate((*labels.palette, labels.ignore_colour))))}
    shown = {index: palette[index] if index < len(palette) else (0, 0, 0) for index in used}
    by_colour = set(labels.palette) <= set(palette) or all(colour in known for colour in shown.values())
    # Indices that contradict the colours which are known: one of the two is wrong, so neither is trusted.
    torn = any(known.get(colour, index) not in (index, labels.num_classes) for index, colour in shown.items())
    if by_colour or torn:
        table = np.zeros((256, 3), dtype=np.uint8)
        table[: len(palette)] = palette
        return labels.from_colours(table[indices])
    return indices


def _from_grey(image: Image.Image, labels: LabelMap) -> NDArray[Any]:
    values = _values(image.getchannel(0) if image.mode == "LA" else image)
    greys = {colour[0] for colour in labels.palette if len(set(colour)) == 1}
    if labels.explicit_colours and len(greys) == labels.num_classes:
        if image.mode == "1" and 255 in greys:
            values = values * np.uint8(255)
        if values.dtype != np.uint8 and values.min(initial=0) >= 0 and values.max(initial=0) <= IGNORE_INDEX:
            values = values.astype(np.uint8)
        if values.dtype == np.uint8:
            return labels.from_colours(np.repeat(values[..., None], 3, axis=2))
    return values


def _values(image: Image.Image) -> NDArray[Any]:
    """The values of one channel. Pillow would copy the whole of a huge mask three times on its way into an array."""
    if image.width * image.height <= BAND_PIXELS:
        return np.asarray(image)
    found: NDArray[Any] | None = None
    for top, bottom in bands((image.height, image.width)):
        part = np.asarray(image.crop((0, top, image.width, bottom)))
        if found is None:
            found = np.empty((image.height, image.width), dtype=part.dtype)
        found[top:bottom] = part
    return np.asarray(found)


def _narrow(values: NDArray[Any], remap: NDArray[np.int32] | None) -> NDArray[np.uint8]:
    """Labels of any width, remapped, in 8 bits."""
    if values.dtype == np.bool_:  # of one bit; truths would choose rows of a table, and not be looked up
        values = values.astype(np.uint8)
    least, top = int(values.min(initial=0)), int(values.max(initial=0))
    if remap is not None and least >= 0 and top < len(remap):
        if top > IGNORE_INDEX:
            values = remap[values.astype(np.int32, copy=False)]
            top = int(values.max(initial=0))
        else:
            values = remap[: IGNORE_INDEX + 1].astype(np.uint8)[values]
    if top > IGNORE_INDEX or least < 0:
        wrong = top if top > IGNORE_INDEX else least
        mapped = f", or map it: --data.remap.{wrong} 255 ignores it (in fcn data check: --remap.{wrong} 255)"
        raise LabelError(
            f"holds label {wrong}; labels lie between 0 and 254, and 255 is ignored: write it with the class indices "
            f"of labels.txt{mapped if 0 < wrong < 1 << 16 else ''}"
        )
    return values.astype(np.uint8, copy=False)


def check_labels(mask: NDArray[np.uint8], labels: LabelMap, path: Path) -> None:
    """Refuse labels that no class has.

    Raises:
        LabelError: names the labels found, those known, and the two ways to mend it.
    """
    counts = count_pixels(mask)
    counts[: labels.num_classes] = 0
    counts[IGNORE_INDEX] = 0
    wrong = np.flatnonzero(counts)
    if wrong.size:
        shown = ", ".join(str(int(label)) for label in wrong[:8]) + (", ..." if wrong.size > 8 else "")
        # One label too many at the upper end is what counting from 1 looks like.
        shifted = ". If the labels count from 1, name label 0 too" if wrong.tolist() == [labels.num_classes] else ""
        raise LabelError(
            f"mask {path} holds label {shown} ({int(counts.sum())} pixels); the label map names "
            f"0..{labels.num_classes - 1} and 255 is ignored: add a name, or read it as ignored with "
            f"--data.remap.{wrong[0]} 255 (in fcn data check: --remap.{wrong[0]} 255){shifted}"
        )


def refuse_one_class(labels: LabelMap) -> None:
    """Refuse a label map of one class: every pixel is that class, and a network has nothing to learn.

    Raises:
        LabelError: says how to name what surrounds the class.
    """
    if labels.num_classes < 2:
        raise LabelError(
            f"the label map names {labels.names[0]!r} alone; two classes are needed, as every pixel gets one of them: "
            f"name what is not {labels.names[0]!r} too, in the order of the labels (background, often 0, comes first)"
        )


def refuse_black_and_white(counts: NDArray[np.int64], labels: LabelMap) -> None:
    """Refuse a set whose masks hold 0 and 255 and nothing else: white was surely meant as a class, not as ignored.

    One such mask can be right, a whole set cannot: nothing but the first class would be learnt, in silence.

    Args:
        counts: Pixels of each label from 0 to 255 in the whole set, shape (256,).
        labels: Two classes or more.

    Raises:
        LabelError: says so and how to make 255 a class.
    """
    others = int(counts[1:IGNORE_INDEX].sum())
    if labels.num_classes > 1 and counts[0] and counts[IGNORE_INDEX] and not others:
        raise LabelError(
            f"the masks hold only 0 and 255, and 255 means ignored: not one pixel is {labels.names[1]!r}. If white "
            f"means {labels.names[1]!r}, read it so with --data.remap.255 1 (in fcn data check: --remap.255 1), or "
            "give black and white as colours in labelmap.txt"
        )


def same_size(image: NDArray[np.uint8], mask: NDArray[np.uint8], image_path: Path, mask_path: Path) -> None:
    """Refuse a mask that does not cover its picture pixel by pixel.

    Raises:
        DataError: names both files and sizes.
    """
    if image.shape[:2] != mask.shape[:2]:
        (height, width), (mask_height, mask_width) = image.shape[:2], mask.shape[:2]
        raise DataError(
            f"{image_path} is {width}x{height} but its mask {mask_path} is {mask_width}x{mask_height}: "
            "both must have the same size (is the picture turned by its EXIF orientation?)"
        )
