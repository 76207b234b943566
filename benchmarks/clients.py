"""Clients in a process of their own, so that what measures does not wait for what it measures: locust's fast ones.

    python -m benchmarks.clients < plan.json > answers.json

Closed: so many clients, each asking again once it is answered; after a 503 each waits as ``Retry-After`` says.
Open: requests arrive at a rate, at random moments (exponential gaps), whether or not earlier ones were answered; time
counts from the moment at which a request was due, so that a client that falls behind cannot hide it.

Locust's fast client is geventhttpclient, compiled: it takes a fraction of what a client in Python does. What it took
all the same is told with the answers, as client and service share the machine.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from locust.contrib.fasthttp import FastHttpSession, FastResponse

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60
"""For the process to begin, and for the last answers to come."""
BOUNDARY = "a-picture-of-the-benchmark"
AT_ONCE = 2000
"""Open requests under way at most, so that a server that hangs cannot fill the memory here."""


@dataclass(frozen=True)
class Plan:
    """What is asked.

    Attributes:
        url: The server's.
        folder: Each of its files is a body; chosen at random, from a fixed seed.
        seconds: How long requests are begun; with ``requests`` the longest time for them.
        clients: At the same time; 0 for arrivals at ``rate``.
        rate: Arrivals a second.
        requests: How many at most; 0 for as many as the time allows.
        seed: Of the choice of bodies and the moments of arrival.
        path: Where the bodies are sent.
        part: Name of the part of a form that holds the body; empty sends the body as it is.
    """

    url: str
    folder: str
    seconds: float
    clients: int = 0
    rate: float = 0.0
    requests: int = 0
    seed: int = 0
    path: str = "/v1/segment"
    part: str = ""


@dataclass(frozen=True)
class Answer:
    """One request's.

    Attributes:
        due: When it was to be sent, in seconds from the first.
        late: How much later it was sent.
        seconds: From ``due`` to the end of the answer.
        status: HTTP status; 0 where no answer came.
        served: Sum of Server-Timing's stages, in seconds; 0 without.
        body: Name of the file that was sent.
    """

    due: float
    late: float
    seconds: float
    status: int
    served: float
    body: str


@dataclass(frozen=True)
class Answers:
    """All of a plan's.

    Attributes:
        answers: In the order in which they ended.
        processor_seconds: What the clients took of the processor.
        seconds: From the first request to the last answer.
    """

    answers: list[Answer]
    processor_seconds: float
    seconds: float


def ask(plan: Plan) -> Answers:
    """Carry a plan out in a process of its own.

    Raises:
        RuntimeError: the process failed, or did not end in time.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.clients"],
            cwd=ROOT,
            input=json.dumps(asdict(plan)),
            capture_output=True,
            text=True,
            timeout=plan.seconds + 2 * START_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise RuntimeError(f"the clients failed:\n{error.stderr}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"the clients were not done {2 * START_SECONDS} s after their time") from error
    found = json.loads(done.stdout)
    return Answers([Answer(*row) for row in found["answers"]], found["processor_seconds"], found["seconds"])


def _carry_out(plan: Plan) -> dict[str, Any]:
    # Locust replaces parts of the standard library: in this process alone.
    import gevent.event  # noqa: PLC0415
    import gevent.pool  # noqa: PLC0415
    from locust import FastHttpUser, task  # noqa: PLC0415
    from locust.env import Environment  # noqa: PLC0415

    bodies = {path.name: _body(path.read_bytes(), plan.part) for path in sorted(Path(plan.folder).iterdir())}
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}" if plan.part else "application/octet-stream"}
    names = list(bodies)
    draws = random.Random(plan.seed)  # noqa: S311  not for secrets
    found: list[tuple[float, float, float, int, float, str]] = []
    begun = time.perf_counter()
    taken = 0

    def more() -> bool:
        """Whether another request is to be begun; counts it."""
        nonlocal taken
        if time.perf_counter() - begun >= plan.seconds or 0 < plan.requests <= taken:
            return False
        taken += 1
        return True

    def one(client: FastHttpSession, due: float) -> FastResponse:
        name = draws.choice(names)
        sent = time.perf_counter()
        response = client.post(plan.path, data=bodies[name], headers=headers)
        _ = response.content  # all of it, before the time is taken
        ended = time.perf_counter()
        timing = (response.headers or {}).get("server-timing", "")
        served = sum(float(value) for value in re.findall(r"dur=([0-9.]+)", timing)) / 1000
        found.append((due - begun, sent - due, ended - due, response.status_code, served, name))
        return response

    class Closed(FastHttpUser):
        network_timeout = START_SECONDS

        @task
        def ask_again(self) -> None:
            while more():
                response = one(self.client, time.perf_counter())
                if response.status_code == 503:
                    gevent.sleep(float(response.headers.get("retry-after", 1)))
                elif response.status_code == 0:
                    gevent.sleep(0.1)
            gevent.sleep(START_SECONDS)  # until the runner ends it: another turn would find nothing to do

    class Open(FastHttpUser):
        network_timeout = START_SECONDS
        concurrency = AT_ONCE

        @task
        def arrive(self) -> None:
            pool = gevent.pool.Pool(AT_ONCE)
            due = time.perf_counter()
            while more():
                gevent.sleep(max(0.0, due - time.perf_counter()))
                pool.spawn(one, self.client, due)
                due += draws.expovariate(plan.rate)
            pool.join(timeout=START_SECONDS)
            done.set()

    done = gevent.event.Event()
    environment = Environment(user_classes=[Closed if plan.clients else Open], host=plan.url)
    runner = environment.create_local_runner()
    processor = time.process_time()
    begun = time.perf_counter()
    runner.start(plan.clients or 1, spawn_rate=max(plan.clients, 1))
    if plan.clients:
        end = begun + plan.seconds + START_SECONDS
        while time.perf_counter() < end and (more_to_come(plan, taken, begun) or len(found) < taken):
            gevent.sleep(0.05)
    else:
        done.wait(plan.seconds + START_SECONDS)
    facts = {"processor_seconds": time.process_time() - processor, "seconds": time.perf_counter() - begun}
    runner.quit()
    return {"answers": found, **facts}


def _body(picture: bytes, part: str) -> bytes:
    """A picture as it is sent."""
    if not part:
        return picture
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{part}"; filename="picture.jpg"\r\n'
    return f"{head}Content-Type: image/jpeg\r\n\r\n".encode() + picture + f"\r\n--{BOUNDARY}--\r\n".encode()


def more_to_come(plan: Plan, taken: int, begun: float) -> bool:
    """Whether a plan's time and its number of requests are not used up."""
    return time.perf_counter() - begun < plan.seconds and not 0 < plan.requests <= taken


if __name__ == "__main__":
    print(json.dumps(_carry_out(Plan(**json.loads(sys.stdin.read())))))
