"""SIGTERM under load: accepted requests get their answers, new ones a 503, and nobody a dropped connection."""

import threading
import time

import httpx
import pytest

from data.drawing import encode_png
from tests.serving import STOP_SECONDS, serving_bundle


def metric(server, name):
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    return sum(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


@pytest.fixture
def server(tiny_bundle, tmp_path):
    settings = {"FCN_SLOTS": "1", "FCN_QUEUE": "4", "FCN_DRAIN_SECONDS": "0"}
    with serving_bundle(tiny_bundle, tmp_path, **settings) as running:
        yield running


def test_at_sigterm_accepted_requests_are_answered_and_new_ones_are_told_to_go_elsewhere(server, noise):
    body = encode_png(noise(2000, 2600))
    accepted = []

    def ask():
        accepted.append(httpx.post(f"{server.url}/v1/segment?format=json", content=body, timeout=60).status_code)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    with httpx.Client(timeout=30) as kept:
        assert kept.get(f"{server.url}/readyz").status_code == 200
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while metric(server, "fcn_requests_in_progress") + metric(server, "fcn_requests_waiting") < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        server.process.terminate()
        deadline = time.monotonic() + 5
        while (ready := httpx.get(f"{server.url}/readyz", timeout=30)).status_code == 200:
            assert time.monotonic() < deadline
        on_kept_connection = kept.post(f"{server.url}/v1/segment", content=body[:1000])
        on_new_connection = httpx.post(f"{server.url}/v1/segment", content=body[:1000], timeout=30)
        alive = httpx.get(f"{server.url}/livez", timeout=30)
        for thread in threads:
            thread.join(60)
    assert accepted == [200] * 4
    assert ready.json()["error"]["code"] == "stopping"
    for response in (on_kept_connection, on_new_connection):
        assert response.status_code == 503
        assert response.json()["error"]["code"] == "stopping"
        assert response.headers["retry-after"] == "1"
        assert response.headers["connection"] == "close"
    assert alive.status_code == 200
    assert server.process.wait(STOP_SECONDS) == 0, server.log
    assert "Traceback" not in server.log


def test_clients_that_keep_their_connections_are_told_before_these_are_closed(tiny_bundle, tmp_path):
    with serving_bundle(tiny_bundle, tmp_path, FCN_DRAIN_SECONDS="2") as running, httpx.Client(timeout=30) as kept:
        assert kept.get(f"{running.url}/v1/labels").status_code == 200
        running.process.terminate()
        time.sleep(1)
        response = kept.get(f"{running.url}/v1/labels")
        assert (response.status_code, response.headers["connection"]) == (503, "close")
        assert running.process.wait(STOP_SECONDS) == 0
