"""Upload: one request body, read within its limit and taken apart into a picture and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from service.errors import ServiceError
from service.form import CURL, CURL_BATCH, PICTURE_FIELD, malformed, read_form, shown_name

if TYPE_CHECKING:
    from starlette.requests import Request

    from service.form import Part
    from service.reception import Arrival


@dataclass(frozen=True)
class Upload:
    """What a client sent.

    Attributes:
        picture: The file's bytes, not empty; its kind is told by these bytes, never by a header.
        options: Form fields beside the picture, name and text, in order.
    """

    picture: bytes
    options: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class SentFile:
    """One of the pictures of a form; whether it is one has not been looked at.

    Attributes:
        filename: As the client gave it, shortened, or None; it names nothing here.
        content: The bytes.
        is_file: Whether it was sent as a file, and not as text.
        example: Of a request that holds a picture, for who sent none.
    """

    filename: str | None
    content: bytes
    is_file: bool
    example: str

    def picture(self) -> bytes:
        """The bytes of the picture.

        Raises:
            ServiceError: 400, it is text or empty.
        """
        if not self.is_file:
            raise ServiceError(
                400,
                "image_is_text",
                "The field 'image' holds text; the bytes of a picture were expected. Addresses are never fetched.",
                self.example,
            )
        if not self.content:
            raise ServiceError(400, "missing_image", "The file in the field 'image' is empty.", self.example)
        return self.content


async def read_body(request: Request, limit: int, arrival: Arrival) -> bytes:
    """Read the body, counting as it comes; a Content-Length is believed only when it is too large.

    Args:
        request: Its body is not read yet.
        limit: Bytes.
        arrival: Told of every piece; gives up a sender that is too slow.

    Raises:
        ServiceError: 413 beyond ``limit`` bytes, 400 for a Content-Length that is not a number, 408 or 503 as
            the arrival has it.
        starlette.requests.ClientDisconnect: the client hung up.
    """
    declared = request.headers.get("content-length", "0")
    if not (declared.isascii() and declared.isdigit()):
        raise ServiceError(400, "bad_request", "Content-Length is not a number.", "Let your HTTP client set it.")
    # The first test keeps int() from a header of thousands of digits, which it refuses with an exception.
    if len(declared) > 18 or int(declared) > limit:
        raise _too_large(limit)
    body = bytearray()
    async with arrival.timed():
        async for chunk in request.stream():
            if len(body) + len(chunk) > limit:
                raise _too_large(limit)
            arrival.count(len(chunk))
            body += chunk
    return bytes(body)


def take_apart(content_type: str, body: bytes) -> Upload:
    """Find the picture in a body.

    Args:
        content_type: The request's header, or an empty text. Only ``multipart/...`` is looked at: many
            clients post a picture under ``application/x-www-form-urlencoded`` or without a header.
        body: The whole body.

    Raises:
        ServiceError: 400, the picture is missing, given twice, given as text, or the form is malformed.
    """
    if content_type.strip().lower().startswith("multipart/"):
        return _from_form(content_type, body)
    if not body:
        raise ServiceError(400, "missing_image", "The request has no body; a picture was expected.", CURL)
    return Upload(body)


def take_apart_many(content_type: str, body: bytes, most: int) -> tuple[list[SentFile], list[tuple[str, str]]]:
    """Find the pictures of a batch, and its options.

    Args:
        content_type: The request's header.
        body: The whole body.
        most: Pictures that are taken.

    Returns:
        The pictures in order, each to be looked at by itself, and the options as in ``Upload``.

    Raises:
        ServiceError: 400, no form or a malformed one, no picture, or a file under another name; 413, too many.
    """
    if not content_type.strip().lower().startswith("multipart/"):
        raise malformed(
            "A batch is a form (multipart/form-data) with the file field 'image' once a picture.", CURL_BATCH
        )
    parts = read_form(content_type, body, most)
    return _pictures(parts, CURL_BATCH), _options(parts)


def _from_form(content_type: str, body: bytes) -> Upload:
    parts = read_form(content_type, body)
    pictures = _pictures(parts, CURL)
    if len(pictures) > 1:
        raise ServiceError(
            400,
            "several_images",
            f"The form has {len(pictures)} fields 'image'.",
            "Send one picture a request, or all of them to /v1/segment/batch.",
        )
    return Upload(pictures[0].picture(), _options(parts))


def _pictures(parts: list[Part], example: str) -> list[SentFile]:
    pictures = [
        SentFile(part.filename, bytes(part.data), part.is_file, example) for part in parts if part.name == PICTURE_FIELD
    ]
    if not pictures:
        found = ", ".join(shown_name(part.name) for part in parts[:5]) or "none"
        message = f"The form has no file field 'image'; its fields are: {found}."
        raise ServiceError(400, "missing_image", message, example)
    return pictures


def _options(parts: list[Part]) -> list[tuple[str, str]]:
    options = []
    for part in parts:
        if part.name == PICTURE_FIELD:
            continue
        if part.is_file:
            raise ServiceError(
                400,
                "unexpected_file",
                f"The form has a file under another name, {shown_name(part.name)}.",
                "Send pictures in the field 'image'.",
            )
        options.append((part.name, part.data.decode("utf-8", "replace")))
    return options


def _too_large(limit: int) -> ServiceError:
    return ServiceError(
        413,
        "body_too_large",
        f"The body has more than {limit} bytes.",
        "Send a smaller file; JPEG or WebP takes less room than PNG or TIFF.",
    )
