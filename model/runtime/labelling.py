"""Labelling: pictures to answers on the disk, one or a few at a time, while others are read and written."""

from __future__ import annotations

import io
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Final

from PIL import Image

from data.drawing import encode_label_png, encode_png
from data.drawing import overlay as draw_overlay
from data.errors import ImageError
from data.pixels import read_image
from model.runtime.journal import LABEL_MAPS, OVERLAYS, Entry
from model.runtime.tally import tally
from model.runtime.tta import PLAIN
from model.runtime.whole import write_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from data.labels import LabelMap
    from model.runtime.pictures import Picture
    from model.runtime.predictor import Predictor, Segmentation
    from model.runtime.tta import TtaConfig

_AHEAD: Final = 2
"""Pictures decoded before their turn, and answers being written: this and no more is held in memory."""

_LONGEST_JPEG_SIDE: Final = 65_500


@dataclass(frozen=True)
class Unread:
    """A picture that could not be read.

    Attributes:
        picture: Its name.
        path: Its file.
        reason: Why, in one line that names the file.
    """

    picture: str
    path: Path
    reason: str


Outcome = Entry | Unread
"""What became of one picture."""


@dataclass(frozen=True)
class Labelling:
    """What is wanted of every picture: decoding, network and encoding overlap.

    Attributes:
        labels: Of the model.
        out: Folder of the answers.
        opacity: Of the class colours in the overlays, 0 to 1; None for no overlay.
        tta: Test-time augmentation, which the predictor has; it is noted with every picture.
    """

    labels: LabelMap
    out: Path
    opacity: float | None
    tta: TtaConfig = PLAIN

    def run(self, todo: Iterable[Picture], predictor: Predictor, at_once: int = 1) -> Iterator[Outcome]:
        """Label pictures; what is yielded is on the disk.

        Args:
            todo: Pictures, taken as their turn comes.
            predictor: The network.
            at_once: Pictures that it labels side by side: the streams of its engine.

        Yields:
            What became of each: an entry for the journal, or why there is none.
        """
        looking: deque[tuple[Picture, os.stat_result, NDArray[np.uint8], Future[Segmentation]]] = deque()
        writing: deque[Future[Entry]] = deque()
        readers, lookers, writers = (ThreadPoolExecutor(threads) for threads in (_AHEAD, at_once, _AHEAD))
        stop = Event()

        def before_tile() -> None:
            if stop.is_set():
                raise CancelledError

        def write(most: int) -> None:
            while len(looking) > most:
                picture, status, image, answer = looking.popleft()
                writing.append(writers.submit(self._write, picture, status, image, answer.result()))

        try:
            for picture, reading in _ahead(todo, readers):
                try:
                    image, status = reading.result()
                except ImageError as error:
                    yield Unread(picture.name, picture.path, str(error))
                else:
                    looking.append((picture, status, image, lookers.submit(predictor.predict, image, before_tile)))
                write(at_once)  # one more waits, so that the network does not wait for this thread
                while len(writing) > _AHEAD:
                    yield writing.popleft().result()
            write(0)
            while writing:
                yield writing.popleft().result()
        finally:
            # Also on Ctrl-C: what is being written is finished, a large picture is left at its next tile, what waits is
            # not begun.
            stop.set()
            for threads in (readers, lookers, writers):
                threads.shutdown(cancel_futures=True)

    def _write(self, picture: Picture, status: os.stat_result, image: NDArray[np.uint8], answer: Segmentation) -> Entry:
        label_map = answer.label_map
        height, width = label_map.shape
        label_path, overlay_path = label_path_of(picture), None
        write_whole(self.out / label_path, encode_label_png(label_map, self.labels))
        if self.opacity is not None:
            drawn = draw_overlay(image, label_map, self.labels, self.opacity)
            fits = max(height, width) <= _LONGEST_JPEG_SIDE
            overlay_path = f"{OVERLAYS}/{picture.stem}.{'jpg' if fits else 'png'}"
            write_whole(self.out / overlay_path, _encode_jpeg(drawn) if fits else encode_png(drawn))
        counts, confidences = tally(answer)
        present = {name: index for index, name in enumerate(self.labels.names) if counts[index]}
        return Entry(
            picture=picture.name,
            bytes=status.st_size,
            modified_ns=status.st_mtime_ns,
            width=width,
            height=height,
            label_map=label_path,
            overlay=overlay_path,
            opacity=self.opacity or 0.0,
            classes={name: round(int(counts[index]) / label_map.size, 6) for name, index in present.items()},
            confidences={
                name: round(int(confidences[index]) / (255 * int(counts[index])), 6) for name, index in present.items()
            },
            tta=self.tta.told,
        )


def label_path_of(picture: Picture) -> str:
    """Where the label map of a picture is written, within the folder of the answers."""
    return f"{LABEL_MAPS}/{picture.stem}.png"


def _ahead(
    todo: Iterable[Picture], readers: ThreadPoolExecutor
) -> Iterator[tuple[Picture, Future[tuple[NDArray[np.uint8], os.stat_result]]]]:
    """Each picture with the reading of it, begun ``_AHEAD`` pictures before its turn."""
    reading: deque[tuple[Picture, Future[tuple[NDArray[np.uint8], os.stat_result]]]] = deque()
    for picture in todo:
        reading.append((picture, readers.submit(_read, picture)))
        if len(reading) > _AHEAD:
            yield reading.popleft()
    while reading:
        yield reading.popleft()


def _read(picture: Picture) -> tuple[NDArray[np.uint8], os.stat_result]:
    try:
        status = picture.path.stat()  # before the bytes: a file that changes meanwhile is done again next time
    except OSError as error:
        raise ImageError(f"{picture.path} cannot be read: {error.strerror}") from None
    return read_image(picture.path), status


def _encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
