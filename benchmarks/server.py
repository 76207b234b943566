"""A server for a benchmark: started from the checkout, looked at from outside, stopped whatever happens."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from scripts.serving import free_port, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

ROOT = Path(__file__).resolve().parent.parent
STOP_SECONDS = 30
FOREIGN = ("FCN_", "BENTOML_", "PROMETHEUS", "OTEL_")
"""Variables of the caller's that would change what is measured."""


@dataclass(frozen=True)
class Server:
    """A running `bentoml serve`.

    Attributes:
        url: Where it answers.
        top: The process that was started.
        ready_seconds: From its start until it was ready, to a twentieth of a second.
    """

    url: str
    top: psutil.Process
    ready_seconds: float

    def worker(self) -> psutil.Process:
        """The process that answers: of all the largest, as it alone holds the model."""
        return max(family(self.top), key=lambda process: process.memory_info().rss)

    def megabytes(self) -> tuple[float, float]:
        """Resident memory of the worker, and of all processes together, in MB (10^6 bytes)."""
        sizes = [process.memory_info().rss / 1e6 for process in family(self.top)]
        return max(sizes), sum(sizes)

    def peak_megabytes(self) -> float:
        """Most resident memory that the worker ever had, in MB, as Linux keeps count of it.

        Raises:
            RuntimeError: this system has no /proc.
        """
        status = Path(f"/proc/{self.worker().pid}/status")
        if not status.is_file():
            raise RuntimeError("peak memory is read from /proc/PID/status: run this on Linux")
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise RuntimeError(f"{status} has no line VmHWM: this kernel does not count peak memory")


def family(top: psutil.Process) -> list[psutil.Process]:
    """A process and all below it."""
    return [top, *top.children(recursive=True)]


def serving(bundle: Path, settings: dict[str, str] | None = None) -> AbstractContextManager[Server]:
    """Serve a bundle while the block runs.

    Args:
        bundle: Its folder.
        settings: Of the service, such as FCN_SLOTS; all others have their defaults.
    """
    own = {"FCN_BUNDLE": str(bundle.absolute()), **(settings or {})}
    return running(["bentoml", "serve", "service.app:Segmenter"], own)


@contextmanager
def running(command: list[str], environment: dict[str, str]) -> Iterator[Server]:
    """A server that is ready, while the block runs; see ``starting``."""
    with starting(command, environment) as until_ready:
        yield until_ready()


@contextmanager
def starting(command: list[str], environment: dict[str, str]) -> Iterator[Callable[[], Server]]:
    """Run a server while the block runs, on a free port of this machine alone.

    Args:
        command: A module of Python's and its arguments; host and port are added. It is to answer at /readyz.
        environment: Beside what this process has, less what would change what is measured.

    Yields:
        Waits until it is ready. Raises RuntimeError, with the server's last words, where it ends or is not in time.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        # A home of its own: two servers with one wipe each other's metrics.
        own = {"BENTOML_HOME": folder, "BENTOML_DO_NOT_TRACK": "True"}
        log = Path(folder) / "log"
        started = time.perf_counter()
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--host", "127.0.0.1", "--port", str(port)],
                cwd=ROOT,
                env={**kept, **own, **environment},
                stdout=output,
                stderr=output,
            )
        # A benchmark that is told to end must not leave its server behind.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

        def until_ready() -> Server:
            url = f"http://127.0.0.1:{port}"
            try:
                wait_until_ready(url, process, seconds=120)
            except SystemExit as error:
                raise RuntimeError(f"{error}:\n{log.read_text(errors='replace')[-2000:]}") from None
            return Server(url, psutil.Process(process.pid), time.perf_counter() - started)

        try:
            yield until_ready
        finally:
            _stop(process)
            signal.signal(signal.SIGTERM, before)


def _stop(process: subprocess.Popen[bytes]) -> None:
    # Taken down before: a worker leads a session of its own and outlives a server that is killed.
    try:
        everyone = family(psutil.Process(process.pid))
    except psutil.NoSuchProcess:
        everyone = []
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    for one in everyone:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
