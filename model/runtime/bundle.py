"""The bundle: ``model.onnx`` and the ``manifest.json`` beside it, where training and serving meet."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from data.errors import BundleError
from model.runtime.manifest import SCHEMA_VERSION, Manifest

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MANIFEST_FILE", "MODEL_FILE", "SCHEMA_VERSION", "Bundle", "Manifest", "read_bundle", "write_bundle"]

MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"


@dataclass(frozen=True)
class Bundle:
    """A checked bundle on disk.

    Attributes:
        root: The folder.
        manifest: What it says of the network.
    """

    root: Path
    manifest: Manifest

    @property
    def model_path(self) -> Path:
        """The network's file."""
        return self.root / MODEL_FILE


def read_bundle(root: Path) -> Bundle:
    """Open a bundle and check it whole: both files, the schema version, the model's sha256.

    Raises:
        BundleError: anything is missing, malformed or altered; the message names the folder.
    """
    if not root.is_dir():
        state = "is a file" if root.exists() else "does not exist"
        raise BundleError(f"{root} {state}: give the folder that 'fcn export' wrote ({MODEL_FILE}, {MANIFEST_FILE})")
    missing = [name for name in (MANIFEST_FILE, MODEL_FILE) if not (root / name).is_file()]
    if missing:
        raise BundleError(
            f"{root} is not a bundle: it holds no {' and no '.join(missing)}; write one with 'fcn export'"
        )
    try:
        manifest = Manifest.from_json((root / MANIFEST_FILE).read_text(encoding="utf-8"))
        found = _sha256(root / MODEL_FILE)
    except BundleError as error:
        raise BundleError(f"{root / MANIFEST_FILE}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{root} cannot be read: {error}") from None
    if found != manifest.model_sha256:
        raise BundleError(
            f"{root / MODEL_FILE} has sha256 {found[:12]}..., its manifest says {manifest.version}...: the file was "
            "altered or only partly copied; copy the bundle again or export the run again"
        )
    return Bundle(root, manifest)


def write_bundle(root: Path, model: bytes, manifest: Manifest) -> Bundle:
    """Write a bundle whole or not at all; a bundle that stands there is replaced.

    Both files go into a folder beside ``root``, are flushed to the disk, and take its place by a
    rename: a reader finds the old bundle or the new one, never a model with another's manifest.

    Args:
        root: The folder to make.
        model: The bytes of ``model.onnx``.
        manifest: Its ``model_sha256`` is filled in here.

    Returns:
        The bundle, with the completed manifest.

    Raises:
        BundleError: the model is empty, ``root`` holds anything but a bundle, or the disk refuses.
    """
    if not model:
        raise BundleError("the model is empty (0 bytes): nothing was written")
    manifest = replace(manifest, model_sha256=hashlib.sha256(model).hexdigest())
    target = root.resolve()  # a link to a folder stays a link
    _refuse_foreign(target)
    mark = uuid.uuid4().hex[:8]
    fresh, old = (target.with_name(f".{target.name}-{mark}.{suffix}") for suffix in ("new", "old"))
    try:
        fresh.mkdir(parents=True)
        _write_through(fresh / MODEL_FILE, model)
        _write_through(fresh / MANIFEST_FILE, manifest.to_json().encode("utf-8"))
        _sync_folder(fresh)
        if target.exists():
            target.rename(old)
        try:
            fresh.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise BundleError(f"{root} cannot be written: {error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
    return Bundle(root, manifest)


def _refuse_foreign(target: Path) -> None:
    """Replacing a folder deletes what is in it, so nothing but a bundle's own files may be there."""
    if not target.exists():
        return
    if not target.is_dir():
        raise BundleError(f"{target} is a file; a bundle is a folder: name another place")
    foreign = sorted(entry.name for entry in target.iterdir() if entry.name not in (MODEL_FILE, MANIFEST_FILE))
    if foreign:
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise BundleError(f"{target} holds other things than a bundle ({shown}): name a new or an empty folder")


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    if os.name != "posix":  # elsewhere a folder cannot be opened, and its entries need no flush
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
