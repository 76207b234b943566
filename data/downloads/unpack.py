"""Archives unpacked with suspicion: plain files below one folder, bounded, nowhere but where they belong."""

from __future__ import annotations

import functools
import lzma
import stat
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from data.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAX_FILES: Final = 200_000
_CHUNK: Final = 1 << 20
_DAMAGES: Final = (
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError),
    *(NotImplementedError, RuntimeError),  # of zip: compressions that are not known, and passwords
)


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: As the archive has it.
        plain: Whether it is a regular file; links and devices are not.
        open: Opens it for reading.
    """

    name: str
    plain: bool
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    target: Path,
    inside: str,
    left: tuple[str, ...] = (),
    limit: int = 8_000_000_000,
    seen: Callable[[int], None] = lambda _bytes: None,
) -> int:
    """Write the files below one folder of a zip or tar archive into another folder.

    Nothing of the archive is trusted: names with ``..``, absolute ones and links are refused, and bytes are counted as
    they come, not as the headers tell. Hidden files that macOS adds (``._name``) are left out.

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
        DataError: no such archive, damaged, with a name or file that does not belong in it, too large, or without
            the folder.
        OSError: it cannot be written, as where the disk is full.
    """
    count = written = 0
    try:
        target.mkdir(parents=True)
        for member in _members(archive):
            below = _below(member.name, inside, archive)
            if below is None or below.parts[0] in left or below.name.startswith("._"):
                continue
            if not member.plain:
                raise DataError(
                    f"{archive} holds {member.name!r}, which is a link or device and no file: it is not unpacked"
                )
            count += 1
            if count > MAX_FILES:
                raise DataError(f"{archive} holds more than {MAX_FILES} files: it is not unpacked")
            path = target / below
            path.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, path.open("wb") as file:
                while chunk := source.read(_CHUNK):
                    written += len(chunk)
                    if written > limit:
                        raise DataError(f"{archive} holds more than {limit} bytes: it is not unpacked")
                    file.write(chunk)
                    seen(len(chunk))
    except _DAMAGES as error:
        raise DataError(f"{archive} is damaged ({error})") from error
    except OSError as error:
        if error.errno is not None:  # of the disk, and not of a compression
            raise
        raise DataError(f"{archive} is damaged ({error})") from error
    if not count:
        raise DataError(f"{archive} holds no file below {inside}/: it is not the archive that is meant")
    return count


def zip_comment(archive: Path) -> str:
    """The comment of a zip archive; empty where there is none, or no zip.

    Raises:
        DataError: damaged.
    """
    if not zipfile.is_zipfile(archive):
        return ""
    try:
        with zipfile.ZipFile(archive) as opened:
            return opened.comment.decode("ascii", "replace").strip()
    except _DAMAGES as error:
        raise DataError(f"{archive} is damaged ({error})") from error


def _members(archive: Path) -> Iterator[Member]:
    """Everything but folders."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir():
                    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive is not of a Unix
                    plain = kind in (0, stat.S_IFREG)
                    yield Member(info.filename, plain, functools.partial(opened.open, info))
        return
    try:
        tar = tarfile.open(archive, "r:*")  # noqa: SIM115  closed below
    except tarfile.ReadError:
        with archive.open("rb") as file:
            first = file.read(24)
        raise DataError(f"{archive} is neither a zip nor a tar archive; it begins with {first!r}") from None
    with tar:
        for entry in tar:
            if not entry.isdir():
                yield Member(entry.name, entry.isreg(), functools.partial(_reader, tar, entry))


def _reader(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(entry)
    if opened is None:
        raise tarfile.TarError(f"{entry.name} cannot be read")
    return opened


def _below(name: str, inside: str, archive: Path) -> PurePosixPath | None:
    """The path of a member below the folder ``inside``; None where it lies elsewhere.

    Raises:
        DataError: a name that leads out of the archive.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{archive} holds the name {name!r}, which leads out of it: it is not unpacked")
    folders = PurePosixPath(inside).parts
    if len(path.parts) <= len(folders):
        return None
    if any(pattern not in ("*", part) for pattern, part in zip(folders, path.parts, strict=False)):
        return None
    below = path.parts[len(folders) :]
    if any(mark in part for part in below for mark in "\\:\0"):  # Windows reads them as folders and drives
        raise DataError(f"{archive} holds the name {name!r}, which leads out of it: it is not unpacked")
    return PurePosixPath(*below)
