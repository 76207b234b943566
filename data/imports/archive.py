"""Archive: an export that came as a zip file, unpacked within bounds into a folder that goes away again."""

from __future__ import annotations

import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from data.archive import unpack
from data.errors import DataError
from data.pixels import ENDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEXTS: Final = frozenset({".json", ".xml", ".txt"})
_MOST_FILES: Final = 2_000_000
_LEAST_LIMIT: Final = 1 << 30
_MOST_RATIO: Final = 200
"""Pictures shrink little in a zip; lists of run lengths shrink to a fiftieth. Bombs shrink to a thousandth."""


@contextmanager
def opened(export: Path, beside: Path) -> Iterator[Path]:
    """A file or folder as it is; a zip file unpacked into a folder that is removed at the end.

    Args:
        export: File or folder.
        beside: Folder in which to unpack: where the import goes, as there must be room for it.

    Raises:
        DataError: there is no such place, or the zip file is damaged, protected, too large or not to be trusted.
    """
    if not export.exists():
        raise DataError(f"{export} does not exist: give the file or folder that the labelling tool exported")
    if not (export.is_file() and zipfile.is_zipfile(export)):
        if export.suffix.lower() == ".zip":
            raise DataError(f"{export} is no zip file, or is cut off: download it again")
        yield export
        return
    beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=beside) as folder:
        _unpack(export, Path(folder))
        yield Path(folder)


def _unpack(export: Path, folder: Path) -> None:
    limit = max(_LEAST_LIMIT, _MOST_RATIO * export.stat().st_size)
    try:
        unpack(export, folder, _place, most_files=_MOST_FILES, most_bytes=limit)
    except DataError as error:
        raise DataError(
            f"{error}; export it again, or unpack it yourself if you trust it and give the folder"
        ) from error
    except OSError as error:
        raise DataError(f"{export} cannot be unpacked: {error.strerror or error}") from None


def _place(path: PurePosixPath) -> PurePosixPath | None:
    """Files that an import could need stay where they are."""
    return path if "__MACOSX" not in path.parts and path.suffix.lower() in ENDINGS | _TEXTS else None
