"""Options: what a client may ask of ``POST /v1/segment``, read from query and form alike."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema

from service.errors import invalid_option, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AnswerFormat = Literal["png", "label", "overlay", "confidence", "rgba", "json"]
MaskForm = Literal["rle", "polygon", "none"]

MAX_OUTLINE: Final = 64
MAX_SIDE: Final = 999_999
SIZE_PATTERN: Final = r"^([1-9][0-9]{0,5}x[1-9][0-9]{0,5}|longest:[1-9][0-9]{0,5})$"

_REPEATED: Final = frozenset({"classes"})
"""Options that may be given more than once."""


def _flag(value: object) -> object:
    """A truth value as text; no 1, yes or on, so that what is taken is what the document says."""
    words: dict[object, bool] = {"true": True, "false": False}
    known = words.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(known, bool):
        raise ValueError("true or false is needed")
    return known


def _width(value: object) -> object:
    words: dict[object, int] = {"true": 1, "false": 0}
    return words.get(value.lower(), value) if isinstance(value, str) else value


def _single_names(value: object) -> object:
    return [value] if isinstance(value, str) else value


Flag = Annotated[bool, BeforeValidator(_flag), WithJsonSchema({"type": "boolean"})]
OutlineWidth = Annotated[
    int,
    BeforeValidator(_width),
    Field(ge=0, le=MAX_OUTLINE),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "integer", "minimum": 0, "maximum": MAX_OUTLINE}]}),
]
Names = Annotated[tuple[str, ...], BeforeValidator(_single_names)]


class SegmentOptions(BaseModel):
    """Options of ``POST /v1/segment``, as query parameters or as fields of the form; the form wins.

    An option that does not go with the format is checked all the same and has no effect.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: AnswerFormat = Field(
        default="png",
        description="png: palette PNG, pixel value = class id. label: the same values as a greyscale PNG. "
        "overlay: the picture under the class colours, RGB PNG. confidence: greyscale PNG, 255 = probability 1. "
        "rgba: the picture cut out, transparent where no chosen class is. "
        "json: size, and every class present with its share, mean confidence and mask.",
    )
    opacity: float = Field(
        default=0.5, ge=0, le=1, allow_inf_nan=False, description="For overlay: 0 shows the picture, 1 the colours."
    )
    outline: OutlineWidth = Field(
        default=1,
        description="For overlay: borders between classes in full colour, this many pixels wide; true is 1, "
        "false is 0, which draws none.",
    )
    masks: MaskForm = Field(
        default="rle",
        description="For json. rle: COCO's compressed run lengths. polygon: a MultiPolygon a class, in pixels. "
        "none: numbers alone.",
    )
    tolerance: float = Field(
        default=1.0,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="For masks=polygon: of the simplification after Douglas and Peucker, in pixels; "
        "0 gives the mask's own border.",
    )
    maps: Flag = Field(
        default=False,
        description="For json: adds `label_map` and `confidence_map`, each a greyscale PNG in base64.",
    )
    classes: Names = Field(
        default=(),
        description="Names or ids of the classes to keep, separated by commas, given once or more; none keeps all. "
        "Pixels of other classes are 255 in png and label, the plain picture in overlay, 0 in confidence, "
        "transparent in rgba; json leaves those classes out.",
        examples=[["road", "car"]],
    )
    min_area: int = Field(
        default=0,
        ge=0,
        le=1_000_000_000,
        description="Connected pieces (4 neighbours) of fewer pixels of the answer are given to the class that "
        "borders them most.",
    )
    resize: str = Field(
        default="",
        pattern=f"^$|{SIZE_PATTERN}",
        max_length=20,
        description="Size of the answer in pixels: 640x480 (width, height), or longest:640 for the longer side, which "
        "keeps the shape; empty keeps the picture's own. When smaller, a pixel gets the class that covers most of it.",
        examples=["longest:640"],
    )


def read_options(values: Iterable[tuple[str, str]]) -> SegmentOptions:
    """Options from the names and texts of one query or form, or of both in one.

    Args:
        values: In order, blanks around a text left out; ``classes`` may stand there several times.

    Raises:
        ServiceError: 422, an option is unknown, given twice, or has an impossible value.
    """
    collected: dict[str, list[str]] = {}
    for name, text in values:
        collected.setdefault(name, []).append(text.strip())
    faults = [
        f"{shown(name)} is given {len(texts)} times"
        for name, texts in collected.items()
        if len(texts) > 1 and name not in _REPEATED and name in SegmentOptions.model_fields
    ]
    given = {name: texts if name in _REPEATED else texts[-1] for name, texts in collected.items()}
    try:
        options = SegmentOptions.model_validate(given)
    except ValidationError as error:
        faults += [_fault(error_details) for error_details in error.errors(include_url=False)]
    if faults:
        raise invalid_option(faults, possible_options())
    return options


def merged(query: Iterable[tuple[str, str]], form: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Query and form in one: what the form gives, the query does not."""
    later = list(form)
    names = {name for name, _ in later}
    return [(name, text) for name, text in query if name not in names] + later


def answer_size(options: SegmentOptions, height: int, width: int, max_pixels: int) -> tuple[int, int]:
    """Height and width of the answer for a picture of this size.

    Raises:
        ServiceError: 422, more pixels than may be.
    """
    if not options.resize:
        return height, width
    if options.resize.startswith("longest:"):
        longest = int(options.resize.removeprefix("longest:"))
        scale = longest / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
    else:
        across, down = options.resize.split("x")
        size = int(down), int(across)
    if size[0] * size[1] > max_pixels:
        raise invalid_option(
            [f"'resize' is {shown(options.resize)}, an answer of {size[1]}x{size[0]} = {size[0] * size[1]} pixels"],
            f"At most {max_pixels} pixels (width times height) are possible.",
        )
    return size


def query_parameters() -> list[dict[str, Any]]:
    """The options as parameters of the query, for the OpenAPI document."""
    properties: dict[str, Any] = SegmentOptions.model_json_schema()["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]


def form_schema(pictures: dict[str, Any]) -> dict[str, Any]:
    """The form with the options as fields, for the OpenAPI document.

    Args:
        pictures: Schema of the field ``image``.
    """
    properties: dict[str, Any] = SegmentOptions.model_json_schema()["properties"]
    return {
        "type": "object",
        "required": ["image"],
        "properties": {"image": pictures, **properties},
        "additionalProperties": False,
    }


def possible_options() -> str:
    """All options with their possible values, in one sentence, from the schema itself."""
    properties: dict[str, Any] = SegmentOptions.model_json_schema()["properties"]
    return "Options: " + "; ".join(f"{name}={_possible(schema)}" for name, schema in properties.items()) + "."


def _possible(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_possible(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(schema["enum"])
    if "minimum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}"
    if schema["type"] == "boolean":
        return "true, false"
    if schema["type"] == "array":
        return "names or ids"
    return "640x480 or longest:640"


def _fault(details: Any) -> str:  # noqa: ANN401 - a TypedDict of pydantic_core, which is no dependency by itself
    name = shown(str(details["loc"][0])) if details["loc"] else "request"
    if details["type"] == "extra_forbidden":
        return f"{name} is not an option{near(str(details['loc'][0]), list(SegmentOptions.model_fields))}"
    return f"{name} is {shown(str(details['input']))}: {details['msg']}"


def near(text: str, names: Sequence[str]) -> str:
    """Names much like a text, as an addition to a sentence; empty when there is none."""
    by_lower = {name.lower(): name for name in names}
    matches = difflib.get_close_matches(text[:80].lower(), by_lower, n=3, cutoff=0.6)
    return f" (did you mean {' or '.join(by_lower[match] for match in matches)}?)" if matches else ""
