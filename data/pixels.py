"""Bytes to an upright RGB picture, within limits; padding to the network's stride and back."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from data.errors import CorruptImageError, ImageError, ImageTooLargeError, UnsupportedImageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

FORMATS: Final = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""What is read. Closed on purpose: Pillow's long tail of readers is where hostile files find faults.

JPEG opens the two-picture MPO files of cameras and telephones too; MPO has no reader of its own."""

ENDINGS: Final = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}
)
"""What files of these formats are called, in small letters."""

MAX_PIXELS: Final = 89_000_000
"""Default limit, checked from the header before a pixel is decoded. Pillow warns of bombs a little above."""

MAX_SCANS: Final = 100
"""Most scans of a JPEG. Progressive files have about ten. Each takes a pass over all pixels and few bytes."""

_JPEG_MARKER: Final = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
"""A marker with a length, or the end; within a scan's data FF is followed by 00 or a restart."""

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of each EXIF orientation upright."""


def decode_image(data: bytes, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode one picture as a viewer would show it.

    EXIF orientation is applied, palette and grey become RGB, 16-bit values are scaled to 8 bits,
    transparent pixels are laid over white, CMYK is converted, the first frame of several is taken.

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
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        # Pillow's own bound stays as a second lock; it warns from half of it on, which -W error turns into this.
        raise ImageTooLargeError("the picture has more pixels than can be read: make it smaller") from None
    except UnidentifiedImageError:
        raise UnsupportedImageError(
            f"these {len(data)} bytes are not a picture in a known format: send one of {', '.join(FORMATS)}"
        ) from None
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
    if image.format in ("JPEG", "MPO") and _too_many_scans(data):
        raise CorruptImageError(f"the JPEG has more than {MAX_SCANS} scans, which no camera writes: save it again")
    return image


def _too_many_scans(data: bytes) -> bool:
    """Whether decoding would go over the picture more than ``MAX_SCANS`` times: a few MB could then take hours."""
    place, scans = 2, 0
    while scans <= MAX_SCANS and (marker := _JPEG_MARKER.search(data, place)) and marker[0] != b"\xff\xd9":
        scans += marker[0] == b"\xff\xda"
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return scans > MAX_SCANS


def _corrupt(error: Exception) -> CorruptImageError:
    return CorruptImageError(f"the picture is damaged or truncated ({error}): send the whole file again")


def _as_rgb(image: Image.Image) -> NDArray[np.uint8]:
    image.load()
    upright = _upright(image)
    if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
        return np.repeat(_eight_bits(np.asarray(upright))[:, :, None], 3, axis=2)
    if upright.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in upright.info:
        rgba = upright.convert("RGBA")
        canvas = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        canvas.alpha_composite(rgba)
        upright = canvas
    rgb = upright if upright.mode == "RGB" else upright.convert("RGB")
    return np.array(rgb, dtype=np.uint8)  # a copy: asarray gives one that cannot be written to, and torch warns


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation. Damaged EXIF data is no reason to refuse the picture: viewers show it too."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - the parser raises whatever the damage leads to
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _eight_bits(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey values of 16 bits (or wider, or floating) to 8 bits.

    16-bit pictures are scaled by 257, so 65535 becomes 255 whatever the picture holds. Wider
    integers that stay within 16 bits are taken as 16-bit (Pillow reads 16-bit PNG as mode I).
    Floating values are taken as 0 to 1 when they stay within it, else as 0 to their largest.
    """
    grey = np.empty(values.shape, dtype=np.uint8)
    if np.issubdtype(values.dtype, np.floating):
        top = max(1.0, float(values.max(initial=0.0, where=np.isfinite(values))))
        for out, band in zip(_bands(grey), _bands(values), strict=True):
            finite = np.nan_to_num(band.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
            out[:] = np.rint(np.clip(finite / top, 0.0, 1.0) * 255)
        return grey
    top_value = max(65535, int(values.max(initial=0)))
    for out, band in zip(_bands(grey), _bands(values), strict=True):
        out[:] = (np.clip(band.astype(np.int64), 0, None) * 255 + top_value // 2) // top_value
    return grey


def _bands(values: NDArray[Any]) -> list[NDArray[Any]]:
    """A picture in pieces of about a megapixel: 64-bit copies of the whole of a large one would take gigabytes."""
    return np.array_split(values, -(-values.size // 1_000_000))


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
