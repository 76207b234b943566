"""The part of a public data set's archive that is needed: the files below one folder of it."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from data import archive as archives
from data.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MAX_FILES: Final = 200_000


def unpack(
    archive: Path,
    target: Path,
    inside: str,
    left: tuple[str, ...] = (),
    limit: int = 8_000_000_000,
    seen: Callable[[int], None] = lambda _bytes: None,
) -> int:
    """Write the files below one folder of a zip or tar archive into another folder; see ``data.archive``.

    Args:
        archive: The file.
        target: Folder to fill; made here.
        inside: The folder in the archive; its first part may be ``*``, one folder of any name.
        left: Folders below it that are not unpacked.
        limit: Bytes in all above which it is refused.
        seen: Called with the bytes just written.

    Returns:
        Number of files.

    Raises:
        DataError: as ``data.archive.unpack`` has it, or without the folder.
        OSError: it cannot be written, as where the disk is full.
    """
    folders = PurePosixPath(inside).parts

    def place(path: PurePosixPath) -> PurePosixPath | None:
        below = path.parts[len(folders) :]
        if not below or any(name not in ("*", part) for name, part in zip(folders, path.parts, strict=False)):
            return None
        return None if below[0] in left else PurePosixPath(*below)

    count = archives.unpack(archive, target, place, most_files=MAX_FILES, most_bytes=limit, seen=seen)
    if not count:
        raise DataError(f"{archive} holds no file below {inside}/: it is not the archive that is meant")
    return count
