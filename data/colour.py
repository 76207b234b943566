"""Colour: pixels of any depth and colour space to 8-bit RGB as a viewer shows them, a band of rows at a time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image, ImageCms

from data.bands import bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

BAND_PIXELS: Final = 1_000_000
"""Pixels converted at once: wide or second copies of the whole of a large picture would take gigabytes."""

_WITH_ALPHA: Final = ("RGBA", "LA", "PA", "RGBa", "La")
_PROFILE_MODES: Final = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""A profile's colour space, as ICC.1 names it, and the mode of the pixels that it describes."""

_PHOTOMETRIC: Final = 262
_MIN_IS_WHITE: Final = 0
"""TIFF's tag and its value when 0 is white. Pillow sees to it up to 8 bits alone."""

_SAMPLE_FORMAT: Final = 339
_SIGNED: Final = 2
"""TIFF's tag and its value for integers below 0. Pillow has no others of 32 bits, so that large ones without a sign
come out below 0."""

_PROBES: Final = np.asarray(
    [(r, g, b) for r in (0, 128, 255) for g in (0, 128, 255) for b in (0, 128, 255)], dtype=np.uint8
)[None]


class RgbConversion:
    """How the pixels of one picture become RGB.

    - 16-bit grey is scaled by 257, so 65535 becomes 255 whatever the picture holds. Wider integers that stay
      within 16 bits are taken as 16-bit. Floating values are taken as 0 to 1 when they stay within it, else as
      0 to their largest.
    - An embedded ICC profile is followed (perceptual intent), as colour-managed viewers do; one that cannot be
      read, or that describes other pixels than there are, is left out of account.
    - CMYK without a profile is converted by the plain formula.
    - Transparent pixels are laid over white.

    Args:
        image: Decoded.
    """

    def __init__(self, image: Image.Image) -> None:
        self._deep = image.mode.startswith("I;16") or image.mode in ("I", "F")
        tags = getattr(image, "tag_v2", {})
        self._unsigned = image.mode == "I" and bool(tags) and _SIGNED not in tags.get(_SAMPLE_FORMAT, ())
        self._top = _largest(image, unsigned=self._unsigned) if image.mode in ("I", "F") else 65535.0
        self._inverted = self._deep and tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE
        self._clear = image.info.get("transparency")
        self._profiled, self._to_srgb = _profile(image)

    def __call__(self, band: Image.Image) -> NDArray[np.uint8]:
        """Convert some rows.

        Args:
            band: Part of the picture, of the same mode.

        Returns:
            RGB, shape (h, w, 3). May not be writeable.
        """
        alpha: Image.Image | None = None
        if self._deep:
            values = _values(band, unsigned=self._unsigned)
            if isinstance(self._clear, int):
                alpha = Image.fromarray(np.where(values == self._clear, 0, 255).astype(np.uint8))
            grey = _eight_bits(values, self._top)
            band = Image.fromarray(255 - grey if self._inverted else grey)
        elif band.mode in _WITH_ALPHA or self._clear is not None:
            rgba = (band.convert("LA") if band.mode == "La" else band).convert("RGBA")
            alpha, band = rgba.getchannel("A"), rgba.convert("RGB")
        elif band.mode not in ("L", "CMYK", "RGB"):
            band = band.convert("RGB")
        if self._to_srgb is not None and band.mode == self._profiled:
            band = self._to_srgb.apply(band)
        rgb = band if band.mode == "RGB" else band.convert("RGB")
        if alpha is not None and alpha.getextrema() != (255, 255):
            rgb.putalpha(alpha)
            canvas = Image.new("RGBA", rgb.size, (255, 255, 255, 255))
            canvas.alpha_composite(rgb)
            rgb = canvas.convert("RGB")
        return np.asarray(rgb)


def _values(image: Image.Image, *, unsigned: bool) -> NDArray[Any]:
    values = np.asarray(image)
    return values.view(np.uint32) if unsigned else values


def _largest(image: Image.Image, *, unsigned: bool) -> float:
    """The value that becomes 255, of a picture in 32-bit integers or floating values."""
    top = 65535.0 if image.mode == "I" else 1.0
    for above, below in bands((image.height, image.width), BAND_PIXELS):
        values = _values(image.crop((0, above, image.width, below)), unsigned=unsigned)
        top = max(top, float(values.max(initial=0, where=np.isfinite(values))))
    return top


def _eight_bits(values: NDArray[Any], top: float) -> NDArray[np.uint8]:
    if np.issubdtype(values.dtype, np.floating):
        finite = np.nan_to_num(values.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
        rounded: NDArray[np.float32] = np.rint(np.clip(finite / top, 0.0, 1.0) * 255)
        return rounded.astype(np.uint8)
    whole = int(top)
    scaled: NDArray[np.int64] = (np.clip(values.astype(np.int64), 0, None) * 255 + whole // 2) // whole
    return scaled.astype(np.uint8)


def _profile(image: Image.Image) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The mode that the picture's profile describes, and the way from there to sRGB if it is not sRGB itself."""
    data = image.info.get("icc_profile")
    if not isinstance(data, bytes) or not data:
        return "", None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        mode = _PROFILE_MODES[profile.profile.xcolor_space.strip()]
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except Exception:  # noqa: BLE001 - a damaged profile is no reason to refuse a picture that is sound
        return "", None
    if mode == "RGB":
        # Most profiles are sRGB under one of many names; those change nothing and need not be applied.
        changed = np.asarray(transform.apply(Image.fromarray(_PROBES)))
        if np.abs(changed.astype(np.int16) - _PROBES).max() <= 1:
            return "", None
    return mode, transform
