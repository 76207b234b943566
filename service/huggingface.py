"""The door of Hugging Face clients: the image-segmentation task of their inference API."""

from __future__ import annotations

import base64
import json
from math import ceil
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from fastapi import FastAPI, Request  # noqa: TC002 - FastAPI reads the types of a route when it is added
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.responses import Response

from data.bands import count_pixels
from data.drawing import encode_png
from service.bodies import BINARY, JSON, OCTETS, request_body
from service.document import kind_of, read_base64, read_document
from service.errors import ServiceError, invalid_options
from service.pipeline import Answer
from service.upload import take_apart

if TYPE_CHECKING:
    from model.runtime.predictor import Segmentation
    from service.pipeline import Pipeline, Watch
    from service.station import Station

_HINT: Final = (
    "Parameters: threshold=0 to 1, mask_threshold=0 to 1, overlap_mask_area_threshold=0 to 1, subtask=semantic."
)


class Parameters(BaseModel):
    """The parameters of the task, with what they mean where every pixel has one class."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    threshold: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Leave out classes whose score is below."
    )
    mask_threshold: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Leave pixels black whose probability is below."
    )
    overlap_mask_area_threshold: float | None = Field(
        default=None, ge=0, le=1, allow_inf_nan=False, description="Changes nothing: masks of classes do not overlap."
    )
    subtask: Literal["semantic"] | None = Field(default=None, description="Nothing else is done here.")


class Segment(BaseModel):
    """One class that is present in the picture."""

    label: str = Field(examples=["road"])
    score: float = Field(ge=0, le=1, description="Mean probability over the mask's pixels.", examples=[0.94])
    mask: str = Field(description="PNG as base64, one channel of the picture's size: 255 where the class is, else 0.")


def add_huggingface(app: FastAPI, station: Station, faults: dict[int | str, dict[str, Any]]) -> None:
    """Add ``POST /``, where the clients send to, and the same at ``/huggingface``.

    Args:
        app: Gets the routes.
        station: Every request goes through it.
        faults: Answers of a request that fails, for the OpenAPI document.
    """
    body = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "inputs": {"type": "string", "description": "The picture's file as base64."},
            "parameters": Parameters.model_json_schema(),
        },
    }
    extra = request_body("A picture, or JSON.", {JSON: body, OCTETS: BINARY})
    responses: dict[int | str, dict[str, Any]] = {200: {"model": list[Segment]}, **faults}
    summary = "Hugging Face's image-segmentation task"

    @app.post("/", summary=summary, response_class=Response, responses=responses, openapi_extra=extra)
    @app.post("/huggingface", summary=summary, response_class=Response, responses=responses, openapi_extra=extra)
    async def image_segmentation(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        return await station.respond(
            request, lambda pipeline, body, watch: _answer(pipeline, content_type, body, watch)
        )


def _answer(pipeline: Pipeline, content_type: str, body: bytes, watch: Watch) -> Answer:
    with watch.stage("decode"):
        picture, parameters = _read(content_type, body)
    segmentation = pipeline.segment(pipeline.decode(picture, watch), watch)
    with watch.stage("encode"):
        names = pipeline.predictor.bundle.manifest.labels.names
        segments = _segments(segmentation, names, parameters, watch)
    pipeline.count("huggingface", watch)
    return Answer(b"[" + b", ".join(segments) + b"]", "application/json", watch.seconds)


def _read(content_type: str, body: bytes) -> tuple[bytes, Parameters]:
    # By the first byte and not by the header, which the client leaves out: no picture begins with a brace.
    if not body[:64].lstrip().startswith(b"{"):
        upload = take_apart(content_type, body)
        return upload.picture, _parameters(dict(upload.options))
    document = read_document(body)
    given = document.get("parameters")
    if given is not None and not isinstance(given, dict):
        raise ServiceError(422, "invalid_option", f"The field parameters is {kind_of(given)}.", _HINT)
    return read_base64(document.get("inputs"), "inputs"), _parameters(given or {})


def _parameters(values: dict[str, Any]) -> Parameters:
    try:
        return Parameters.model_validate(values)
    except ValidationError as error:
        raise invalid_options(RequestValidationError(error.errors()), _HINT) from None


def _segments(segmentation: Segmentation, names: tuple[str, ...], parameters: Parameters, watch: Watch) -> list[bytes]:
    """A JSON object for every class of the answer, by id."""
    segments = []
    surest = np.uint8(ceil(round((parameters.mask_threshold or 0) * 255, 6)))  # 0.6 of 255 is 153, not a hair above
    for index, pixels in enumerate(count_pixels(segmentation.label_map)[: len(names)]):
        if not pixels:
            continue
        watch.check()
        mask = segmentation.label_map == index
        if surest:
            mask &= segmentation.confidence >= surest
            if not mask.any():
                continue
        score = float(np.mean(segmentation.confidence, where=mask, dtype=np.float64)) / 255
        if score < (parameters.threshold or 0):
            continue
        png = encode_png(mask.view(np.uint8) * np.uint8(255))
        segment = {"label": names[index], "score": score, "mask": base64.b64encode(png).decode("ascii")}
        segments.append(json.dumps(segment).encode())
    return segments
