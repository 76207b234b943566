"""Endurance of real servers: a worker or its supervisor that is killed, and some hundred requests in a row."""

import contextlib
import signal
import socket
import threading
import time

import httpx
import psutil
import pytest

from data.drawing import encode_png
from service.orphan import end_with_supervisor
from service.settings import Settings
from service.station import Station
from tests.hostile import hostile_files, sound_files
from tests.serving import ROOT, START_SECONDS, WORKING_TREE, Server, clean_environment, serving_bundle

SOUND = list(sound_files().values())
BROKEN = [data for name, data in hostile_files().items() if " cut at " in name or " fuzzed " in name]
RECOVERY_SECONDS = 30
LAST_SECONDS = 20
GAUGES = ("fcn_requests_receiving", "fcn_requests_waiting", "fcn_requests_in_progress")


def workers_of(server):
    found = []
    for process in server.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # which a process that has just ended is, too
            if "_bentoml_impl.worker.service" in " ".join(process.cmdline()):
                found.append(process)
    return found


def gauges_of(server):
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(samples[name]) for name in GAUGES}


def wait_until(happened, seconds):
    deadline = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return result


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory):
    # Small pictures only: one of the fuzzed files has become a sound one of 102 megapixels, which take a minute.
    place = tmp_path_factory.mktemp("endurance")
    with serving_bundle(tiny_bundle, place, FCN_MAX_PIXELS="100_000") as running:
        yield running


@pytest.fixture
def ended():
    """Processes that are ended after the test, also when no supervisor is left to find them by."""
    processes = []
    yield processes
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def in_use(worker):
    return worker.memory_info().rss, worker.num_fds(), worker.num_threads()


def test_hundreds_of_requests_of_all_kinds_leave_no_memory_files_or_threads_behind(server):
    (worker,) = workers_of(server)
    with httpx.Client(base_url=server.url, timeout=20) as client:

        def ask(count):
            for number in range(count):
                broken = number % 3 == 2
                # Neighbours in BROKEN are of one kind: 7 has no factor in common with their number.
                body = BROKEN[number * 7 % len(BROKEN)] if broken else SOUND[number % len(SOUND)]
                options = ("", "?format=json", "?format=overlay")[number % 4 % 3]
                status = client.post(f"/v1/segment{options}", content=body).status_code
                assert status < 500
                assert broken or status == 200

        ask(300)
        memory, files, threads = in_use(worker)
        ask(600)
        memory_now, files_now, threads_now = in_use(worker)
    assert memory_now < memory + 5e6, f"{memory / 1e6:.1f} MB became {memory_now / 1e6:.1f} MB"
    assert files_now <= files + 2
    assert threads_now <= threads + 2
    assert [process.pid for process in workers_of(server)] == [worker.pid]


def test_a_worker_killed_under_load_is_replaced_and_no_answer_is_wrong(server):
    (worker,) = workers_of(server)
    right = httpx.post(f"{server.url}/v1/segment", content=SOUND[0], timeout=30).content
    answers = []  # (when it was asked, what came back)
    stop = threading.Event()

    def ask():
        with httpx.Client(base_url=server.url, timeout=RECOVERY_SECONDS) as client:
            while not stop.is_set():
                asked = time.monotonic()
                try:
                    response = client.post("/v1/segment", content=SOUND[0])
                except (httpx.NetworkError, httpx.RemoteProtocolError):
                    answers.append((asked, "lost"))
                except httpx.TimeoutException:
                    answers.append((asked, "hung"))
                else:
                    wrong = response.status_code == 200 and response.content != right
                    answers.append((asked, "wrong" if wrong else response.status_code))

    def answered_since(moment):
        return sum(asked > moment and what == 200 for asked, what in list(answers))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: answered_since(0) >= 20, 30)
        killed = time.monotonic()
        worker.send_signal(signal.SIGKILL)
        wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, 10)
        gone = time.monotonic()
        # The supervisor looks after its workers every 10 s; the rest is the start of a new one.
        wait_until(lambda: answered_since(gone) >= 20, killed + RECOVERY_SECONDS - gone)
    finally:
        stop.set()
        for thread in threads:
            thread.join(2 * RECOVERY_SECONDS)
    assert {what for _, what in answers} <= {200, 503, "lost"}
    assert server.process.poll() is None
    (successor,) = workers_of(server)
    assert successor.pid != worker.pid
    ready = httpx.get(f"{server.url}/readyz", timeout=10)
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
    # The gauges are the new worker's: nothing of the killed one stays in them.
    wait_until(lambda: not any(gauges_of(server).values()), 10)


def test_when_the_supervisor_is_killed_its_worker_answers_what_it_accepted_and_ends(
    tiny_bundle, tmp_path, noise, ended
):
    body = encode_png(noise(2000, 2600))
    statuses = []
    with serving_bundle(tiny_bundle, tmp_path, FCN_SLOTS="1") as server:
        ended.extend(server.processes())

        def ask():
            statuses.append(httpx.post(f"{server.url}/v1/segment?format=json", content=body, timeout=60).status_code)

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: gauges_of(server)["fcn_requests_in_progress"] == 1, 30)
        wait_until(lambda: gauges_of(server)["fcn_requests_waiting"] == 1, 30)
        server.process.kill()
        for thread in threads:
            thread.join(60)
        server.process.wait(10)
        _, left = psutil.wait_procs(ended, timeout=LAST_SECONDS)
    assert statuses == [200, 200], server.log
    assert not left, server.log
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=5)


def test_a_worker_whose_supervisor_is_killed_while_it_starts_ends_as_well(tiny_bundle, tmp_path, ended):
    environment = {**clean_environment(tmp_path / "home"), "FCN_BUNDLE": str(tiny_bundle.root)}
    server = Server(WORKING_TREE, environment, ROOT, tmp_path / "log")
    try:
        ended.extend(wait_until(lambda: workers_of(server), START_SECONDS))
    finally:
        server.process.kill()
        server.process.wait(10)
    _, left = psutil.wait_procs(ended, timeout=LAST_SECONDS)
    assert not left, server.log
    assert "is gone" in server.log


def test_nothing_is_watched_outside_of_a_worker():
    before = set(threading.enumerate())
    end_with_supervisor(Station(Settings()), answer_seconds=1)
    assert set(threading.enumerate()) == before
