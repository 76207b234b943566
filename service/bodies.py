"""Bodies of requests, as the OpenAPI document has them: what doors read by themselves, FastAPI cannot see."""

from __future__ import annotations

from typing import Any, Final

_BINARY: Final = {"type": "string", "format": "binary"}


def _body(description: str, **content: dict[str, Any]) -> dict[str, Any]:
    kinds = {"json": "application/json", "octets": "application/octet-stream", "form": "multipart/form-data"}
    media = {kinds[name]: {"schema": schema} for name, schema in content.items()}
    return {"requestBody": {"required": True, "description": description, "content": media}}


PICTURE_FORM: Final = _body(
    "A form with one picture in the file field `image`.",
    form={"type": "object", "required": ["image"], "properties": {"image": _BINARY}},
)

PROJECT: Final = _body(
    "A project of Label Studio, with its labelling configuration.",
    json={"type": "object", "properties": {"project": {"type": "string"}, "schema": {"type": "string"}}},
)

TASKS: Final = _body(
    "Tasks of Label Studio; pictures stand in them as data: addresses.",
    json={
        "type": "object",
        "required": ["tasks"],
        "properties": {"tasks": {"type": "array", "items": {"type": "object"}}, "label_config": {"type": "string"}},
    },
)

INFERENCE: Final = _body(
    "An inference request of the Open Inference Protocol v2: JSON, or JSON followed by the tensors' bytes where "
    "Inference-Header-Content-Length says how long the JSON is.",
    json={
        "type": "object",
        "required": ["inputs"],
        "properties": {"inputs": {"type": "array", "minItems": 1, "items": {"type": "object"}}},
    },
    octets=_BINARY,
)
