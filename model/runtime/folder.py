"""A folder of pictures to a folder of label maps and overlays."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from data.errors import ConfigError
from model.runtime.bundle import read_bundle
from model.runtime.engine import EngineConfig
from model.runtime.exports import refuse_export, write_export
from model.runtime.formats import LabelStudioConfig
from model.runtime.journal import ANSWERS, open_journal
from model.runtime.labelling import Labelling, Unread, label_path_of
from model.runtime.pictures import find_pictures
from model.runtime.predictor import Predictor
from model.runtime.tta import PLAIN

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from rich.progress import Task

    from model.runtime.bundle import Bundle
    from model.runtime.formats import FolderFormat
    from model.runtime.journal import Journal
    from model.runtime.labelling import Outcome
    from model.runtime.pictures import Picture
    from model.runtime.tta import TtaConfig

FOLDER_CONFIG: Final = EngineConfig(streams=2)
"""Two pictures at a time take less than one after the other: while one is in a step that few threads share, or waits to
be handed on, the other goes on."""

_LOOKING: Final = 16
"""Threads that look whether pictures are done: on a disk over the network each look is a wait."""

_LOOKED_AT: Final = 64
"""Pictures that a thread looks at in one go."""

_LABEL_STUDIO: Final = LabelStudioConfig()


class Workers(Protocol):
    """Who labels the pictures: this process, or a cluster."""

    def label(
        self, todo: Iterator[Picture], bundle: Bundle, config: EngineConfig, labelling: Labelling
    ) -> Generator[Sequence[Outcome], None, None]:
        """Label pictures in any order.

        Args:
            todo: Pictures that are left, found while they are asked for.
            bundle: The model.
            config: How its network is run.
            labelling: What is wanted of every picture.

        Yields:
            What became of some of them, when their answers are on the disk.
        """
        ...


class ThisProcess:
    """Labels as many pictures side by side as the engine has streams."""

    def label(
        self, todo: Iterator[Picture], bundle: Bundle, config: EngineConfig, labelling: Labelling
    ) -> Generator[Sequence[Outcome], None, None]:
        """See ``Workers``."""
        pictures = list(todo)  # all at once, so that the progress bar knows its end
        if pictures:
            at_once = 1 if labelling.tta.active else config.streams  # an averaging engine lets its callers take turns
            predictor = Predictor(bundle, replace(config, streams=at_once), tta=labelling.tta)
            predictor.warm_up()
            for outcome in labelling.run(pictures, predictor, at_once):
                yield [outcome]


_THIS_PROCESS: Final = ThisProcess()


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
    config: EngineConfig = FOLDER_CONFIG,
    *,
    overlay: bool = True,
    opacity: float = 0.5,
    overwrite: bool = False,
    form: FolderFormat = "png",
    label_studio: LabelStudioConfig = _LABEL_STUDIO,
    tta: TtaConfig = PLAIN,
    console: Console | None = None,
    workers: Workers = _THIS_PROCESS,
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
        tta: Test-time augmentation; pictures that were done without it, or with another, are done again.
        console: Where progress and faults are shown; standard error by default.
        workers: Who labels them.

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
    tta.refuse_for(bundle.manifest.provenance.get("recipe") or {}, bundle.root)
    answers = [out / name for name in ANSWERS]
    listed = find_pictures(pictures, answers)
    first = next(listed)  # whoever gave no picture is told so before a folder is made
    try:
        journal = open_journal(out, bundle, overwrite)
        labelling = Labelling(bundle.manifest.labels, out, opacity if overlay else None, tta)
        job = _Job(journal, labelling, overwrite, console or Console(stderr=True))
        job.run(chain([first], listed), workers, bundle, config)
        exported = None
        if form != "png":
            unread = {path for path, _ in job.failed}
            names = (found.name for found in find_pictures(pictures, answers) if found.path not in unread)
            exported = write_export(form, out, bundle.manifest, list(journal.entries(names)), label_studio)
    except OSError as error:
        raise ConfigError(f"{out} cannot be written ({error}): free space or name another folder") from error
    return FolderSummary(
        written=job.written,
        skipped=job.listed - job.left,
        failed=tuple(job.failed),
        seconds=time.monotonic() - started,
        exported=exported,
    )


@dataclass
class _Job:
    """One run over the pictures of a folder: which are left, what becomes of them."""

    journal: Journal
    labelling: Labelling
    overwrite: bool
    console: Console
    written: int = 0
    listed: int = 0
    left: int = 0
    failed: list[tuple[Path, str]] = field(default_factory=list)

    def run(self, listed: Iterable[Picture], workers: Workers, bundle: Bundle, config: EngineConfig) -> None:
        columns = (TextColumn("segmenting"), BarColumn(), MofNCompleteColumn(), _Speed(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task("", total=None)
            try:
                with closing(workers.label(self._left(listed), bundle, config, self.labelling)) as outcomes:
                    for some in outcomes:
                        self._note(some)
                        progress.update(task, total=self.left, advance=len(some))
            finally:
                self.journal.settle()

    def _left(self, listed: Iterable[Picture]) -> Iterator[Picture]:
        """The pictures that are not done; some are looked at ahead of their turn."""
        source = iter(listed)
        looking: deque[tuple[int, Future[list[Picture]]]] = deque()
        with ThreadPoolExecutor(_LOOKING) as lookers:
            while True:
                some = list(islice(source, _LOOKED_AT))
                if some:
                    looking.append((len(some), lookers.submit(self._undone, some)))
                if looking and (not some or len(looking) > _LOOKING):
                    size, looked = looking.popleft()
                    left = looked.result()
                    self.listed += size
                    self.left += len(left)
                    yield from left
                elif not some:
                    return

    def _undone(self, pictures: list[Picture]) -> list[Picture]:
        if self.overwrite:
            return pictures
        done, opacity, tta = self.journal.done, self.labelling.opacity, self.labelling.tta.told
        return [each for each in pictures if not done(each.name, each.path, label_path_of(each), opacity, tta)]

    def _note(self, outcomes: Sequence[Outcome]) -> None:
        entries = [outcome for outcome in outcomes if not isinstance(outcome, Unread)]
        if entries:
            self.journal.add(entries)
        self.written += len(entries)
        for outcome in outcomes:
            if isinstance(outcome, Unread):
                self.failed.append((outcome.path, outcome.reason))
                self.console.print(f"passed over: {outcome.reason}", style="yellow", markup=False, soft_wrap=True)


class _Speed(ProgressColumn):
    """Pictures a second."""

    def render(self, task: Task) -> Text:
        """The text of this column."""
        return Text("" if task.speed is None else f"{task.speed:.1f} pictures/s")
