"""The transfer of one file over HTTP: into a ``.part`` file, gone on with where it broke off."""

from __future__ import annotations

import email.utils
import errno
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from data.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import httpx

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT: Final = 60.0


@dataclass(frozen=True)
class Patience:
    """How long a transfer is tried.

    Attributes:
        attempts: In a row without a new byte.
        wait: Seconds before the second one; doubled before each that follows.
        silence: Seconds without an answer or a byte after which a connection is given up.
    """

    attempts: int = 4
    wait: float = 1.0
    silence: float = 30.0


class _BrokenError(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


def transfer(
    url: str,
    target: Path,
    limit: int,
    seen: Callable[[int, int | None], None] = lambda _done, _total: None,
    patience: Patience = Patience(),
) -> None:
    """Fetch one file whole.

    Bytes are gathered in ``target`` with ``.part`` behind it. What an earlier call left there is gone on with (Range),
    as long as the server still has the same file (If-Range with its entity tag or date); else it starts again.

    Args:
        url: http or https; redirections are followed.
        target: The file; it is there whole or not at all.
        limit: Bytes above which the answer is refused.
        seen: Called with the bytes that are there and the bytes in all, if the server tells.
        patience: How long it is tried.

    Raises:
        DataError: the server refuses, cannot be reached or breaks off again and again, sends too much, or the disk
            is full. What is there is kept for the next call, except of a file that is too large.
    """
    import httpx  # noqa: PLC0415  serving fetches nothing

    part = target.with_name(f"{target.name}.part")
    failures = 0
    timeout = httpx.Timeout(patience.silence)
    with httpx.Client(follow_redirects=True, timeout=timeout, headers={"User-Agent": "fcn-segmenter"}) as client:
        while True:
            before = _length(part)
            try:
                _attempt(client, url, part, limit, seen)
                break
            except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
                raise DataError(f"{url} cannot be fetched ({error}): an http or https address is needed") from None
            except (_BrokenError, httpx.HTTPError) as error:
                there = _length(part)
                failures = 1 if there > before else failures + 1
                reason = str(error) or type(error).__name__
                if isinstance(error, httpx.ConnectError) and not there:
                    raise DataError(
                        f"{url} cannot be reached ({reason}): is this machine online? An archive that is here already, "
                        "or on another server, is taken with --mirror FOLDER_OR_ADDRESS"
                    ) from None
                if failures >= patience.attempts:
                    raise DataError(
                        f"{url} broke off after {there} bytes ({reason}): run the same command again, it goes on from "
                        "there"
                    ) from None
                asked = error.wait if isinstance(error, _BrokenError) else 0.0
                time.sleep(min(max(asked, patience.wait * 2 ** (failures - 1)), _LONGEST_WAIT))
            except OSError as error:
                raise _unwritten(error, part) from None
    _notes(part).unlink(missing_ok=True)
    part.replace(target)


def _attempt(client: httpx.Client, url: str, part: Path, limit: int, seen: Callable[[int, int | None], None]) -> None:
    """One request. Returns when the file is whole."""
    there = _length(part)
    notes = _read_notes(part)
    if there and notes.get("url") != url:
        there = 0
    headers = {"Accept-Encoding": "identity"}  # offsets count the bytes of the file, not of a compressed answer
    if there:
        headers["Range"] = f"bytes={there}-"
        if notes.get("validator"):
            headers["If-Range"] = notes["validator"]
    with client.stream("GET", url, headers=headers) as answer:
        if answer.status_code == 416 and there:
            if answer.headers.get("Content-Range", "") == f"bytes */{there}":
                return  # it had been whole when the last call ended
            part.unlink(missing_ok=True)
            raise _BrokenError("the file has changed since it was begun")
        if answer.status_code in _PASSING:
            raise _BrokenError(f"HTTP {answer.status_code}", _seconds(answer.headers.get("Retry-After", "")))
        if answer.status_code not in (200, 206):
            raise DataError(
                f"{url} answered HTTP {answer.status_code} {answer.reason_phrase}; the file was expected there: has it "
                "moved? An archive from elsewhere is taken with --mirror FOLDER_OR_ADDRESS"
            )
        if answer.status_code == 206 and not answer.headers.get("Content-Range", "").startswith(f"bytes {there}-"):
            part.unlink(missing_ok=True)
            raise _BrokenError("the server answered with another range than was asked for")
        if answer.status_code == 200:
            there = 0
        length = answer.headers.get("Content-Length", "")
        total = there + int(length) if length.isdecimal() else None
        if total is not None and total > limit:
            raise DataError(f"{url} has {total} bytes; at most {limit} were expected: it is not the file that is meant")
        if not there:
            part.unlink(missing_ok=True)
            _notes(part).write_text(json.dumps({"url": url, "validator": _validator(answer.headers)}))
        with part.open("ab") as file:
            for chunk in answer.iter_raw():
                file.write(chunk)
                there += len(chunk)
                if there > limit:
                    file.close()
                    part.unlink()
                    raise DataError(
                        f"{url} sends more than the {limit} bytes expected: it is not the file that is meant"
                    )
                seen(there, total)
        if total is not None and there != total:
            raise _BrokenError(f"{there} of {total} bytes came")


def _validator(headers: Mapping[str, str]) -> str:
    """What If-Range takes: a strong entity tag, else a date (RFC 9110, section 13.1.5)."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _seconds(retry_after: str) -> float:
    """Of a Retry-After, which is a number or a date."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0


def _notes(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _read_notes(part: Path) -> dict[str, Any]:
    try:
        notes = json.loads(_notes(part).read_text())
    except (OSError, ValueError):
        return {}
    return notes if isinstance(notes, dict) else {}


def _length(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _unwritten(error: OSError, part: Path) -> DataError:
    if error.errno in _FULL:
        return DataError(
            f"{part.parent} is full after {_length(part)} bytes ({error.strerror}): free some disk, or choose "
            "another one with --root or FCN_DATA; the same command goes on from there"
        )
    return DataError(f"{part} cannot be written ({error.strerror}): check its permissions, or choose another --root")
