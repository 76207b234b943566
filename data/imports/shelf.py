"""Shelf: the picture files at hand, found by what an export calls them."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from data.errors import DataError
from data.pixels import ENDINGS
from data.sources.splits import composed
from data.tree import files_below

if TYPE_CHECKING:
    from collections.abc import Sequence

_UPLOADED: Final = re.compile(r"^[0-9a-f]{8}-(?=.)")
"""What Label Studio puts before the name of a picture that is uploaded."""


class Shelf:
    """Pictures below some folders.

    Args:
        roots: The folders.

    Raises:
        DataError: one of them is none, or cannot be read.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = list(roots)
        self._by_name: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
        self._by_stem: dict[str, list[tuple[Path, tuple[str, ...]]]] = {}
        for root in roots:
            if not root.is_dir():
                raise DataError(f"{root} is not a folder: give the one that holds the export's pictures with --images")
            for path in _pictures(root):
                parts = tuple(composed(part).casefold() for part in path.relative_to(root).parts)
                self._by_name.setdefault(parts[-1], []).append((path, parts))
                stem = (*parts[:-1], PurePosixPath(parts[-1]).stem)
                self._by_stem.setdefault(stem[-1], []).append((path, stem))

    def find(self, name: str, subset: str = "") -> Path:
        """The file that a name or path in an export means: the one that agrees with most of it, from its end.

        Folders in the name need not be there: exports name those of the tool. The name may lack an ending, as in
        lists of masks, and may have the eight digits before it that Label Studio adds to what is uploaded. Of several
        files that fit, the one in a folder of the subset's name is meant.

        Raises:
            DataError: there is no such file, or several.
        """
        parts = tuple(composed(part).casefold() for part in PurePosixPath(name.replace("\\", "/")).parts if part != ".")
        if not parts:
            raise DataError(f"picture {name!r} has no file name")
        last = parts[-1]
        short = _UPLOADED.sub("", last)
        for shelf, wanted in ((self._by_name, last), (self._by_name, short), (self._by_stem, last)):
            found = shelf.get(wanted, [])
            if not found:
                continue
            common = [_common((*parts[:-1], wanted), own) for _, own in found]
            best = [path for (path, _), shared in zip(found, common, strict=True) if shared == max(common)]
            within = [path for path in best if subset and subset in path.parts]
            if len(best) > 1 and len(within) == 1:
                return within[0]
            if len(best) > 1:
                raise DataError(f"picture {name!r} may be {best[0]} or {best[1]}: give the folder of one with --images")
            return best[0]
        places = ", ".join(map(str, self.roots)) or "the export, which holds no picture"
        raise DataError(f"picture {name!r} is not in {places}: give the folder that has it with --images")

    def name_of(self, path: Path) -> str:
        """A file's path below its folder, with ``/``."""
        return next(path.relative_to(root).as_posix() for root in self.roots if path.is_relative_to(root))


def _common(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many parts of two paths agree, from their end."""
    shared = 0
    for mine, yours in zip(reversed(one), reversed(other), strict=False):
        if mine != yours:
            break
        shared += 1
    return shared


def _pictures(root: Path) -> list[Path]:
    # Masks of a CVAT export are pictures too, and no one's pictures.
    masks = ("SegmentationClass", "SegmentationObject")
    try:
        return [path for path in files_below(root, but=masks) if path.suffix.lower() in ENDINGS]
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
