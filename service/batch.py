"""Batch: many pictures in one request, each answered for itself."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI, Request  # noqa: TC002 - FastAPI reads the types of a route when it is added
from starlette.responses import Response

from service import metrics
from service.bodies import BINARY, FORM, request_body
from service.errors import ServiceError, as_service_error
from service.guard import REQUEST_ID
from service.logs import FIELDS, LOGGER
from service.options import form_schema, merged, query_parameters, read_options
from service.pipeline import AbandonedError, Watch
from service.schema import BatchEntry
from service.upload import take_apart_many

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.options import SegmentOptions
    from service.pipeline import Answer
    from service.station import Accepted, Station
    from service.upload import SentFile

_GRACE: Final = 5.0
"""Seconds beyond the time limit in which the answer is put together from what there is."""

_ANSWER_SHARE: Final = 4
"""All answers of a batch have at most so many times the bytes that a body may have."""


def add_batch(app: FastAPI, station: Station, faults: dict[int | str, dict[str, Any]]) -> None:
    """Add ``POST /v1/segment/batch``.

    Args:
        app: Gets the route.
        station: Every request goes through it.
        faults: Answers of a request that fails as a whole, for the OpenAPI document.
    """
    pictures = {
        "type": "array",
        "items": BINARY,
        "minItems": 1,
        "maxItems": station.settings.max_batch,
        "description": "The pictures, each as a file.",
    }
    body = request_body("A form with a file field `image` for every picture.", {FORM: form_schema(pictures)})

    @app.post(
        "/v1/segment/batch",
        summary="Label every pixel of many pictures",
        response_class=Response,
        responses={
            200: {
                "model": list[BatchEntry],
                "description": "An entry for each picture, in order. A picture that cannot be answered has a status "
                "and an error of its own, and the answer as a whole is a 200 all the same.",
            },
            **faults,
        },
        openapi_extra={"parameters": query_parameters(), **body},
    )
    async def segment_batch(request: Request) -> Response:
        query = request.query_params.multi_items()
        station.pipeline().check(query)
        content_type = request.headers.get("content-type", "")
        batch = _Batch(station, content_type, query, request.scope.get(REQUEST_ID, ""))
        entries = await station.accept(request, batch.run, _GRACE)
        content = b"[" + b",\n".join(entries) + b"]"
        return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})


class _Batch:
    """The pictures of one request, one after the other.

    The request holds one place, and each picture waits for a thread by itself, behind all that waits
    then: a batch has one thread at most, and a single picture waits for one of its pictures, not for all.

    Args:
        station: Tells limits.
        content_type: The request's header.
        query: Options that the query set.
        request_id: For the log.
    """

    def __init__(self, station: Station, content_type: str, query: Sequence[tuple[str, str]], request_id: str) -> None:
        self._request_id = request_id
        self._station = station
        self._content_type = content_type
        self._query = query
        self._room = _ANSWER_SHARE * station.settings.max_body_bytes

    async def run(self, accepted: Accepted) -> list[bytes]:
        """The entries, as JSON."""
        files, options = await accepted.place.run(lambda: self._take_apart(accepted))
        entries = []
        for index in range(len(files)):
            file, files[index] = files[index], None  # read once: its bytes can go
            if file is not None:
                entries.append(await self._entry(accepted, index, file, options))
        return entries

    def _take_apart(self, accepted: Accepted) -> tuple[list[SentFile | None], SegmentOptions]:
        most = self._station.settings.max_batch
        files, form = take_apart_many(self._content_type, accepted.body, most)
        accepted.body = b""  # the files are copies
        options = read_options(merged(self._query, form))
        accepted.pipeline.check(form)
        return list(files), options

    async def _entry(self, accepted: Accepted, index: int, file: SentFile, options: SegmentOptions) -> bytes:
        head = {"index": index, **({} if file.filename is None else {"filename": file.filename})}

        def work() -> bytes:
            answer = accepted.pipeline.answer(file.picture(), options, Watch(accepted.abandoned))
            return _good(head, answer)

        if accepted.abandoned.is_set():  # time was up at an earlier one, which may still be in its thread
            return _bad(head, self._station.timed_out(received=True))
        try:
            async with asyncio.timeout_at(accepted.deadline):
                entry = await accepted.place.run(work)
            if len(entry) > self._room:
                raise self._too_much()
            self._room -= len(entry)
        except (TimeoutError, AbandonedError):
            accepted.abandoned.set()  # what is worked on stops, and what comes after it does not begin
            return _bad(head, self._station.timed_out(received=True))
        except Exception as error:  # one picture's fault is not the others'
            fault = as_service_error(error)
            if fault.status == 500:
                place = {"id": self._request_id, "picture": index}
                LOGGER.exception("request id=%(id)s failed at picture %(picture)d", place, extra={FIELDS: place})
            return _bad(head, fault)
        return entry

    def _too_much(self) -> ServiceError:
        most = _ANSWER_SHARE * self._station.settings.max_body_bytes
        return ServiceError(
            413,
            "batch_too_large",
            f"The answers of this batch have more than {most} bytes in all.",
            "Send this picture in another request, or ask for a smaller form of answer.",
        )


def _good(head: dict[str, Any], answer: Answer) -> bytes:
    entry = {**head, "status": 200, "etag": answer.headers["ETag"]}
    if answer.media_type == "application/json":
        return json.dumps(entry)[:-1].encode() + b', "answer": ' + answer.content + b"}"
    entry["media_type"] = answer.media_type
    return json.dumps(entry)[:-1].encode() + b', "data": "' + base64.b64encode(answer.content) + b'"}'


def _bad(head: dict[str, Any], fault: ServiceError) -> bytes:
    metrics.REFUSED.labels(fault.code).inc()
    error = {"code": fault.code, "message": fault.message, "hint": fault.hint}
    return json.dumps({**head, "status": fault.status, "error": error}).encode()
