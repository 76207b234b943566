"""Tensors: a request of the Open Inference Protocol, in JSON and with its binary data extension."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from service.document import kind_of, read_base64, read_document
from service.errors import ServiceError
from service.numbers import read_numbers, set_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

INPUT: Final = "image"
OUTPUTS: Final = ("label_map", "confidence")

MAX_PICTURES: Final = 64
"""Most pictures in one request."""

_SHAPES: Final = (
    "Send the input 'image' as UINT8 of shape [n, height, width, 3] or [height, width, 3], or as BYTES of shape [n] "
    "with a picture's file in each element."
)
_BINARY: Final = "Let your client write Inference-Header-Content-Length and binary_data_size."


@dataclass(frozen=True)
class InferRequest:
    """One request for inference.

    Attributes:
        id: The client's, or None.
        pixels: Pictures as pixels, RGB, shape (N, H, W, 3), or None.
        files: Pictures as files, not decoded; empty where there are pixels.
        outputs: Whether each output that is asked for is sent in binary, in order.
    """

    id: str | None
    pixels: NDArray[np.uint8] | None
    files: tuple[bytes, ...]
    outputs: Mapping[str, bool]


def read_request(body: bytes, json_length: str | None, max_pixels: int) -> InferRequest:
    """Read a request; nothing of it is decoded.

    Args:
        body: A JSON document, and behind it the data of the tensors that are sent in binary.
        json_length: The header ``Inference-Header-Content-Length``: bytes of the document. None is all of them; 0 says
            that the body is one picture's file and nothing else.
        max_pixels: Most pixels of all pictures together.

    Raises:
        ServiceError: 400 for anything that is not as the protocol has it, 413 for too many pixels or pictures.
    """
    if json_length is None:
        length = len(body)
    elif json_length.isascii() and json_length.isdigit() and len(json_length) < 18 and int(json_length) <= len(body):
        length = int(json_length)
    else:
        raise _invalid(f"Inference-Header-Content-Length is no number from 0 to {len(body)}.", _BINARY)
    if length == 0 and body:
        return InferRequest(None, None, (body,), dict.fromkeys(OUTPUTS, True))
    text, arrays = set_apart(body[:length])
    document = read_document(text)
    tensor = _only_input(document.get("inputs"))
    shape, count = _shape(tensor.get("shape"))
    data = _data(tensor, memoryview(body)[length:], arrays)
    pixels: NDArray[np.uint8] | None = None
    files: tuple[bytes, ...] = ()
    match tensor.get("datatype"):
        case "UINT8":
            pixels = _pixels(shape, count, data, max_pixels)
        case "BYTES":
            files = _files(shape, count, data)
        case other:
            raise _invalid(f"The input has the datatype {_shown(other)}.", _SHAPES)
    request_id = document.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise _invalid(f"The id is {kind_of(request_id)}.", "Send it as a text.")
    return InferRequest(request_id, pixels, files, _outputs(document))


def _only_input(inputs: object) -> dict[str, Any]:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        found = f"{len(inputs)} inputs" if isinstance(inputs, list) else f"{kind_of(inputs)} as inputs"
        raise _invalid(f"The request has {found}; one is expected.", _SHAPES)
    tensor: dict[str, Any] = inputs[0]
    if tensor.get("name") != INPUT:
        raise _invalid(f"The input is called {_shown(tensor.get('name'))}.", _SHAPES)
    return tensor


def _shape(shape: object) -> tuple[tuple[int, ...], int]:
    if (
        not isinstance(shape, list)
        or not 1 <= len(shape) <= 4
        # True is an int of Python's, and no number of JSON's.
        or not all(type(side) is int and 0 < side < 2**31 for side in shape)
    ):
        raise _invalid(f"The input has the shape {_shown(shape)}.", _SHAPES)
    return tuple(shape), prod(shape)


def _parameters(holder: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise _invalid(f"The parameters are {kind_of(parameters)}.", "Send an object.")
    if any(name.startswith("shared_memory_") for name in parameters):
        raise _invalid("The request names shared memory, which is never opened.", "Send the data itself.")
    return parameters


def _data(tensor: Mapping[str, Any], binary: memoryview, arrays: Mapping[str, bytes]) -> object:
    """The input's data: a memoryview when it is binary, the text of an array of numbers, or a JSON value."""
    size = _parameters(tensor).get("binary_data_size")
    data = tensor.get("data")
    if size is None:
        if len(binary):
            raise _invalid(f"{len(binary)} bytes stand behind the JSON and no tensor has them.", _BINARY)
        return arrays.get(data, data) if isinstance(data, str) else data
    if data is not None:
        raise _invalid("The input has its data twice, in JSON and in binary.", _BINARY)
    if isinstance(size, bool) or size != len(binary):
        raise _invalid(f"binary_data_size is {_shown(size)}; {len(binary)} bytes stand behind the JSON.", _BINARY)
    return binary


def _pixels(shape: tuple[int, ...], count: int, data: object, max_pixels: int) -> NDArray[np.uint8]:
    if len(shape) == 3:
        shape = (1, *shape)
    if len(shape) != 4 or shape[3] != 3:
        raise _invalid(f"The UINT8 input has the shape {_shown(list(shape))}.", _SHAPES)
    limit_pictures(shape[0])
    limit_pixels(count // 3, max_pixels)
    if isinstance(data, memoryview):
        if len(data) != count:
            raise _invalid(f"The input has {len(data)} bytes of data; its shape has {count}.", _BINARY)
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)
    if isinstance(data, bytes):
        return read_numbers(data, count).reshape(shape)
    found = "a list with something else than whole numbers" if isinstance(data, list) else kind_of(data)
    raise _invalid(
        f"The data of the input is {found}.",
        "UINT8 takes a list of whole numbers from 0 to 255, without a decimal point.",
    )


def _files(shape: tuple[int, ...], count: int, data: object) -> tuple[bytes, ...]:
    if len(shape) > 2 or shape[1:] not in ((), (1,)):
        raise _invalid(f"The BYTES input has the shape {_shown(list(shape))}.", _SHAPES)
    limit_pictures(count)
    if isinstance(data, memoryview):
        files = list(_elements(data, count))
    elif isinstance(data, list):
        # Only UTF-8 stands in JSON, so the files of pictures are base64 there.
        rows = [entry[0] if isinstance(entry, list) and len(entry) == 1 else entry for entry in data]
        files = [read_base64(entry, "data") for entry in rows]
    else:
        raise _invalid(f"The data of the input is {kind_of(data)}.", "BYTES takes a list of texts in base64.")
    if len(files) != count:
        raise _invalid(f"The input has {len(files)} elements; its shape has {count}.", _SHAPES)
    return tuple(files)


def _elements(data: memoryview, count: int) -> Iterator[bytes]:
    """Every element stands behind its length, four bytes, the lowest first."""
    place = 0
    while place < len(data):
        end = place + 4 + int.from_bytes(data[place : place + 4], "little")
        if place + 4 > len(data) or end > len(data) or not count:
            raise _invalid("The lengths of the BYTES elements do not fit the data.", _BINARY)
        yield bytes(data[place + 4 : end])
        place, count = end, count - 1


def _outputs(document: Mapping[str, Any]) -> dict[str, bool]:
    by_default = _flag(_parameters(document), "binary_data_output")
    asked = document.get("outputs")
    if asked is None or asked == []:
        return dict.fromkeys(OUTPUTS, by_default)
    outputs = {}
    for output in asked if isinstance(asked, list) else [asked]:
        name = output.get("name") if isinstance(output, dict) else None
        if name not in OUTPUTS or name in outputs:
            raise _invalid(
                f"The request asks for the output {_shown(name)}.", f"Ask for {' and '.join(OUTPUTS)}, once each."
            )
        parameters = _parameters(output)
        if parameters.get("classification"):
            raise _invalid("The request asks for a classification.", "Leave class_count away.")
        outputs[name] = _flag(parameters, "binary_data", by_default)
    return outputs


def _flag(parameters: Mapping[str, Any], name: str, by_default: bool = False) -> bool:
    value = parameters.get(name, by_default)
    if not isinstance(value, bool):
        raise _invalid(f"The parameter {name} is {kind_of(value)}.", "Send true or false.")
    return value


def limit_pixels(pixels: int, limit: int) -> None:
    """Refuse more pixels than are taken.

    Raises:
        ServiceError: 413.
    """
    if pixels > limit:
        raise ServiceError(
            413, "image_too_large", f"The request has {pixels} pixels; at most {limit} are taken.", "Send fewer."
        )


def limit_pictures(pictures: int) -> None:
    """Refuse more pictures than are taken.

    Raises:
        ServiceError: 413.
    """
    if pictures > MAX_PICTURES:
        raise ServiceError(
            413,
            "too_many_images",
            f"The request has {pictures} pictures; at most {MAX_PICTURES} are taken.",
            "Send several requests.",
        )


def _invalid(message: str, hint: str) -> ServiceError:
    return ServiceError(400, "invalid_tensor", message, hint)


def _shown(value: object) -> str:
    text = ascii(value) if isinstance(value, str | int | list) else kind_of(value)
    return text if len(text) <= 60 else text[:57] + "..."
