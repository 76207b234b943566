"""Metrics of a real server: what they count, and that they stay true when its worker is killed."""

import io
import signal
import time

import httpx
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from data.drawing import encode_png
from tests.serving import serving_bundle

RED = (255, 0, 0)


def a_picture(width=40, height=30, colour=RED):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, "PNG")
    return buffer.getvalue()


def metrics_of(url):
    """Every sample, as {(name, label values): value}."""
    text = httpx.get(f"{url}/metrics", timeout=30).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, *sorted(sample.labels.values())): sample.value for sample in samples}


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory):
    with serving_bundle(tiny_bundle, tmp_path_factory.mktemp("metrics"), FCN_SLOTS="1") as running:
        yield running


def test_a_request_is_counted_by_route_class_confidence_and_bytes(server):
    before = metrics_of(server.url)
    body = a_picture()
    answer = httpx.post(f"{server.url}/v1/segment?format=json", content=body, timeout=30)
    httpx.post(f"{server.url}/v1/segment", content=b"none", timeout=30)
    after = metrics_of(server.url)

    def grown(*key):
        return after[key] - before.get(key, 0)

    assert grown("bentoml_service_request_total", "/v1/segment", "200", "fcn-segmenter") == 1
    assert grown("bentoml_service_request_total", "/v1/segment", "415", "fcn-segmenter") == 1
    assert grown("fcn_refused_total", "unsupported_image") == 1
    assert grown("fcn_request_body_bytes_total", "/v1/segment") == len(body) + 4
    assert grown("fcn_answer_body_bytes_total", "/v1/segment") > len(answer.content)
    assert grown("fcn_pictures_total", "json") == 1
    assert grown("fcn_megapixels_total") == pytest.approx(0.0012)
    assert grown("fcn_class_pixels_total", "red") == 1200
    (red,) = answer.json()["classes"]
    mean = grown("fcn_class_confidence_total", "red") / grown("fcn_class_pixels_total", "red")
    assert mean == pytest.approx(red["confidence"])
    for stage in ("decode", "infer", "encode"):
        assert grown("fcn_stage_seconds_count", stage) == 1


def test_names_end_as_prometheus_has_it(server):
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    families = list(text_string_to_metric_families(text))
    assert len(families) > 12
    for family in families:
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples), family.name
        elif family.type == "histogram":
            assert family.name.endswith(("_seconds", "_bytes")), family.name


def test_no_label_takes_a_text_of_a_client(server):
    for number in range(5):
        httpx.request(f"M{number}", f"{server.url}/p{number}", headers={"X-API-Key": f"k{number}"}, timeout=30)
    names = {key[1:] for key in metrics_of(server.url)}
    assert not any(part in str(names) for part in ("p1", "M1", "k1"))


def test_counters_go_on_and_gauges_begin_anew_when_a_worker_is_killed(server, noise):
    httpx.post(f"{server.url}/v1/segment", content=a_picture(), timeout=30)
    before = metrics_of(server.url)
    body = encode_png(noise(2000, 2600))
    (worker,) = [
        process for process in server.processes() if "_bentoml_impl.worker.service" in " ".join(process.cmdline())
    ]

    def chunks():
        yield body[:-1]
        deadline = time.monotonic() + 10
        while metrics_of(server.url)[("fcn_requests_receiving",)] < 1:
            assert time.monotonic() < deadline
        worker.send_signal(signal.SIGKILL)
        yield body[-1:]

    with pytest.raises(httpx.TransportError):
        httpx.post(f"{server.url}/v1/segment", content=chunks(), timeout=30)
    server.wait_until_ready()
    httpx.post(f"{server.url}/v1/segment", content=a_picture(), timeout=60)
    after = metrics_of(server.url)
    answered = ("bentoml_service_request_total", "/v1/segment", "200", "fcn-segmenter")
    assert after[answered] == before[answered] + 1
    assert after[("fcn_class_pixels_total", "red")] >= before[("fcn_class_pixels_total", "red")] + 1200
    for gauge in ("fcn_requests_receiving", "fcn_requests_waiting", "fcn_requests_in_progress"):
        assert after[(gauge,)] == 0
