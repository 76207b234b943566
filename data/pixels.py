"""Bytes to an upright RGB picture, within limits; padding to the network's stride and back."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from data.bands import bands
from data.colour import BAND_PIXELS, RgbConversion
from data.errors import CorruptImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from data.headers import FORMATS, check_header, check_tiff, kind_of, unidentified
from data.limits import MAX_PIXELS, MOST_PIXELS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

ENDINGS: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}
)
"""What files of these formats are called, in small letters."""

# Pillow's own check stays on as a second lock behind the limits above: it warns above this and refuses above twice
# this. Its default would warn of pictures that are read here on purpose, an error under python -W error.
Image.MAX_IMAGE_PIXELS = MOST_PIXELS

_STORED: Final[Mapping[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}
"""For each EXIF orientation (EXIF 2.3, table 4.6.6), the upright picture seen the way its file stores it."""


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode one picture as a viewer would show it.

    EXIF orientation is applied, the first frame of several is taken, and colours become sRGB in 8 bits as
    ``RgbConversion`` says.

    Args:
        data: The file's bytes.
        max_pixels: Most pixels (width times height) that are decoded.

    Returns:
        RGB, shape (H, W, 3), C-contiguous.

    Raises:
        UnsupportedImageError: empty, or in none of ``FORMATS``.
        ImageTooLargeError: more than ``max_pixels``.
        CorruptImageError: truncated or damaged.
    """
    with open_image(data, max_pixels) as image:
        try:
            return _as_rgb(image)
        except ImageError:
            raise
        except MemoryError:
            raise ImageTooLargeError("the picture does not fit into memory: send a smaller one") from None
        except Exception as error:  # Pillow's readers raise many kinds on damaged files
            raise _corrupt(error) from error


def read_image(path: Path, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """``decode_image`` for a file; the message of every error names it.

    Raises:
        ImageError: the file is missing or unreadable, or as in ``decode_image``.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from None
    try:
        return decode_image(data, max_pixels)
    except ImageError as error:
        raise type(error)(f"{path}: {error}") from error


def open_image(data: bytes, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open a picture lazily: format and size are checked from its header, no pixel is decoded.

    Raises:
        UnsupportedImageError, ImageTooLargeError, CorruptImageError: as in ``decode_image``.
    """
    if not data:
        raise UnsupportedImageError("the picture is empty (0 bytes)")
    kind = kind_of(data)
    check_header(data, kind)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageTooLargeError("the picture has more pixels than can be read: make it smaller") from None
    except UnidentifiedImageError:
        raise unidentified(data, kind) from None
    except Exception as error:
        raise _corrupt(error) from error
    width, height = image.size
    if width < 1 or height < 1:
        raise CorruptImageError(f"the header gives {width}x{height} pixels: the picture is damaged")
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"the picture has {width}x{height} = {width * height} pixels; at most {max_pixels} are read: "
            "make it smaller or raise the limit"
        )
    if image.format == "TIFF":
        check_tiff(image)
    return image


def stored_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int, int]:
    """A picture's width and height as its file stores it, and its EXIF orientation, without decoding a pixel.

    Returns:
        Width, height, and 1 to 8; from 5 on the upright picture has the two sides exchanged.

    Raises:
        ImageError: as in ``read_image``.
    """
    try:
        with open_image(path.read_bytes(), max_pixels) as image:
            return *image.size, _orientation(image)
    except OSError as error:
        raise ImageError(f"{path} cannot be read: {error.strerror}") from None
    except ImageError as error:
        raise type(error)(f"{path}: {error}") from error


def upright(stored: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn labels that lie as a file stores its picture the way the upright picture lies.

    Args:
        stored: Shape (h, w).
        orientation: Of the picture, EXIF's 1 to 8.
    """
    found = np.empty(stored.T.shape if orientation > 4 else stored.shape, dtype=np.uint8)
    _STORED[orientation](found[..., None])[..., 0] = stored
    return found


def _corrupt(error: Exception) -> CorruptImageError:
    return CorruptImageError(f"the picture is damaged or truncated ({error}): send the whole file again")


def _as_rgb(image: Image.Image) -> NDArray[np.uint8]:
    image.load()
    orientation = _orientation(image)
    width, height = image.size
    upright = np.empty((width, height, 3) if orientation > 4 else (height, width, 3), dtype=np.uint8)
    stored = _STORED[orientation](upright)
    convert = RgbConversion(image)
    pieces = bands((height, width), BAND_PIXELS)
    for top, bottom in pieces:
        # Turned while it is copied, and piece by piece: a second whole picture would double the memory.
        stored[top:bottom] = convert(image if len(pieces) == 1 else image.crop((0, top, width, bottom)))
    return upright


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8. Damaged EXIF data is no reason to refuse the picture: viewers show it too."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - the parser raises whatever the damage leads to
        return 1
    return orientation if isinstance(orientation, int) and orientation in _STORED else 1


def pad_to_multiple(image: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """Repeat the last row and column until both sides are multiples of ``multiple``.

    Args:
        image: Shape (H, W, ...), H and W at least 1.
        multiple: At least 1.

    Returns:
        The same array when nothing is missing, else a larger copy. ``padded[:H, :W]`` is the picture.
    """
    height, width = image.shape[:2]
    below, right = -height % multiple, -width % multiple
    if not below and not right:
        return image
    return np.pad(image, [(0, below), (0, right)] + [(0, 0)] * (image.ndim - 2), mode="edge")
