"""Slow senders: they hold no place in the queue, give way under pressure, and are given up in the end."""

import asyncio
import contextlib
import io
import select
import socket
import time

import httpx
import pytest
from PIL import Image

from service.errors import ServiceError
from service.reception import Reception
from tests.serving import serving_bundle

RECEIVING = 4


def a_picture(side=40):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


async def arriving(reception, pieces, pause):
    """Send pieces through a reception with a pause before each; returns what became of it."""
    try:
        with reception.arrival() as arrival:
            async with arrival.timed():
                for size in pieces:
                    await asyncio.sleep(pause)
                    arrival.count(size)
            return arrival.size
    except ServiceError as error:
        return error.status, error.code


def test_a_sender_that_stalls_is_given_up_after_the_grace():
    reception = Reception(4, rate=1000, most_bytes=10**6, grace=0.1)
    start = time.monotonic()
    assert asyncio.run(arriving(reception, [50_000, 1], 5)) == (408, "upload_too_slow")
    assert time.monotonic() - start < 1
    assert reception.arriving == 0


def test_a_sender_below_the_least_rate_is_given_up_though_it_never_stops():
    reception = Reception(4, rate=1000, most_bytes=10**6, grace=0.2)
    assert asyncio.run(arriving(reception, [1] * 100, 0.02)) == (408, "upload_too_slow")


def test_a_burst_buys_no_more_time_than_the_grace():
    reception = Reception(4, rate=1000, most_bytes=10**6, grace=0.2)

    async def burst_and_trickle():
        with reception.arrival() as arrival:
            async with arrival.timed():
                arrival.count(500_000)
                for _ in range(100):
                    await asyncio.sleep(0.02)
                    arrival.count(1)

    with pytest.raises(ServiceError, match="too slowly: 5000"):
        asyncio.run(burst_and_trickle())


def test_a_sender_at_the_least_rate_may_take_its_time():
    reception = Reception(4, rate=1000, most_bytes=10**6, grace=0.3)
    assert asyncio.run(arriving(reception, [60] * 20, 0.04)) == 1200


def test_when_it_is_full_the_slowest_gives_way_and_the_fast_are_left_alone(monkeypatch):
    monkeypatch.setattr("service.reception._YOUNG_SECONDS", 0.05)
    reception = Reception(2, rate=100, most_bytes=10**9, grace=5)

    async def three():
        fast = asyncio.create_task(arriving(reception, [100_000] * 12, 0.02))
        slow = asyncio.create_task(arriving(reception, [10] * 12, 0.02))
        await asyncio.sleep(0.12)
        return await asyncio.gather(slow, arriving(reception, [5], 0.001), fast)

    assert asyncio.run(three()) == [(408, "upload_too_slow"), 5, 1_200_000]
    assert reception.arriving == 0


def test_when_it_is_full_of_fast_senders_the_next_one_is_refused_and_they_are_not_ousted(monkeypatch):
    monkeypatch.setattr("service.reception._YOUNG_SECONDS", 0.05)
    reception = Reception(2, rate=100, most_bytes=10**9, grace=5)

    async def three():
        fast = [asyncio.create_task(arriving(reception, [10_000] * 8, 0.02)) for _ in range(2)]
        await asyncio.sleep(0.1)
        return await asyncio.gather(arriving(reception, [5], 0.001), *fast)

    assert asyncio.run(three()) == [(503, "busy"), 80_000, 80_000]


def test_all_bodies_together_hold_so_many_bytes_and_no_more():
    reception = Reception(4, rate=1, most_bytes=1000)

    async def two():
        with reception.arrival() as first:
            first.count(900)
            first.timed()
            refused = await arriving(reception, [200], 0)
            taken = await arriving(reception, [100], 0)
        return refused, taken, await arriving(reception, [1000], 0)

    assert asyncio.run(two()) == ((503, "busy"), 100, 1000)


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory):
    settings = {"FCN_RECEIVING": str(RECEIVING), "FCN_MIN_UPLOAD_RATE": "2000", "FCN_SLOTS": "1", "FCN_QUEUE": "1"}
    with serving_bundle(tiny_bundle, tmp_path_factory.mktemp("reception"), **settings) as running:
        yield running


def begin(server, declared=100_000):
    """A connection that has sent the head of a request and one byte."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = f"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Length: {declared}\r\n\r\nx"
    connection.sendall(head.encode())
    return connection


def receiving(server):
    (line,) = [
        line
        for line in httpx.get(f"{server.url}/metrics", timeout=30).text.splitlines()
        if line.startswith("fcn_requests_receiving ")
    ]
    return float(line.split()[1])


def until_receiving(server, number):
    deadline = time.monotonic() + 10
    while receiving(server) != number:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextlib.contextmanager
def slow_senders(server):
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(begin(server)) for _ in range(RECEIVING)]


def test_a_real_server_goes_on_answering_while_slow_senders_fill_every_place_and_tells_them_408(server):
    with slow_senders(server) as slow:
        check_that_they_keep_nobody_out(server, slow)
    until_receiving(server, 0)
    server.until_logged("error=upload_too_slow")


def check_that_they_keep_nobody_out(server, slow):
    until_receiving(server, RECEIVING)
    # Nobody has shown to be slow yet.
    early = httpx.post(f"{server.url}/v1/segment", content=a_picture(), timeout=30)
    assert (early.status_code, early.json()["error"]["code"]) == (503, "busy")
    assert early.headers["retry-after"] == "1"
    time.sleep(1.2)
    begun = time.monotonic()
    for _ in range(5):
        answered, _, _ = select.select(slow, [], [], 0)
        for connection in set(slow) - set(answered):
            connection.send(b"x")
        assert httpx.post(f"{server.url}/v1/segment", content=a_picture(), timeout=30).status_code == 200
    assert time.monotonic() - begun < 5
    # To the end: the connection is closed after it, and head and body may come apart.
    answers = [b"".join(iter(lambda each=connection: each.recv(4096), b"")) for connection in slow]
    took = time.monotonic() - begun
    assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
    assert all(b'"upload_too_slow"' in answer for answer in answers)
    assert took < 15, "slow senders are given up long before FCN_TIMEOUT_SECONDS"


def test_a_sender_that_hangs_up_leaves_its_place_at_once(server):
    for _ in range(3 * RECEIVING):
        begin(server).close()
    until_receiving(server, 0)
    assert httpx.post(f"{server.url}/v1/segment", content=a_picture(), timeout=30).status_code == 200
