"""The network that is measured: a training's, or one with seeded random weights; as a bundle and in torch."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.record import told_bundle
from benchmarks.seeded import SEEDED, export, seeded_network
from data.errors import FcnError, RunError
from model.run import Run, checkpoint_sha256
from model.runtime.bundle import Bundle, read_bundle

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from model.fcn import FCN

VARIABLE = "SUBJECT"


@dataclass(frozen=True)
class Subject:
    """The network that all parts measure.

    Attributes:
        bundle: As the product runs it.
        run: Its training; None where there is none.
        seeded: Whether it is ``seeded_network``.
    """

    bundle: Bundle
    run: Run | None = None
    seeded: bool = False

    @property
    def name(self) -> str:
        """For the page."""
        return told_bundle(self.bundle.root)

    def environment(self) -> dict[str, str]:
        """For a process of its own that asks for ``network_of_environment``."""
        run = "" if self.run is None else str(self.run.root.absolute())
        return {f"{VARIABLE}_RUN": run, f"{VARIABLE}_BUNDLE": str(self.bundle.root.absolute())}

    def network(self) -> FCN:
        """The same network in torch, in evaluation mode.

        Raises:
            RunError: there is only a bundle, which holds none, or no such checkpoint.
        """
        if self.seeded:
            return seeded_network()
        if self.run is None:
            raise RunError("--bundle alone holds no network for torch, which is measured beside it: add --run RUN")
        return self.run.network(_checkpoint(self.bundle))


def network_of_environment() -> FCN:
    """The network of the process that started this one."""
    run, bundle = (os.environ[f"{VARIABLE}_{name}"] for name in ("RUN", "BUNDLE"))
    return Subject(read_bundle(Path(bundle)), Run.open(Path(run)) if run else None, seeded=not run).network()


@contextmanager
def subject(chosen: argparse.Namespace) -> Iterator[Subject]:
    """The network that a command line names, while the block runs.

    A fault of the command line's ends in one line, before anything is measured.
    """
    with tempfile.TemporaryDirectory() as place:
        try:
            yield _open(chosen, Path(place))
        except FcnError as error:
            sys.exit(str(error))


def _open(chosen: argparse.Namespace, place: Path) -> Subject:
    if chosen.run is None and chosen.bundle is not None:
        return Subject(read_bundle(chosen.bundle))
    if chosen.run is None:
        if chosen.exported is None:
            export(place, [SEEDED])
        return Subject(read_bundle((chosen.exported or place) / SEEDED), seeded=True)
    run, bundle = Run.open(chosen.run), read_bundle(chosen.bundle or chosen.run / "bundle")
    which = _checkpoint(bundle)
    if bundle.manifest.provenance.get("checkpoint_sha256") != checkpoint_sha256(run.checkpoint(which)):
        raise RunError(
            f"{bundle.root} was not made of {run.checkpoint(which)}: unequal networks are not compared; "
            "export the run again, or give the bundle that was made of it with --bundle"
        )
    return Subject(bundle, run)


def _checkpoint(bundle: Bundle) -> str:
    return str(bundle.manifest.provenance.get("checkpoint", "best"))
