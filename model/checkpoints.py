"""Checkpoints: whole or not at all, exact within an epoch too, and written when somebody stops the training."""

from __future__ import annotations

import io
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping, ModelCheckpoint

from data.errors import RunError, StoppedError
from model.processes import any_of
from model.runtime.whole import writing_whole

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from model.stopping import StopRequest

MONITOR = "val/miou"


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the old one, waits for the disk, then puts it in its place.

    Lightning's own copies it from the folder for temporary files, which may lie on another disk: a kill in the middle
    leaves half a file under the checkpoint's name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: object = None) -> None:
        """Write a checkpoint.

        Raises:
            RunError: it cannot be written, or its weights are not finite; the old one stays.
        """
        path = Path(path)
        step = f"epoch {checkpoint['epoch'] + 1}, step {checkpoint['global_step']}"
        for state in (checkpoint["state_dict"], checkpoint.get("current_model_state", {})):
            for name, tensor in state.items():
                if not bool(torch.isfinite(tensor).all()):
                    raise RunError(
                        f"{name} is not finite after {step}: lower --optimiser.decoder_rate and "
                        f"--optimiser.encoder_rate; {kept(path)}"
                    )
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            with writing_whole(path, durable=True) as file:
                file.write(buffer.getbuffer())
        except OSError as error:
            raise RunError(
                f"{path} of {step} cannot be written ({error.strerror}; it takes {buffer.tell() / 1e6:.0f} MB, "
                f"{shutil.disk_usage(path.parent).free / 1e6:.0f} MB are free): free some disk; {kept(path)}"
            ) from error


def kept(path: Path) -> str:
    """What is left where a checkpoint could not be replaced."""
    return f"the last good {path.name} is kept" if path.is_file() else f"there is no {path.name} yet"


class BestCheckpoint(ModelCheckpoint):
    """best.ckpt: the weights of the best validation; the run's folder may be moved between its parts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(
            folder, filename="best", monitor=MONITOR, mode="max", save_last=False, enable_version_counter=False
        )

    @property
    def state_key(self) -> str:
        """The name of its state in a checkpoint, which is Lightning's class's."""
        key: str = super().state_key
        return key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state with the paths that are right now: Lightning forgets the best score in a moved folder."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else ""

        moved = {name: here(state_dict[name]) for name in ("best_model_path", "kth_best_model_path", "last_model_path")}
        models = {here(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **moved, "best_k_models": models, "dirpath": self.dirpath})


class LastCheckpoint(Checkpoint):
    """last.ckpt: after every epoch, within one every so many minutes, and when somebody stops the training.

    Args:
        path: Of the file.
        minutes: Between checkpoints within an epoch; 0 for none.
        request: Of a person to stop.
    """

    def __init__(self, path: Path, minutes: float, request: StopRequest) -> None:
        self._path = path
        self._seconds = 60 * minutes
        self._request = request
        self._saved = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to listen to Ctrl-C, after Lightning has."""
        self._saved = time.monotonic()
        self._request.listen()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Save where it is time or somebody wants to stop; the last step of an epoch is left to the epoch's end.

        Raises:
            StoppedError: somebody stopped the training.
        """
        due = bool(self._seconds) and trainer.is_global_zero and time.monotonic() - self._saved > self._seconds
        stop, due = any_of([self._request.made, due], pl_module.device)
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if stop or due:
            self._save(trainer)
        if stop:
            raise StoppedError(f"stopped after epoch {trainer.current_epoch + 1}, step {trainer.global_step}")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, and stop where somebody wants to and something is left to train.

        Raises:
            StoppedError: somebody stopped the training.
        """
        self._save(trainer)
        (stop,) = any_of([self._request.made], pl_module.device)
        if stop and trainer.current_epoch + 1 < (trainer.max_epochs or 0):
            raise StoppedError(f"stopped after epoch {trainer.current_epoch + 1}, step {trainer.global_step}")

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._path)
        self._saved = time.monotonic()


class Patience(EarlyStopping):
    """Early stopping whose patience is the configuration's, and which a resumed run keeps to.

    Args:
        validations: Without a better mIoU, after which training ends.
    """

    def __init__(self, validations: int) -> None:
        super().__init__(MONITOR, mode="max", patience=validations)

    @property
    def state_key(self) -> str:
        """The name of its state in a checkpoint, which is Lightning's class's."""
        key: str = super().state_key
        return key.replace(type(self).__qualname__, EarlyStopping.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state, not the patience."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Train nothing more where the run had ended already."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True
