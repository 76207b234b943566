"""A bundle into BentoML's model store, from which Bentos are built."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from data.errors import BundleError, ConfigError
from model.runtime.bundle import BUNDLE_FILES, CARD_FILE, read_bundle

if TYPE_CHECKING:
    from types import ModuleType

    from model.runtime.bundle import Bundle

DEFAULT_NAME: Final = "fcn-segmenter"

_NAME: Final = re.compile(r"[a-z0-9]([-._a-z0-9]*[a-z0-9])?")
_LONGEST_NAME: Final = 63


def register(bundle_path: Path, name: str = DEFAULT_NAME) -> str:
    """Put a checked bundle into BentoML's model store; ``name:latest`` is then this bundle.

    Registering what ``name:latest`` already is adds nothing and gives the tag that it has, so that a
    script may be run again and again without filling the disk.

    Args:
        bundle_path: The bundle's folder.
        name: Lower-case letters, digits and, between them, ``-``, ``_`` and ``.``; at most 63.

    Returns:
        The tag, such as ``fcn-segmenter:wd3kdpwmzg7dhqks``.

    Raises:
        BundleError: the bundle cannot be used.
        ConfigError: the name is not as above, or the store cannot be written.
    """
    if len(name) > _LONGEST_NAME or _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"model name {name!r}: BentoML takes 1 to {_LONGEST_NAME} lower-case letters, digits, '-', '_' and '.', "
            f"beginning and ending with a letter or digit, such as {DEFAULT_NAME!r}"
        )
    bundle = read_bundle(bundle_path)

    import bentoml  # noqa: PLC0415 - takes a second, and reads BENTOML_HOME when it is imported

    try:
        latest = _latest(bentoml, name)
        if latest is not None and _same(Path(latest.path), bundle):
            return str(latest.tag)
        with bentoml.models.create(
            name,
            metadata={
                "bundle": bundle.manifest.name,
                "model_sha256": bundle.manifest.model_sha256,
                "classes": list(bundle.manifest.labels.names),
                "created": bundle.manifest.created,
            },
        ) as model:
            for file in BUNDLE_FILES:
                if file != CARD_FILE or bundle.card:
                    shutil.copyfile(bundle.root / file, model.path_of(file))
            read_bundle(Path(model.path))  # the copy, before it becomes the latest
            return str(model.tag)
    except (OSError, bentoml.exceptions.BentoMLException) as error:
        raise ConfigError(
            f"BentoML's model store cannot be used ({error}): is BENTOML_HOME a writable folder?"
        ) from error


def _latest(bentoml: ModuleType, name: str) -> Any:  # noqa: ANN401 - bentoml.Model; the package has no types
    try:
        return bentoml.models.get(f"{name}:latest")
    except bentoml.exceptions.NotFound:
        return None


def _same(stored: Path, bundle: Bundle) -> bool:
    try:
        return read_bundle(stored).manifest == bundle.manifest
    except BundleError:  # a model of that name that is not one of ours, or was damaged: a sound one goes on top
        return False
