"""Bodies of requests, as the OpenAPI document has them: what doors read by themselves, FastAPI cannot see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

BINARY: Final = {"type": "string", "format": "binary"}
FORM: Final = "multipart/form-data"
JSON: Final = "application/json"
OCTETS: Final = "application/octet-stream"


def request_body(description: str, content: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What a route's ``openapi_extra`` says of its body.

    Args:
        description: Of the body.
        content: Media type to schema.
    """
    media = {kind: {"schema": schema} for kind, schema in content.items()}
    return {"requestBody": {"required": True, "description": description, "content": media}}


PICTURE_FORM: Final = request_body(
    "A form with one picture in the file field `image`.",
    {FORM: {"type": "object", "required": ["image"], "properties": {"image": BINARY}}},
)

PROJECT: Final = request_body(
    "A project of Label Studio, with its labelling configuration.",
    {JSON: {"type": "object", "properties": {"project": {"type": "string"}, "schema": {"type": "string"}}}},
)

TASKS: Final = request_body(
    "Tasks of Label Studio; pictures stand in them as data: addresses.",
    {
        JSON: {
            "type": "object",
            "required": ["tasks"],
            "properties": {
                "tasks": {"type": "array", "items": {"type": "object"}},
                "label_config": {"type": "string"},
            },
        }
    },
)

INFERENCE: Final = request_body(
    "An inference request of the Open Inference Protocol v2: JSON, or JSON followed by the tensors' bytes where "
    "Inference-Header-Content-Length says how long the JSON is.",
    {
        JSON: {
            "type": "object",
            "required": ["inputs"],
            "properties": {"inputs": {"type": "array", "minItems": 1, "items": {"type": "object"}}},
        },
        OCTETS: BINARY,
    },
)
