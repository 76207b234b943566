"""A folder of pictures to a folder of label maps and overlays."""

from __future__ import annotations

import io
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from data.drawing import encode_label_png, encode_png
from data.drawing import overlay as draw_overlay
from data.errors import ConfigError, ImageError
from data.pixels import read_image
from model.runtime.bundle import read_bundle
from model.runtime.engine import DEFAULT_CONFIG
from model.runtime.exports import refuse_export, write_export
from model.runtime.formats import LabelStudioConfig
from model.runtime.journal import ANSWERS, LABEL_MAPS, OVERLAYS, Entry, open_journal
from model.runtime.pictures import find_pictures
from model.runtime.predictor import Predictor
from model.runtime.tally import tally
from model.runtime.whole import write_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from rich.progress import Task

    from data.labels import LabelMap
    from model.runtime.engine import EngineConfig
    from model.runtime.formats import FolderFormat
    from model.runtime.journal import Journal
    from model.runtime.pictures import Picture
    from model.runtime.predictor import Segmentation

_AHEAD: Final = 2
"""Pictures decoded before their turn, and answers being written: this and no more is held in memory."""

_LONGEST_JPEG_SIDE: Final = 65_500


_LABEL_STUDIO: Final = LabelStudioConfig()


@dataclass(frozen=True)
class FolderSummary:
    """What became of a folder.

    Attributes:
        written: Pictures segmented now.
        skipped: Pictures that were done before.
        failed: Pictures that could not be read, each with the reason.
        seconds: Time taken.
        exported: What was made of all of them for another tool, or None.
    """

    written: int
    skipped: int
    failed: tuple[tuple[Path, str], ...]
    seconds: float
    exported: Path | None = None


def predict_folder(
    bundle_path: Path,
    pictures: Path,
    out: Path,
    config: EngineConfig = DEFAULT_CONFIG,
    *,
    overlay: bool = True,
    opacity: float = 0.5,
    overwrite: bool = False,
    form: FolderFormat = "png",
    label_studio: LabelStudioConfig = _LABEL_STUDIO,
    console: Console | None = None,
) -> FolderSummary:
    """Segment a picture, or every picture of a folder and its subfolders.

    ``out/label_maps`` gets palette PNGs of class indices, ``out/overlays`` the coloured pictures,
    ``out/manifest.json`` says which model made them and ``out/predictions.jsonl`` holds a line a
    picture. What is done, unchanged since and made by the same model is not done again. A picture that
    cannot be read is reported and passed over. A form beside PNG is made of the label maps when all are
    there: a run that was broken off goes on, and a second form takes no second run of the network.

    Args:
        bundle_path: The bundle's folder.
        pictures: Folder or file.
        out: Made when missing. It may lie within ``pictures``.
        config: Engine, precision, threads.
        overlay: Whether to write overlays.
        opacity: Of the class colours in them, 0 to 1.
        overwrite: Do these pictures again, and remove what another model has left in ``out``.
        form: What to make of all label maps for another tool; ``png`` makes nothing more.
        label_studio: Names in a project of Label Studio, for that form.
        console: Where progress and faults are shown; standard error by default.

    Raises:
        BundleError: the bundle cannot be used.
        ConfigError: ``out`` holds another model's answers or somebody else's files, or cannot be written.
        DataError: there is no picture, or what ``refuse_export`` and ``write_export`` raise.
    """
    if not 0 <= opacity <= 1:
        raise ConfigError(f"opacity is {opacity}; 0 (the picture alone) to 1 (the colours alone) is possible")
    started = time.monotonic()
    bundle = read_bundle(bundle_path)
    refuse_export(form, bundle.manifest)
    listed = find_pictures(pictures, skip=[out / name for name in ANSWERS])
    try:
        journal = open_journal(out, bundle, overwrite)
        wanted_opacity = opacity if overlay else None
        todo = [p for p in listed if overwrite or not journal.done(p.name, p.path, _label_path(p), wanted_opacity)]
        job = _Job(bundle.manifest.labels, out, journal, wanted_opacity, console or Console(stderr=True))
        failed = []
        if todo:
            predictor = Predictor(bundle, config)
            predictor.warm_up()
            failed = job.run(todo, predictor)
        unread = {path for path, _ in failed}
        done = journal.entries(picture.name for picture in listed if picture.path not in unread)
        exported = write_export(form, out, bundle.manifest, done, label_studio)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error}): free space or name another folder") from error
    return FolderSummary(
        written=len(todo) - len(failed),
        skipped=len(listed) - len(todo),
        failed=tuple(failed),
        seconds=time.monotonic() - started,
        exported=exported,
    )


@dataclass(frozen=True)
class _Job:
    """One run over the pictures that are left: decoding, network and encoding overlap."""

    labels: LabelMap
    out: Path
    journal: Journal
    opacity: float | None
    console: Console

    def run(self, todo: Sequence[Picture], predictor: Predictor) -> list[tuple[Path, str]]:
        failed = []
        writing: deque[Future[Entry]] = deque()
        columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
        readers, writers = ThreadPoolExecutor(_AHEAD), ThreadPoolExecutor(_AHEAD)
        try:
            with Progress(*columns, console=self.console) as progress:
                task = progress.add_task("", total=len(todo))
                for picture, reading in _ahead(todo, readers):
                    try:
                        image, status = reading.result()
                    except ImageError as error:
                        failed.append((picture.path, str(error)))
                        self.console.print(f"passed over: {error}", style="yellow", markup=False, soft_wrap=True)
                    else:
                        answer = predictor.predict(image)
                        writing.append(writers.submit(self._write, picture, status, image, answer))
                    while len(writing) > _AHEAD:
                        self.journal.add(writing.popleft().result())
                    progress.advance(task)
                while writing:
                    self.journal.add(writing.popleft().result())
        finally:
            # Also on Ctrl-C: what is being written is finished, what waits is not begun.
            readers.shutdown(cancel_futures=True)
            writers.shutdown(cancel_futures=True)
        return failed

    def _write(self, picture: Picture, status: os.stat_result, image: NDArray[np.uint8], answer: Segmentation) -> Entry:
        label_map = answer.label_map
        height, width = label_map.shape
        label_path, overlay_path = _label_path(picture), None
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
        )


class _Speed(ProgressColumn):
    """Pictures a second."""

    def render(self, task: Task) -> Text:
        """The text of this column."""
        return Text("" if task.speed is None else f"{task.speed:.1f} pictures/s")


def _ahead(
    todo: Sequence[Picture], readers: ThreadPoolExecutor
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


def _label_path(picture: Picture) -> str:
    return f"{LABEL_MAPS}/{picture.stem}.png"


def _encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=90)
    return buffer.getvalue()
