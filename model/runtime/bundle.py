"""The bundle: ``model.onnx``, its ``manifest.json`` and its model card, where training and serving meet."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from data.errors import BundleError
from model.runtime.manifest import SCHEMA_VERSION, Manifest
from model.runtime.whole import writing_folder

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "BUNDLE_FILES",
    "CARD_FILE",
    "MANIFEST_FILE",
    "MODEL_FILE",
    "SCHEMA_VERSION",
    "Bundle",
    "Manifest",
    "read_bundle",
    "write_bundle",
]

MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"
CARD_FILE: Final = "README.md"
"""The model card; so named that a hub, or whoever opens the folder, shows it."""

BUNDLE_FILES: Final = (MODEL_FILE, MANIFEST_FILE, CARD_FILE)


@dataclass(frozen=True)
class Bundle:
    """A checked bundle on disk.

    Attributes:
        root: The folder.
        manifest: What it says of the network.
        card: The model card, Markdown; empty in a bundle of an earlier version.
    """

    root: Path
    manifest: Manifest
    card: str = ""

    @property
    def model_path(self) -> Path:
        """The network's file."""
        return self.root / MODEL_FILE


def read_bundle(root: Path) -> Bundle:
    """Open a bundle and check it whole: its files, the schema version, the sha256 of model and card.

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
        card = _read_card(root, manifest)
    except BundleError as error:
        raise BundleError(f"{root / MANIFEST_FILE}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"{root} cannot be read: {error}") from None
    if found != manifest.model_sha256:
        raise BundleError(
            f"{root / MODEL_FILE} has sha256 {found[:12]}..., its manifest says {manifest.version}...: the file was "
            "altered or only partly copied; copy the bundle again or export the run again"
        )
    return Bundle(root, manifest, card)


def _read_card(root: Path, manifest: Manifest) -> str:
    """The card that the manifest lists; any other README.md is somebody's own and no business of ours."""
    if not manifest.card_sha256:
        return ""
    try:
        content = (root / CARD_FILE).read_bytes()
    except FileNotFoundError:
        content = b""
    if hashlib.sha256(content).hexdigest() != manifest.card_sha256:
        state = "was altered or only partly copied" if content else "is missing"
        raise BundleError(
            f"the model card {CARD_FILE} {state} (the manifest lists sha256 {manifest.card_sha256[:12]}...): copy the "
            "bundle again, export the run again, or take card_sha256 out of the manifest to go without a card"
        )
    return content.decode("utf-8")


def write_bundle(root: Path, model: bytes, manifest: Manifest, card: str = "") -> Bundle:
    """Write a bundle whole or not at all; a bundle that stands there is replaced.

    Its files go into a folder beside ``root``, are flushed to the disk, and take its place by a
    rename: a reader finds the old bundle or the new one, never a model with another's manifest.

    Args:
        root: The folder to make.
        model: The bytes of ``model.onnx``.
        manifest: Its ``model_sha256`` and ``card_sha256`` are filled in here.
        card: The model card, Markdown; none by default.

    Returns:
        The bundle, with the completed manifest.

    Raises:
        BundleError: the model is empty, ``root`` holds anything but a bundle, or the disk refuses.
    """
    if not model:
        raise BundleError("the model is empty (0 bytes): nothing was written")
    text = card.encode("utf-8")
    manifest = replace(
        manifest,
        model_sha256=hashlib.sha256(model).hexdigest(),
        card_sha256=hashlib.sha256(text).hexdigest() if text else "",
    )
    target = root.resolve()  # a link to a folder stays a link
    _refuse_foreign(target)
    try:
        with writing_folder(target) as fresh:
            (fresh / MODEL_FILE).write_bytes(model)
            if text:
                (fresh / CARD_FILE).write_bytes(text)
            (fresh / MANIFEST_FILE).write_text(manifest.to_json(), encoding="utf-8")
    except OSError as error:
        raise BundleError(f"{root} cannot be written: {error}") from None
    return Bundle(root, manifest, card)


def _refuse_foreign(target: Path) -> None:
    """Replacing a folder deletes what is in it, so nothing but a bundle's own files may be there."""
    if not target.exists():
        return
    if not target.is_dir():
        raise BundleError(f"{target} is a file; a bundle is a folder: name another place")
    own = BUNDLE_FILES if _lists_card(target / MANIFEST_FILE) else (MODEL_FILE, MANIFEST_FILE)
    foreign = sorted(entry.name for entry in target.iterdir() if entry.name not in own)
    if foreign:
        shown = ", ".join(foreign[:3]) + (", ..." if len(foreign) > 3 else "")
        raise BundleError(f"{target} holds other things than a bundle ({shown}): name a new or an empty folder")


def _lists_card(manifest_path: Path) -> bool:
    try:
        return bool(Manifest.from_json(manifest_path.read_text(encoding="utf-8")).card_sha256)
    except (BundleError, OSError, UnicodeDecodeError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
