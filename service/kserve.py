"""The door of KServe and Triton clients: the Open Inference Protocol, version 2, over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from fastapi import FastAPI, Request  # noqa: TC002 - FastAPI reads the types of a route when it is added
from starlette.responses import Response  # noqa: TC002 - the same

from service.bodies import INFERENCE
from service.errors import ServiceError
from service.numbers import write_numbers
from service.pipeline import Answer
from service.tensors import (
    INPUT,
    OUTPUTS,
    InferRequest,
    limit_pixels,
    read_request,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from service.pipeline import Pipeline, Watch
    from service.station import Station

SERVED_NAME: Final = "fcn-segmenter"
"""The model's second name, the same whatever bundle is served."""

MAX_JSON_NUMBERS: Final = 8_000_000
"""Most numbers of an answer in JSON, four times as long as in binary and far slower to write and to read."""

_LENGTH: Final = "Inference-Header-Content-Length"


def add_kserve(app: FastAPI, station: Station) -> None:
    """Add the routes below ``/v2``.

    Args:
        app: Gets the routes.
        station: Every request for inference goes through it.
    """
    error = {
        "description": "A fault, as the protocol has it.",
        "content": {"application/json": {"example": {"error": "What was found. What to do about it."}}},
    }
    faults: dict[int | str, dict[str, Any]] = {"4XX": error, "5XX": error}

    @app.get("/v2", summary="Server metadata (Open Inference Protocol)")
    async def server() -> dict[str, Any]:
        return {"name": SERVED_NAME, "version": "1", "extensions": ["binary_tensor_data"]}

    @app.get("/v2/health/live", summary="Whether the process answers")
    async def live() -> dict[str, bool]:
        return {"live": True}

    @app.get("/v2/health/ready", summary="Whether the model is loaded and warm", responses=faults)
    async def ready() -> dict[str, bool]:
        station.pipeline()
        return {"ready": True}

    @app.get("/v2/models/{model}", summary="Model metadata", responses=faults)
    @app.get("/v2/models/{model}/versions/{version}", summary="Model metadata", responses=faults)
    async def metadata(model: str, version: str = "") -> dict[str, Any]:
        return _metadata(_pipeline(station, model, version))

    @app.get("/v2/models/{model}/ready", summary="Whether a model is ready", responses=faults)
    @app.get("/v2/models/{model}/versions/{version}/ready", summary="Whether a model is ready", responses=faults)
    async def model_ready(model: str, version: str = "") -> dict[str, Any]:
        return {"name": _pipeline(station, model, version).predictor.bundle.manifest.name, "ready": True}

    @app.post("/v2/models/{model}/infer", summary="Inference", responses=faults, openapi_extra=INFERENCE)
    @app.post(
        "/v2/models/{model}/versions/{version}/infer", summary="Inference", responses=faults, openapi_extra=INFERENCE
    )
    async def infer(request: Request, model: str, version: str = "") -> Response:
        _pipeline(station, model, version)
        _refuse_encoding(request)
        length = request.headers.get(_LENGTH)
        return await station.respond(request, lambda pipeline, body, watch: _infer(pipeline, body, length, watch))


def _pipeline(station: Station, model: str, version: str) -> Pipeline:
    pipeline = station.pipeline()
    manifest = pipeline.predictor.bundle.manifest
    if model not in (manifest.name, SERVED_NAME):
        raise ServiceError(404, "unknown_model", "There is no model of this name.", f"Ask for {manifest.name}.")
    if version not in ("", manifest.version):
        raise ServiceError(
            404, "unknown_model", "There is no such version of the model.", f"Ask for {manifest.version}, or for none."
        )
    return pipeline


def _refuse_encoding(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise ServiceError(
            415, "unsupported_encoding", "The body is compressed.", "Send it as it is; pictures are compressed already."
        )


def _metadata(pipeline: Pipeline) -> dict[str, Any]:
    manifest = pipeline.predictor.bundle.manifest
    return {
        "name": manifest.name,
        "versions": [manifest.version],
        "platform": f"{pipeline.predictor.engine.name}_onnx",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, -1, -1, 3]}],
        "outputs": [{"name": name, "datatype": "UINT8", "shape": [-1, -1, -1]} for name in OUTPUTS],
    }


def _infer(pipeline: Pipeline, body: bytes, json_length: str | None, watch: Watch) -> Answer:
    with watch.stage("decode"):
        request = read_request(body, json_length, pipeline.max_pixels)
    results: dict[str, NDArray[np.uint8]] = {}
    pictures = len(request.files) if request.pixels is None else len(request.pixels)
    for index, image in enumerate(_pictures(pipeline, request, watch)):
        shape = (pictures, *image.shape[:2])
        if not results:
            limit_pixels(pictures * image.shape[0] * image.shape[1], pipeline.max_pixels)
            _limit_json(request, pictures * image.shape[0] * image.shape[1])
            results = {name: np.empty(shape, dtype=np.uint8) for name in request.outputs}
        elif results[next(iter(results))].shape != shape:
            raise ServiceError(
                400,
                "invalid_tensor",
                f"Picture {index} of the request has another size than the first.",
                "Send pictures of several sizes in a request each.",
            )
        segmentation = pipeline.segment(image, watch)
        for name, values in results.items():
            values[index] = segmentation.label_map if name == "label_map" else segmentation.confidence
    with watch.stage("encode"):
        manifest = pipeline.predictor.bundle.manifest
        content, length = _write_answer(request, manifest.name, manifest.version, results)
    pipeline.count("kserve", watch, pictures)
    if length is None:
        return Answer(content, "application/json", watch.seconds)
    return Answer(content, "application/octet-stream", watch.seconds, {_LENGTH: str(length)})


def _pictures(pipeline: Pipeline, request: InferRequest, watch: Watch) -> Iterator[NDArray[np.uint8]]:
    if request.pixels is not None:
        yield from map(np.array, request.pixels)  # copies: the engines want memory that is their own
        return
    for file in request.files:
        yield pipeline.decode(file, watch)


def _limit_json(request: InferRequest, pixels: int) -> None:
    """Refuse to write more numbers as JSON than anybody should read.

    Args:
        request: Says which outputs are JSON.
        pixels: Of each output.

    Raises:
        ServiceError: 413.
    """
    numbers = pixels * sum(not binary for binary in request.outputs.values())
    if numbers > MAX_JSON_NUMBERS:
        raise ServiceError(
            413,
            "answer_too_large",
            f"The answer has {numbers} numbers; as JSON at most {MAX_JSON_NUMBERS} are written.",
            "Ask for binary data: the parameter binary_data_output of the request, or binary_data of each output.",
        )


def _write_answer(
    request: InferRequest, model: str, version: str, results: Mapping[str, NDArray[np.uint8]]
) -> tuple[bytes, int | None]:
    """Write an answer.

    Args:
        request: What is answered.
        model: Name.
        version: Of the model.
        results: Every output that is asked for, shape (N, H, W).

    Returns:
        The body, and how many bytes of it are JSON when binary data follow.
    """
    head: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id is not None:
        head["id"] = request.id
    pieces: list[bytes] = [json.dumps(head).encode()[:-1], b', "outputs": [']
    binary: list[bytes] = []
    for index, (name, in_binary) in enumerate(request.outputs.items()):
        values = results[name]
        tensor: dict[str, Any] = {"name": name, "datatype": "UINT8", "shape": list(values.shape)}
        if in_binary:
            tensor["parameters"] = {"binary_data_size": values.size}
            binary.append(values.tobytes())
        pieces += [b", " if index else b"", json.dumps(tensor).encode()[:-1]]
        pieces += [b"}"] if in_binary else [b', "data": ', *write_numbers(values), b"}"]
    pieces.append(b"]}")
    length = sum(map(len, pieces))
    return b"".join(pieces + binary), length if binary else None
