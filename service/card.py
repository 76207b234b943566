"""Card: what the service tells of its model, with entity tags."""

from typing import Any, Final

from fastapi import FastAPI, Request
from pydantic import BaseModel
from starlette.responses import Response

from service.pipeline import Pipeline
from service.schema import EngineCard, Label, Labels, Limits, ModelCard
from service.settings import Settings
from service.station import Station
from service.tags import content_tag, matches

_TAG_HEADER: Final = {"ETag": {"schema": {"type": "string"}, "description": "Strong; for If-None-Match."}}


def add_card(app: FastAPI, station: Station, faults: dict[int | str, dict[str, Any]]) -> None:
    """Add ``GET /v1/model`` and ``GET /v1/labels``.

    Args:
        app: Gets the routes.
        station: Has the model.
        faults: Answers while there is none, for the OpenAPI document.
    """
    responses: dict[int | str, dict[str, Any]] = {
        200: {"headers": _TAG_HEADER},
        304: {"description": "As If-None-Match says, the client has it already.", "headers": _TAG_HEADER},
        **faults,
    }

    @app.get("/v1/model", summary="The model, its scores and the limits", responses=responses, response_model=ModelCard)
    async def model(request: Request) -> Response:
        return _tagged(request, _model_card(station.pipeline(), station.settings))

    @app.get("/v1/labels", summary="The classes and their colours", responses=responses, response_model=Labels)
    async def labels(request: Request) -> Response:
        return _tagged(request, Labels(labels=_labels(station.pipeline())))


def _tagged(request: Request, card: BaseModel) -> Response:
    """What seldom changes, with its tag; 304 when the client has it."""
    content = card.model_dump_json().encode()
    headers = {"ETag": content_tag(content), "Cache-Control": "no-cache"}
    if matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/json", headers=headers)


def _labels(pipeline: Pipeline) -> list[Label]:
    labels = pipeline.predictor.bundle.manifest.labels
    return [
        Label(id=index, name=name, colour=colour)
        for index, (name, colour) in enumerate(zip(labels.names, labels.palette, strict=True))
    ]


def _model_card(pipeline: Pipeline, settings: Settings) -> ModelCard:
    manifest = pipeline.predictor.bundle.manifest
    engine = pipeline.predictor.engine
    return ModelCard(
        name=manifest.name,
        version=manifest.version,
        created=manifest.created,
        schema_version=manifest.schema_version,
        encoder=manifest.encoder,
        upsampler=manifest.upsampler,
        finest_stride=manifest.finest_stride,
        labels=_labels(pipeline),
        ignore_colour=manifest.labels.ignore_colour,
        scores=dict(manifest.scores),
        provenance=dict(manifest.provenance),
        comparison=dict(manifest.comparison) or None,
        engine=EngineCard(name=engine.name, precision=engine.precision),
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_pixels=settings.max_pixels,
            max_batch=settings.max_batch,
            timeout_seconds=settings.timeout_seconds,
            slots=settings.slots,
            queue=settings.queue,
        ),
    )
