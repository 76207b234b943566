"""Routes: the public contract as a FastAPI application."""

from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Match

from data.errors import ImageError
from service import metrics
from service.batch import add_batch
from service.bodies import BINARY, FORM, OCTETS, request_body
from service.card import add_card
from service.errors import ServiceError, as_service_error, error_response
from service.gate import describe_keys
from service.guard import ERROR_CODE
from service.huggingface import add_huggingface
from service.kserve import add_kserve
from service.label_studio import add_label_studio
from service.native import add_native
from service.options import form_schema, query_parameters
from service.pages import add_pages
from service.schema import (
    ErrorAnswer,
    SegmentAnswer,
    Status,
)
from service.station import Station

_DESCRIPTION: Final = (
    "Send a picture, get a label for every pixel of it. Pictures are told by their bytes, whatever the headers say: "
    "JPEG, PNG, WebP, TIFF, BMP, GIF, PPM. The answer has the size of the picture as a viewer shows it (EXIF "
    'orientation applied). Every fault is answered as {"error": {"code", "message", "hint"}}.'
)


def _fault(description: str, code: str, message: str) -> dict[str, Any]:
    example = {"error": {"code": code, "message": message, "hint": "What to do about it."}}
    return {"model": ErrorAnswer, "description": description, "content": {"application/json": {"example": example}}}


_FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    400: _fault(
        "The picture is missing or the form is malformed.",
        "missing_image",
        "The request has no body; a picture was expected.",
    ),
    408: _fault("The body did not arrive in time.", "upload_timed_out", "The body did not arrive within 60 s."),
    413: _fault("The body or the picture is too large.", "body_too_large", "The body has more than 67108864 bytes."),
    415: _fault(
        "The bytes are not a picture in a known format.",
        "unsupported_image",
        "These 5 bytes are not a picture in a known format.",
    ),
    422: _fault(
        "An option is unknown or has an impossible value, or the picture is damaged.",
        "invalid_option",
        "'opacity' is '2': Input should be less than or equal to 1.",
    ),
    500: _fault(
        "The service failed; the log holds the X-Request-Id.", "internal", "The service failed on this request."
    ),
    503: _fault("Full or still loading; see Retry-After.", "busy", "The service has as many requests as it takes."),
    504: _fault("No answer in time.", "timed_out", "No answer within 60 s."),
}
_NOT_READY: Final[dict[int | str, dict[str, Any]]] = {503: _FAULTS[503]}


def create_app(station: Station) -> FastAPI:
    """The public contract over one station.

    Args:
        station: May be opened (given its model) later; until then the routes that need it answer 503.

    Returns:
        The routes; ``Guard`` goes around them.
    """
    app = FastAPI(
        title="FCN segmenter",
        version="1",
        description=_DESCRIPTION,
        openapi_url=None,  # FastAPI's own route of it has no name in log and metrics
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        # BentoML makes a span of every request already; FastAPI's would be a second one, of a trace of its own.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for kind in (ServiceError, ImageError, RequestValidationError, HTTPException, ClientDisconnect, Exception):
        app.add_exception_handler(kind, _tell)
    _add_segment(app, station)
    add_batch(app, station, _FAULTS)
    add_card(app, station, _NOT_READY)
    _add_probes(app, station)
    _add_document(app)
    add_pages(app)
    add_huggingface(app, station, _FAULTS)
    add_kserve(app, station)
    add_native(app, station, _FAULTS)
    add_label_studio(app, station, _FAULTS)
    if station.settings.asks_for_keys:
        describe_keys(app, station.settings.open_doors)
    return app


async def _tell(request: Request, error: Exception) -> JSONResponse:
    fault = as_service_error(error)
    request.scope[ERROR_CODE] = fault.code
    if fault.status == 405:
        fault.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return error_response(fault, request.scope["path"])


def _methods(request: Request) -> set[str]:
    """What a request's path answers: several routes may share it, of which Starlette names the first alone."""
    matching = (route for route in request.app.routes if route.matches(request.scope)[0] != Match.NONE)
    methods = {method for route in matching for method in getattr(route, "methods", ())}
    return methods | {"HEAD"} if "GET" in methods else methods  # which the guard makes a GET


def _add_segment(app: FastAPI, station: Station) -> None:
    form = form_schema({**BINARY, "description": "The picture, as a file."})

    @app.post(
        "/v1/segment",
        summary="Label every pixel of a picture",
        response_class=Response,
        responses={
            200: {
                "model": SegmentAnswer,
                "description": "A PNG or JSON, as the option `format` says.",
                "content": {"image/png": {"schema": BINARY}},
                "headers": {
                    "ETag": {
                        "schema": {"type": "string"},
                        "description": "Strong; the same for the same picture, options, model and precision.",
                    },
                    "X-Model-Version": {"schema": {"type": "string"}},
                    "Server-Timing": {
                        "schema": {"type": "string"},
                        "description": "Milliseconds of decode, infer, encode.",
                    },
                },
            },
            **_FAULTS,
        },
        openapi_extra={
            "parameters": query_parameters(),
            **request_body(
                "A form with the file field `image`, or the picture itself under any other type.",
                {FORM: form, OCTETS: BINARY, "image/jpeg": BINARY, "image/png": BINARY},
            ),
        },
    )
    async def segment(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        query = request.query_params.multi_items()
        station.pipeline().check(query)
        return await station.respond(
            request, lambda pipeline, body, watch: pipeline.run(content_type, body, query, watch)
        )


def _add_probes(app: FastAPI, station: Station) -> None:
    # Under BentoML its own probes answer GET before these; the paths are the same.
    @app.get("/healthz", summary="Whether the process answers")
    @app.get("/livez", summary="Whether the process answers")
    async def live() -> Status:
        return Status(status="ok")

    @app.get("/metrics", summary="Prometheus metrics", response_class=PlainTextResponse)
    def prometheus() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/readyz", summary="Whether the model is loaded and warm", responses=_NOT_READY)
    async def ready() -> Status:
        station.pipeline()
        return Status(status="ready")


def _add_document(app: FastAPI) -> None:
    @app.get("/openapi.json", include_in_schema=False)
    @app.get("/docs.json", include_in_schema=False)
    async def document() -> JSONResponse:
        return JSONResponse(app.openapi())
