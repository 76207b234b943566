"""The command that fetches public data sets: fcn data download.

It imports what it needs when it is called, so that help is instant.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from data.errors import ConfigError, DataError
from model.commands.voice import console, quoted, say


def data_download(
    name: Literal["camvid", "pets", "voc", "cityscapes"],
    root: Path | None = None,
    accept_licence: bool = False,
    augmented: bool = True,
    mirror: str = "",
    checksums: Path | None = None,
) -> None:
    """Fetch a public data set, after its licence was shown and accepted.

    Args:
        name: Which one; cityscapes needs a login, so it is told where to get it.
        root: Folder of the data sets; FCN_DATA by default, else the platform's cache directory.
        accept_licence: Accept the licence without being asked.
        augmented: With voc, fetch SBD too, 1.4 GB.
        mirror: Folder, or address of one, that holds the archives under their own names.
        checksums: File as sha256sum writes it: archives named there are held to these checksums alone.
    """
    from data.downloads.install import Origin, install, missing, read_checksums
    from data.downloads.offers import OFFERS
    from data.downloads.place import data_folder
    from data.sources.cityscapes import LOGIN

    folder = data_folder(root)
    if name == "cityscapes":
        raise DataError(f"{LOGIN} and unpack both into {folder / name}")
    offer = OFFERS[name]
    wanted = missing(offer, folder, augmented)
    if wanted:
        size = sum(archive.size for archive in wanted) / 1e9
        kept = sum(archive.unpacked for archive in wanted) / 1e9
        say(
            offer.title,
            f"licence: {offer.licence}",
            f"         {offer.terms}",
            f"from:    {offer.home}",
            *(f"         {mirror or archive.url}{'/' + archive.file if mirror else ''}" for archive in wanted),
            f"to:      {folder / name}, about {kept:.2g} GB; about {size:.2g} GB are fetched",
        )
        if not accept_licence:
            _ask()
        origin = Origin(mirror, read_checksums(checksums) if checksums else None)
        install(offer, folder, origin, optional=augmented, progress=sys.stderr.isatty())
    place = folder / name
    option = f" --data.root {quoted(place)}" if root is not None else ""
    say(
        f"{name} is at {place}" if wanted else f"{name} is at {place} already",
        f"next: fcn data check {quoted(place)} --source {name}; fcn train --data.name {name}{option}",
    )


def _ask() -> None:
    """Ask the person at the terminal.

    Raises:
        ConfigError: nobody is there, or the answer is not yes.
    """
    if not sys.stdin.isatty():
        raise ConfigError("nobody is here to be asked: read the licence above, and accept it with --accept-licence")
    try:
        answer = console.input("Accept the licence and fetch? [y/N] ", markup=False)
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise ConfigError("the licence was not accepted: nothing was fetched")
