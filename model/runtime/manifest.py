"""Manifest: what a bundle says of its network, and the JSON that holds it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from data.errors import BundleError, LabelError
from data.labels import LabelMap

SCHEMA_VERSION: Final = 1
"""Raised when a reader of the old form would misread the new one; added fields do not raise it."""


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
        comparison: Verdict of the comparison of upsamplers that chose this network; empty where none did.
        quantisation: What bringing the network to int8 cost and gained, see docs/int8.md; empty for a float network.
        card_sha256: Of the model card, ``README.md``; empty where the bundle has none, as those of earlier versions.
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
    comparison: Mapping[str, Any] = field(default_factory=dict)
    quantisation: Mapping[str, Any] = field(default_factory=dict)
    card_sha256: str = ""

    def __post_init__(self) -> None:
        if self.schema_version != SCHEMA_VERSION:
            raise BundleError(
                f"the manifest has schema version {self.schema_version}; this release reads version "
                f"{SCHEMA_VERSION}: export the run again, or use the release that wrote it"
            )
        if not self.name.strip():
            raise BundleError("the manifest's name is empty: give the model a short name, such as 'streets-fcn8s'")
        for name, value in (("stride", self.stride), ("finest_stride", self.finest_stride)):
            if value < 1:
                raise BundleError(f"the manifest's {name} is {value}; at least 1 is needed: export the run again")
        for name, digits in (("model_sha256", self.model_sha256), ("card_sha256", self.card_sha256)):
            if digits and not _is_sha256(digits):
                raise BundleError(f"the manifest's {name} is {digits!r}; 64 hex digits are expected")
        # Brought to what JSON can hold, so that a manifest equals the one that is read back.
        object.__setattr__(self, "labels", replace(self.labels, explicit_colours=True))
        object.__setattr__(self, "scores", _plain(self.scores, "scores"))
        object.__setattr__(self, "provenance", _plain(self.provenance, "provenance"))
        object.__setattr__(self, "comparison", _plain(self.comparison, "comparison"))
        object.__setattr__(self, "quantisation", _plain(self.quantisation, "quantisation"))

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
            **({"comparison": self.comparison} if self.comparison else {}),
            **({"quantisation": self.quantisation} if self.quantisation else {}),
            **({"card_sha256": self.card_sha256} if self.card_sha256 else {}),
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
            comparison=_field(fields, "comparison", dict) if "comparison" in fields else {},
            quantisation=_field(fields, "quantisation", dict) if "quantisation" in fields else {},
            card_sha256=_field(fields, "card_sha256", str) if "card_sha256" in fields else "",
        )


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
