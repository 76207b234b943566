"""Guard: what every answer has in common, and the last catch of a fault nobody foresaw."""

from __future__ import annotations

import logging
import re
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders

from service import metrics, spans
from service.errors import as_service_error, error_response
from service.logs import FIELDS, LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ERROR_CODE: Final = "fcn.error_code"
"""Key in the request's scope under which the exception handler leaves the error code."""

KEY_NAME: Final = "fcn.key_name"
"""Key in the request's scope under which the gate leaves the name that belongs to the API key."""

REQUEST_ID: Final = "fcn.request_id"
"""Key in the request's scope under which the routes find its id."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET: Final = frozenset({"/ui/{name}", "/metrics", "/healthz", "/livez", "/readyz"})

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Guard:
    """ASGI middleware: request id, model version and security headers, one log line, and JSON for any fault.

    It never raises: under BentoML, an exception here would hold the connection for the whole time-out.

    Args:
        app: The application.
        model_version: Tells the version in service.
        stopping: Tells whether the service stops; then every answer closes its connection.
    """

    def __init__(
        self, app: ASGIApp, model_version: Callable[[], str | None], stopping: Callable[[], bool] = lambda: False
    ) -> None:
        self._app = app
        self._model_version = model_version
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        with spans.caller(headers.get("traceparent", "")):
            await self._serve(scope, receive, send, request_id)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        start = time.perf_counter()
        method = scope["method"]
        status = 0
        received = sent = 0

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def guarded_send(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                self._dress(MutableHeaders(scope=message), request_id)
                spans.describe_request(_known(method), _route(inner), request_id, inner.get(ERROR_CODE, ""))
            elif method == "HEAD":
                message = {**message, "body": b""}
            sent += len(message.get("body", b""))
            await send(message)

        # HEAD is GET without a body, for every route alike.
        inner = {**scope, REQUEST_ID: request_id, "method": "GET" if method == "HEAD" else method}
        try:
            await self._app(inner, counted_receive, guarded_send)
        except Exception as error:  # the routes have answered it; what comes through is to be logged
            LOGGER.exception("request id=%s failed", request_id, extra={FIELDS: {"id": request_id}})
            if status == 0:
                await error_response(as_service_error(error), scope["path"])(scope, receive, guarded_send)
        finished = _Finished(inner, method, status, request_id, time.perf_counter() - start, received, sent)
        finished.record()

    def _dress(self, headers: MutableHeaders, request_id: str) -> None:
        headers["X-Request-Id"] = request_id
        if self._stopping():
            headers["Connection"] = "close"
        version = self._model_version()
        if version:
            headers["X-Model-Version"] = version
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)


@dataclass(frozen=True)
class _Finished:
    """One answered request, for the log and the metrics."""

    scope: Scope
    method: str
    status: int
    request_id: str
    seconds: float
    received: int
    sent: int

    def record(self) -> None:
        route = _route(self.scope)
        code = self.scope.get(ERROR_CODE, "")
        key = self.scope.get(KEY_NAME, "")
        metrics.observe_request(
            route, self.status, self.seconds, error_code=code, key=key, received=self.received, sent=self.sent
        )
        fields: dict[str, object] = {
            "id": self.request_id,
            "method": _known(self.method),
            "route": route,
            "status": self.status,
            "ms": round(self.seconds * 1000, 1),
            "bytes_in": self.received,
            "bytes_out": self.sent,
        }
        if key:
            fields["key"] = key
        if code:
            fields["error"] = code
        LOGGER.log(
            logging.DEBUG if route in _QUIET and self.status < 400 else logging.INFO,
            "request %s",
            " ".join(f"{name}={value}" for name, value in fields.items()),
            extra={FIELDS: fields},
        )


def _route(scope: Scope) -> str:
    """The route's template and not the path: paths are the client's own text, in any number."""
    return getattr(scope.get("route"), "path", "") or "other"


def _known(method: str) -> str:
    return method if method in _METHODS else "other"
