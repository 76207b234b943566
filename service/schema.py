"""What goes over the wire: answers and errors, as they stand in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, SkipValidation

Colour = Annotated[tuple[int, int, int], Field(description="Red, green, blue, 0 to 255.")]


class ModelReference(BaseModel):
    """Which model answered."""

    name: str = Field(examples=["camvid-fcn8s"])
    version: str = Field(description="First 12 hex digits of the network's sha256.", examples=["9f86d081884c"])


class RunLengths(BaseModel):
    """A mask in COCO's compressed run-length encoding (column-major; pycocotools reads it)."""

    size: tuple[int, int] = Field(description="Height and width in pixels.", examples=[[360, 480]])
    counts: str = Field(description="Compressed run lengths.", examples=["RP10h4n0"])


Point = Annotated[list[int], Field(min_length=2, max_length=2)]


class MultiPolygon(BaseModel):
    """A mask as GeoJSON's MultiPolygon (RFC 7946, 3.1.7), in pixels from the answer's top left corner, y downwards."""

    type: Literal["MultiPolygon"] = "MultiPolygon"
    coordinates: SkipValidation[list[list[list[Point]]]] = Field(
        description="Polygons of rings of points (x, y). The first ring of a polygon is its outer one, with positive "
        "area in (x, y); the others are holes. The last point of a ring is its first.",
        examples=[[[[[0, 0], [4, 0], [4, 3], [0, 3], [0, 0]]]]],
    )


class ClassMask(BaseModel):
    """One class that is present in the picture."""

    id: int = Field(ge=0, le=254, description="The pixel value in png and label.", examples=[3])
    name: str = Field(examples=["road"])
    colour: Colour = Field(examples=[[128, 64, 128]])
    pixels: int = Field(ge=1, examples=[51840])
    share: float = Field(gt=0, le=1, description="Share of the picture's pixels.", examples=[0.3])
    confidence: float = Field(ge=0, le=1, description="Mean probability over the class's pixels.", examples=[0.94])
    rle: RunLengths | None = Field(default=None, description="With masks=rle, else left out.")
    polygon: MultiPolygon | None = Field(default=None, description="With masks=polygon, else left out.")


class SegmentAnswer(BaseModel):
    """The answer with ``format=json``."""

    width: int = Field(ge=1, examples=[480])
    height: int = Field(ge=1, examples=[360])
    model: ModelReference
    classes: list[ClassMask] = Field(description="By id; classes without a pixel, or not asked for, are left out.")
    label_map: str | None = Field(
        default=None,
        description="With maps=true: base64 of a greyscale PNG, pixel value = class id, 255 = not asked for.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )
    confidence_map: str | None = Field(
        default=None,
        description="With maps=true: base64 of a greyscale PNG, 255 = probability 1, 0 = not asked for.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )


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
    tail: str = Field(
        description="Where the last upsampling is done: fused (compiled, after the network) or graph (inside it).",
        examples=["fused"],
    )


class Limits(BaseModel):
    """Beyond these, a request is refused."""

    max_body_bytes: int = Field(description="Answer 413.")
    max_pixels: int = Field(description="Width times height; answer 413.")
    max_batch: int = Field(description="Pictures in a batch; answer 413.")
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
    comparison: dict[str, Any] | None = Field(
        description="Verdict of the comparison of upsamplers that chose this model, its arms and their scores; null "
        "where none did."
    )
    quantisation: dict[str, Any] | None = Field(
        description="What bringing the network to int8 cost in mIoU and gained in time; null for a float network."
    )
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


class BatchEntry(BaseModel):
    """One picture of a batch: its answer, or what is wrong with it."""

    index: int = Field(ge=0, description="Place of the picture in the form, from 0.")
    filename: str | None = Field(default=None, description="As it was sent; left out where there was none.")
    status: int = Field(description="What /v1/segment would answer for this picture alone.", examples=[200])
    etag: str | None = Field(default=None, description="With status 200: as /v1/segment has it.")
    media_type: str | None = Field(default=None, description="With status 200, unless format=json.")
    data: str | None = Field(
        default=None,
        description="With status 200, unless format=json: the PNG in base64.",
        json_schema_extra={"contentEncoding": "base64", "contentMediaType": "image/png"},
    )
    answer: SegmentAnswer | None = Field(default=None, description="With status 200 and format=json.")
    error: ErrorDetail | None = Field(default=None, description="With any other status.")


class Status(BaseModel):
    """The answer of the probes."""

    status: str = Field(examples=["ok"])
