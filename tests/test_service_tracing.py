"""Traces: a span for every stage below BentoML's request span, and nothing where nobody asked for it."""

import io
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from PIL import Image
from starlette.testclient import TestClient

from data.errors import ConfigError
from model.runtime.predictor import Predictor
from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station
from tests.serving import ROOT, STOP_SECONDS, serving_bundle

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
NOT_SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-00"}
STAGES = ["decode", "infer", "encode"]


def a_picture():
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def client_and_exporter(tiny_bundle):
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    station = Station(Settings())
    station.open(Predictor(tiny_bundle))
    app = Guard(create_app(station), lambda: station.model_version)
    yield TestClient(OpenTelemetryMiddleware(app, tracer_provider=provider)), exporter
    station.close()


@pytest.fixture
def client(client_and_exporter):
    client_and_exporter[1].clear()
    return client_and_exporter[0]


@pytest.fixture
def exporter(client_and_exporter):
    return client_and_exporter[1]


def test_the_stages_are_spans_below_the_requests_own_though_they_run_in_a_thread(client, exporter):
    assert client.post("/v1/segment", content=a_picture(), headers={"x-request-id": "job-7"}).status_code == 200
    spans = exporter.get_finished_spans()
    (request,) = [span for span in spans if span.kind is trace.SpanKind.SERVER]
    assert request.name == "POST /v1/segment"
    assert request.attributes["http.route"] == "/v1/segment"
    assert request.attributes["fcn.request_id"] == "job-7"
    stages = sorted((span for span in spans if span.name in STAGES), key=lambda span: span.start_time)
    assert list(dict.fromkeys(span.name for span in stages)) == STAGES
    for stage in stages:
        assert stage.parent.span_id == request.context.span_id
        assert stage.context.trace_id == request.context.trace_id
        assert request.start_time <= stage.start_time <= stage.end_time <= request.end_time


def test_an_incoming_traceparent_is_honoured(client, exporter):
    client.post("/v1/segment", content=a_picture(), headers=SAMPLED)
    spans = exporter.get_finished_spans()
    assert {trace.format_trace_id(span.context.trace_id) for span in spans} == {TRACE}
    (request,) = [span for span in spans if span.kind is trace.SpanKind.SERVER]
    assert trace.format_span_id(request.parent.span_id) == PARENT


def test_a_caller_that_does_not_trace_costs_no_span_of_ours(client, exporter):
    client.post("/v1/segment", content=a_picture(), headers=NOT_SAMPLED)
    assert exporter.get_finished_spans() == ()


def test_a_fault_stands_in_the_trace_with_its_code_and_no_path_of_the_client_in_the_name(client, exporter):
    client.post("/v1/segment", content=b"no picture")
    client.get("/a/path/of/my/own")
    picture, path = [span for span in exporter.get_finished_spans() if span.kind is trace.SpanKind.SERVER]
    assert picture.attributes["error.type"] == "unsupported_image"
    assert path.name == "GET other"


class Collector(ThreadingHTTPServer):
    """An OTLP receiver: keeps the spans that are sent to it, and their resource's name."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans = []
        self.endpoint = f"http://127.0.0.1:{self.server_port}/v1/traces"

    def until(self, condition):
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, [span.name for _, span in self.spans]
            time.sleep(0.05)


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = [entry.value.string_value for entry in resource.resource.attributes if entry.key == "service.name"]
            self.server.spans += [(names[0], span) for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_arguments):
        pass


@pytest.fixture(scope="module")
def collector():
    with Collector() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_server_sends_what_callers_trace_to_a_collector_over_otlp(tiny_bundle, tmp_path, collector):
    settings = {"FCN_TRACE_ENDPOINT": collector.endpoint, "FCN_TRACE_RATE": "0"}
    with serving_bundle(tiny_bundle, tmp_path, **settings) as running:
        url = f"{running.url}/v1/segment"
        for headers in ({}, NOT_SAMPLED, SAMPLED):
            assert httpx.post(url, content=a_picture(), headers=headers, timeout=30).status_code == 200
        running.process.terminate()  # what is held is sent before the end
        assert running.process.wait(STOP_SECONDS) == 0, running.log
    collector.until(lambda: {span.name for _, span in collector.spans} >= {*STAGES, "POST /v1/segment"})
    assert {span.trace_id.hex() for _, span in collector.spans} == {TRACE}
    assert {name for name, _ in collector.spans} == {"fcn-segmenter"}
    (request,) = [span for _, span in collector.spans if span.name == "POST /v1/segment"]
    assert request.parent_span_id.hex() == PARENT
    assert {span.parent_span_id for _, span in collector.spans if span.name in STAGES} == {request.span_id}


def test_an_endpoint_without_the_package_that_sends_stops_the_start(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.startswith('opentelemetry.exporter'):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing())\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", "FCN_TRACE_ENDPOINT": "http://localhost:4318"}
    done = subprocess.run(
        [sys.executable, "-c", "import service.app"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("fcn-segmenter does not start: FCN_TRACE_ENDPOINT is set and opentelemetry-exporter")


def test_what_is_no_address_is_refused_at_start():
    with pytest.raises(ConfigError, match="FCN_TRACE_ENDPOINT is 'collector:4318'"):
        Settings.from_environment({"FCN_TRACE_ENDPOINT": "collector:4318"})
