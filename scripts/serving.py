"""Start the built Bento (or a bundle) as a user would, wait until it is ready, stop it cleanly."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BIN = Path(sys.executable).parent


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_ready(url: str, server: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Wait for /readyz; exit when the server ends or time runs out."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            sys.exit(f"the server ended with exit status {server.returncode}; see its log")
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    sys.exit(f"the server was not ready after {seconds:.0f} s; see its log")


@contextmanager
def running(target: str, log: Path, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Serve while the block runs.

    Args:
        target: What ``bentoml serve`` takes: a Bento's tag.
        log: Where the server's output goes.
        environment: Settings of the service, such as FCN_PRECISION.

    Yields:
        The server's URL.
    """
    port = free_port()
    command = ["bentoml", "serve", target, "--host", "127.0.0.1", "--port", str(port)]
    print("$ " + shlex.join([*(f"{k}={v}" for k, v in (environment or {}).items()), *command]), flush=True)
    with log.open("wb") as file:
        # Away from the checkout: what answers is the Bento alone.
        server = subprocess.Popen(
            [BIN / command[0], *command[1:]],
            cwd=log.parent,
            env={**os.environ, **(environment or {})},
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until_ready(url, server)
            yield url
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(timeout=30)
            except subprocess.TimeoutExpired:
                os.killpg(server.pid, signal.SIGKILL)
                server.wait()
            print(f"server stopped with exit status {server.returncode}", flush=True)


def post(url: str, picture: Path) -> bytes:
    """POST a picture's bytes; the answer's body."""
    request = urllib.request.Request(url, data=picture.read_bytes(), method="POST")
    with urllib.request.urlopen(request, timeout=60) as response:
        body: bytes = response.read()
    return body
