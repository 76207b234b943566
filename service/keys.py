"""API keys: names and hashes, and whose key a request brings.

``python -m service.keys NAME`` makes one.
"""

from __future__ import annotations

import argparse
import re
import secrets
import stat
import sys
from dataclasses import dataclass, field
from hashlib import sha256
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

from data.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MIN_KEY_LENGTH: Final = 32
MAX_KEY_LENGTH: Final = 256
MAX_KEYS: Final = 100
"""Names become labels of a metric, so there is an end to them."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ApiKey:
    """One key, as its owner's name and the SHA-256 of the key.

    A plain hash is enough: a key made here holds 256 random bits, which nobody guesses however fast
    the hash is. Slow hashes protect passwords that people thought of; they would also let anyone keep
    the processor busy with wrong keys. That is why keys shorter than ``MIN_KEY_LENGTH`` never pass.

    Attributes:
        name: Stands in the log and the metrics; the key never does.
        digest: SHA-256, 64 lower-case hex digits.
    """

    name: str
    digest: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name}:{self.digest}"


@dataclass(frozen=True)
class Keyring:
    """All keys that are let in; an empty one lets in everybody.

    Args:
        keys: Names and hashes, each only once.

    Raises:
        ConfigError: a name or a hash stands there twice, or there are too many.
    """

    keys: tuple[ApiKey, ...] = ()

    def __post_init__(self) -> None:
        if len(self.keys) > MAX_KEYS:
            raise ConfigError(f"there are {len(self.keys)} API keys; {MAX_KEYS} are possible")
        names = [key.name for key in self.keys]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"two API keys are called {name!r}: give each its own name, such as {name}-2")
        if len({key.digest for key in self.keys}) < len(self.keys):
            raise ConfigError("two names have the same API key: make a key for each, python -m service.keys NAME")

    def __bool__(self) -> bool:
        return bool(self.keys)

    def holder(self, key: str) -> str | None:
        """The name that belongs to a key, or None.

        Every hash is compared, each in constant time, so the time of an answer tells nothing of the keys.

        Args:
            key: As the client sent it; HTTP's header bytes as Latin-1.
        """
        if not MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH:
            return None
        digest = sha256(key.encode("latin-1", "replace")).hexdigest()
        found = None
        for candidate in self.keys:
            if compare_digest(candidate.digest, digest):
                found = candidate.name
        return found


def read_keys(source: str, text: str) -> tuple[ApiKey, ...]:
    """Read ``name:sha256`` entries, set apart by commas, spaces or lines; ``#`` begins a comment.

    Args:
        source: What the text came from, for messages.
        text: The entries. No part of it is repeated in a message: it might be a key.

    Raises:
        ConfigError: an entry has another form.
    """
    entries = [entry for line in text.splitlines() for entry in re.split(r"[,\s]+", line.partition("#")[0]) if entry]
    keys = []
    for number, entry in enumerate(entries, 1):
        name, _, digest = entry.partition(":")
        if not _NAME.fullmatch(name) or not _DIGEST.fullmatch(digest.lower()):
            raise ConfigError(
                f"entry {number} of {source} is not NAME:SHA256 (a name of up to 32 letters, digits, '.', '_', '-', "
                "a colon, 64 hex digits; not the key itself): python -m service.keys NAME prints such a line"
            )
        keys.append(ApiKey(name, digest.lower()))
    return tuple(keys)


def read_key_file(path: Path) -> tuple[ApiKey, ...]:
    """Read the keys of a file.

    Others may read it, since nothing leads back from a hash to its key; who can write it can let himself in.

    Raises:
        ConfigError: it cannot be read, holds no key, or others than its owner may write it.
    """
    source = f"FCN_API_KEYS_FILE ({path})"
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{source} cannot be read: {reason}") from None
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigError(
            f"{source} may be written by others than its owner (mode {stat.S_IMODE(mode):04o}), who could add a key "
            "of their own: chmod go-w"
        )
    keys = read_keys(source, text)
    if not keys:
        raise ConfigError(f"{source} holds no key, which would leave every door open: add one, or unset the variable")
    return keys


def new_key() -> str:
    """A key of 256 random bits."""
    return f"fcn_{secrets.token_urlsafe(32)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Make a key: print it, once, and the line that the service is given."""
    parser = argparse.ArgumentParser(
        prog="python -m service.keys", description="Make an API key. The service is given its hash alone."
    )
    parser.add_argument("name", help="whose key it is; stands in the log and the metrics")
    name = parser.parse_args(arguments).name
    if not _NAME.fullmatch(name):
        parser.error("a name has 1 to 32 letters, digits, '.', '_' or '-' and begins with a letter or digit")
    key = new_key()
    sys.stdout.write(
        f"key, for the client, shown this once:\n  {key}\n"
        f"entry for FCN_API_KEYS, or a line of FCN_API_KEYS_FILE:\n"
        f"  {ApiKey(name, sha256(key.encode()).hexdigest())}\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
