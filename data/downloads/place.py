"""The place of fetched data sets: the platform's cache directory, unless a person names another one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

VARIABLE: Final = "FCN_DATA"
"""Environment variable that names the folder of the data sets."""

MARKER: Final = ".fcn-source.json"
"""Stands in every folder that was fetched and unpacked whole, and says from where."""


def data_folder(root: Path | None = None) -> Path:
    """The folder that holds one folder a data set; it need not exist.

    Args:
        root: As given by a person; else ``FCN_DATA``; else the platform's cache directory, such as
            ``~/.cache/fcn-segmenter``.
    """
    if root is not None:
        return root.expanduser().absolute()
    if named := os.environ.get(VARIABLE, "").strip():
        return Path(named).expanduser().absolute()
    from platformdirs import user_cache_path  # noqa: PLC0415  serving needs no data set, and no such package

    return user_cache_path("fcn-segmenter", appauthor=False)
