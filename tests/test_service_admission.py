"""Load, hang-ups and time-outs: who gets a place, and when it goes back."""

import asyncio
import io
import threading
import time

import pytest
from PIL import Image
from starlette.requests import ClientDisconnect

from model.runtime.predictor import Predictor
from service.admission import Admission
from service.errors import ServiceError
from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station
from tests.stations import WAIT, client_of, opened, until


def a_picture(side=40):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


class HeldPredictor(Predictor):
    """A predictor that answers pictures only once it is let go, to hold requests where a test wants them."""

    def __init__(self, bundle):
        super().__init__(bundle)
        self.begun = threading.Semaphore(0)
        self.let_go = threading.Event()
        self.pictures = 0

    def predict(self, image, **options):
        if image.shape[0] == 40:
            self.pictures += 1
            self.begun.release()
            assert self.let_go.wait(WAIT)
        return super().predict(image, **options)


@pytest.fixture
def held(tiny_bundle):
    predictor = HeldPredictor(tiny_bundle)
    yield predictor
    predictor.let_go.set()


def test_beyond_slots_and_queue_a_request_gets_503_at_once_and_the_others_their_answers(held):
    station, app = opened(held, slots=1, queue=2)

    async def load():
        async with client_of(app) as client:
            accepted = [asyncio.create_task(client.post("/v1/segment", content=a_picture())) for _ in range(3)]
            await until(lambda: station.admission.taken == 3)
            refused = await client.post("/v1/segment", content=a_picture())
            still_probed = await client.get("/readyz")
            held.let_go.set()
            return refused, still_probed, await asyncio.gather(*accepted)

    refused, still_probed, accepted = asyncio.run(load())
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "busy"
    assert int(refused.headers["retry-after"]) >= 1
    assert still_probed.status_code == 200
    assert [response.status_code for response in accepted] == [200, 200, 200]
    assert station.admission.taken == 0
    station.close()


def test_a_request_is_refused_before_its_body_is_read(held):
    station, app = opened(held, slots=1, queue=0)
    read = 0

    async def body():
        nonlocal read
        while True:
            read += 1
            yield bytes(1000)

    async def load():
        async with client_of(app) as client:
            first = asyncio.create_task(client.post("/v1/segment", content=a_picture()))
            await until(lambda: station.admission.taken == 1)
            refused = await client.post("/v1/segment", content=body())
            held.let_go.set()
            return refused, await first

    refused, first = asyncio.run(load())
    assert (refused.status_code, first.status_code) == (503, 200)
    assert read == 0
    station.close()


def scope_of(length):
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v1/segment",
        "raw_path": b"/v1/segment",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-length", str(length).encode())],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }


async def ask_and_hang_up(app, messages, hang_up):
    """Send one request by hand; ``hang_up`` is awaited before the disconnect is told. Returns the status sent."""
    sent = []
    left = list(messages)

    async def receive():
        if left:
            return left.pop(0)
        await hang_up()
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    await app(scope_of(1000), receive, send)
    return sent[0]["status"]


def test_a_client_that_hangs_up_while_sending_frees_its_place(held):
    station, app = opened(held, slots=1, queue=0)

    async def at_once():
        pass

    chunk = {"type": "http.request", "body": b"half", "more_body": True}
    assert asyncio.run(ask_and_hang_up(app, [chunk], at_once)) == 499
    assert station.admission.taken == 0
    assert held.pictures == 0
    station.close()


def test_a_client_that_hangs_up_while_waiting_is_never_worked_for(held):
    station, app = opened(held, slots=1, queue=1)

    async def load():
        async with client_of(app) as client:
            first = asyncio.create_task(client.post("/v1/segment", content=a_picture()))
            await until(lambda: held.pictures == 1)

            async def queued():
                await until(lambda: station.admission.taken == 2)

            body = {"type": "http.request", "body": a_picture(), "more_body": False}
            status = await ask_and_hang_up(app, [body], queued)
            await until(lambda: station.admission.taken == 1)
            held.let_go.set()
            return status, await first

    status, first = asyncio.run(load())
    assert status == 499
    assert first.status_code == 200
    assert held.pictures == 1
    station.close()


def test_the_place_of_a_client_that_hangs_up_while_worked_for_goes_back_with_its_thread(held):
    station, app = opened(held, slots=1, queue=0)

    async def load():
        async def begun():
            await until(lambda: held.pictures == 1)

        body = {"type": "http.request", "body": a_picture(), "more_body": False}
        status = await ask_and_hang_up(app, [body], begun)
        # The thread cannot be stopped: another request would only wait behind it.
        taken_meanwhile = station.admission.taken
        held.let_go.set()
        await until(lambda: station.admission.taken == 0)
        return status, taken_meanwhile

    assert asyncio.run(load()) == (499, 1)
    station.close()


def test_work_beyond_the_time_limit_is_answered_504(held):
    station, app = opened(held, slots=1, queue=0, timeout_seconds=0.2)

    async def load():
        async with client_of(app) as client:
            response = await client.post("/v1/segment", content=a_picture())
            held.let_go.set()
            await until(lambda: station.admission.taken == 0)
            return response

    response = asyncio.run(load())
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "timed_out"
    station.close()


class HeldEngine:
    """An engine whose runs wait until it is let go."""

    def __init__(self, engine):
        self._engine = engine
        self.let_go = threading.Event()
        self.runs = 0

    def run(self, images):
        self.runs += 1
        assert self.let_go.wait(WAIT)
        return self._engine.run(images)

    def expect(self, shape):
        self._engine.expect(shape)


def test_a_large_picture_that_nobody_waits_for_any_more_is_left_at_its_next_tile(tiny_bundle):
    predictor = Predictor(tiny_bundle, max_tile=256)
    station, app = opened(predictor, slots=1, queue=0, timeout_seconds=0.2)
    predictor.engine = engine = HeldEngine(predictor.engine)

    async def load():
        async with client_of(app) as client:
            response = await client.post("/v1/segment", content=a_picture(600))
            engine.let_go.set()
            await until(lambda: station.admission.taken == 0)
            return response

    assert asyncio.run(load()).status_code == 504
    assert engine.runs == 1
    station.close()


def test_a_body_that_does_not_arrive_in_time_is_answered_408_and_gives_its_place_back(held):
    station, app = opened(held, slots=1, queue=0, timeout_seconds=0.2)

    async def never():
        await asyncio.sleep(WAIT)

    chunk = {"type": "http.request", "body": b"half", "more_body": True}
    assert asyncio.run(ask_and_hang_up(app, [chunk], never)) == 408
    assert station.admission.taken == 0
    station.close()


def test_places_never_leak_whatever_happens():
    admission = Admission(slots=2, queue=3)

    async def one(number):
        with admission.place() as place:
            if number % 4 == 0:
                raise ClientDisconnect
            task = asyncio.ensure_future(place.run(lambda: time.sleep(0.002) if number % 4 != 1 else 1 / 0))
            if number % 4 == 2:
                await asyncio.sleep(0)
                task.cancel()
            await task

    async def storm():
        results = await asyncio.gather(*(one(number) for number in range(60)), return_exceptions=True)
        await until(lambda: admission.taken == 0)
        return results

    results = asyncio.run(storm())
    kinds = {type(result) for result in results}
    assert kinds >= {ServiceError, ClientDisconnect, ZeroDivisionError, asyncio.CancelledError}
    admission.close()


def test_many_requests_at_once_each_get_their_own_answer(tiny_bundle):
    station, app = opened(Predictor(tiny_bundle), slots=2, queue=60)
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)]
    names = ["red", "green", "blue", "background"]

    def picture_of(number):
        buffer = io.BytesIO()
        Image.new("RGB", (number + 1, 2 * number + 1), colours[number % 4]).save(buffer, "PNG")
        return buffer.getvalue()

    async def load():
        async with client_of(app) as client:
            asked = [client.post("/v1/segment?format=json", content=picture_of(number)) for number in range(48)]
            return await asyncio.gather(*asked)

    for number, response in enumerate(asyncio.run(load())):
        answer = response.json()
        assert (answer["width"], answer["height"]) == (number + 1, 2 * number + 1)
        assert [entry["name"] for entry in answer["classes"]] == [names[number % 4]]
    station.close()


def test_it_is_ready_only_once_the_model_has_answered_its_warm_up_picture(tiny_bundle):
    begun, let_go = threading.Event(), threading.Event()

    class SlowToWarm(Predictor):
        def warm_up(self):
            begun.set()
            assert let_go.wait(WAIT)
            super().warm_up()

    station = Station(Settings())
    app = Guard(create_app(station), lambda: station.model_version)
    opening = threading.Thread(target=lambda: station.open(SlowToWarm(tiny_bundle)))

    async def status():
        async with client_of(app) as client:
            return (await client.get("/readyz")).status_code

    assert asyncio.run(status()) == 503
    opening.start()
    assert begun.wait(WAIT)
    assert asyncio.run(status()) == 503
    let_go.set()
    opening.join()
    assert asyncio.run(status()) == 200
    station.close()
