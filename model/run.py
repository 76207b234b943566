"""A run: the folder that a training writes and everything later reads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import shlex
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentParser

from data.errors import RunError
from data.labels import LabelMap
from model.config import TrainConfig
from model.provenance import provenance
from model.runtime.whole import write_whole

if TYPE_CHECKING:
    from model.fcn import FCN


@dataclass(frozen=True)
class Run:
    """A training directory.

    Attributes:
        root: Holds config.yaml, labelmap.txt, provenance.json, checkpoints/, metrics.csv, tensorboard/,
            predictions/ and, once evaluated, evaluation/.
    """

    root: Path

    @property
    def config_file(self) -> Path:
        """The whole configuration, as the command line reads it."""
        return self.root / "config.yaml"

    @property
    def labels_file(self) -> Path:
        """Class names and colours, in CVAT's format."""
        return self.root / "labelmap.txt"

    @property
    def provenance_file(self) -> Path:
        """What was run, on what, when."""
        return self.root / "provenance.json"

    @property
    def metrics_file(self) -> Path:
        """One row an epoch: loss, mIoU, IoU of each class."""
        return self.root / "metrics.csv"

    @property
    def checkpoints(self) -> Path:
        """Holds best.ckpt and last.ckpt."""
        return self.root / "checkpoints"

    @property
    def last_checkpoint(self) -> Path:
        """Where training goes on."""
        return self.checkpoints / "last.ckpt"

    @classmethod
    def create(cls, root: Path, config: TrainConfig, labels: LabelMap) -> Run:
        """Make the folder and write what is known before training.

        Raises:
            RunError: the folder exists and is not empty, or cannot be written.
        """
        run = cls(root)
        run.refuse_occupied()
        try:
            run.checkpoints.mkdir(parents=True)
            labels.write_cvat(run.labels_file)
            run.write_provenance({"started": datetime.now(UTC).isoformat(timespec="seconds"), **provenance(config)})
            run.write_config(config)  # last: with it, the folder is a run that can be gone on with
        except OSError as error:
            raise RunError(f"{root} cannot be written ({error.strerror}): choose another folder with --run") from error
        return run

    @classmethod
    def open(cls, root: Path) -> Run:
        """Open a run that exists.

        Raises:
            RunError: this is no run directory.
        """
        run = cls(root)
        for path in (run.config_file, run.labels_file):
            if not path.is_file():
                raise RunError(f"{root} is not a training run: it has no {path.name}; give the folder that train made")
        return run

    def refuse_occupied(self) -> None:
        """Keep a new run from being written over an old one.

        Raises:
            RunError: the folder exists and is not empty.
        """
        if self.root.exists() and (not self.root.is_dir() or any(self.root.iterdir())):
            started = self.config_file.is_file()
            way = f", or go on with it by --resume {shlex.quote(str(self.root))}" if started else ", or remove it"
            raise RunError(f"{self.root} exists and is not empty: choose another with --run{way}")

    def write_config(self, config: TrainConfig) -> None:
        """Write config.yaml.

        Raises:
            RunError: the folder cannot be written.
        """
        self._write(self.config_file, yaml.safe_dump(_plain(config), sort_keys=False))

    def config(self) -> TrainConfig:
        """Read config.yaml back.

        Raises:
            RunError: it is not a configuration of this version.
        """
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(TrainConfig)
        try:
            values = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
            return TrainConfig(**vars(parser.instantiate(parser.parse_object(values))))
        except Exception as error:
            raise RunError(f"{self.config_file} is not a configuration of this version: {error}") from error

    def labels(self) -> LabelMap:
        """The classes that were trained.

        Raises:
            LabelError: labelmap.txt is damaged.
        """
        return LabelMap.read(self.labels_file)

    def provenance(self) -> dict[str, Any]:
        """What was run, on what, when; empty where the file is missing or damaged."""
        try:
            found: dict[str, Any] = json.loads(self.provenance_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found

    def write_provenance(self, values: dict[str, Any]) -> None:
        """Add to provenance.json.

        Raises:
            RunError: the folder cannot be written.
        """
        merged = {**self.provenance(), **values}
        self._write(self.provenance_file, f"{json.dumps(merged, indent=2)}\n")

    def _write(self, path: Path, text: str) -> None:
        try:
            write_whole(path, text.encode(), durable=True)
        except OSError as error:
            raise RunError(f"{path} cannot be written ({error.strerror}): make room, or mend its folder") from error

    def sweep(self) -> None:
        """Remove what a killed training left half written."""
        for folder in (self.root, self.checkpoints, self.root / "predictions"):
            for path in folder.glob(".*.partial"):
                path.unlink(missing_ok=True)

    def checkpoint(self, which: str = "best") -> Path:
        """Path of the best or last checkpoint.

        Raises:
            RunError: training has not saved one yet.
        """
        path = self.checkpoints / f"{which}.ckpt"
        if not path.is_file():
            raise RunError(f"{self.root} holds no {which} checkpoint yet: train at least one epoch")
        return path

    def network(self, which: str = "best") -> FCN:
        """The trained network, in evaluation mode; the averaged weights where EMA was on.

        Raises:
            RunError: there is no such checkpoint, or it is damaged.
        """
        from model.fcn import make_network  # noqa: PLC0415  imports torch

        config = self.config()
        # The checkpoint holds the encoder: do not load a wheel's or a hub's first.
        model = dataclasses.replace(config.model, encoder_weights="none")
        path = self.checkpoint(which)
        try:
            state = read_checkpoint(path)["state_dict"]
            network: FCN = make_network(model, self.labels().num_classes)
            prefix = "network."
            network.load_state_dict(
                {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
            )
        except (RuntimeError, KeyError, ValueError) as error:
            raise RunError(f"{path} does not fit the run's config.yaml: {error}") from error
        network.eval()
        return network


def checkpoint_sha256(path: Path) -> str:
    """The checkpoint's bytes in 64 hex digits, to tell whether a bundle was made of it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint as plain data: no code in it is run.

    Raises:
        RunError: it is damaged, or no checkpoint.
    """
    import torch  # noqa: PLC0415  the command line opens runs without needing torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        # torch's own text is of many lines, and none helps who holds half a file.
        raise RunError(
            f"{path} is damaged, or no checkpoint of a training ({type(error).__name__}): bring back a copy, put the "
            "run's other checkpoint in its place (best.ckpt, last.ckpt), or train again"
        ) from error
    if not isinstance(found, dict) or "state_dict" not in found:
        raise RunError(f"{path} is no checkpoint of a training: it holds no state_dict")
    return found


def _plain(value: object) -> object:
    """Dataclasses, tuples and paths as YAML's own types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
