"""Card: what the service tells of its model in JSON, and the model card that was exported with it; with entity tags."""

from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.responses import Response

from service.errors import ServiceError
from service.pipeline import Pipeline
from service.schema import EngineCard, ErrorAnswer, Label, Labels, Limits, ModelCard
from service.settings import Settings
from service.station import Station
from service.tags import content_tag, matches

_TAG_HEADER: Final = {"ETag": {"schema": {"type": "string"}, "description": "Strong; for If-None-Match."}}


def add_card(app: FastAPI, station: Station, faults: dict[int | str, dict[str, Any]]) -> None:
    """Add ``GET /v1/model``, ``GET /v1/model/card`` and ``GET /v1/labels``.

    Args:
        app: Gets the routes.
        station: Has the model.
        faults: Answers while there is none, for the OpenAPI document.
    """
    unchanged: dict[int | str, dict[str, Any]] = {
        304: {"description": "As If-None-Match says, the client has it already.", "headers": _TAG_HEADER},
        **faults,
    }
    responses = {200: {"headers": _TAG_HEADER}, **unchanged}

    @app.get("/v1/model", summary="The model, its scores and the limits", responses=responses, response_model=ModelCard)
    async def model(request: Request) -> Response:
        return _tagged(request, _model_card(station.pipeline(), station.settings).model_dump_json().encode())

    @app.get(
        "/v1/model/card",
        summary="The model card: data, recipe, scores by class, calibration, known limits, licences",
        response_class=Response,
        responses={
            200: {
                "description": "Markdown with YAML front matter, as `fcn export` wrote it.",
                "content": {"text/markdown": {"schema": {"type": "string"}}},
                "headers": _TAG_HEADER,
            },
            404: {"model": ErrorAnswer, "description": "The bundle was exported without a model card."},
            **unchanged,
        },
    )
    async def model_card(request: Request) -> Response:
        card = station.pipeline().predictor.bundle.card
        if not card:
            raise ServiceError(
                404,
                "no_model_card",
                "The bundle in service was exported without a model card.",
                "Export the run again with 'fcn export' and serve that; GET /v1/model tells the scores.",
            )
        return _tagged(request, card.encode(), "text/markdown; charset=utf-8")

    @app.get("/v1/labels", summary="The classes and their colours", responses=responses, response_model=Labels)
    async def labels(request: Request) -> Response:
        return _tagged(request, Labels(labels=_labels(station.pipeline())).model_dump_json().encode())


def _tagged(request: Request, content: bytes, media_type: str = "application/json") -> Response:
    """What seldom changes, with its tag; 304 when the client has it."""
    headers = {"ETag": content_tag(content), "Cache-Control": "no-cache"}
    if matches(request.headers.get("if-none-match", ""), headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


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
        quantisation=dict(manifest.quantisation) or None,
        engine=EngineCard(name=engine.name, precision=engine.precision, tail=engine.tail),
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_pixels=settings.max_pixels,
            max_batch=settings.max_batch,
            timeout_seconds=settings.timeout_seconds,
            slots=settings.slots,
            queue=settings.queue,
        ),
    )
