"""The door of Label Studio: its machine-learning backend protocol, for projects with BrushLabels."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request  # noqa: TC002 - FastAPI reads the types of a route when it is added
from starlette.responses import Response  # noqa: TC002 - the same

from data.errors import ImageError
from model.runtime.brush import brush_regions
from model.runtime.tally import tally
from service.bodies import PROJECT, TASKS
from service.document import kind_of, read_base64, read_document
from service.errors import ServiceError, as_service_error
from service.label_config import LabelConfig, read_label_config
from service.numbers import write_numbers
from service.pipeline import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model.runtime.predictor import Segmentation
    from service.pipeline import Pipeline, Watch
    from service.station import Station

MAX_TASKS: Final = 1000
"""Most tasks in one request. Label Studio sends a hundred."""

MAX_RUNS: Final = 2_000_000
"""Most runs of one mask: some 20 MB of JSON."""

_OFFLINE: Final = (
    "Label the folder of pictures with `fcn predict BUNDLE PICTURES --format label-studio` and import the tasks that "
    "it writes, or give pictures in tasks as data:image/...;base64 URLs."
)


def add_label_studio(app: FastAPI, station: Station, faults: dict[int | str, dict[str, Any]]) -> None:
    """Add ``/health``, ``/setup``, ``/predict``, ``/versions`` and ``/webhook``.

    Args:
        app: Gets the routes.
        station: Every request with a body that is read goes through it.
        faults: Answers of a request that fails, for the OpenAPI document.
    """

    @app.get("/health", summary="Label Studio: whether the backend works", responses={503: faults[503]})
    async def health() -> dict[str, str]:
        station.pipeline()
        return {"status": "UP", "model_class": "FcnSegmenter"}

    @app.get("/versions", summary="Label Studio: versions of the model", responses={503: faults[503]})
    async def versions() -> dict[str, list[str]]:
        return {"versions": [station.pipeline().predictor.bundle.manifest.version]}

    @app.post("/setup", summary="Label Studio: a project introduces itself", responses=faults, openapi_extra=PROJECT)
    async def setup(request: Request) -> dict[str, str]:
        return await station.run(request, _set_up)

    @app.post("/predict", summary="Label Studio: brush strokes for tasks", responses=faults, openapi_extra=TASKS)
    async def predict(request: Request) -> Response:
        return await station.respond(request, _predict)

    @app.post("/webhook", summary="Label Studio: annotations were made; nothing is learnt here")
    async def webhook() -> dict[str, str]:
        return {"status": "ignored", "result": "Models are trained with `fcn train`, not by the service."}


def _set_up(pipeline: Pipeline, body: bytes, _watch: Watch) -> dict[str, str]:
    """A configuration that cannot be served is told now, not at the first task."""
    document = read_document(body)
    manifest = pipeline.predictor.bundle.manifest
    read_label_config(document.get("schema")).labels(manifest.labels.names)
    return {"model_version": manifest.version}


def _predict(pipeline: Pipeline, body: bytes, watch: Watch) -> Answer:
    with watch.stage("decode"):
        document = read_document(body)
        tasks = document.get("tasks")
        if not isinstance(tasks, list):
            raise ServiceError(
                400, "malformed_tasks", f"The field tasks is {kind_of(tasks)}; a list was expected.", "Send tasks."
            )
        if len(tasks) > MAX_TASKS:
            raise ServiceError(
                413,
                "too_many_images",
                f"The request has {len(tasks)} tasks; at most {MAX_TASKS} are taken.",
                "Send fewer.",
            )
        config = read_label_config(document.get("label_config"))
    manifest = pipeline.predictor.bundle.manifest
    labels = config.labels(manifest.labels.names)
    results = []
    answered = 0
    for task in tasks:
        try:
            picture = _picture(task, config.key)
            segmentation = pipeline.segment(pipeline.decode(picture, watch), watch)
            with watch.stage("encode"):
                results.append(_prediction(segmentation, labels, config, manifest.version, watch))
        except (ServiceError, ImageError) as fault:
            results.append(_fault(fault, manifest.version))
        else:
            answered += 1
    pipeline.count("label-studio", watch, answered)
    return Answer(b'{"results": [' + b", ".join(results) + b"]}", "application/json", watch.seconds)


def _picture(task: object, key: str) -> bytes:
    data = task.get("data") if isinstance(task, dict) else None
    value = data.get(key) if isinstance(data, dict) else None
    if isinstance(value, str) and value and not value.startswith("data:"):
        raise ServiceError(
            400,
            "image_is_text",
            "The task names its picture by an address or a path. Addresses are never fetched and paths never opened.",
            _OFFLINE,
        )
    return read_base64(value, f"data[{key[:40]!a}]")


def _prediction(
    segmentation: Segmentation, labels: Mapping[int, str], config: LabelConfig, version: str, watch: Watch
) -> bytes:
    """A prediction, written by hand: the run lengths are too long for the parser's own lists."""
    secret = secrets.token_hex(8)
    regions = []
    counts, sums = tally(segmentation)
    scores = {index: float(sums[index]) / (255 * float(counts[index])) for index in labels if counts[index]}
    names = (config.from_name, config.to_name)
    for region, rle in brush_regions(segmentation.label_map, labels, scores, *names, most_runs=MAX_RUNS):
        watch.check()
        region["value"]["rle"] = secret
        before, after = json.dumps(region).split(f'"{secret}"')
        regions.append(b"".join([before.encode(), *write_numbers(rle), after.encode()]))
    score = float(sums.sum()) / (255 * segmentation.label_map.size)
    head = json.dumps({"model_version": version, "score": round(score, 6)}).encode()[:-1]
    return head + b', "result": [' + b", ".join(regions) + b"]}"


def _fault(fault: Exception, version: str) -> bytes:
    # Without a "result", for which Label Studio would store an empty prediction; so it writes this into its log.
    told = as_service_error(fault)
    error = {"code": told.code, "message": told.message, "hint": told.hint}
    return json.dumps({"model_version": version, "error": error}).encode()
