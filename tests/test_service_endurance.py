"""Endurance of a real server: a worker that is killed, and some hundred requests of all kinds in a row."""

import signal
import threading
import time

import httpx
import psutil
import pytest

from tests.hostile import hostile_files, sound_files
from tests.serving import serving_bundle

SOUND = list(sound_files().values())
BROKEN = [data for name, data in hostile_files().items() if " cut at " in name or " fuzzed " in name]
RECOVERY_SECONDS = 60


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory):
    with serving_bundle(tiny_bundle, tmp_path_factory.mktemp("endurance")) as running:
        yield running


def worker_of(server):
    """The process that holds the model: the largest of the server's."""
    return max(server.processes(), key=lambda process: process.memory_info().rss)


def test_memory_stays_over_hundreds_of_requests_of_all_kinds(server):
    worker = worker_of(server)
    with httpx.Client(base_url=server.url, timeout=20) as client:

        def ask(count):
            for number in range(count):
                broken = number % 3 == 2
                body = BROKEN[number % len(BROKEN)] if broken else SOUND[number % len(SOUND)]
                status = client.post("/v1/segment", content=body).status_code
                assert status < 500
                assert broken or status == 200

        ask(300)
        before = worker.memory_info().rss
        ask(600)
        after = worker.memory_info().rss
    assert after < 1.05 * before, f"{before / 1e6:.0f} MB became {after / 1e6:.0f} MB"


def test_a_worker_killed_under_load_is_replaced_and_answers_again(server):
    worker = worker_of(server)
    assert worker.pid != server.process.pid
    stop = threading.Event()
    answers = []

    def ask():
        while not stop.is_set():
            try:
                answers.append(httpx.post(f"{server.url}/v1/segment", content=SOUND[0], timeout=10).status_code)
            except httpx.TransportError:
                answers.append("lost")
                time.sleep(0.05)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + RECOVERY_SECONDS
        while 200 not in answers and time.monotonic() < deadline:
            time.sleep(0.05)
        worker.send_signal(signal.SIGKILL)
        psutil.wait_procs([worker], timeout=10)
        killed_at = len(answers)
        while 200 not in answers[killed_at + 3 :] and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert 200 in answers[killed_at + 3 :], f"no answer within {RECOVERY_SECONDS} s:\n{server.log}"
    assert set(answers) <= {200, 503, "lost"}
    assert server.process.poll() is None
    assert worker_of(server).pid != worker.pid
    assert httpx.get(f"{server.url}/readyz", timeout=10).status_code == 200
    # The gauges are the new worker's: nothing of the killed one stays in them.
    deadline = time.monotonic() + 10
    while "fcn_requests_in_progress 0.0" not in httpx.get(f"{server.url}/metrics", timeout=10).text:
        assert time.monotonic() < deadline
        time.sleep(0.1)
