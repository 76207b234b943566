"""Tracking: a training recorded in MLflow or Weights & Biases too, beside what its run directory keeps."""

from __future__ import annotations

import importlib
import logging
import os
import re
import uuid
import warnings
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, Protocol

from lightning.pytorch import Callback

from data.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lightning.pytorch import LightningModule, Trainer

    from data.labels import LabelMap
    from model.config import TrackerName, TrainConfig
    from model.run import Run

PROJECT: Final = "fcn-segmenter"
"""Project of Weights & Biases and experiment of MLflow where WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME names no other."""

_FAULTS: Final = 3
"""Faults in a row after which a tracker is left alone: each may cost the training a wait."""


class Tracker(Protocol):
    """What keeps records of runs; see the classes below."""

    def begin(self, known: str | None, name: str, params: dict[str, Any]) -> str:
        """Open a record, or the one that is known.

        Args:
            known: Identity of the record that an earlier part of this run began.
            name: Of the run.
            params: What the run is made of, flat.

        Returns:
            The record's identity.
        """
        ...

    def log(self, metrics: dict[str, float], step: int) -> None:
        """Note figures at a step of the optimiser."""
        ...

    def picture(self, path: Path, step: int) -> None:
        """Keep a picture of predictions."""
        ...

    def end(self, whole: bool) -> None:
        """Close the record."""
        ...


class Wandb:
    """Weights & Biases, as WANDB_MODE, WANDB_PROJECT and its other variables have it.

    Args:
        root: Run directory; ``wandb/`` in it holds what is to be sent, for good with WANDB_MODE=offline.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._record: Any = None

    def begin(self, known: str | None, name: str, params: dict[str, Any]) -> str:
        """See ``Tracker``."""
        import wandb  # noqa: PLC0415

        identity = known or uuid.uuid4().hex
        self._record = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=identity,
            name=name,
            dir=self._root,
            resume="allow",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._record.config.update(params, allow_val_change=True)
        return identity

    def log(self, metrics: dict[str, float], step: int) -> None:
        """See ``Tracker``."""
        self._record.log(metrics, step=step)

    def picture(self, path: Path, step: int) -> None:
        """See ``Tracker``."""
        import wandb  # noqa: PLC0415

        self._record.log({"predictions": wandb.Image(str(path))}, step=step)

    def end(self, whole: bool) -> None:
        """See ``Tracker``."""
        self._record.finish(exit_code=0 if whole else 1)


class Mlflow:
    """MLflow, where MLFLOW_TRACKING_URI says; see its documentation for where that is by default."""

    def __init__(self) -> None:
        self._client: Any = None
        self._run_id = ""

    def begin(self, known: str | None, name: str, params: dict[str, Any]) -> str:
        """See ``Tracker``. A parameter cannot be changed there: what a resumed run changes becomes a tag."""
        # Its own 7 tries of two minutes each would hold a training up for a server that is gone.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        from mlflow import MlflowClient  # noqa: PLC0415
        from mlflow.entities import Param  # noqa: PLC0415

        self._client = MlflowClient()
        if known is None:
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            found = self._client.get_experiment_by_name(experiment)
            identity = found.experiment_id if found else self._client.create_experiment(experiment)
            self._run_id = self._client.create_run(identity, run_name=name).info.run_id
        else:
            self._run_id = known
            self._client.update_run(known, status="RUNNING")
        given = {_plain_name(key): str(value)[:6000] for key, value in params.items()}
        there = self._client.get_run(self._run_id).data.params
        self._client.log_batch(self._run_id, params=[Param(k, v) for k, v in given.items() if k not in there])
        for key, value in given.items():
            if there.get(key, value) != value:
                self._client.set_tag(self._run_id, key, value)
        return self._run_id

    def log(self, metrics: dict[str, float], step: int) -> None:
        """See ``Tracker``."""
        for name, value in metrics.items():
            self._client.log_metric(self._run_id, _plain_name(name), value, step=step)

    def picture(self, path: Path, step: int) -> None:
        """See ``Tracker``."""
        self._client.log_artifact(self._run_id, str(path), "predictions")

    def end(self, whole: bool) -> None:
        """See ``Tracker``."""
        self._client.set_terminated(self._run_id, "FINISHED" if whole else "FAILED")


class Tracking(Callback):
    """Tells a tracker what a training is made of and how it goes; the tracker's faults end no training.

    Epochs have the figures that metrics.csv and TensorBoard have. It must stand behind ``PredictionPictures``.

    Args:
        tracker: Who is told.
        name: Of the tracker, under which provenance.json keeps the record's identity for a resumed run.
        run: Gives what is told.
        config: Of the run.
        labels: Names of the classes.
    """

    def __init__(self, tracker: Tracker, name: TrackerName, run: Run, config: TrainConfig, labels: LabelMap) -> None:
        self._tracker = tracker
        self._name = name
        self._run = run
        self._config = config
        self._labels = labels
        self._begun = False
        self._faults = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the record: the whole configuration, the classes, the commit and the versions."""
        if trainer.is_global_zero:
            self._try()

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the picture of predictions that was drawn just now."""
        path = self._run.root / "predictions" / f"epoch_{trainer.current_epoch + 1:03d}.png"
        if trainer.is_global_zero and path.is_file():
            self._try(lambda: self._tracker.picture(path, trainer.global_step))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the epoch's figures, the learning rates among them (LearningRateMonitor's)."""
        if not trainer.is_global_zero:
            return
        validated = (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1) == 0
        metrics = {"epoch": float(trainer.current_epoch + 1)}
        for name, value in trainer.callback_metrics.items():
            if validated or not name.startswith("val/"):
                metrics[name] = float(value)
        self._try(lambda: self._tracker.log(metrics, trainer.global_step))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the record as that of a run that was broken off."""
        self._end(trainer, whole=False)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the record."""
        self._end(trainer, whole=True)

    def _begin(self) -> None:
        provenance = self._run.provenance()
        known = provenance.get("trackers", {})
        params = _flat(asdict(self._config)) | {"labels": ", ".join(self._labels.names)}
        params |= {f"provenance.{key}": value for key, value in _flat(provenance).items() if "trackers" not in key}
        identity = self._tracker.begin(known.get(self._name), self._run.root.name, params)
        self._run.write_provenance({"trackers": known | {self._name: identity}})

    def _end(self, trainer: Trainer, *, whole: bool) -> None:
        if trainer.is_global_zero and self._begun:
            self._try(lambda: self._tracker.end(whole))
            self._begun = False

    def _try(self, tell: Callable[[], None] = lambda: None) -> None:
        if self._faults >= _FAULTS:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if not self._begun:
                    self._begin()
                    self._begun = True
                tell()
        except Exception as error:  # noqa: BLE001 - trackers' errors have no common base, and none may end a training
            self._faults += 1
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            more = "it is told nothing more" if self._faults == _FAULTS else "training goes on"
            logging.getLogger("fcn").warning("%s cannot be told (%s): %s", self._name, reason, more)
        else:
            self._faults = 0


def open_tracking(run: Run, config: TrainConfig, labels: LabelMap) -> list[Callback]:
    """The callback for the tracker that is configured, or none."""
    name = config.fit.tracker
    if name == "none":
        return []
    tracker: Tracker = Wandb(run.root) if name == "wandb" else Mlflow()
    return [Tracking(tracker, name, run, config, labels)]


def refuse_missing(name: TrackerName) -> None:
    """Find out before training that a tracker is not installed.

    Raises:
        ConfigError: it is not.
    """
    if name == "none":
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"fit.tracker {name} needs the package {name}, which is not installed ({error}): "
            f"pip install 'fcn-segmenter[{name}]'"
        ) from error


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as ``model.encoder``; lists, paths and the like as text."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, (bool, int, float, str)) else str(value)
    return found


def _plain_name(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-./ :]", "_", name)
