"""A real `bentoml serve` for tests: started on a free port of this machine alone, and ended whatever happens."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 90
STOP_SECONDS = 30
WORKING_TREE = "service.app:Segmenter"


def clean_environment(home):
    """The environment of a server: its own BentoML home and no settings."""
    foreign = ("FCN_", "BENTOML_", "PROMETHEUS", "OTEL_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}


def bentoml_command(*arguments):
    return [sys.executable, "-m", "bentoml", *arguments]


class Server:
    """A running `bentoml serve`."""

    def __init__(self, target, environment, cwd, log, *options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                bentoml_command("serve", target, "--host", "127.0.0.1", "--port", str(port), *options),
                cwd=cwd,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._top = psutil.Process(self.process.pid)

    @property
    def log(self):
        return self._log.read_text()

    def until_logged(self, text):
        """The log once it holds a text: a request's line is written after its answer."""
        deadline = time.monotonic() + 15
        while text not in self.log:
            assert time.monotonic() < deadline, f"no {text!r} in the log:\n{self.log}"
            time.sleep(0.05)
        return self.log

    def wait_until_ready(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(f"not ready within {START_SECONDS} s:\n{self.log}")

    def processes(self):
        """The server and its workers, each of which leads a session of its own."""
        return [self._top, *self._top.children(recursive=True)]

    def kill(self):
        """End whatever is left, workers too: they outlive a server that is killed."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in reversed(self.processes()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait(STOP_SECONDS)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def serving(target, environment, cwd, log, *options):
    """A server that is ready, and is gone afterwards."""
    server = Server(target, environment, cwd, log, *options)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def serving_bundle(bundle, place, *options, **settings):
    """A bundle served from the working tree.

    Args:
        bundle: Read only.
        place: A folder of the test's own, for BentoML's home and the log.
        options: Further ones of `bentoml serve`.
        settings: Environment variables, such as FCN_SLOTS="1".
    """
    environment = {**clean_environment(place / "home"), "FCN_BUNDLE": str(bundle.root), "FCN_PRECISION": "f32"}
    with serving(WORKING_TREE, {**environment, **settings}, ROOT, place / "log", *options) as running:
        yield running
