"""What goes over the wire: options, answers and errors, as they stand in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Colour = Annotated[tuple[int, int, int], Field(description="Red, green, blue, 0 to 255.")]
AnswerFormat = Literal["png", "overlay", "json"]


class SegmentOptions(BaseModel):
    """Options of ``POST /v1/segment``, as query parameters or as fields of the form; the form wins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: AnswerFormat = Field(
        default="png",
        description="png: palette PNG, pixel value = class id. overlay: the picture under the class colours, RGB PNG. "
        "json: size, and every class present with its share, mean confidence and COCO run lengths.",
    )
    opacity: float = Field(
        default=0.5, ge=0, le=1, allow_inf_nan=False, description="For overlay: 0 shows the picture, 1 the colours."
    )


class ModelReference(BaseModel):
    """Which model answered."""

    name: str = Field(examples=["camvid-fcn8s"])
    version: str = Field(description="First 12 hex digits of the network's sha256.", examples=["9f86d081884c"])


class RunLengths(BaseModel):
    """A mask in COCO's compressed run-length encoding (column-major; pycocotools reads it)."""

    size: tuple[int, int] = Field(description="Height and width in pixels.", examples=[[360, 480]])
    counts: str = Field(description="Compressed run lengths.", examples=["RP10h4n0"])


class ClassMask(BaseModel):
    """One class that is present in the picture."""

    id: int = Field(ge=0, le=254, description="The pixel value in the palette PNG.", examples=[3])
    name: str = Field(examples=["road"])
    colour: Colour = Field(examples=[[128, 64, 128]])
    pixels: int = Field(ge=1, examples=[51840])
    share: float = Field(gt=0, le=1, description="Share of the picture's pixels.", examples=[0.3])
    confidence: float = Field(ge=0, le=1, description="Mean probability over the class's pixels.", examples=[0.94])
    rle: RunLengths


class SegmentAnswer(BaseModel):
    """The answer with ``format=json``."""

    width: int = Field(ge=1, examples=[480])
    height: int = Field(ge=1, examples=[360])
    model: ModelReference
    classes: list[ClassMask] = Field(description="By id; classes without a pixel are left out.")


class Label(BaseModel):
    """One class of the model."""

    id: int = Field(ge=0, le=254, examples=[3])
    name: str = Field(examples=["road"])
    colour: Colour = Field(examples=[[128, 64, 128]])


class Labels(BaseModel):
    """All classes, by id."""

    labels: list[Label]


class EngineCard(BaseModel):
    """What runs the network."""

    name: str = Field(examples=["openvino"])
    precision: str = Field(description="In force, never auto.", examples=["bf16"])


class Limits(BaseModel):
    """Beyond these, a request is refused."""

    max_body_bytes: int = Field(description="Answer 413.")
    max_pixels: int = Field(description="Width times height; answer 413.")
    timeout_seconds: float = Field(description="Answer 408 while receiving, 504 after.")
    slots: int = Field(description="Pictures worked on at the same time.")
    queue: int = Field(description="Requests that may wait; the next gets 503 with Retry-After.")


class ModelCard(BaseModel):
    """Everything the service knows of its model."""

    name: str = Field(examples=["camvid-fcn8s"])
    version: str = Field(examples=["9f86d081884c"])
    created: str = Field(description="ISO 8601, UTC.")
    schema_version: int
    encoder: str
    upsampler: str
    finest_stride: int = Field(description="FCN-32s, 16s, 8s or 4s.", examples=[8])
    labels: list[Label]
    ignore_colour: Colour
    scores: dict[str, Any] = Field(description="Scores of this model, with the split they were taken on.")
    provenance: dict[str, Any] = Field(description="Run, commit, packages, seed, data set.")
    engine: EngineCard
    limits: Limits


class ErrorDetail(BaseModel):
    """What is wrong and what to do."""

    code: str = Field(description="Stable, for programs.", examples=["damaged_image"])
    message: str = Field(examples=["The picture is damaged or truncated."])
    hint: str = Field(examples=["Check that the file opens in a viewer, then send all of it."])


class ErrorAnswer(BaseModel):
    """The body of every 4xx and 5xx."""

    error: ErrorDetail


class Status(BaseModel):
    """The answer of the probes."""

    status: str = Field(examples=["ok"])
