"""Limits: how many pixels a picture may have. A module without imports: settings are read where no picture ever is."""

from typing import Final

MAX_PIXELS: Final = 120_000_000
"""Default limit, checked from the header before a pixel is decoded: 12000x9000, the 108 megapixels of a telephone,
and a little more."""

LARGEST_MAX_PIXELS: Final = 178_956_970
"""The highest limit that can be asked for."""

MOST_PIXELS: Final = 1_000_000_000
"""Most pixels of a person's own picture or mask that is trained on; see ``data.huge``."""
