"""The installation of a public data set: fetched, checked, unpacked, and put in its place whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from data.archive import zip_comment
from data.downloads.place import MARKER
from data.downloads.transfer import Patience, transfer
from data.downloads.unpack import unpack
from data.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from data.downloads.offers import Archive, Offer

_LENGTHS: Final = {32: "md5", 64: "sha256", 128: "sha512"}


@dataclass(frozen=True)
class Origin:
    """Where archives come from.

    Attributes:
        mirror: Folder, or address of one, that holds the archives under their own names; empty asks their authors.
        checksums: By name of the file, such as ``sha256:...``. Archives named here are held to these alone: what is
            known of the authors' own (checksums, commit, number of files) is not asked of them.
        patience: Of the transfers.
    """

    mirror: str = ""
    checksums: Mapping[str, str] | None = None
    patience: Patience = field(default_factory=Patience)

    def local(self, archive: Archive) -> Path | None:
        """The archive's file in a mirror that is a folder."""
        if not self.mirror or re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", self.mirror):
            return None
        return Path(self.mirror).expanduser() / archive.file

    def url(self, archive: Archive) -> str:
        """The address to ask."""
        return f"{self.mirror.rstrip('/')}/{archive.file}" if self.mirror else archive.url

    def expected(self, archive: Archive) -> Archive:
        """The archive with what is asked of it."""
        own = (self.checksums or {}).get(archive.file)
        return replace(archive, checksums=(own,), counts={}, commit="") if own else archive


def missing(offer: Offer, root: Path, optional: bool = True) -> list[Archive]:
    """The archives of a data set that are not unpacked under ``root`` yet.

    Raises:
        DataError: a folder of that name is there, but not from here.
    """
    wanted = []
    for archive in offer.archives:
        place = root / offer.name / archive.folder
        if (place / MARKER).is_file() or (archive.optional and not optional):
            continue
        if place.exists():
            raise DataError(
                f"{place} is there, but was not fetched by this command: use it with --data.root "
                f"{root / offer.name}, or move it away"
            )
        wanted.append(archive)
    return wanted


def install(
    offer: Offer, root: Path, origin: Origin, *, optional: bool = True, progress: bool = False
) -> list[Archive]:
    """Fetch a data set and unpack it into ``root``, below its own name.

    Each archive becomes one folder by one rename, after everything in it was checked and written. Two calls at once
    wait for each other; one that was interrupted is gone on with.

    Args:
        offer: What is fetched.
        root: Folder of the data sets.
        origin: Where from.
        optional: Whether archives beyond the data set itself are fetched too.
        progress: Show bars on stderr.

    Returns:
        What was fetched; nothing where all was there.

    Raises:
        DataError: what cannot be fetched, is not what it should be, or cannot be written.
    """
    work = root / f".{offer.name}"
    try:
        work.mkdir(parents=True, exist_ok=True)
        with _alone(work / "lock", offer.name), _bars(progress) as bars:
            archives = missing(offer, root, optional)  # under the lock: another call may just have ended
            _check_room(archives, root, work, origin)
            for archive in archives:
                _install_one(offer, origin.expected(archive), root, work, origin, bars)
    except OSError as error:
        raise DataError(
            f"{error.filename or root} cannot be written ({error.strerror or error}): free some disk, or choose "
            "another one with --root or FCN_DATA; the same command goes on from there"
        ) from error
    return archives


def _install_one(offer: Offer, archive: Archive, root: Path, work: Path, origin: Origin, bars: Progress) -> None:
    local = origin.local(archive)
    if local is None:
        file = work / archive.file
        _fetch(archive, origin, file, bars)
    elif local.is_file():
        file = local
    else:
        raise DataError(f"{local} is not there: a mirror holds the archives of {offer.name} under their own names")
    staged = work / "unpacked" / archive.folder
    shutil.rmtree(staged.parent, ignore_errors=True)
    task = bars.add_task(f"unpack {archive.file}", total=archive.unpacked)
    try:
        digests = _check_file(file, archive)
        unpack(
            file, staged, archive.inside, archive.left, 2 * archive.unpacked, lambda count: bars.advance(task, count)
        )
        _check_content(staged, archive)
    except DataError as error:
        shutil.rmtree(staged.parent, ignore_errors=True)
        if local is None:  # to go on with it would help nobody; a file of the person's own is left alone
            file.unlink(missing_ok=True)
        end = "it was removed: run the same command again" if local is None else "get it again"
        raise DataError(
            f"{archive.file} is not the file that is meant: {error}; {end}. If that changes nothing, take it from "
            "elsewhere with --mirror, or give its own checksum with --checksums"
        ) from error
    bars.update(task, total=bars.tasks[task].completed)
    told = {
        "data_set": offer.name,
        "archive": archive.file,
        "from": str(local.absolute()) if local else origin.url(archive),
        "sha256": digests["sha256"],
        "licence": offer.licence,
        "terms": offer.terms,
        "fetched": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (staged / MARKER).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if hasattr(os, "sync"):
        os.sync()  # the name must not reach the disk before what it names
    place = root / offer.name / archive.folder
    place.parent.mkdir(exist_ok=True)
    staged.rename(place)
    shutil.rmtree(staged.parent)
    if local is None:
        file.unlink()


def _fetch(archive: Archive, origin: Origin, file: Path, bars: Progress) -> None:
    """Fetch into ``file``, unless an earlier call did and ended before it was unpacked."""
    task = bars.add_task(f"fetch {archive.file}", total=archive.size)

    def seen(done: int, total: int | None) -> None:
        bars.update(task, completed=done, total=max(total or archive.size, done))

    if not file.is_file():
        transfer(origin.url(archive), file, 2 * archive.size, seen, origin.patience)
    bars.update(task, total=file.stat().st_size, completed=file.stat().st_size)


@contextlib.contextmanager
def _alone(lock: Path, name: str) -> Iterator[None]:
    """Wait until no other process fetches this data set; a process that dies lets go of the lock."""
    from filelock import FileLock, Timeout  # noqa: PLC0415  serving installs nothing

    held = FileLock(lock)
    try:
        held.acquire(timeout=0)
    except Timeout:
        Console(stderr=True).print(f"another process is fetching {name}: waiting for it", soft_wrap=True)
        held.acquire()
    try:
        yield
    finally:
        held.release()


def _check_room(archives: Sequence[Archive], root: Path, work: Path, origin: Origin) -> None:
    """Refuse to begin what the disk cannot hold. An archive goes when it is unpacked: one is there at a time."""
    if not archives:
        return
    kept = sum(archive.unpacked for archive in archives)
    fetched = 0 if origin.local(archives[0]) else max(archive.size for archive in archives)
    begun = sum(path.stat().st_size for path in work.iterdir() if path.is_file())
    needed = kept + fetched - begun
    free = shutil.disk_usage(root).free
    if free < needed:
        raise DataError(
            f"{root} has {free / 1e9:.1f} GB free; about {needed / 1e9:.1f} GB are needed: free some, or choose "
            "another disk with --root or FCN_DATA"
        )


def _check_file(file: Path, archive: Archive) -> dict[str, str]:
    """The digests of a file, by kind.

    Raises:
        DataError: one is not as expected, or the archive names another commit.
    """
    kinds = {"sha256", *(checksum.partition(":")[0] for checksum in archive.checksums)}
    hashes = {kind: hashlib.new(kind, usedforsecurity=False) for kind in kinds}
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            for digest in hashes.values():
                digest.update(chunk)
    digests = {kind: digest.hexdigest() for kind, digest in hashes.items()}
    for checksum in archive.checksums:
        kind, _, value = checksum.partition(":")
        if digests[kind] != value:
            raise DataError(f"its {kind} is {digests[kind]}, and {value} was expected")
    if archive.commit and (found := zip_comment(file)) != archive.commit:
        raise DataError(f"it names the commit {found or '(none)'}, and {archive.commit} was expected")
    return digests


def _check_content(staged: Path, archive: Archive) -> None:
    for pattern, count in archive.counts.items():
        found = sum(not path.name.startswith(".") for path in staged.glob(pattern))
        if found != count:
            raise DataError(f"it holds {found} files {pattern}, and {count} were expected")


def read_checksums(path: Path) -> dict[str, str]:
    """A file as ``sha256sum`` or ``md5sum`` write it: a checksum and a name a line.

    Raises:
        DataError: it cannot be read, or a line is none of these.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}): it holds the archives' checksums") from None
    found = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        value, _, name = line.strip().partition(" ")
        kind = _LENGTHS.get(len(value))
        if kind is None or not name.strip() or not re.fullmatch(r"[0-9a-fA-F]+", value):
            raise DataError(
                f"{path}, line {number}: {line!r}; a checksum and a file's name are expected, as sha256sum writes"
            )
        found[Path(name.strip().removeprefix("*")).name] = f"{kind}:{value.lower()}"
    return found


def _bars(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not shown)
