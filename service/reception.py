"""Reception: bodies on their way, bounded in number, in bytes and in slowness, before anything queues."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Final

from service import metrics
from service.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

GRACE_SECONDS: Final = 10.0
_PRESSING: Final = 64
_YOUNG_SECONDS: Final = 1.0


class Reception:
    """Who is sending a body. Used from the event loop alone.

    A sender keeps no place in the queue: it takes one once its body is there. Its number is bounded
    all the same, so three rules keep slow senders from keeping others out:

    - who falls behind the least rate by more than ``grace`` seconds is given up (Kestrel's rule);
    - when every place is taken, the slowest sender gives way to the next request, unless it is younger
      than a second or faster than ``_PRESSING`` times the least rate: below that it is a slow sender,
      above it the line itself is full, and letting senders oust each other would help nobody;
    - all bodies together, those that wait or are worked on included, hold so many bytes and no more.

    Args:
        most: Senders at the same time.
        rate: Least rate, bytes a second.
        most_bytes: Of all bodies together.
        grace: Seconds.
    """

    def __init__(self, most: int, rate: int, most_bytes: int, grace: float = GRACE_SECONDS) -> None:
        self.rate = rate
        self.grace = grace
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._arrivals: set[Arrival] = set()

    @property
    def arriving(self) -> int:
        """Bodies on their way."""
        return len(self._arrivals)

    @contextmanager
    def arrival(self) -> Iterator[Arrival]:
        """One request, from before its body until nobody needs the body any more.

        Raises:
            ServiceError: 503, every place is taken by a sender that is fast enough.
        """
        if len(self._arrivals) >= self._most:
            self._let_the_slowest_go()
        arrival = Arrival(self)
        self._arrivals.add(arrival)
        self._show()
        try:
            yield arrival
        finally:
            self.leave(arrival)
            self._bytes -= arrival.size

    def leave(self, arrival: Arrival) -> None:
        """Give the place back; the bytes stay counted."""
        self._arrivals.discard(arrival)
        self._show()

    def take(self, size: int) -> None:
        """Count bytes that came.

        Raises:
            ServiceError: 503, all bodies together would be too large.
        """
        if self._bytes + size > self._most_bytes:
            raise _busy("The bodies of all requests together are as large as the service takes.")
        self._bytes += size

    def _let_the_slowest_go(self) -> None:
        now = asyncio.get_running_loop().time()
        slow = [
            (arrival.size / (now - arrival.begun), arrival)
            for arrival in self._arrivals
            if now - arrival.begun > _YOUNG_SECONDS
        ]
        rate, slowest = min(slow, key=lambda pair: pair[0], default=(0.0, None))
        if slowest is None or rate > _PRESSING * self.rate:
            raise _busy("The service receives as many bodies as it takes.")
        slowest.give_up()
        self.leave(slowest)

    def _show(self) -> None:
        metrics.RECEIVING.set(len(self._arrivals))


class Arrival:
    """One body on its way.

    Attributes:
        begun: When, by the event loop's clock.
        size: Bytes that have come.
    """

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self.begun = asyncio.get_running_loop().time()
        self.size = 0
        self._until: asyncio.Timeout | None = None

    @asynccontextmanager
    async def timed(self) -> AsyncIterator[None]:
        """Around the reading of the body.

        Raises:
            ServiceError: 408, it comes too slowly.
        """
        try:
            async with asyncio.timeout_at(self.begun + self._reception.grace) as self._until:
                yield
        except TimeoutError:
            raise ServiceError(
                408,
                "upload_too_slow",
                f"The body comes too slowly: {self.size} bytes so far.",
                f"Send it at {self._reception.rate} bytes a second or faster, without long pauses.",
                # The rest of the body may never come, so the connection is of no use.
                {"Connection": "close"},
            ) from None
        self._reception.leave(self)

    def count(self, size: int) -> None:
        """Count a piece that came; it buys time until the next one, never more than the grace.

        Raises:
            ServiceError: 503, all bodies together would be too large.
        """
        self._reception.take(size)
        self.size += size
        until = self._until.when() if self._until else None
        if self._until is not None and until is not None and not self._until.expired():
            now = asyncio.get_running_loop().time()
            self._until.reschedule(min(now + self._reception.grace, until + size / self._reception.rate))

    def give_up(self) -> None:
        """Stop waiting for this body."""
        if self._until is not None and not self._until.expired():
            self._until.reschedule(asyncio.get_running_loop().time())


def _busy(message: str) -> ServiceError:
    return ServiceError(503, "busy", message, "Try again in 1 s.", {"Retry-After": "1"})
