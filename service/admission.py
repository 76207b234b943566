"""Admission: how many requests are worked on, how many may wait, and who is refused at once."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from math import ceil
from typing import TYPE_CHECKING, TypeVar

from service import metrics
from service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")


class Admission:
    """A bounded queue before a pool of threads.

    A request takes a place once its body is there and keeps it until its work is truly over: a
    thread cannot be stopped, so the place of a client that hung up or timed out goes back only when
    its thread is free again. Work that has not begun is dropped at once.

    Args:
        slots: Threads, at least 1.
        queue: Places beyond the threads, at least 0.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self._slots = slots
        self._capacity = slots + queue
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="segment")
        self._lock = threading.Lock()  # places are given back from the pool's threads
        self._taken = 0
        self._working = 0
        self._mean_seconds = 0.0

    @property
    def taken(self) -> int:
        """Places in use: waiting or worked on."""
        return self._taken

    def refuse_if_full(self) -> None:
        """Refuse a request that would get no place now.

        Raises:
            ServiceError: 503 with Retry-After when every place is taken.
        """
        if self._taken >= self._capacity:
            seconds = max(1, ceil(self._taken * self._mean_seconds / self._slots))
            raise ServiceError(
                503,
                "busy",
                "The service has as many requests as it takes.",
                f"Try again in {seconds} s.",
                {"Retry-After": str(seconds)},
            )

    @contextmanager
    def place(self) -> Iterator[Place]:
        """Take a place for one request.

        Raises:
            ServiceError: 503 with Retry-After when every place is taken.
        """
        with self._lock:
            self.refuse_if_full()
            self._taken += 1
            self._show()
        place = Place(self._pool, self._work)
        try:
            yield place
        finally:
            place.when_over(self._leave)

    def close(self) -> None:
        """Wait for the work that was accepted, then stop the threads."""
        self._pool.shutdown(wait=True)

    def _work(self, change: int) -> None:
        with self._lock:
            self._working += change
            self._show()

    def _show(self) -> None:
        metrics.IN_PROGRESS.set(self._working)
        metrics.WAITING.set(self._taken - self._working)

    def _leave(self, seconds: float) -> None:
        with self._lock:
            self._taken -= 1
            self._show()
            if seconds:  # a moving mean, for Retry-After alone
                self._mean_seconds += 0.1 * (seconds - self._mean_seconds)


class Place:
    """One accepted request.

    Args:
        pool: Does its work.
        count: Told +1 when the work begins and -1 when it is over.
    """

    def __init__(self, pool: ThreadPoolExecutor, count: Callable[[int], None]) -> None:
        self._pool = pool
        self._count = count
        self._future: Future[object] | None = None
        self._seconds = 0.0

    async def run(self, work: Callable[[], T]) -> T:
        """Wait for a thread and run ``work`` there; cancelling drops work that has not begun.

        May be called again when it is over: each time the work goes behind all that waits by then.
        """

        def timed() -> T:
            start = time.perf_counter()
            self._count(1)
            try:
                return work()
            finally:
                self._count(-1)
                self._seconds += time.perf_counter() - start

        # The thread knows the request's trace then.
        future: Future[T] = self._pool.submit(copy_context().run, timed)
        self._future = future  # type: ignore[assignment]  # Future is invariant; only its end matters here
        return await asyncio.wrap_future(future)

    def when_over(self, leave: Callable[[float], None]) -> None:
        """Call ``leave`` with the seconds of work, once no thread holds this request any more."""
        if self._future is None:
            leave(0.0)
        else:
            self._future.add_done_callback(lambda _: leave(self._seconds))
