"""A peer: the work of TorchServe's ``image_segmenter`` handler, behind a plain ASGI server.

    python -m uvicorn benchmarks.peer_torchserve:app

TorchServe is archived and its front end needs Java; what its workers do is done here, in as many processes, one request
after the other in each. As in its handlers, a picture goes to a float tensor by torchvision and is normalised there;
class and probability of every pixel come back as nested lists. Its resizing to 256 and cropping to 224 are left out:
every peer here answers for the whole picture. The network is that of the process that starts it
(``Subject.environment``).
"""

from __future__ import annotations

import asyncio
import io
import json
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import torch
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from torchvision import transforms

from benchmarks.network import network_of_environment
from benchmarks.seeded import THREADS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

WORKERS = 2
"""Processes; TorchServe starts one a processor. They share the threads that every peer has."""


class Handler:
    """Preprocess, inference, postprocess."""

    def __init__(self) -> None:
        torch.set_num_threads(max(1, THREADS // WORKERS))
        self.network = network_of_environment()
        mean, std = (getattr(self.network, name).flatten() / 255 for name in ("mean", "std"))
        self.normalise = transforms.Compose([transforms.ToTensor(), transforms.Normalize(mean.tolist(), std.tolist())])
        # The handler normalises: the network is not to do it again.
        self.network.mean.zero_()
        self.network.std.fill_(1)

    def answer(self, body: bytes) -> bytes:
        """One request's."""
        batch = self.normalise(Image.open(io.BytesIO(body)).convert("RGB")).unsqueeze(0)
        with torch.inference_mode():
            highest = self.network(batch).softmax(dim=1).max(dim=1)
        found = torch.stack([highest.indices.to(highest.values.dtype), highest.values], dim=3)
        return json.dumps(found.tolist()[0]).encode()


_HANDLERS: list[Handler] = []
"""The one of a worker's process."""


def _load() -> None:
    _HANDLERS.append(Handler())


def _loaded() -> None:
    time.sleep(0.5)  # so that no process takes the turn of another


def _answer(body: bytes) -> bytes:
    return _HANDLERS[0].answer(body)


@asynccontextmanager
async def lifespan(application: Starlette) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn"), _load) as workers:
        await asyncio.gather(*(loop.run_in_executor(workers, _loaded) for _ in range(WORKERS)))
        application.state.workers = workers
        yield


async def predict(request: Request) -> Response:
    body, loop = await request.body(), asyncio.get_running_loop()
    answer = await loop.run_in_executor(request.app.state.workers, _answer, body)
    return Response(answer, media_type="application/json")


async def ready(_request: Request) -> Response:
    return PlainTextResponse("")


app = Starlette(
    routes=[Route("/predictions/network", predict, methods=["POST"]), Route("/readyz", ready)], lifespan=lifespan
)
