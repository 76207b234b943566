"""Ray session: Ray on this machine alone, or a cluster joined; quiet, and with no word to anybody's server."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from data.errors import ClusterError
from model.runtime.processors import usable_processors

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANY: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}
"""No word to anybody's server, and none on the terminal of what is mended here."""

_LOCAL: Final = {
    **_ANY,
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray listens on the loopback address alone, on every system
    "RAY_AUTH_MODE": "token",  # whoever else is on this machine cannot run code in it
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
}
"""For a cluster of this machine alone."""

_OBJECT_STORE: Final = 100 << 20
"""Bytes of shared memory for a cluster of this machine alone: names and journal lines go through it, no pictures."""


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected; one that this process has at work already is taken and left as it is."""
    with warnings.catch_warnings(), _environment(_LOCAL if address == "local" else _ANY):
        warnings.simplefilter("ignore")  # Ray warns of its own settings
        try:
            import ray  # noqa: PLC0415
            import ray.data  # noqa: PLC0415
        except ImportError as error:
            raise ClusterError(
                f"--cluster needs Ray Data, which is not installed ({error.name}): pip install 'fcn-segmenter[ray]'"
            ) from error
        if ray.is_initialized():
            _quieten(ray)
            yield ray
            return
        # Logs, sockets: all of a cluster that lives no longer than this.
        with tempfile.TemporaryDirectory(prefix="fcn-ray-", ignore_cleanup_errors=True) as place:
            _start(ray, address, place)
            try:
                _quieten(ray)
                yield ray
            finally:
                ray.shutdown()


def refuse_unreachable(address: str) -> None:
    """Find out in seconds what Ray would find out in minutes."""
    host, colon, port = address.rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray cluster at {address!r} ({error}): start one with ray start --head, or label on this machine alone "
            "with --cluster local"
        ) from error


def _start(ray: Any, address: str, place: str) -> None:  # noqa: ANN401 - the module, imported late
    try:
        if address == "local":
            ray.init(
                address="local",
                num_cpus=usable_processors(),
                object_store_memory=_OBJECT_STORE,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                _temp_dir=place,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:  # Ray's own have no common base
        way = (
            "a busy machine may need a second try"
            if address == "local"
            else "start one with ray start --head, or label on this machine alone with --cluster local"
        )
        raise ClusterError(f"no Ray cluster at {address!r} ({first_line(error)}): {way}") from error


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables that Ray and its processes read, for as long as they are needed."""
    former = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _quieten(ray: Any) -> None:  # noqa: ANN401 - the module, imported late
    warnings.simplefilter("ignore")  # once more: Ray has put filters of its own before the first
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A task whose worker died of it is left out, and found to be missing; the others go on.
    context.max_errored_blocks = -1
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def first_line(error: BaseException) -> str:
    """What Ray says, without the pages below it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
