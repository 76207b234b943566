"""Document: a JSON body, bounded before it is parsed, and the pictures that stand in it as base64."""

from __future__ import annotations

import binascii
import json
from typing import Any, Final

from service.errors import ServiceError

MAX_VALUES: Final = 1_000_000
"""Most values in a document. A body of empty lists would otherwise take twenty times its own size in memory."""

_ADDRESSES: Final = ("http://", "https://", "s3://", "gs://", "azure-blob://", "ftp://", "file:", "/")


def read_document(body: bytes, most_values: int = MAX_VALUES) -> dict[str, Any]:
    """Parse a body that must be a JSON object.

    Args:
        body: The whole body.
        most_values: Objects, lists and their members, counted by the characters that begin or part them.

    Raises:
        ServiceError: 400, it is no JSON object, or too many values make it up.
    """
    # Inside texts the characters count too: base64, the one long text that is expected here, has none of them.
    if sum(body.count(mark) for mark in (b"[", b"{", b",")) > most_values:
        raise ServiceError(
            400, "malformed_json", f"The JSON document has more than {most_values} values.", "Send a smaller document."
        )
    try:
        document = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):  # text that is no UTF-8 is a ValueError as well
        raise ServiceError(
            400, "malformed_json", "The body is no valid JSON document.", "Let your HTTP client write the JSON."
        ) from None
    if not isinstance(document, dict):
        raise ServiceError(
            400,
            "malformed_json",
            f"The JSON document is {kind_of(document)}; an object was expected.",
            "Send an object: {...}.",
        )
    return document


def read_base64(text: object, name: str) -> bytes:
    """The bytes of a picture that stands in a document as base64, bare or as a ``data:`` URL.

    Args:
        text: The value as it was parsed.
        name: Of its field, for the messages.

    Raises:
        ServiceError: 400, it is missing, an address or a path, or no base64.
    """
    if not isinstance(text, str) or not text.strip():
        found = kind_of(text) if not isinstance(text, str) else "an empty text"
        raise ServiceError(
            400,
            "missing_image",
            f"The field {name} is {found}; a picture as base64 was expected.",
            "Encode the whole file as base64.",
        )
    if text.startswith("data:"):
        head, _, text = text.partition(",")
        if not head.endswith(";base64"):
            raise ServiceError(
                400,
                "malformed_base64",
                f"The data: URL in {name} is not base64.",
                "Write it as data:image/png;base64,...",
            )
    try:
        data = binascii.a2b_base64("".join(text.split()), strict_mode=True)
    except ValueError:  # binascii.Error is one, and so is a character beyond ASCII
        data = b""
    if data:
        return data
    # Asked only now: JPEGs in base64 begin with "/9j/", as a path may.
    if text[:20].lower().startswith(_ADDRESSES):
        raise ServiceError(
            400,
            "image_is_text",
            f"The field {name} holds an address or a path. Addresses are never fetched and paths never opened.",
            "Send the bytes of the picture as base64.",
        )
    raise ServiceError(
        400,
        "malformed_base64",
        f"The field {name} is no base64 of a file.",
        "Encode the whole file in the standard alphabet, with padding.",
    )


def kind_of(value: object) -> str:
    """What a JSON value is called."""
    if value is None:
        return "null or missing"
    names: dict[type, str] = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    if isinstance(value, bytes):  # an array that was set apart
        return "a list of numbers"
    return names.get(type(value), "an object")


def _no_number(_name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")
