"""The bundle: ``model.onnx`` and the ``manifest.json`` beside it, where training and serving meet."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from data.errors import BundleError, LabelError
from data.labels import LabelMap

SCHEMA_VERSION: Final = 1
"""Raised when a reader of the old form would misread the new one; added fields do not raise it."""

MODEL_FILE: Final = "model.onnx"
MANIFEST_FILE: Final = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of its network.

    Attributes:
        name: Short name of the model, such as ``camvid-fcn8s``.
        labels: Names and colours of the classes; a manifest always states its colours.
        stride: The network takes pictures whose sides are multiples of this.
        encoder: Name of the encoder.
        upsampler: Name of the upsampler.
        finest_stride: Stride of the finest score head: 32, 16, 8 or 4 for FCN-32s to FCN-4s.
        model_sha256: Of ``model.onnx``, 64 hex digits; empty until ``write_bundle`` fills it in.
        scores: Split and scores of the evaluation; a score that does not exist (NaN) is None.
        provenance: Run, commit, package versions, seed, data set.
        created: ISO 8601, UTC.
        schema_version: Form of the manifest.
    """

    name: str
    labels: LabelMap
    stride: int
    encoder: str
    upsampler: str
    finest_stride: int
    model_sha256: str
    scores: Mapping[str, Any]
    provenance: Mapping[str, Any]
    created: str
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise BundleError(
                f"the manifest has schema version {self.schema_version}; this release reads version "
                f"{SCHEMA_VERSION}: export the run again, or use the release that wrote it"
            )
        if not self.name.strip():
            raise BundleError("the manifest's name is empty: give the model a short name, such as 'streets-fcn8s'")
        for field, value in (("stride", self.stride), ("finest_stride", self.finest_stride)):
            if value < 1:
                raise BundleError(f"the manifest's {field} is {value}; at least 1 is needed: export the run again")
        if self.model_sha256 and not _is_sha256(self.model_sha256):
            raise BundleError(f"the manifest's model_sha256 is {self.model_sha256!r}; 64 hex digits are expected")
        # Brought to what JSON can hold, so that a manifest equals the one that is read back.
        object.__setattr__(self, "labels", replace(self.labels, explicit_colours=True))
        object.__setattr__(self, "scores", _plain(self.scores, "scores"))
        object.__setattr__(self, "provenance", _plain(self.provenance, "provenance"))

    @property
    def version(self) -> str:
        """The first 12 hex digits of the model's sha256: it changes when the network does."""
        return self.model_sha256[:12]

    def to_json(self) -> str:
        """The text of ``manifest.json``; NaN and infinite numbers are null in it."""
        fields = {
            "schema_version": self.schema_version,
            "name": self.name,
            "created": self.created,
            "model_sha256": self.model_sha256,
            "stride": self.stride,
            "encoder": self.encoder,
            "upsampler": self.upsampler,
            "finest_stride": self.finest_stride,
            "labels": [
                {"name": name, "colour": [int(value) for value in colour]}
                for name, colour in zip(self.labels.names, self.labels.palette, strict=True)
            ],
            "ignore_colour": [int(value) for value in self.labels.ignore_colour],
            "scores": self.scores,
            "provenance": self.provenance,
        }
        return json.dumps(fields, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read the text of a ``manifest.json``. Fields it does not know are passed over.

        Raises:
            BundleError: no JSON object, of another schema version, or a field is missing or of the wrong type.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"the manifest is not valid JSON ({error}): export the run again") from None
        if not isinstance(fields, dict):
            raise BundleError(f"the manifest is a JSON {type(fields).__name__}; an object is expected")
        # The version first: the fields of another version are not to be judged by this one's rules.
        version = _field(fields, "schema_version", int)
        if version != SCHEMA_VERSION:
            raise BundleError(
                f"the manifest has schema version {version}; this release reads version {SCHEMA_VERSION}: "
                "export the run again, or use the release that wrote it"
            )
        sha256 = _field(fields, "model_sha256", str)
        if not _is_sha256(sha256):
            raise BundleError(f"the manifest's model_sha256 is {sha256!r}; 64 hex digits are expected")
        return cls(
            name=_field(fields, "name", str),
            labels=_labels(_field(fields, "labels", list), fields.get("ignore_colour")),
            stride=_field(fields, "stride", int),
            encoder=_field(fields, "encoder", str),
            upsampler=_field(fields, "upsampler", str),
            finest_stride=_field(fields, "finest_stride", int),
            model_sha256=sha256,
            scores=_field(fields, "scores", dict),
            provenance=_field(fields, "provenance", dict),
            created=_field(fields, "created", str),
        )


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


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)


def _field(fields: dict[str, Any], name: str, kind: type) -> Any:  # noqa: ANN401 - a JSON value, of the kind asked for
    if name not in fields:
        raise BundleError(f"the manifest has no field {name!r}: export the run again")
    value = fields[name]
    # bool is an int to Python and not to JSON.
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        names = {int: "an integer", str: "a text", list: "a list", dict: "an object"}
        raise BundleError(f"the manifest's {name} is {value!r}; {names[kind]} is expected: export the run again")
    return value


def _labels(entries: list[Any], ignore_colour: object) -> LabelMap:
    names = []
    colours = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise BundleError(
                f'label {index} of the manifest is {entry!r}; {{"name": ..., "colour": [r, g, b]}} is expected'
            )
        names.append(entry["name"])
        colours.append(_colour(entry.get("colour"), f"label {entry['name']!r}"))
    try:
        return LabelMap(tuple(names), tuple(colours), _colour(ignore_colour, "ignore_colour"), explicit_colours=True)
    except LabelError as error:
        raise BundleError(f"the manifest's labels: {error}") from None


def _colour(value: object, owner: str) -> tuple[int, int, int]:
    if isinstance(value, list) and len(value) == 3 and all(type(part) is int and 0 <= part <= 255 for part in value):
        return value[0], value[1], value[2]
    raise BundleError(f"{owner} of the manifest has colour {value!r}; three integers from 0 to 255 are expected")


def _plain(value: object, place: str) -> Any:  # noqa: ANN401 - a JSON value of any kind
    """Bring a value to what JSON holds: NaN and infinity become None, numpy's numbers Python's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, place) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy's numbers and arrays, and torch's, without importing either
        return _plain(value.tolist(), place)
    raise BundleError(f"{place} holds a {type(value).__name__}, which JSON cannot hold: give numbers, texts, lists")
