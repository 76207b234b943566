"""BentoML's time limit keeps nothing of an answered request: the real application, in a process of its own."""

import subprocess
import sys

from tests.serving import ROOT, clean_environment

# A loop keeps its timers in _scheduled until they are due. There is no model: what is asked needs none.
TIMERS_AFTER_20_REQUESTS = """
import asyncio, httpx
from service.app import Segmenter

async def main():
    transport = httpx.ASGITransport(app=Segmenter.to_asgi())
    async with httpx.AsyncClient(transport=transport, base_url="http://station") as client:
        for _ in range(20):
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/v1/labels")).status_code == 503
    print(sum(not timer.cancelled() for timer in asyncio.get_running_loop()._scheduled))

asyncio.run(main())
"""


def said_by(code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=clean_environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_no_timer_outlives_its_request(tmp_path):
    status, printed, errors = said_by(TIMERS_AFTER_20_REQUESTS, tmp_path)
    assert status == 0, errors
    assert int(printed.split()[-1]) == 0


def test_bentomls_own_limit_would_keep_one_a_request(tmp_path):
    """If this fails, BentoML has mended it: remove service/timers.py."""
    put_back = "import service.timers\nservice.timers.take_out_timers = lambda: None\n"
    status, printed, errors = said_by(put_back + TIMERS_AFTER_20_REQUESTS, tmp_path)
    assert status == 0, errors
    assert int(printed.split()[-1]) >= 20


def test_a_bentoml_without_that_class_stops_the_start_with_one_line(tmp_path):
    code = "from bentoml._internal.server.http import traffic\ndel traffic.TimeoutMiddleware\nimport service.app\n"
    status, _, errors = said_by(code, tmp_path)
    assert status == 1
    assert errors.startswith("fcn-segmenter does not start: BentoML 1.")
    assert "TimeoutMiddleware" in errors
    assert errors.count("\n") == 1
