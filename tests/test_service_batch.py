"""Many pictures in one request: each answered for itself, in order, without keeping single requests waiting."""

import asyncio
import base64
import io
import threading

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from model.runtime.predictor import Predictor
from service.guard import Guard
from service.routes import create_app
from service.schema import BatchEntry
from service.settings import Settings
from service.station import Station
from tests.stations import WAIT, client_of, opened, until

BATCH = "/v1/segment/batch"
NAMES = ["background", "red", "green", "blue"]


def a_picture(side=40, colour=(255, 0, 0), kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, kind)
    return buffer.getvalue()


def sent(*pictures, field="image"):
    """The form's files; a pair is a name and the bytes."""
    named = [picture if isinstance(picture, tuple) else ("x.png", picture) for picture in pictures]
    return [(field, named_picture) for named_picture in named]


@pytest.fixture(scope="module")
def station(tiny_bundle):
    station = Station(Settings(precision="f32", max_batch=5, max_pixels=1_000_000, max_body_bytes=400_000))
    station.open(Predictor(tiny_bundle, station.settings.engine_config()))
    yield station
    station.close()


@pytest.fixture(scope="module")
def client(station):
    return TestClient(Guard(create_app(station), lambda: station.model_version))


def entries_of(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    entries = response.json()
    assert [entry["index"] for entry in entries] == list(range(len(entries)))
    for entry in entries:
        BatchEntry.model_validate(entry)
    return entries


def test_every_picture_is_answered_in_order_as_it_would_be_alone(client, picture):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pictures = [a_picture(10 + number, colour) for number, colour in enumerate(colours)]
    entries = entries_of(client.post(f"{BATCH}?format=json", files=sent(*pictures)))
    for number, entry in enumerate(entries):
        alone = client.post("/v1/segment?format=json", content=pictures[number])
        assert entry["answer"] == alone.json()
        assert entry["etag"] == alone.headers["etag"]
        assert set(entry) == {"index", "filename", "status", "etag", "answer"}


@pytest.mark.parametrize("form", ["png", "label", "overlay", "confidence", "rgba"])
def test_images_come_in_base64_with_their_media_type(client, form):
    (entry,) = entries_of(client.post(BATCH, files=sent(a_picture()), data={"format": form, "opacity": "0.25"}))
    alone = client.post(f"/v1/segment?format={form}&opacity=0.25", content=a_picture())
    assert base64.b64decode(entry["data"], validate=True) == alone.content
    assert entry["media_type"] == "image/png"
    assert set(entry) == {"index", "filename", "status", "etag", "media_type", "data"}


def test_file_names_come_back_as_they_were_and_touch_no_disk(client):
    names = ["../../etc/passwd", "straße 1.png", "b.png"]
    entries = entries_of(client.post(f"{BATCH}?format=label", files=sent(*[(name, a_picture()) for name in names])))
    assert [entry["filename"] for entry in entries] == names


def test_a_picture_without_a_name_has_none(client):
    head = b'--b\r\nContent-Disposition: form-data; name="image"\r\nContent-Type: image/png\r\n\r\n'
    headers = {"content-type": "multipart/form-data; boundary=b"}
    body = (head + a_picture() + b"\r\n") * 2 + b"--b--\r\n"
    entries = entries_of(client.post(BATCH, content=body, headers=headers))
    assert all("filename" not in entry and entry["status"] == 200 for entry in entries)


def test_bad_pictures_among_good_ones_fail_alone_with_the_status_they_have_alone(client):
    damaged = a_picture(60, kind="JPEG")[:300]
    pictures = [a_picture(), b"hello", damaged, a_picture(1001), a_picture(20)]
    entries = entries_of(client.post(f"{BATCH}?format=json", files=sent(*pictures)))
    assert [entry["status"] for entry in entries] == [200, 415, 422, 413, 200]
    assert [entry["answer"]["width"] for entry in entries if entry["status"] == 200] == [40, 20]
    for entry, picture in zip(entries, pictures, strict=True):
        alone = client.post("/v1/segment?format=json", content=picture)
        assert entry["status"] == alone.status_code
        if alone.status_code != 200:
            assert entry["error"] == alone.json()["error"]
            assert set(entry) == {"index", "filename", "status", "error"}


def test_text_and_nothing_in_the_place_of_a_picture_fail_alone_too(client):
    parts = [
        (b'form-data; name="image"; filename="x.png"', a_picture()),
        (b'form-data; name="image"', b"http://localhost:1/x.png"),
        (b'form-data; name="image"; filename="empty.png"', b""),
    ]
    body = b"".join(b"--b\r\nContent-Disposition: " + head + b"\r\n\r\n" + data + b"\r\n" for head, data in parts)
    headers = {"content-type": "multipart/form-data; boundary=b"}
    entries = entries_of(client.post(BATCH, content=body + b"--b--\r\n", headers=headers))
    assert [entry["status"] for entry in entries] == [200, 400, 400]
    assert [entry.get("error", {}).get("code") for entry in entries] == [None, "image_is_text", "missing_image"]


def test_an_option_that_one_picture_cannot_meet_fails_that_one(client):
    pictures = [a_picture(40), a_picture(40)]
    wide = io.BytesIO()
    Image.new("RGB", (40, 1)).save(wide, "PNG")
    entries = entries_of(client.post(f"{BATCH}?resize=longest:1001", files=sent(*pictures, wide.getvalue())))
    assert [entry["status"] for entry in entries] == [422, 422, 200]
    assert entries[0]["error"]["code"] == "invalid_option"


@pytest.mark.parametrize(
    ("request_parts", "status", "code"),
    [
        ({"files": sent(*[a_picture(4)] * 6)}, 413, "too_many_images"),
        ({"files": sent(a_picture(), field="picture")}, 400, "missing_image"),
        ({"files": [*sent(a_picture()), ("mask", ("m.png", a_picture()))]}, 400, "unexpected_file"),
        ({"content": a_picture()}, 400, "malformed_form"),
        ({"content": b""}, 400, "malformed_form"),
        ({"content": b"--b--\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, None),
        ({"files": sent(a_picture()), "data": {"format": "gif"}}, 422, "invalid_option"),
        ({"files": sent(a_picture()), "data": {"classes": "nobody"}}, 422, "invalid_option"),
        ({"files": sent(a_picture()), "data": {"formt": "png"}}, 422, "invalid_option"),
        ({"files": sent(a_picture()), "params": {"format": "gif"}}, 422, "invalid_option"),
        ({"files": sent(bytes(500_000))}, 413, "body_too_large"),
    ],
)
def test_what_is_wrong_with_all_of_it_fails_all_of_it(client, request_parts, status, code):
    response = client.post(BATCH, **request_parts)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"code", "message", "hint"}
    assert code in (None, error["code"])
    assert "--data-binary" not in error["hint"], "which a batch refuses"


@pytest.mark.parametrize(
    "request_parts", [{"content": a_picture()}, {"files": sent(a_picture(), field="picture")}, {"files": sent(b"")}]
)
def test_who_sends_no_batch_is_shown_one(client, request_parts):
    answer = client.post(BATCH, **request_parts).json()
    error = answer[0]["error"] if isinstance(answer, list) else answer["error"]
    assert "curl -F image=@first.jpg -F image=@second.jpg URL/v1/segment/batch" in error["hint"]


def test_a_long_text_in_the_place_of_one_picture_fails_that_one(client):
    text = base64.b64encode(bytes(50_000)).decode()
    entries = entries_of(client.post(BATCH, files=sent(a_picture(), (None, text), a_picture())))
    assert [entry["status"] for entry in entries] == [200, 400, 200]
    assert entries[1]["error"]["code"] == "image_is_text"


def test_a_batch_has_no_more_pictures_than_the_setting_says_and_the_card_tells_it(client):
    assert client.get("/v1/model").json()["limits"]["max_batch"] == 5
    assert len(entries_of(client.post(BATCH, files=sent(*[a_picture(4)] * 5)))) == 5
    message = client.post(BATCH, files=sent(*[a_picture(4)] * 6)).json()["error"]["message"]
    assert message == "The batch has more than 5 pictures."


def test_thirty_two_pictures_and_all_options_fit_into_a_form_by_default(tiny_bundle):
    station = Station(Settings())
    station.open(Predictor(tiny_bundle))
    options = {"format": "json", "classes": ["red", "blue"], "masks": "none", "maps": "true", "resize": "2x2"}
    response = TestClient(create_app(station)).post(BATCH, files=sent(*[a_picture(4)] * 32), data=options)
    assert [entry["answer"]["width"] for entry in entries_of(response)] == [2] * 32
    station.close()


def test_answers_beyond_what_is_kept_are_told_and_the_others_are_given(tiny_bundle, noise, monkeypatch):
    monkeypatch.setattr("service.batch._ANSWER_SHARE", 1)
    station = Station(Settings(max_body_bytes=30_000))
    station.open(Predictor(tiny_bundle))
    buffer = io.BytesIO()
    Image.fromarray(noise(200, 200)).save(buffer, "JPEG", quality=30)
    pictures = [a_picture(), buffer.getvalue(), a_picture()]
    response = TestClient(create_app(station)).post(f"{BATCH}?format=overlay", files=sent(*pictures))
    entries = entries_of(response)
    assert [entry["status"] for entry in entries] == [200, 413, 200]
    assert entries[1]["error"]["code"] == "batch_too_large"
    station.close()


def test_every_picture_of_a_batch_is_counted(client):
    def count(name):
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    names = ['fcn_pictures_total{format="label"}', 'fcn_refused_total{reason="unsupported_image"}']
    names += ['fcn_stage_seconds_count{stage="infer"}', "fcn_megapixels_total"]
    before = [count(name) for name in names]
    client.post(f"{BATCH}?format=label", files=sent(a_picture(100), b"no picture", a_picture(100)))
    change = [count(name) - old for name, old in zip(names, before, strict=True)]
    assert change == [2, 1, 2, pytest.approx(0.02)]


class BrokenPredictor(Predictor):
    """A predictor with a fault that nobody foresaw."""

    def predict(self, image, **options):
        if image.shape[0] == 41:
            raise ZeroDivisionError("secret detail")
        return super().predict(image, **options)


def test_an_unforeseen_fault_of_one_picture_is_its_500_and_a_log_entry_with_the_id(tiny_bundle, caplog):
    station = Station(Settings())
    station.open(BrokenPredictor(tiny_bundle))
    broken = TestClient(Guard(create_app(station), lambda: station.model_version))
    with caplog.at_level("INFO", logger="bentoml.fcn"):
        files = sent(a_picture(40), a_picture(41), a_picture(42))
        response = broken.post(BATCH, files=files, headers={"x-request-id": "find-me"})
    assert [entry["status"] for entry in entries_of(response)] == [200, 500, 200]
    assert "secret" not in response.text
    failed = next(record for record in caplog.records if record.exc_info)
    assert failed.getMessage() == "request id=find-me failed at picture 1"
    station.close()


class HeldPredictor(Predictor):
    """A predictor that works on one picture for each permit, and remembers their sizes in order."""

    def __init__(self, bundle):
        super().__init__(bundle)
        self.permits = threading.Semaphore(0)
        self.begun = []
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def predict(self, image, **options):
        if image.shape[:2] != (32, 96):  # the warm-up's
            with self._lock:
                self.begun.append(image.shape[0])
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
            assert self.permits.acquire(timeout=WAIT)
            with self._lock:
                self.at_once -= 1
        return super().predict(image, **options)


@pytest.fixture
def held(tiny_bundle):
    predictor = HeldPredictor(tiny_bundle)
    yield predictor
    for _ in range(100):
        predictor.permits.release()


def test_a_single_request_waits_for_one_picture_of_a_batch_and_not_for_all(held):
    station, app = opened(held, slots=1, queue=4)

    async def load():
        async with client_of(app) as client:
            batch = asyncio.create_task(client.post(BATCH, files=sent(*[a_picture(20 + n) for n in range(4)])))
            await until(lambda: len(held.begun) == 1)
            single = asyncio.create_task(client.post("/v1/segment", content=a_picture(10)))
            await until(lambda: station.admission.taken == 2)
            held.permits.release(2)
            answered = await single
            batch_was_done = batch.done()
            held.permits.release(10)
            return answered, batch_was_done, await batch

    answered, batch_was_done, batch = asyncio.run(load())
    assert answered.status_code == 200
    assert not batch_was_done
    assert held.begun == [20, 10, 21, 22, 23]
    assert [entry["status"] for entry in batch.json()] == [200] * 4
    station.close()


def test_a_batch_takes_one_place_and_one_thread_whatever_is_free(held):
    station, app = opened(held, slots=3, queue=2)

    async def load():
        async with client_of(app) as client:
            batch = asyncio.create_task(client.post(BATCH, files=sent(*[a_picture(20)] * 5)))
            await until(lambda: len(held.begun) == 1)
            taken = station.admission.taken
            held.permits.release(10)
            await batch
            return taken

    assert asyncio.run(load()) == 1
    assert held.most_at_once == 1
    assert station.admission.taken == 0
    station.close()


def test_when_time_is_up_what_is_done_is_answered_and_the_rest_is_a_504_that_is_never_begun(held):
    station, app = opened(held, slots=1, queue=2, timeout_seconds=0.5)

    async def load():
        async with client_of(app) as client:
            held.permits.release()
            response = await client.post(f"{BATCH}?format=label", files=sent(*[a_picture(20 + n) for n in range(4)]))
            # The thread cannot be stopped: the place goes back with it.
            taken = station.admission.taken
            held.permits.release(10)
            await until(lambda: station.admission.taken == 0)
            return response, taken

    response, taken = asyncio.run(load())
    entries = entries_of(response)
    assert [entry["status"] for entry in entries] == [200, 504, 504, 504]
    assert {entry["error"]["code"] for entry in entries[1:]} == {"timed_out"}
    assert taken == 1
    assert held.begun == [20, 21]
    station.close()


def test_a_client_that_hangs_up_ends_its_batch(held):
    station, app = opened(held, slots=1, queue=2)
    request = httpx.Request("POST", f"http://test{BATCH}", files=sent(*[a_picture(20 + n) for n in range(4)]))
    body = request.read()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": BATCH,
        "raw_path": BATCH.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", request.headers["content-type"].encode())],
        "client": ("127.0.0.1", 1),
        "server": ("test", 80),
    }
    statuses = []
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive():
        if messages:
            return messages.pop()
        await until(lambda: len(held.begun) == 2)
        return {"type": "http.disconnect"}

    async def send(message):
        statuses.append(message.get("status"))

    async def load():
        held.permits.release()
        await app(scope, receive, send)
        taken = station.admission.taken
        held.permits.release(10)
        await until(lambda: station.admission.taken == 0)
        return taken

    assert asyncio.run(load()) == 1
    assert statuses[0] == 499
    assert held.begun == [20, 21]
    station.close()


def test_beyond_slots_and_queue_a_batch_is_refused_whole(held):
    station, app = opened(held, slots=1, queue=0)

    async def load():
        async with client_of(app) as client:
            first = asyncio.create_task(client.post("/v1/segment", content=a_picture(10)))
            await until(lambda: len(held.begun) == 1)
            refused = await client.post(BATCH, files=sent(a_picture()))
            held.permits.release(10)
            await first
            return refused

    refused = asyncio.run(load())
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "busy"
    station.close()


def test_many_batches_and_single_requests_at_once_each_get_their_own_answers(tiny_bundle):
    station, app = opened(Predictor(tiny_bundle), slots=2, queue=60)
    colours = [(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]

    async def load():
        async with client_of(app) as client:

            async def batch(number):
                pictures = [a_picture(number + 1 + place, colours[(number + place) % 4]) for place in range(4)]
                return await client.post(f"{BATCH}?format=json", files=sent(*pictures))

            async def single(number):
                picture = a_picture(number + 1, colours[number % 4])
                return await client.post("/v1/segment?format=json", content=picture)

            return await asyncio.gather(*map(batch, range(8)), *map(single, range(16)))

    answers = asyncio.run(load())
    for number, response in enumerate(answers[:8]):
        for place, entry in enumerate(entries_of(response)):
            assert entry["answer"]["width"] == number + 1 + place
            assert [found["name"] for found in entry["answer"]["classes"]] == [NAMES[(number + place) % 4]]
    for number, response in enumerate(answers[8:]):
        assert response.json()["width"] == number + 1
        assert [found["name"] for found in response.json()["classes"]] == [NAMES[number % 4]]
    assert station.admission.taken == 0
    station.close()


def test_the_document_describes_the_batch(client):
    operation = client.get("/openapi.json").json()["paths"][BATCH]["post"]
    schema = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert schema["properties"]["image"]["maxItems"] == 5
    assert operation["responses"]["200"]["content"]["application/json"]["schema"]["type"] == "array"
    assert {"400", "408", "413", "422", "503", "504"} <= set(operation["responses"])


def test_label_maps_of_a_batch_have_the_pictures_own_pixels(client, picture, picture_labels):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    (entry,) = entries_of(client.post(f"{BATCH}?format=label", files=sent(buffer.getvalue())))
    answer = np.asarray(Image.open(io.BytesIO(base64.b64decode(entry["data"]))))
    np.testing.assert_array_equal(answer, picture_labels)
