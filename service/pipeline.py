"""Pipeline: one request's bytes to one answer, in a thread: take apart, decode, infer, encode."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from data.pixels import decode_image
from service import metrics
from service.masks import count_pixels, json_answer, overlay_answer, png_answer
from service.schema import SegmentOptions
from service.upload import take_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from threading import Event

    import numpy as np
    from numpy.typing import NDArray

    from model.runtime.predictor import Predictor, Segmentation
    from service.settings import Settings


class AbandonedError(Exception):
    """Nobody waits for the answer any more."""


@dataclass(frozen=True)
class Answer:
    """A finished answer.

    Attributes:
        content: Body.
        media_type: Of the body.
        seconds: Time of each stage, in order.
    """

    content: bytes
    media_type: str
    seconds: Mapping[str, float]


class Pipeline:
    """Turns request bodies into answers. Safe to call from several threads at once.

    Args:
        predictor: Warmed up.
        settings: Gives the limit of pixels.
    """

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self.predictor = predictor
        self._max_pixels = settings.max_pixels

    def run(self, content_type: str, body: bytes, query: Mapping[str, object], abandoned: Event) -> Answer:
        """Answer one request.

        Args:
            content_type: The request's header, or an empty text.
            body: The whole body.
            query: Options that the query set; those of the form win.
            abandoned: Set when nobody waits any more; looked at before every stage and every tile.

        Raises:
            ServiceError: the body holds no one picture.
            RequestValidationError: an option is unknown or has an impossible value.
            ImageError: the picture cannot be used.
            AbandonedError: nobody waits any more.
        """
        watch = _Watch(abandoned)
        with watch.stage("decode"):
            upload = take_apart(content_type, body)
            options = _options({**query, **upload.options})
            image = decode_image(upload.picture, self._max_pixels)
        with watch.stage("infer"):
            segmentation = self.predictor.predict(image, before_tile=watch.check)
        with watch.stage("encode"):
            content, media_type = self._encode(image, segmentation, options)
        metrics.PICTURES.labels(options.format).inc()
        self._observe(segmentation, watch.seconds)
        return Answer(content, media_type, watch.seconds)

    def _encode(
        self, image: NDArray[np.uint8], segmentation: Segmentation, options: SegmentOptions
    ) -> tuple[bytes, str]:
        manifest = self.predictor.bundle.manifest
        match options.format:
            case "png":
                return png_answer(segmentation, manifest), "image/png"
            case "overlay":
                return overlay_answer(image, segmentation, manifest, options.opacity), "image/png"
            case "json":
                return json_answer(segmentation, manifest).model_dump_json().encode(), "application/json"

    def _observe(self, segmentation: Segmentation, seconds: Mapping[str, float]) -> None:
        for stage, value in seconds.items():
            metrics.STAGE_SECONDS.labels(stage).observe(value)
        metrics.MEGAPIXELS.inc(segmentation.label_map.size / 1e6)
        counts = count_pixels(segmentation.label_map)
        for name, count in zip(self.predictor.bundle.manifest.labels.names, counts, strict=False):
            if count:
                metrics.CLASS_PIXELS.labels(name).inc(int(count))


def _options(values: Mapping[str, object]) -> SegmentOptions:
    try:
        return SegmentOptions.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None


class _Watch:
    def __init__(self, abandoned: Event) -> None:
        self.seconds: dict[str, float] = {}
        self._abandoned = abandoned

    def check(self) -> None:
        """Go on only if somebody waits."""
        if self._abandoned.is_set():
            raise AbandonedError

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self.check()
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start
