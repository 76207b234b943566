"""Pages: masks of several pages in one TIFF, a binary plane for each class, as ImageJ and QuPath write stacks."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from data.errors import LabelError
from data.labels import IGNORE_INDEX, MAX_CLASSES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL import Image

_SUBFILE: Final = 254
_REDUCED: Final = 1
"""TIFF's tag and bit of pages that show another page in small."""


def is_stack(image: Image.Image) -> bool:
    """Whether a picture is a TIFF with a second page of its own."""
    return image.format == "TIFF" and len([*zip(_pages(image), range(2), strict=False)]) > 1


def count_pages(image: Image.Image) -> int:
    """Pages of a TIFF without those that show another one in small; no more than one class too many is counted."""
    return len([*zip(_pages(image), range(MAX_CLASSES + 1), strict=False)])


def decode_pages(image: Image.Image, num_classes: int) -> NDArray[np.uint8]:
    """The label map of a TIFF whose pages are binary planes, 0 and one other value.

    With as many pages as classes, page by page, a pixel on no page is ignored. With one page less the first class has
    none: it is what lies on no page. Anything else could be meant in several ways and is refused.

    Args:
        image: A stack.
        num_classes: Of the label map.

    Returns:
        Shape (H, W), uint8.

    Raises:
        LabelError: another number of pages, a page that is not binary or of another size, or a pixel on two pages.
    """
    pages = count_pages(image)
    if pages not in (num_classes - 1, num_classes):
        raise LabelError(
            f"is a TIFF of {pages if pages <= MAX_CLASSES else f'more than {MAX_CLASSES}'} pages; with {num_classes} "
            f"classes {num_classes} are expected, or {num_classes - 1} where the first class is the rest, each binary: "
            "save the labels as one page"
        )
    first = num_classes - pages
    found = np.full((image.height, image.width), 0 if first else IGNORE_INDEX, dtype=np.uint8)
    taken = np.zeros(found.shape, dtype=np.bool_)
    for number, page in enumerate(_pages(image)):
        plane = _plane(page, number, found.shape)
        both = int(np.count_nonzero(plane & taken))
        if both:
            raise LabelError(f"has {both} pixels that are set on page {number + 1} and on an earlier one")
        taken |= plane
        found[plane] = first + number
    return found


def _plane(page: Image.Image, number: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    if (page.height, page.width) != shape or len(page.getbands()) > 1:
        raise LabelError(
            f"has page {number + 1} of {page.width}x{page.height} ({page.mode}); page 1 is {shape[1]}x{shape[0]}: "
            "each page is the binary plane of one class"
        )
    try:
        values: NDArray[Any] = np.asarray(page)
    except Exception as error:  # Pillow's readers raise many kinds on damaged files
        raise LabelError(f"has a damaged page {number + 1} ({error}): write it again") from error
    top = values.max(initial=0)
    if bool(((values != 0) & (values != top)).any()):
        raise LabelError(
            f"has page {number + 1} with more than two values; each page is one class: 0 and one other value"
        )
    plane: NDArray[np.bool_] = values != 0
    return plane


def _pages(image: Image.Image) -> Iterator[Image.Image]:
    """The image, set to one page after the other, and back to the first at the end."""
    try:
        for number in count():
            try:
                image.seek(number)
            except EOFError:
                return
            except Exception as error:  # as above
                raise LabelError(f"has a damaged page {number + 1} ({error}): write it again") from error
            reduced = getattr(image, "tag_v2", {}).get(_SUBFILE, 0)
            if not (isinstance(reduced, int) and reduced & _REDUCED):
                yield image
    finally:
        image.seek(0)
