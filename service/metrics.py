"""Prometheus metrics of the service; every label takes its values from a closed set.

They live at module level since prometheus_client knows them by name, one set a process. In a
BentoML worker they land in the folder of PROMETHEUS_MULTIPROC_DIR.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

_FOLDER: Final = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
if _FOLDER:
    # prometheus_client fails on a folder that is not there, and BentoML makes it too late for its first process.
    Path(_FOLDER).mkdir(parents=True, exist_ok=True)

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

# BentoML's own names and labels, so that dashboards made for it fit; but the endpoint is a route's
# template here ("other" for unknown paths), where BentoML takes any path that a client asks for.
REQUESTS: Final = Counter(
    "bentoml_service_request_total", "Requests answered.", ["endpoint", "http_response_code", "service_name"]
)
REQUEST_SECONDS: Final = Histogram(
    "bentoml_service_request_duration_seconds",
    "Time from a request's head to the end of its answer.",
    ["endpoint", "http_response_code", "service_name"],
    buckets=_SECONDS,
)
RECEIVED_BYTES: Final = Counter("fcn_request_body_bytes_total", "Bytes of bodies that were read.", ["endpoint"])
SENT_BYTES: Final = Counter("fcn_answer_body_bytes_total", "Bytes of answers.", ["endpoint"])
KEY_REQUESTS: Final = Counter(
    "fcn_key_requests_total", "Requests answered, by the name of their API key.", ["key", "http_response_code"]
)
REFUSED: Final = Counter("fcn_refused_total", "Requests refused, by error code.", ["reason"])
# Only living processes are summed up: what a worker that was killed had in hand is over.
RECEIVING: Final = Gauge("fcn_requests_receiving", "Requests whose body is on its way.", multiprocess_mode="livesum")
WAITING: Final = Gauge("fcn_requests_waiting", "Requests that wait for a slot.", multiprocess_mode="livesum")
IN_PROGRESS: Final = Gauge("fcn_requests_in_progress", "Requests that are worked on.", multiprocess_mode="livesum")
STAGE_SECONDS: Final = Histogram("fcn_stage_seconds", "Time of one stage of one picture.", ["stage"], buckets=_SECONDS)
PICTURES: Final = Counter("fcn_pictures_total", "Pictures segmented, by form of the answer.", ["format"])
MEGAPIXELS: Final = Counter("fcn_megapixels_total", "Megapixels segmented.")
CLASS_PIXELS: Final = Counter("fcn_class_pixels_total", "Pixels given to each class.", ["class"])
CLASS_CONFIDENCE: Final = Counter(
    "fcn_class_confidence_total", "Sum of the probabilities (0 to 1) of the pixels given to each class.", ["class"]
)

_SERVICE: Final = "fcn-segmenter"


def observe_request(
    route: str, status: int, seconds: float, *, error_code: str, key: str, received: int, sent: int
) -> None:
    """Count one answered request.

    Args:
        route: Template of the route, or ``other``.
        status: HTTP status.
        seconds: From the request's head to the end of the answer.
        error_code: Of the error body, or empty.
        key: Name of the API key, or empty.
        received: Bytes of the body that were read.
        sent: Bytes of the answer's body.
    """
    REQUESTS.labels(route, str(status), _SERVICE).inc()
    REQUEST_SECONDS.labels(route, str(status), _SERVICE).observe(seconds)
    RECEIVED_BYTES.labels(route).inc(received)
    SENT_BYTES.labels(route).inc(sent)
    if key:
        KEY_REQUESTS.labels(key, str(status)).inc()
    if error_code:
        REFUSED.labels(error_code).inc()


def exposition() -> bytes:
    """All metrics of the service in Prometheus's text form, over all its processes."""
    if not _FOLDER:
        return generate_latest()
    _forget_dead_processes(Path(_FOLDER))
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client leaves it unannotated
    return generate_latest(registry)


def _forget_dead_processes(folder: Path) -> None:
    """Drop the gauges of processes that are gone; their counters stay, since what was counted did happen."""
    for file in folder.glob("gauge_live*_*.db"):
        process = file.stem.rpartition("_")[2]
        if process.isdigit() and not _is_alive(int(process)):
            mark_process_dead(int(process), str(folder))  # type: ignore[no-untyped-call]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
