"""Form: a multipart body (RFC 7578) taken apart within bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import ServiceError

PICTURE_FIELD: Final = "image"
MAX_PARTS: Final = 32
MAX_OPTION_BYTES: Final = 4096
MAX_FILENAME: Final = 255

CURL: Final = (
    "For example: curl -F image=@picture.jpg URL/v1/segment, or curl --data-binary @picture.jpg URL/v1/segment."
)
"""The hint for who sends no picture."""

CURL_BATCH: Final = "For example: curl -F image=@first.jpg -F image=@second.jpg URL/v1/segment/batch."
"""The same for who sends no batch of them."""


@dataclass
class Part:
    """One field of a form, as far as it was read.

    Attributes:
        headers: By name in small letters.
        name: Of the field.
        filename: As the client gave it, shortened, or None; it names nothing here.
        is_file: Whether it was sent as a file, and not as text.
        data: The bytes; of a text in the place of a picture, which is refused, the first alone.
        complete: Whether its end was read.
    """

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
        self.example = CURL if most_pictures is None else CURL_BATCH
        self.parts: list[Part] = []
        self.ended = False
        self._header_name = bytearray()
        self._header_value = bytearray()

    def on_part_begin(self) -> None:
        if len(self.parts) == self._most_parts:
            raise malformed(f"The form has more than {self._most_parts} fields.", self.example)
        self.parts.append(Part())

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
            raise malformed("A field of the form has no name.", self.example)
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
            if part.name == PICTURE_FIELD:
                return
            raise malformed(
                f"The text field {shown_name(part.name)} is longer than {MAX_OPTION_BYTES} bytes.", self.example
            )
        part.data += data[start:end]

    def on_part_end(self) -> None:
        self.parts[-1].complete = True

    def on_end(self) -> None:
        self.ended = True


def read_form(content_type: str, body: bytes, most_pictures: int | None = None) -> list[Part]:
    """The fields of a form, in order.

    Args:
        content_type: The request's header; names the boundary.
        body: The whole body.
        most_pictures: Of a batch; None where one is expected.

    Raises:
        ServiceError: 400, the form is malformed or passes a bound; 413, more pictures than that.
    """
    reader = _FormReader(most_pictures)
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not boundary:
        raise malformed("The Content-Type says multipart but names no boundary.", reader.example)
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
        raise malformed("The multipart form cannot be read.", reader.example) from None
    if not reader.ended or not all(part.complete for part in reader.parts):
        raise malformed("The multipart form ends before its closing boundary.", reader.example)
    return reader.parts


def shown_name(text: str) -> str:
    """A field's name as it may stand in an answer."""
    return ascii(text[:40])


def malformed(message: str, example: str) -> ServiceError:
    """The fault of a form that cannot be read, with an example of one that can."""
    return ServiceError(400, "malformed_form", message, f"Let your HTTP client build the form. {example}")
