"""A station behind its routes, in this process and under load that a test holds in its hand."""

from __future__ import annotations

import asyncio
import time

import httpx

from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station

WAIT = 10.0


def opened(predictor, **settings):
    """The station, and its application with the guard around it."""
    station = Station(Settings(**settings))
    station.open(predictor)
    return station, Guard(create_app(station), lambda: station.model_version)


def client_of(app):
    """A client that asks the application without a network."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", timeout=WAIT)


async def until(condition):
    """Wait for what is to come about, but not for ever."""
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
