"""Pipeline: one request's bytes to one answer, in a thread: take apart, decode, infer, encode."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from data.pixels import decode_image
from model.runtime.predictor import Segmentation
from model.runtime.tally import tally
from service import metrics, spans
from service.images import SHOW_PICTURE, image_answer
from service.masks import json_answer
from service.options import answer_size, merged, read_options
from service.pieces import without_small_pieces
from service.resize import resized, resized_picture
from service.selection import chosen_classes, keep_only
from service.tags import answer_tag, model_mark
from service.upload import take_apart

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from threading import Event

    import numpy as np
    from numpy.typing import NDArray

    from model.runtime.predictor import Predictor
    from service.options import SegmentOptions
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
        headers: Further headers.
    """

    content: bytes
    media_type: str
    seconds: Mapping[str, float]
    headers: Mapping[str, str] = field(default_factory=dict)


class Watch:
    """Stops work that nobody waits for, between its steps, and times the stages of the rest.

    Args:
        abandoned: Set when nobody waits any more.
    """

    def __init__(self, abandoned: Event) -> None:
        self.seconds: dict[str, float] = {}
        self._abandoned = abandoned

    def check(self) -> None:
        """Go on only if somebody waits.

        Raises:
            AbandonedError: nobody does.
        """
        if self._abandoned.is_set():
            raise AbandonedError

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what is done in the block; a stage that comes again is added up."""
        self.check()
        start = time.perf_counter()
        with spans.stage(name):
            yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


class Pipeline:
    """Turns request bodies into answers. Safe to call from several threads at once.

    Args:
        predictor: Warmed up.
        settings: Gives the limit of pixels.
    """

    def __init__(self, predictor: Predictor, settings: Settings) -> None:
        self.predictor = predictor
        self.labels = predictor.bundle.manifest.labels
        self.max_pixels = settings.max_pixels
        self._mark = model_mark(predictor)

    def run(self, content_type: str, body: bytes, query: Sequence[tuple[str, str]], watch: Watch) -> Answer:
        """Answer one request of the project's own contract.

        Args:
            content_type: The request's header, or an empty text.
            body: The whole body.
            query: Options that the query set; those of the form win.
            watch: Looked at before every stage and every tile.

        Raises:
            ServiceError: the body holds no one picture, or an option is unknown or has an impossible value.
            ImageError: the picture cannot be used.
            AbandonedError: nobody waits any more.
        """
        with watch.stage("decode"):
            upload = take_apart(content_type, body)
            options = read_options(merged(query, upload.options))
        return self.answer(upload.picture, options, watch)

    def check(self, query: Sequence[tuple[str, str]]) -> None:
        """Refuse what is wrong with a query's options, before its body is read.

        Raises:
            ServiceError: 422, as in ``run``.
        """
        chosen_classes(read_options(query).classes, self.labels)

    def answer(self, picture: bytes, options: SegmentOptions, watch: Watch) -> Answer:
        """Answer for one picture in the form that its options ask for.

        Args:
            picture: The file's bytes.
            options: What is asked.
            watch: As in ``run``.

        Raises:
            ServiceError: 422, an option cannot be met by this model or picture.
            ImageError, AbandonedError: as in ``run``.
        """
        kept = chosen_classes(options.classes, self.labels)
        with watch.stage("decode"):
            tag = answer_tag(picture, options, self._mark)
        image = self.decode(picture, watch)
        height, width = answer_size(options, image.shape[0], image.shape[1], self.max_pixels)
        segmentation = self.segment(image, watch)
        with watch.stage("encode"):
            segmentation = resized(segmentation, height, width)
            if options.format in SHOW_PICTURE:
                image = resized_picture(image, height, width)
            watch.check()
            cleaned = without_small_pieces(segmentation.label_map, options.min_area)
            segmentation = Segmentation(cleaned, segmentation.confidence)
            if kept is not None:
                keep_only(kept, segmentation)
            watch.check()
            content, media_type = self._encode(image, segmentation, options, watch)
        self.count(options.format, watch)
        return Answer(content, media_type, watch.seconds, {"ETag": tag})

    def decode(self, picture: bytes, watch: Watch) -> NDArray[np.uint8]:
        """One picture's bytes as RGB, shape (H, W, 3).

        Raises:
            ImageError: the picture cannot be used.
            AbandonedError: nobody waits any more.
        """
        with watch.stage("decode"):
            return decode_image(picture, self.max_pixels)

    def segment(self, image: NDArray[np.uint8], watch: Watch) -> Segmentation:
        """Label every pixel of one picture, and count what was found.

        Args:
            image: RGB, shape (H, W, 3).
            watch: Looked at before every tile.

        Raises:
            AbandonedError: nobody waits any more.
        """
        with watch.stage("infer"):
            segmentation = self.predictor.predict(image, before_tile=watch.check)
        metrics.MEGAPIXELS.inc(segmentation.label_map.size / 1e6)
        counts, confidences = tally(segmentation)
        for name, count, confidence in zip(self.labels.names, counts, confidences, strict=False):
            if count:
                metrics.CLASS_PIXELS.labels(name).inc(int(count))
                metrics.CLASS_CONFIDENCE.labels(name).inc(int(confidence) / 255)
        return segmentation

    def count(self, form: str, watch: Watch, pictures: int = 1) -> None:
        """Count an answered request and its stages.

        Args:
            form: Of the answer; one of a closed set.
            watch: Has the times.
            pictures: In the request.
        """
        metrics.PICTURES.labels(form).inc(pictures)
        for stage, value in watch.seconds.items():
            metrics.STAGE_SECONDS.labels(stage).observe(value)

    def _encode(
        self, image: NDArray[np.uint8], segmentation: Segmentation, options: SegmentOptions, watch: Watch
    ) -> tuple[bytes, str]:
        if options.format == "json":
            answer = json_answer(segmentation, self.predictor.bundle.manifest, options, watch.check)
            return answer.model_dump_json(exclude_none=True).encode(), "application/json"
        return image_answer(image, segmentation, self.labels, options), "image/png"
