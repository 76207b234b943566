"""Guard: what every answer has in common, and the last catch of a fault nobody foresaw."""

from __future__ import annotations

import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders

from service import metrics
from service.errors import as_service_error, error_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOGGER: Final = logging.getLogger("bentoml.fcn")
"""Below BentoML's own logger, so that its handler writes the lines."""

ERROR_CODE: Final = "fcn.error_code"
"""Key in the request's scope under which the exception handler leaves the error code."""

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET: Final = frozenset({"/metrics", "/healthz", "/livez", "/readyz"})

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
}


class Guard:
    """ASGI middleware: request id, model version and security headers, one log line, and JSON for any fault.

    It never raises: under BentoML, an exception here would hold the connection for the whole time-out.

    Args:
        app: The application.
        model_version: Tells the version in service.
    """

    def __init__(self, app: ASGIApp, model_version: Callable[[], str | None]) -> None:
        self._app = app
        self._model_version = model_version

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        method = scope["method"]
        status = 0

        async def guarded_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._dress(MutableHeaders(scope=message), request_id)
            elif method == "HEAD":
                message = {**message, "body": b""}
            await send(message)

        # HEAD is GET without a body, for every route alike.
        inner = {**scope, "method": "GET"} if method == "HEAD" else scope
        try:
            await self._app(inner, receive, guarded_send)
        except Exception as error:  # the routes have answered it; what comes through is to be logged
            LOGGER.exception("request id=%s failed", request_id)
            if status == 0:
                await error_response(as_service_error(error))(scope, receive, guarded_send)
        self._record(inner, method, status, request_id, time.perf_counter() - start)

    def _dress(self, headers: MutableHeaders, request_id: str) -> None:
        headers["X-Request-Id"] = request_id
        version = self._model_version()
        if version:
            headers["X-Model-Version"] = version
        for name, value in _HEADERS.items():
            headers.setdefault(name, value)

    def _record(self, scope: Scope, method: str, status: int, request_id: str, seconds: float) -> None:
        # The route's template and not the path: paths are the client's own text, in any number.
        route = getattr(scope.get("route"), "path", "") or "other"
        code = scope.get(ERROR_CODE, "")
        metrics.observe_request(route, status, seconds, code)
        LOGGER.log(
            logging.DEBUG if route in _QUIET else logging.INFO,
            "request id=%s method=%s route=%s status=%d ms=%.1f%s",
            request_id,
            method if method in _METHODS else "other",
            route,
            status,
            seconds * 1000,
            f" error={code}" if code else "",
        )
