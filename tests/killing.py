"""A training that is killed at chosen moments, by SIGKILL, and gone on with each time: one process after the other.

Run as a program: ``python tests/killing.py ROOT``. Every part is forked before any thread is started, so that torch is
imported once. The moments: in the first epoch, before there is a checkpoint; in the middle of writing the first one; in
an epoch that has a checkpoint of its own; between best.ckpt and last.ckpt; in the middle of writing metrics.csv. Then
the run is finished. Another one is killed twice whose samples come from a process of their own. Prints the signal that
ended each part.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from data.sources.catalogue import SourceConfig
from model.config import AugmentConfig, FitConfig, LoaderConfig, ModelConfig, TrainConfig

CONFIG = TrainConfig(
    data=SourceConfig(name="shapes", train_size=12, val_size=2, image_size=(40, 64)),
    model=ModelConfig(encoder="mobilenet_v2", encoder_weights="none", head_channels=8),
    augment=AugmentConfig(crop_size=(32, 64)),
    loader=LoaderConfig(batch_size=4, workers=0),
    fit=FitConfig(epochs=3, precision="32-true", progress=False, ema=0.9, threads=1),
    seed=3,
)
OFTEN = replace(CONFIG, fit=replace(CONFIG.fit, save_minutes=1e-9))
"""Saves after every step."""
IN_PROCESSES, OFTEN_IN_PROCESSES = (replace(one, loader=replace(one.loader, workers=1)) for one in (CONFIG, OFTEN))
"""Samples come from a process of their own, which begins before the epoch is told."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Torn:
    """A file that is killed in the middle of being written."""

    def __init__(self, file):
        self._file = file

    def write(self, content):
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        die()


def killed_while_writing(name: str, times: int = 1) -> None:
    """Let the process be killed half through the given writing of a file of this name."""
    from contextlib import contextmanager

    from model import callbacks, checkpoints
    from model.runtime import whole

    writing, left = whole.writing_whole, [times]

    @contextmanager
    def torn(path, *, durable=False):
        with writing(path, durable=durable) as file:
            left[0] -= path.name == name
            yield Torn(file) if path.name == name and not left[0] else file

    whole.writing_whole = checkpoints.writing_whole = torn
    assert callbacks.write_whole is whole.write_whole


def killed_after_step(step: int) -> None:
    """Let the process be killed when the optimiser has made a step, before it is counted or saved."""
    from model.callbacks import EpochTable

    count = EpochTable.on_train_batch_end

    def on_train_batch_end(self, trainer, *rest):
        if trainer.global_step == step:
            die()
        count(self, trainer, *rest)

    EpochTable.on_train_batch_end = on_train_batch_end


PARTS = (
    ("unbroken", "unbroken", CONFIG, lambda: None),
    ("before the first checkpoint", "killed", CONFIG, lambda: killed_after_step(2)),
    ("while the first checkpoint is written", "killed", CONFIG, lambda: killed_while_writing("best.ckpt")),
    ("between best.ckpt and last.ckpt", "killed", CONFIG, lambda: killed_while_writing("last.ckpt")),
    ("within an epoch that has a checkpoint", "killed", OFTEN, lambda: killed_after_step(5)),
    ("while metrics.csv is written", "killed", OFTEN, lambda: killed_while_writing("metrics.csv", 2)),
    ("while a later checkpoint is written", "killed", OFTEN, lambda: killed_while_writing("last.ckpt", 3)),
    ("not any more", "killed", CONFIG, lambda: None),
    ("within an epoch, in processes", "in processes", OFTEN_IN_PROCESSES, lambda: killed_after_step(5)),
    ("after an epoch, in processes", "in processes", IN_PROCESSES, lambda: killed_after_step(8)),
    ("not any more, in processes", "in processes", IN_PROCESSES, lambda: None),
)


def main(root: Path) -> None:
    from model.train import train

    for name, folder, config, arrange in PARTS:
        child = os.fork()
        if not child:
            arrange()
            train(config, root / folder, resume=(root / folder / "config.yaml").exists())
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        end = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
        print(f"{name}: {end}", flush=True)  # noqa: T201  what the test reads


if __name__ == "__main__":
    main(Path(sys.argv[1]))
