"""Stopping: from SIGTERM to the end without a connection that is dropped unanswered."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

    from service.station import Station

_LOOK_SECONDS: Final = 0.05


def stop_gently(station: Station, least_seconds: float) -> None:
    """Let SIGTERM first refuse new requests, and reach the server only once accepted ones are answered.

    uvicorn would close its door at once and leave new connections in a queue that nobody answers: the
    process above it holds the socket open until the last request is over. Meanwhile every request gets
    a 503 that closes its connection. A second SIGTERM, and SIGINT, act at once.

    Called in the thread of the event loop, when uvicorn's handler is in place; elsewhere it does nothing.

    Args:
        station: Told to take nothing new.
        least_seconds: How long new requests are answered at least, for clients that keep connections open.
    """
    server = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(server):
        return
    loop = asyncio.get_running_loop()
    tasks = set()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if station.stopping:
            server(number, frame)
            return
        station.stop()
        loop.call_soon_threadsafe(lambda: tasks.add(loop.create_task(drain(number))))

    async def drain(number: int) -> None:
        end = loop.time() + least_seconds
        while station.busy or loop.time() < end:
            await asyncio.sleep(_LOOK_SECONDS)
        server(number, None)

    signal.signal(signal.SIGTERM, on_signal)
