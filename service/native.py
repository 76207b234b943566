"""The door of BentoML's own clients: ``bentoml.SyncHTTPClient(url).segment(image=Path("photo.jpg"))``.

BentoML's input machinery fetches an address that stands where a file belongs, answers a broken picture with a 500,
knows no limit of a body and unpickles on request. So no API of BentoML is declared. These routes answer in the form
that its clients send and expect, and ``/schema.json``, from which the clients learn it, describes them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request  # noqa: TC002 - FastAPI reads the types of a route when it is added
from starlette.responses import JSONResponse, Response

from service.bodies import PICTURE_FORM
from service.errors import ServiceError
from service.form import PICTURE_FIELD
from service.options import SegmentOptions, read_options
from service.schema import SegmentAnswer
from service.upload import take_apart

if TYPE_CHECKING:
    from service.pipeline import Answer, Pipeline, Watch
    from service.station import Station

SCHEMA_PATH: Final = "/schema.json"
"""BentoML answers it before any mounted application: ``service.front`` takes it first."""

_HINT: Final = 'Give the file itself: client.segment(image=Path("photo.jpg")).'


def add_native(app: FastAPI, station: Station, faults: dict[int | str, dict[str, Any]]) -> None:
    """Add ``POST /segment``, ``POST /segment_json`` and ``GET /schema.json``.

    Args:
        app: Gets the routes.
        station: Every request goes through it.
        faults: Answers of a request that fails, for the OpenAPI document.
    """
    schema = _schema()

    @app.get(SCHEMA_PATH, summary="What BentoML's clients can call")
    async def described() -> JSONResponse:
        return JSONResponse(schema)

    @app.post(
        "/segment",
        summary="BentoML's client: the answer as a file",
        response_class=Response,
        responses=faults,
        openapi_extra=PICTURE_FORM,
    )
    async def segment(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        return await station.respond(
            request, lambda pipeline, body, watch: _as_file(_answer(pipeline, content_type, body, None, watch))
        )

    @app.post(
        "/segment_json",
        summary="BentoML's client: JSON",
        response_model=SegmentAnswer,
        responses=faults,
        openapi_extra=PICTURE_FORM,
    )
    async def segment_json(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        return await station.respond(
            request, lambda pipeline, body, watch: _answer(pipeline, content_type, body, "json", watch)
        )


def _answer(pipeline: Pipeline, content_type: str, body: bytes, form: str | None, watch: Watch) -> Answer:
    """Answer in a form, or in the one that the client asks for."""
    with watch.stage("decode"):
        if content_type.lower().startswith("application/x-www-form-urlencoded") and body.startswith(b"image="):
            # What the client makes of image="http://...".
            raise ServiceError(
                400, "image_is_text", "The field 'image' holds text. Addresses are never fetched.", _HINT
            )
        upload = take_apart(content_type, body)
        given = [(name, text) for name, value in upload.options for text in _texts(value)]
        if form is not None:
            given.append(("format", form))
        options = read_options(given)
    return pipeline.answer(upload.picture, options, watch)


def _texts(field: str) -> list[str]:
    """The client writes every field that is no file as JSON: a text has quotation marks, an unset option is null."""
    try:
        value = json.loads(field)
    except (ValueError, RecursionError):
        return [field]
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(entry, str) for entry in value):
        return value
    return [value] if isinstance(value, str) else [field]


def _as_file(answer: Answer) -> Answer:
    """With the name's ending, which the client gives to the temporary file that it returns."""
    ending = ".json" if answer.media_type == "application/json" else ".png"
    return replace(
        answer, headers={**answer.headers, "Content-Disposition": f'attachment; filename="segmentation{ending}"'}
    )


def _schema() -> dict[str, Any]:
    options = SegmentOptions.model_json_schema()
    image = {"type": "file", "format": "image", "description": "The picture's file; never an address."}
    properties = {PICTURE_FIELD: image, **options["properties"]}
    without_format = {name: schema for name, schema in properties.items() if name != "format"}

    def route(name: str, inputs: dict[str, Any], output: dict[str, Any], doc: str) -> dict[str, Any]:
        described = {"type": "object", "title": "Input", "properties": inputs, "required": [PICTURE_FIELD]}
        if "$defs" in options:
            described["$defs"] = options["$defs"]
        return {"name": name, "route": f"/{name}", "doc": doc, "batchable": False, "input": described, "output": output}

    return {
        "name": "fcn-segmenter",
        "type": "service",
        "description": "Label every pixel of a picture.",
        "routes": [
            route("segment", properties, {"type": "file"}, "The answer as a file: a PNG unless format says otherwise."),
            route("segment_json", without_format, SegmentAnswer.model_json_schema(), "The classes that are present."),
        ],
    }
