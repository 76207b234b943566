"""Archives, zip or tar, unpacked with suspicion: plain files, bounded, nowhere but where they belong."""

from __future__ import annotations

import functools
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from data.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Place = Callable[[PurePosixPath], PurePosixPath | None]

_CHUNK: Final = 1 << 20
_DAMAGES: Final = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, ValueError)


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: As the archive has it.
        plain: Whether it is a regular file; links and devices are not.
        size: In bytes, as the archive says.
        open: Opens it for reading.
    """

    name: str
    plain: bool
    size: int
    open: Callable[[], IO[bytes]]


def unpack(
    archive: Path,
    target: Path,
    place: Place,
    *,
    most_files: int,
    most_bytes: int,
    seen: Callable[[int], None] = lambda _bytes: None,
) -> int:
    """Write files of a zip or tar archive into a folder.

    Nothing of the archive is trusted: it is refused for one name that leads out of it, for a link, device or double
    among what is wanted, and above the bounds, for which bytes are counted as they come, not as the headers tell.
    Hidden files that macOS adds (``._name``) are left out.

    Args:
        archive: The file.
        target: Folder to fill; made where it is missing.
        place: Where in the folder a member goes, None where it is not wanted.
        most_files: That are written.
        most_bytes: In all of them.
        seen: Called with the bytes just written.

    Returns:
        Number of files.

    Raises:
        DataError: no such archive, damaged, protected, with something that does not belong in it, or too large.
        OSError: it cannot be written, as where the disk is full.
    """
    count = written = 0
    with _told_damage(archive):
        target.mkdir(parents=True, exist_ok=True)
        _refuse_by_its_directory(archive, target, place, most_bytes)
        for member in _members(archive):
            below = _wanted(member.name, place, archive)
            if below is None:
                continue
            if not member.plain:
                raise DataError(
                    f"{archive} holds {member.name!r}, which is a link or device and no file: it is not unpacked"
                )
            count += 1
            if count > most_files:
                raise DataError(f"{archive} holds more than {most_files} files: it is not unpacked")
            path, before = target / below, written
            if path.exists() or any(parent.is_file() for parent in path.parents):
                raise DataError(f"{archive} holds {member.name} twice, or as file and folder: it is not unpacked")
            path.parent.mkdir(parents=True, exist_ok=True)
            with member.open() as source, path.open("xb") as file:
                while chunk := source.read(_CHUNK):
                    written += len(chunk)
                    if written > most_bytes:
                        raise DataError(f"{archive} holds more than {most_bytes} bytes: it is not unpacked")
                    file.write(chunk)
                    seen(len(chunk))
            if written - before != member.size:
                raise DataError(f"{archive} is damaged ({member.name} has not the size that it says)")
    return count


def zip_comment(archive: Path) -> str:
    """The comment of a zip archive; empty where there is none, or no zip.

    Raises:
        DataError: damaged.
    """
    if not zipfile.is_zipfile(archive):
        return ""
    with _told_damage(archive), zipfile.ZipFile(archive) as opened:
        return opened.comment.decode("ascii", "replace").strip()


@contextmanager
def _told_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of zip: passwords, and compressions that are not known
        raise DataError(f"{archive} cannot be unpacked ({error})") from error
    except _DAMAGES as error:
        raise DataError(f"{archive} is damaged ({error})") from error
    except OSError as error:
        if error.errno is not None:  # of the disk, and not of a compression
            raise
        raise DataError(f"{archive} is damaged ({error})") from error


def _refuse_by_its_directory(archive: Path, target: Path, place: Place, most_bytes: int) -> None:
    """A zip archive has a directory, which tells in a moment what would be found after an hour of writing."""
    if not zipfile.is_zipfile(archive):
        return
    with zipfile.ZipFile(archive) as opened:
        total = sum(info.file_size for info in opened.infolist() if _wanted(info.filename, place, archive) is not None)
    if total > most_bytes:
        raise DataError(f"{archive} holds more than {most_bytes} bytes: it is not unpacked")
    if total > shutil.disk_usage(target).free:
        raise DataError(f"{archive} needs {total >> 20} MiB unpacked, which {target.parent} has not got free")


def _wanted(name: str, place: Place, archive: Path) -> PurePosixPath | None:
    """Where a member goes.

    Raises:
        DataError: a name that leads out of the archive, also where Windows reads it.
    """
    path = PurePosixPath(name)
    drive = any(part[1:2] == ":" for part in path.parts)
    if path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or drive:
        raise DataError(f"{archive} holds the name {name!r}, which leads out of it: it is not unpacked")
    return None if path.name.startswith("._") or not path.parts else place(path)


def _members(archive: Path) -> Iterator[Member]:
    """Everything but folders."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            for info in opened.infolist():
                if not info.is_dir():
                    kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive is not of a Unix
                    plain = kind in (0, stat.S_IFREG)
                    yield Member(info.filename, plain, info.file_size, functools.partial(opened.open, info))
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
                yield Member(entry.name, entry.isreg(), entry.size, functools.partial(_reader, tar, entry))


def _reader(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    opened = tar.extractfile(entry)
    if opened is None:
        raise tarfile.TarError(f"{entry.name} cannot be read")
    return opened
