"""Faults as answers: the one place where an exception becomes an HTTP status, a code and a hint."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from data.errors import CorruptImageError, ImageError, ImageTooLargeError, UnsupportedImageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class ServiceError(Exception):
    """A fault that the client (or the load) caused, told to the client.

    Attributes:
        status: HTTP status, 4xx or 5xx.
        code: Stable word for programs.
        message: What was found and what was expected; no path, no traceback.
        hint: What to do.
        headers: Further headers of the answer, such as Retry-After.
    """

    def __init__(
        self, status: int, code: str, message: str, hint: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.headers = dict(headers or {})


_SEND_PICTURE: Final = "Send a JPEG, PNG, WebP, TIFF, BMP, GIF or PPM file."

# The first class that fits counts, so the base class stands last.
_PICTURE_FAULTS: Final[tuple[tuple[type[ImageError], int, str, str], ...]] = (
    (UnsupportedImageError, 415, "unsupported_image", _SEND_PICTURE),
    (ImageTooLargeError, 413, "image_too_large", "Send a smaller picture; GET /v1/model tells the limits."),
    (CorruptImageError, 422, "damaged_image", "Check that the file opens in a viewer, then send all of it."),
    (ImageError, 422, "unusable_image", _SEND_PICTURE),
)

_ROUTES: Final = "GET /openapi.json describes every route."

_HTTP_HINTS: Final[Mapping[int, str]] = {
    404: "POST pictures to /v1/segment; GET /openapi.json lists every route.",
    405: "The Allow header names the methods of this route.",
}


def as_service_error(error: Exception) -> ServiceError:
    """Map any exception to what the client is told.

    Args:
        error: A fault of the client maps to its 4xx; anything unforeseen to a 500 without details.
    """
    if isinstance(error, ServiceError):
        return error
    for kind, status, code, hint in _PICTURE_FAULTS:
        if isinstance(error, kind):
            return ServiceError(status, code, _sentence(str(error)), hint)
    if isinstance(error, ClientDisconnect):  # nginx's number for it; nobody is there to read the answer
        return ServiceError(499, "client_closed", "The client hung up.", "Wait for the answer.")
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        hint = _HTTP_HINTS.get(error.status_code, _ROUTES)
        code = phrase.lower().replace(" ", "_")
        return ServiceError(error.status_code, code, f"{phrase}.", hint, error.headers)
    if isinstance(error, RequestValidationError):
        return invalid_options(error)
    return ServiceError(
        500, "internal", "The service failed on this request.", "Try again; report the X-Request-Id if it stays."
    )


def invalid_option(faults: Sequence[str], possible: str) -> ServiceError:
    """An unknown option, or a value that an option cannot take.

    Args:
        faults: One sentence part each, without a full stop.
        possible: What can be given instead: the hint.
    """
    more = f" ({len(faults) - 3} more)" if len(faults) > 3 else ""
    return ServiceError(422, "invalid_option", _sentence("; ".join(faults[:3]) + more), possible)


def invalid_options(error: RequestValidationError, hint: str = _ROUTES) -> ServiceError:
    """As ``invalid_option``, for what pydantic found.

    Args:
        error: What pydantic found.
        hint: Names the options that there are.
    """
    faults = []
    for fault in error.errors():
        name = shown(str(fault["loc"][-1])) if fault["loc"] else "request"
        if fault["type"] == "extra_forbidden":
            faults.append(f"{name} is not an option")
        else:
            faults.append(f"{name} is {shown(str(fault['input']))}: {fault['msg']}")
    return invalid_option(faults, hint)


def error_response(error: ServiceError, path: str = "") -> JSONResponse:
    """The answer ``{"error": {"code", "message", "hint"}}``, or the form of another protocol.

    Args:
        error: What is told.
        path: Of the request. The Open Inference Protocol, below ``/v2``, has a text in the place of the object.
    """
    body: dict[str, object] = {"error": {"code": error.code, "message": error.message, "hint": error.hint}}
    if path == "/v2" or path.startswith("/v2/"):
        body = {"error": f"{error.message} {error.hint}"}
    return JSONResponse(body, status_code=error.status, headers=error.headers)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def shown(text: str, length: int = 40) -> str:
    """A client's own text as it may stand in an answer: quoted, escaped and short."""
    return ascii(text if len(text) <= length else text[: length - 3] + "...")
