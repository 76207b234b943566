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
from service.errors import ServiceError, invalid_option
from service.form import PICTURE_FIELD
from service.options import SegmentOptions, merged, query_parameters, read_options
from service.schema import SegmentAnswer
from service.upload import take_apart

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    parameters = query_parameters()
    without_format = [parameter for parameter in parameters if parameter["name"] != "format"]

    @app.get(SCHEMA_PATH, summary="What BentoML's clients can call")
    async def described() -> JSONResponse:
        return JSONResponse(schema)

    @app.post(
        "/segment",
        summary="BentoML's client: the answer as a file",
        response_class=Response,
        responses=faults,
        openapi_extra={"parameters": parameters, **PICTURE_FORM},
    )
    async def segment(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        query = request.query_params.multi_items()
        station.pipeline().check(query)
        return await station.respond(
            request, lambda pipeline, body, watch: _as_file(_answer(pipeline, content_type, body, query, None, watch))
        )

    @app.post(
        "/segment_json",
        summary="BentoML's client: JSON",
        response_model=SegmentAnswer,
        responses=faults,
        openapi_extra={"parameters": without_format, **PICTURE_FORM},
    )
    async def segment_json(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        query = request.query_params.multi_items()
        station.pipeline().check(_in_form(query, "json"))
        return await station.respond(
            request, lambda pipeline, body, watch: _answer(pipeline, content_type, body, query, "json", watch)
        )


def _answer(
    pipeline: Pipeline,
    content_type: str,
    body: bytes,
    query: Sequence[tuple[str, str]],
    form: str | None,
    watch: Watch,
) -> Answer:
    """Answer in a form, or in the one that the client asks for."""
    with watch.stage("decode"):
        if content_type.lower().startswith("application/x-www-form-urlencoded") and body.startswith(b"image="):
            # What the client makes of image="http://...".
            raise ServiceError(
                400, "image_is_text", "The field 'image' holds text. Addresses are never fetched.", _HINT
            )
        upload = take_apart(content_type, body)
        fields = [(name, text) for name, value in upload.options for text in _texts(value)]
        options = read_options(_in_form(merged(query, fields), form))
    return pipeline.answer(upload.picture, options, watch)


def _in_form(given: Sequence[tuple[str, str]], form: str | None) -> list[tuple[str, str]]:
    """Options with the form of the answer, where the route and not the client decides on it."""
    if form is None:
        return list(given)
    if any(name == "format" for name, _ in given):
        raise invalid_option(
            ["'format' is not an option of /segment_json, which answers in JSON"],
            "Leave it away, or POST to /segment with it.",
        )
    return [*given, ("format", form)]


def _texts(field: str) -> list[str]:
    """The client writes every field that is no file as JSON: a text has quotation marks, an unset option is null."""
    try:
        value = json.loads(field)
    except (ValueError, RecursionError):
        return [field]
    if value is None:
        return []
    # Ids of classes are numbers; true is an int of Python's, and no id.
    if isinstance(value, list) and all(type(entry) in (str, int) for entry in value):
        return [str(entry) for entry in value]
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
