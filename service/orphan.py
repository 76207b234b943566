"""Orphan: a worker whose supervisor is gone without a word, killed for the memory it took, say."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

import bentoml

from service.logs import LOGGER

if TYPE_CHECKING:
    from service.station import Station

_SUPERVISOR: Final = "SEGMENTER_SUPERVISOR"
_LOOK_SECONDS: Final = 0.5
_SPARE_SECONDS: Final = 5.0


def name_supervisor() -> None:
    """Leave this process's number in the environment that its workers inherit.

    A worker could ask for its parent's, but only once it runs: it would take a stranger's for it if the
    supervisor was killed while the worker started.
    """
    os.environ[_SUPERVISOR] = str(os.getpid())


def end_with_supervisor(station: Station, answer_seconds: float) -> None:
    """Let a worker end when the process above it is gone; in any other process this does nothing.

    Otherwise it would go on, answer on the port that the next server needs, and no signal to the server's
    process would reach it. Unlike at SIGTERM nobody else holds the socket open, so it is closed at once,
    and what was accepted is finished.

    Args:
        station: Told to take nothing new.
        answer_seconds: Within which every accepted request is answered. A client that does not read its
            answer can hold the worker no longer than this and some seconds.
    """
    if bentoml.server_context.worker_index is None:
        return
    supervisor = int(os.environ.get(_SUPERVISOR, os.getppid()))

    def watch() -> None:
        while os.getppid() == supervisor:
            time.sleep(_LOOK_SECONDS)
        LOGGER.warning("the process above this worker is gone: it finishes what it accepted and ends")
        station.stop()  # so that SIGTERM reaches uvicorn at once, see service/stopping.py
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(answer_seconds + _SPARE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="supervisor", daemon=True).start()
