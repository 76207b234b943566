"""Cluster: pictures labelled by actors on Ray, on one machine or many that share a file system."""

from __future__ import annotations

import json
import os
import socket
import traceback
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from data.errors import ClusterError, FcnError
from model.ray_session import connected, first_line, refuse_unreachable
from model.runtime.bundle import read_bundle
from model.runtime.journal import Entry, version_of
from model.runtime.labelling import Labelling, Unread
from model.runtime.pictures import Picture
from model.runtime.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from model.runtime.bundle import Bundle
    from model.runtime.engine import EngineConfig
    from model.runtime.labelling import Outcome

_THREADS: Final = 2
"""Processors of one actor where the engine's threads are not told: one network in memory for two of them."""

_PORTION: Final = 1_000_000
"""Pictures that are handed to Ray at a time: names of no more than these are held, whatever their number."""

_BLOCK: Final = 64
"""Pictures of one task at most: what a machine that dies takes with it, and what the journal is told in one go."""

_ATTEMPTS: Final = 3
"""How often a task is tried whose worker died of it."""


@dataclass(frozen=True)
class RayWorkers:
    """Labels pictures by actors on a Ray cluster; each holds one network.

    An actor reads pictures and writes answers itself, so every machine must see the bundle, the pictures and
    the output folder at the same paths, and have this project installed. What went well or wrong comes back to
    this process, which alone writes the journal. A task whose worker was killed is tried again; pictures that
    kill every worker are passed over.

    Attributes:
        address: ``local`` starts Ray on this machine for as long as it is needed, ``auto`` joins the cluster that
            this machine is part of, ``host:6379`` the one whose head that is.
    """

    address: str

    def __post_init__(self) -> None:
        if self.address.startswith("ray://"):
            raise ClusterError(
                f"the cluster is {self.address!r}: this process writes the journal, so it must run on a machine of "
                "the cluster; start it there with --cluster auto, or send it there with ray job submit"
            )

        if self.address not in {"local", "auto"}:
            host, colon, port = self.address.rpartition(":")
            if not (host and colon and port.isdecimal()):
                raise ClusterError(f"the cluster is {self.address!r}: give local, auto, or HOST:PORT of its head")

    def label(
        self, todo: Iterator[Picture], bundle: Bundle, config: EngineConfig, labelling: Labelling
    ) -> Generator[Sequence[Outcome], None, None]:
        """See ``model.runtime.folder.Workers``.

        Raises:
            ClusterError: Ray is not installed, the cluster cannot be reached or broke down, or a machine of it lacks
                what it needs.
        """
        first = next(todo, None)
        if first is None:
            return
        refuse_unreachable(self.address)
        with connected(self.address) as ray:
            threads = config.threads or min(_THREADS, *(int(n["Resources"].get("CPU", 0)) for n in ray.nodes()))
            here = replace(labelling, out=labelling.out.absolute())
            # An actor has few threads, and labels one picture after the other.
            own = replace(config, threads=max(1, threads), streams=1)
            task = _Task(bundle.root.absolute(), bundle.manifest.version, own, here)
            portion = [first, *islice(todo, _PORTION - 1)]
            while portion:
                lost = yield from _label(task, portion, _BLOCK)
                # Each by itself now, so that one which kills its worker takes no other with it.
                for picture in (yield from _label(task, lost, 1)) if lost else ():
                    reason = f"{picture.path} ended {_ATTEMPTS} workers that read it, perhaps for want of memory"
                    yield [Unread(picture.name, picture.path, reason)]
                portion = list(islice(todo, _PORTION))


@dataclass(frozen=True)
class _Task:
    """What every actor is told."""

    bundle_root: Path
    version: str
    config: EngineConfig
    labelling: Labelling


class _Labeller:
    """The actor: one network in one process, opened at the first task."""

    def __init__(self, task: _Task) -> None:
        self._task = task

    def __call__(self, batch: Any) -> Any:  # noqa: ANN401 - pyarrow.Table; the package has no types
        import pyarrow as pa  # noqa: PLC0415

        paths, names, stems = ([os.fsdecode(value.as_py()) for value in column] for column in batch.columns)
        pictures = [Picture(Path(path), name, stem) for path, name, stem in zip(paths, names, stems, strict=True)]
        kinds, lines = [], []
        try:
            for outcome in self._task.labelling.run(pictures, self._predictor):
                kinds.append("unread" if isinstance(outcome, Unread) else "entry")
                lines.append(json.dumps(asdict(outcome), default=os.fspath))
        except (FcnError, OSError) as error:
            kinds.append("fault")
            lines.append(_printable(f"{socket.gethostname()}: {error}"))
        except Exception:  # noqa: BLE001 - told here: Ray is asked to pass over tasks that end, as when a worker dies
            kinds.append("bug")
            lines.append(_printable(traceback.format_exc()))
        return pa.table({"kind": kinds, "line": lines})

    @cached_property
    def _predictor(self) -> Predictor:
        bundle = read_bundle(self._task.bundle_root)
        answered = version_of(self._task.labelling.out)
        for place, found in ((bundle.root, bundle.manifest.version), (self._task.labelling.out, answered)):
            if found != self._task.version:
                raise ClusterError(
                    f"{place} is not the folder that was given: here it is of model version {found}, there of "
                    f"{self._task.version}; it must lie on a file system that all machines share"
                )
        predictor = Predictor(bundle, self._task.config, tta=self._task.labelling.tta)
        predictor.warm_up()
        return predictor


def _printable(text: str) -> str:
    """A text as Arrow takes it: a path in it may hold bytes that are no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def _label(
    task: _Task, pictures: Sequence[Picture], block: int
) -> Generator[Sequence[Outcome], None, Sequence[Picture]]:
    """One pass of Ray Data over pictures.

    Yields:
        What became of those of one task.

    Returns:
        The pictures whose tasks killed every worker they were given to.
    """
    import pyarrow as pa  # noqa: PLC0415
    import ray  # noqa: PLC0415

    actors = max(1, int(ray.cluster_resources().get("CPU", 1)) // task.config.threads)
    # Few pictures are spread over all actors, a few tasks each.
    size = max(1, min(block, len(pictures) // (4 * actors)))
    blocks = [pictures[start : start + size] for start in range(0, len(pictures), size)]
    tables = [
        pa.table(
            {
                "path": [os.fsencode(picture.path.absolute()) for picture in some],
                "name": [os.fsencode(picture.name) for picture in some],
                "stem": [os.fsencode(picture.stem) for picture in some],
            }
        )
        for some in blocks
    ]
    outcomes = ray.data.from_arrow(tables).map_batches(
        _Labeller,
        fn_constructor_args=(task,),
        batch_size=None,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=min(actors, len(blocks)), max_tasks_in_flight_per_actor=1 if block == 1 else None
        ),
        num_cpus=task.config.threads,
        max_restarts=-1,
        max_task_retries=_ATTEMPTS - 1,
    )
    left = {picture.name: picture for picture in pictures}
    try:
        for table in outcomes.iter_batches(batch_size=None, batch_format="pyarrow"):
            some = [_read(kind.as_py(), line.as_py()) for kind, line in zip(*table.columns, strict=True)]
            for outcome in some:
                left.pop(outcome.picture, None)
            yield some
    except (ray.exceptions.RayError, ConnectionError) as error:
        raise ClusterError(f"the cluster broke down ({first_line(error)}): start again, and it goes on") from error
    return list(left.values())


def _read(kind: str, line: str) -> Outcome:
    if kind == "fault":
        raise ClusterError(line)
    if kind == "bug":
        raise RuntimeError(f"a worker failed:\n{line}")
    values = json.loads(line)
    if kind == "entry":
        return Entry(**values)
    return Unread(**{**values, "path": Path(values["path"])})
