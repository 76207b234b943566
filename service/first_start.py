"""First start: what the first worker could not load ends the server.

BentoML starts a worker that fails again and again, for ever. So the first one tells the process above the workers, the
supervisor, whether it loaded its bundle; the supervisor waits beside its other work, and does not load anything itself:
it stays small and outlives an engine that crashes.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
from contextlib import contextmanager
from multiprocessing.connection import Client, Listener
from typing import TYPE_CHECKING, Final

from data.errors import FcnError
from service.logs import LOGGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LISTENER: Final = "SEGMENTER_FIRST_START"


def watch_first_start(folder: Path, refuse: Callable[[str], None]) -> None:
    """In the supervisor, before there is a worker: wait in a thread for what the first one tells.

    Args:
        folder: Of the bundle, for the message.
        refuse: Called in that thread with why nothing can be served; not at all where the first worker serves.
    """
    try:
        listener = Listener()
    except OSError as error:  # a socket's path has some 100 characters at most
        LOGGER.warning(
            "no socket in the temporary folder (%s): a bundle that fails will be loaded again and again", error
        )
        return
    os.environ[_LISTENER] = str(listener.address)  # inherited by the workers

    def wait() -> None:
        with listener, listener.accept() as worker:
            try:
                why = worker.recv_bytes().decode()
            except (EOFError, OSError):
                why = f"the process that loaded {folder} ended without a word: its engine crashed; export the run again"
        if why:
            refuse(why)

    threading.Thread(target=wait, name="first start", daemon=True).start()


@contextmanager
def first_start() -> Iterator[None]:
    """In a worker, around all that may fail each time: tell the supervisor, if it still waits, how it went.

    Raises:
        FcnError: what failed, where no supervisor waits. Where one does, the process ends.
    """
    try:
        supervisor = Client(os.environ.get(_LISTENER, ""))
    except (OSError, ValueError):  # no first start, or no supervisor at all
        yield
        return
    with supervisor:
        try:
            yield
        except FcnError as error:
            supervisor.send_bytes(str(error).encode())
            os._exit(1)  # the supervisor says why; a server that goes on to its end would say it again, at length
        supervisor.send_bytes(b"")


def end_supervisor(message: str) -> None:
    """Say why nothing can be served, and end this process and what it started, with status 1.

    Args:
        message: One line.
    """

    def end() -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    sys.stderr.write(f"{message}\n")
    atexit.register(end)  # BentoML ends with status 0 however it is stopped
    os.kill(os.getpid(), signal.SIGTERM)
