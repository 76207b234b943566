"""Archive: an export that came as a zip file, unpacked within bounds into a folder that goes away again."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

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


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if _is_wanted(member, archive)]
            total = sum(member.file_size for member in members)
            limit = max(_LEAST_LIMIT, _MOST_RATIO * archive.stat().st_size)
            if len(members) > _MOST_FILES or total > limit:
                raise DataError(
                    f"{archive} would become {len(members)} files of {total} bytes, over {_MOST_RATIO} times its size: "
                    "that is no export of pictures; unpack it yourself if you trust it"
                )
            if total > shutil.disk_usage(folder).free:
                raise DataError(f"{archive} needs {total >> 20} MiB unpacked, which {folder.parent} has not got free")
            for member in members:
                target = folder.joinpath(*PurePosixPath(member.filename).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with file.open(member) as source, target.open("xb") as out:
                    # No more than the size that was added up: what the file says of itself may be a lie.
                    shutil.copyfileobj(source, out)
                    if out.tell() != member.file_size:
                        raise DataError(f"{archive}: {member.filename} is not of the size that the zip file says")
    except FileExistsError as error:
        raise DataError(f"{archive} holds {Path(error.filename).name} twice: export it again") from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
        # RuntimeError is how zipfile asks for a password; zlib's own error is no subclass of any of these.
        raise DataError(f"{archive} cannot be unpacked ({error}): download it again, without a password") from None
    except OSError as error:
        raise DataError(f"{archive} cannot be unpacked: {error.strerror or error}") from None
    except Exception as error:
        raise DataError(f"{archive} is damaged ({error}): download it again") from error


def _is_wanted(member: zipfile.ZipInfo, archive: Path) -> bool:
    """Whether a member is a file that an import could need.

    Raises:
        DataError: it would be written outside its folder, or is a link.
    """
    name = member.filename
    path = PurePosixPath(name)
    if name.startswith("/") or "\\" in name or ":" in path.parts[0] or ".." in path.parts or "\0" in name:
        raise DataError(f"{archive} holds {name!r}, which leads out of its folder: it is not to be trusted")
    mode = member.external_attr >> 16
    if mode and stat.S_ISLNK(mode):
        raise DataError(f"{archive} holds a link, {name!r}: exports have none")
    return not member.is_dir() and "__MACOSX" not in path.parts and path.suffix.lower() in ENDINGS | _TEXTS
