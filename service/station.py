"""Station: what the routes share, and the way of one request through it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.admission import Admission
from service.errors import ServiceError
from service.pipeline import Pipeline, Watch
from service.reception import Reception
from service.upload import read_body

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.requests import Request

    from model.runtime.predictor import Predictor
    from service.admission import Place
    from service.pipeline import Answer
    from service.settings import Settings

T = TypeVar("T")


@dataclass
class Accepted:
    """A request that was received and has its place.

    Attributes:
        pipeline: For its pictures.
        body: The whole of it; to be let go when it is used up.
        place: Does its work in a thread, one piece after the other.
        abandoned: Set when nobody waits any more.
        deadline: When it must be answered, in the event loop's time.
    """

    pipeline: Pipeline
    body: bytes
    place: Place
    abandoned: threading.Event
    deadline: float


class Station:
    """Settings, admission, and the pipeline once its model is warm.

    Args:
        settings: Limits, slots and queue.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.admission = Admission(settings.slots, settings.queue)
        most_bytes = (settings.slots + settings.queue) * settings.max_body_bytes
        self.reception = Reception(settings.receiving, settings.min_upload_rate, most_bytes)
        self.stopping = False
        self._pipeline: Pipeline | None = None

    @property
    def ready(self) -> bool:
        """Whether the model has answered its warm-up picture."""
        return self._pipeline is not None and not self.stopping

    @property
    def busy(self) -> bool:
        """Whether a request that was accepted is not answered yet."""
        return self.reception.arriving + self.admission.taken > 0

    @property
    def model_version(self) -> str | None:
        """Version of the model in service."""
        return self._pipeline.predictor.bundle.manifest.version if self._pipeline else None

    def open(self, predictor: Predictor) -> None:
        """Warm a predictor up and take it into service."""
        predictor.warm_up()
        self._pipeline = Pipeline(predictor, self.settings)

    def stop(self) -> None:
        """Take nothing new; what was accepted goes on."""
        self.stopping = True

    def close(self) -> None:
        """Finish what was accepted."""
        self._pipeline = None
        self.admission.close()

    def pipeline(self) -> Pipeline:
        """The pipeline.

        Raises:
            ServiceError: 503, no model is in service yet, or the service stops.
        """
        if self.stopping:
            raise ServiceError(
                503,
                "stopping",
                "This server stops and takes nothing new.",
                "Try again in 1 s, on a new connection: another server may answer there.",
                {"Retry-After": "1"},
            )
        if self._pipeline is None:
            raise ServiceError(
                503,
                "not_ready",
                "The model is being loaded.",
                "Wait until GET /readyz answers 200.",
                {"Retry-After": "1"},
            )
        return self._pipeline

    async def respond(self, request: Request, work: Callable[[Pipeline, bytes, Watch], Answer]) -> Response:
        """As ``run``, with the answer as a response."""
        answer = await self.run(request, work)
        timing = ", ".join(f"{stage};dur={seconds * 1000:.1f}" for stage, seconds in answer.seconds.items())
        headers = {"Server-Timing": timing, "Cache-Control": "no-store", **answer.headers}
        return Response(answer.content, media_type=answer.media_type, headers=headers)

    async def run(self, request: Request, work: Callable[[Pipeline, bytes, Watch], T]) -> T:
        """Take one request through admission and its body, and do its work in a thread.

        Args:
            request: Its body is not read yet.
            work: Called with the pipeline, the whole body and the watch that it looks at between its steps.

        Raises:
            ServiceError: 503 when full, 413 for too much, 408 or 504 when time is up; and what ``work`` raises.
            ClientDisconnect: the client hung up.
        """

        async def at_once(accepted: Accepted) -> T:
            body, watch = accepted.body, Watch(accepted.abandoned)
            return await accepted.place.run(lambda: work(accepted.pipeline, body, watch))

        return await self.accept(request, at_once)

    async def accept(self, request: Request, work: Callable[[Accepted], Coroutine[Any, Any, T]], grace: float = 0) -> T:
        """Take one request through admission and its body. Every door goes this way.

        Args:
            request: Its body is not read yet.
            work: What is then done with the request's place.
            grace: Seconds that the work gets beyond the limit, to answer with what it has.

        Raises:
            ServiceError: 503 when full, 413 for too much, 408 or 504 when time is up; and what ``work`` raises.
            ClientDisconnect: the client hung up.
        """
        pipeline = self.pipeline()
        abandoned = threading.Event()
        received = False
        deadline = asyncio.get_running_loop().time() + self.settings.timeout_seconds
        try:
            async with asyncio.timeout_at(deadline) as limit:
                self.admission.refuse_if_full()  # now, and not after the body was sent for nothing
                with self.reception.arrival() as arrival:
                    body = await read_body(request, self.settings.max_body_bytes, arrival)
                    received = True
                    limit.reschedule(deadline + grace)
                    with self.admission.place() as place:
                        accepted = Accepted(pipeline, body, place, abandoned, deadline)
                        del body
                        return await _unless_hung_up(request, asyncio.ensure_future(work(accepted)))
        except TimeoutError:
            raise self.timed_out(received=received) from None
        finally:
            abandoned.set()

    def timed_out(self, *, received: bool) -> ServiceError:
        """That time is up, before the body was received or after."""
        seconds = self.settings.timeout_seconds
        if received:
            return ServiceError(
                504, "timed_out", f"No answer within {seconds:g} s.", "Send a smaller picture, or try again later."
            )
        return ServiceError(
            408, "upload_timed_out", f"The body did not arrive within {seconds:g} s.", "Send a smaller file."
        )


async def _unless_hung_up(request: Request, work: asyncio.Future[T]) -> T:
    """Wait for the work, but no longer than there is someone to answer."""
    hang_up = asyncio.ensure_future(_hang_up(request))
    either: set[asyncio.Future[Any]] = {work, hang_up}
    try:
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        return work.result()
    finally:
        hang_up.cancel()
        work.cancel()


async def _hang_up(request: Request) -> None:
    # With the body read, the only message that can still come is the disconnect.
    while (await request.receive())["type"] != "http.disconnect":
        pass
