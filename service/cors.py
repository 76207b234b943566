"""CORS: pages of which other origins may read answers; none unless it is set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware

from service.errors import ServiceError, error_response
from service.gate import KEY_HEADER
from service.guard import ERROR_CODE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

_METHODS: Final = ("GET", "HEAD", "POST")
_REQUEST_HEADERS: Final = ("Authorization", "Content-Type", "If-None-Match", KEY_HEADER, "X-Request-Id", "traceparent")
_SHOWN_HEADERS: Final = ("ETag", "Retry-After", "Server-Timing", "X-Model-Version", "X-Request-Id")
_MAX_AGE_SECONDS: Final = 600


class Cors(CORSMiddleware):
    """Starlette's middleware with this service's headers, and its faults in this service's form.

    Credentials are never allowed: a key travels in a header that a page sets itself, no browser adds one
    unasked. So ``*`` gives pages nothing that they could not have without a browser.

    Args:
        app: The application.
        origins: Such as ``https://app.example.org``, or ``*`` alone; with none nothing is changed.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=_METHODS,
            allow_headers=_REQUEST_HEADERS,
            expose_headers=_SHOWN_HEADERS,
            max_age=_MAX_AGE_SECONDS,
        )
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; a browser's question (preflight) is answered here."""
        if not self._origins or scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if scope["method"] == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers:
            response = self.preflight_response(headers)
            if response.status_code >= 400:
                fault = _refusal(bytes(response.body).decode())
                scope[ERROR_CODE] = fault.code
                response = error_response(fault, scope["path"])
            await response(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


def _refusal(reason: str) -> ServiceError:
    return ServiceError(
        400,
        "cors_refused",
        f"{reason}.",
        "Whoever runs the service names origins in FCN_CORS_ORIGINS; "
        f"methods are {', '.join(_METHODS)}, headers {', '.join(_REQUEST_HEADERS)}.",
        {"Vary": "Origin"},
    )
