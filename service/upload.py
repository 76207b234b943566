"""Upload: one request body, read within its limit and taken apart into a picture and options."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import ServiceError

if TYPE_CHECKING:
    from starlette.requests import Request

    from service.reception import Arrival

PICTURE_FIELD: Final = "image"
MAX_PARTS: Final = 32
MAX_OPTION_BYTES: Final = 4096
MAX_FILENAME: Final = 255

_CURL: Final = "For example: curl -F image=@picture.jpg URL/v1/segment, or curl --data-binary @picture.jpg."


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
    """

    filename: str | None
    content: bytes
    is_file: bool

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
                _CURL,
            )
        if not self.content:
            raise ServiceError(400, "missing_image", "The file in the field 'image' is empty.", _CURL)
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
        raise ServiceError(400, "missing_image", "The request has no body; a picture was expected.", _CURL)
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
        raise _malformed("A batch is a form (multipart/form-data) with the file field 'image' once a picture.")
    parts = _parts(content_type, body, most)
    return _pictures(parts), _options(parts)


@dataclass
class _Part:
    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    filename: str | None = None
    is_file: bool = False
    data: bytearray = field(default_factory=bytearray)
    complete: bool = False


class _FormReader:
    """Collects the parts of one form. Raises as soon as a bound is passed, so nothing grows with the input.

    Args:
        most_pictures: Of a batch; None where one is expected, and told of when the form is read.
    """

    def __init__(self, most_pictures: int | None) -> None:
        self._most_pictures = most_pictures
        self._most_parts = MAX_PARTS + (most_pictures or 0)
        self.parts: list[_Part] = []
        self.ended = False
        self._header_name = bytearray()
        self._header_value = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == self._most_parts:
            raise _malformed(f"The form has more than {self._most_parts} fields.")
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        self.parts[-1].headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def on_headers_finished(self) -> None:
        part = self.parts[-1]
        _, options = parse_options_header(part.headers.get(b"content-disposition", b""))
        if b"name" not in options:
            raise _malformed("A field of the form has no name.")
        part.name = options[b"name"].decode("utf-8", "replace")
        # A part without a file name is a file all the same when it says that it is not text (RFC 7578, 4.4).
        kind = part.headers.get(b"content-type", b"text/plain").lower()
        part.is_file = b"filename" in options or not kind.startswith(b"text/")
        if b"filename" in options:
            part.filename = options[b"filename"].decode("utf-8", "replace")[:MAX_FILENAME]
        pictures = sum(earlier.name == PICTURE_FIELD for earlier in self.parts)
        if self._most_pictures is not None and pictures > self._most_pictures:
            raise ServiceError(
                413,
                "too_many_images",
                f"The batch has more than {self._most_pictures} pictures.",
                "Send several batches; GET /v1/model tells the limits.",
            )

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self.parts[-1]
        if not part.is_file and len(part.data) + end - start > MAX_OPTION_BYTES:
            raise _malformed(
                f"The text field {_name(part.name)} is longer than {MAX_OPTION_BYTES} bytes; "
                "a picture must be sent as a file, with a filename."
            )
        part.data += data[start:end]

    def on_part_end(self) -> None:
        self.parts[-1].complete = True

    def on_end(self) -> None:
        self.ended = True


def _from_form(content_type: str, body: bytes) -> Upload:
    parts = _parts(content_type, body)
    pictures = _pictures(parts)
    if len(pictures) > 1:
        raise ServiceError(
            400,
            "several_images",
            f"The form has {len(pictures)} fields 'image'.",
            "Send one picture a request, or all of them to /v1/segment/batch.",
        )
    return Upload(pictures[0].picture(), _options(parts))


def _parts(content_type: str, body: bytes, most_pictures: int | None = None) -> list[_Part]:
    reader = _FormReader(most_pictures)
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise _malformed("The Content-Type says multipart but names no boundary.")
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": reader.on_part_begin,
                "on_header_field": reader.on_header_field,
                "on_header_value": reader.on_header_value,
                "on_header_end": reader.on_header_end,
                "on_headers_finished": reader.on_headers_finished,
                "on_part_data": reader.on_part_data,
                "on_part_end": reader.on_part_end,
                "on_end": reader.on_end,
            },
        )
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise _malformed("The multipart form cannot be read.") from None
    if not reader.ended or not all(part.complete for part in reader.parts):
        raise _malformed("The multipart form ends before its closing boundary.")
    return reader.parts


def _pictures(parts: list[_Part]) -> list[SentFile]:
    pictures = [SentFile(part.filename, bytes(part.data), part.is_file) for part in parts if part.name == PICTURE_FIELD]
    if not pictures:
        found = ", ".join(_name(part.name) for part in parts[:5]) or "none"
        raise ServiceError(400, "missing_image", f"The form has no file field 'image'; its fields are: {found}.", _CURL)
    return pictures


def _options(parts: list[_Part]) -> list[tuple[str, str]]:
    options = []
    for part in parts:
        if part.name == PICTURE_FIELD:
            continue
        if part.is_file:
            raise ServiceError(
                400,
                "unexpected_file",
                f"The form has a file under another name, {_name(part.name)}.",
                "Send pictures in the field 'image'.",
            )
        options.append((part.name, part.data.decode("utf-8", "replace")))
    return options


def _name(text: str) -> str:
    return ascii(text[:40])


def _malformed(message: str) -> ServiceError:
    return ServiceError(400, "malformed_form", message, f"Let your HTTP client build the form. {_CURL}")


def _too_large(limit: int) -> ServiceError:
    return ServiceError(
        413,
        "body_too_large",
        f"The body has more than {limit} bytes.",
        "Send a smaller file; JPEG or WebP takes less room than PNG or TIFF.",
    )
