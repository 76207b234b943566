"""Huge pictures: decoded once, band by band, into a file without a name, of which only windows are touched afterwards.

A picture of 20000x20000 pixels takes 1.2 GB decoded, and Pillow holds it twice. libvips reads PNG, JPEG, TIFF and WebP
row by row in some 200 MB, whatever their size; only a progressive JPEG is held whole, as its coefficients.
"""

from __future__ import annotations

import mmap
import tempfile
import threading
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from data.bands import bands
from data.errors import CorruptImageError, DataError, ImageError, ImageTooLargeError, UnsupportedImageError
from data.headers import FORMATS, check_header, kind_of
from data.limits import MOST_PIXELS
from data.pixels import read_image

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyvips
    from numpy.typing import NDArray

HUGE_PIXELS: Final = 40_000_000
"""Pictures of more pixels are kept in a file. 40 megapixels are 120 MB decoded."""

_KINDS: Final = frozenset({"JPEG", "PNG", "TIFF", "WebP"})
_WIDTHS: Final = {"uchar": np.uint8, "ushort": np.uint16}

ONE_AT_A_TIME: Final = threading.Lock()
"""Held while a huge picture or its mask is decoded: eight at once would take eight times the memory."""


def read_picture(path: Path, folder: Path | None = None) -> NDArray[np.uint8]:
    """A picture as ``read_image`` gives it; a huge one as a read-only map of a file that goes when the map goes.

    Args:
        path: Of the picture.
        folder: Where that file lies; the system's folder for temporary files by default.

    Returns:
        RGB, shape (H, W, 3).

    Raises:
        ImageError: as in ``read_image``; or the picture is huge and of a kind that cannot be read in bands.
        DataError: the file cannot be written.
    """
    if not is_huge(path):
        return read_image(path)
    with ONE_AT_A_TIME:
        try:
            return _decode(path, folder)
        except ImageError as error:
            raise type(error)(f"{path}: {error}") from error


def is_huge(path: Path) -> bool:
    """Whether a file's header tells of more than ``HUGE_PIXELS``; faults are left to who reads it."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.width * image.height > HUGE_PIXELS
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return True
    except Exception:  # noqa: BLE001 - the parsers raise whatever the damage leads to
        return False


def write_map(parts: Iterator[NDArray[np.uint8]], shape: tuple[int, ...], folder: Path | None) -> NDArray[np.uint8]:
    """Keep rows in a file without a name. They are written, not mapped: pages of a map would count as memory.

    Args:
        parts: Rows from the top, of the shape's width.
        shape: Of the whole.
        folder: As in ``read_picture``.

    Returns:
        A read-only map of them.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        file: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - the map keeps it open
        with file:
            for part in parts:
                file.write(np.ascontiguousarray(part).data)
            file.flush()
            return np.memmap(file, dtype=np.uint8, mode="r", shape=shape)
    except OSError as error:
        raise DataError(
            f"the cache of decoded pictures cannot be written ({error.strerror}): free some disk, or choose another "
            "folder with --loader.cache_dir or TMPDIR"
        ) from error


def _decode(path: Path, folder: Path | None) -> NDArray[np.uint8]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        kind = kind_of(data[:64])
        check_header(data, kind)  # type: ignore[arg-type]  # a map of a file is searched and cut like bytes
    if kind not in _KINDS:
        raise UnsupportedImageError(
            f"a picture of more than {HUGE_PIXELS} pixels is read from {', '.join(sorted(_KINDS))}: save it as one"
        )
    pyvips = _library()
    try:
        # A turned picture is not read in the order of its rows: libvips keeps it in a file of its own meanwhile.
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="error")
        if image.get_typeof("orientation") and image.get("orientation") > 1:
            image = pyvips.Image.new_from_file(str(path), access="random", fail_on="error").autorot()
        if image.width * image.height > MOST_PIXELS:
            raise ImageTooLargeError(
                f"the picture has {image.width}x{image.height} pixels; at most {MOST_PIXELS} are read"
            )
        if image.format not in _WIDTHS:
            raise UnsupportedImageError(
                f"the picture has values of kind {image.format}: save it with 8 or 16 bits a colour"
            )
        if image.get_typeof("icc-profile-data") and _fits(pyvips.Image.new_from_file(str(path), access="sequential")):
            image = _by_profile(image)
        elif image.interpretation == "cmyk":
            image = image.colourspace("srgb")
        return write_map(_rows(image), (image.height, image.width, 3), folder)
    except pyvips.Error as error:
        raise CorruptImageError(f"the picture is damaged or truncated ({' '.join(str(error).split())})") from None


def _library() -> Any:  # noqa: ANN401 - a module
    try:
        import pyvips  # noqa: PLC0415 - 20 MB that few need
    except ImportError:
        raise UnsupportedImageError(
            f"a picture of more than {HUGE_PIXELS} pixels needs pyvips: pip install 'fcn-segmenter[train]'"
        ) from None
    # Its cache would give out what a file held before it was written anew.
    pyvips.cache_set_max(0)
    return pyvips


def _by_profile(image: pyvips.Image) -> pyvips.Image:
    """Colours in sRGB by the picture's own profile."""
    depth = 16 if image.format == "ushort" else 8
    return image.icc_transform("srgb", embedded=True, intent="perceptual", depth=depth)


def _fits(image: pyvips.Image) -> bool:
    """Whether a picture's profile is sound and of its kind of colours: this is told by the first pixel."""
    import pyvips  # noqa: PLC0415 - as above

    try:
        _by_profile(image.crop(0, 0, 1, 1)).avg()
    except pyvips.Error:
        return False
    return True


def _rows(image: pyvips.Image) -> Iterator[NDArray[np.uint8]]:
    import pyvips  # noqa: PLC0415 - as above

    region = pyvips.Region.new(image)
    for top, bottom in bands((image.height, image.width), 2_000_000):
        data = region.fetch(0, top, image.width, bottom - top)
        values = np.frombuffer(data, dtype=_WIDTHS[image.format]).reshape(bottom - top, image.width, image.bands)
        if values.dtype != np.uint8:
            values = ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
        colours = values[..., :3] if image.bands > 2 else np.repeat(values[..., :1], 3, axis=2)
        if image.bands in (2, 4):
            # Transparent pixels are laid over white, as in smaller pictures.
            alpha = values[..., -1:].astype(np.uint16)
            colours = ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        yield colours
