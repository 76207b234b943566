"""Files and folders that are there whole or not at all, whatever ends the program that writes them."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def write_whole(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Write a file whole or not at all: a run that is killed leaves no half picture behind."""
    with writing_whole(path, durable=durable) as file:
        file.write(content)


@contextmanager
def writing_whole(path: Path, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its place when the block ends without an exception, and else is gone.

    Args:
        path: Of the file.
        durable: Wait for the disk, so that a machine that loses power has the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    if durable:
        _flush_folder(path.parent)


@contextmanager
def writing_folder(target: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of ``target`` when the block ends without an exception, and else is gone.

    What is in it is flushed to the disk first. A reader finds the old folder or the new one, never a file of the one
    with a file of the other. Whoever calls makes sure that what stands at ``target`` may go.

    Args:
        target: Resolved; the folders above it are made.

    Raises:
        OSError: the disk refuses; what stood there stands there still.
    """
    mark = uuid.uuid4().hex[:8]
    fresh, old = (target.with_name(f".{target.name}-{mark}.{suffix}") for suffix in ("new", "old"))
    try:
        fresh.mkdir(parents=True)
        yield fresh
        for path in fresh.iterdir():
            _flush(path)
        _flush_folder(fresh)
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        _flush_folder(target.parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(path: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, and its entries need no flush
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
