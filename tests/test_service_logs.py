"""JSON logs: every line that a server prints while it serves can be read by a machine."""

import json
import logging
import sys

import httpx
import pytest

from service.guard import FIELDS
from service.logs import JsonFormatter
from tests.serving import serving_bundle

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def line_of(record):
    text = JsonFormatter().format(record)
    assert "\n" not in text
    return json.loads(text)


def record_of(message, *arguments, error=None, **extra):
    record = logging.LogRecord("x.y", logging.ERROR, __file__, 1, message, arguments, error)
    record.__dict__.update(extra)
    return record


def test_a_record_is_one_line_whatever_its_text_holds():
    line = line_of(record_of("a %s\nb \u2028 \x1b[31m", '"quoted"'))
    assert line["message"] == 'a "quoted"\nb \u2028 \x1b[31m'
    assert (line["level"], line["logger"]) == ("error", "x.y")
    assert line["time"].endswith("+00:00")


def test_what_a_line_tells_by_name_are_fields_of_their_own():
    line = line_of(record_of("request %s", "id=7 status=200", **{FIELDS: {"id": "7", "status": 200}}))
    assert (line["message"], line["id"], line["status"]) == ("request", "7", 200)


def test_a_traceback_stands_in_a_field():
    try:
        raise ValueError("no\nnumber")
    except ValueError:
        line = line_of(record_of("request id=%s failed", "7", error=sys.exc_info(), **{FIELDS: {"id": "7"}}))
    assert line["message"] == "request id=7 failed"
    assert line["exception"].endswith("ValueError: no\nnumber")


@pytest.fixture(scope="module")
def lines(tiny_bundle, tmp_path_factory):
    """What a server printed from its start to its end, nonsense on the socket included."""
    with serving_bundle(tiny_bundle, tmp_path_factory.mktemp("logs"), FCN_LOG_FORMAT="json") as running:
        headers = {"x-request-id": "job-7", "traceparent": f"00-{TRACE}-{SPAN}-01"}
        httpx.post(f"{running.url}/v1/segment", content=b"no picture", headers=headers, timeout=30)
        form = {"content-type": "multipart/form-data; boundary=b", "x-request-id": "job-8"}
        httpx.post(f"{running.url}/v1/segment", content=b"\x93no form", headers=form, timeout=30)
        httpx.request("BREW", f"{running.url}/a/path/of/my/own", timeout=30)
        with httpx.Client() as client:
            client.get(f"{running.url}/livez", headers={"Connection": "Upgrade", "Upgrade": "nonsense"}, timeout=30)
        assert running.stop() == 0
        return [json.loads(line) for line in running.log.splitlines()]


def test_a_request_is_told_with_all_that_is_known_of_it(lines):
    (line,) = [line for line in lines if line.get("id") == "job-7"]
    assert line["level"] == "info"
    assert line["message"] == "request"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/v1/segment", 415)
    assert line["error"] == "unsupported_image"
    assert line["bytes_in"] == 10
    assert line["bytes_out"] > 50
    assert line["ms"] > 0
    assert (line["trace_id"], line["span_id"]) == (TRACE, SPAN)
    others = [line for line in lines if line.get("id") not in {None, "job-7", "job-8"}]
    assert others, "requests without a trace"
    assert all("trace_id" not in line for line in others)


def test_a_malformed_form_makes_one_line_without_a_byte_of_it(lines):
    (line,) = [line for line in lines if line.get("id") == "job-8"]
    assert line["error"] == "malformed_form"
    assert not [line for line in lines if line["logger"].startswith("python_multipart")]


def test_lines_of_bentoml_and_uvicorn_have_the_same_form(lines):
    assert len({(line["time"], line["message"]) for line in lines}) == len(lines), "a line came twice"
    assert {"bentoml.serve", "uvicorn.error", "bentoml.fcn"} <= {line["logger"] for line in lines}
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def test_no_line_holds_a_path_of_a_client(lines):
    assert "of/my/own" not in json.dumps(lines)
