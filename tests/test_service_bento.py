"""The service as it is run: built by `bentoml build`, started by `bentoml serve`, without torch, and stopped."""

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path

import httpx
import numpy as np
import pytest
import yaml
from PIL import Image

from model.runtime.bundle import MANIFEST_FILE, MODEL_FILE
from tests.serving import START_SECONDS, bentoml_command, clean_environment, serving

ROOT = Path(__file__).resolve().parent.parent

# Put before everything else on the path of a process: what a serving image has not, cannot be imported.
BLOCKER = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "segmentation_models_pytorch", "albumentations",
                                  "lightning", "torchmetrics", "matplotlib", "onnx", "onnxscript", "scipy", "cv2"}:
            raise ImportError(f"{name} is blocked: a serving process has no training package")

sys.meta_path.insert(0, Blocker())
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of every process here: its own BentoML home, no settings, no training packages."""
    place = tmp_path_factory.mktemp("serving")
    (place / "blocker").mkdir()
    (place / "blocker" / "sitecustomize.py").write_text(BLOCKER)
    return {**clean_environment(place / "home"), "PYTHONPATH": str(place / "blocker")}


def register(bundle, environment):
    """Register in a process of its own: BentoML reads BENTOML_HOME once."""
    code = "from pathlib import Path; from model.runtime.store import register; print(register(Path(input())))"
    command = [sys.executable, "-c", code]
    subprocess.run(command, input=str(bundle.root), cwd=ROOT, env=environment, text=True, timeout=60, check=True)


@pytest.fixture(scope="module")
def bento(tiny_bundle, environment):
    """A Bento with the tiny bundle; the folder of the Bento."""
    register(tiny_bundle, environment)
    done = subprocess.run(
        bentoml_command("build", "-o", "tag"),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    name, tag = done.stdout.strip().splitlines()[-1].removeprefix("__tag__:").split(":")
    return Path(environment["BENTOML_HOME"]) / "bentos" / name / tag


@pytest.fixture(scope="module")
def server(bento, environment, tmp_path_factory):
    """The built Bento, served from a folder that holds nothing of this project."""
    place = tmp_path_factory.mktemp("elsewhere")
    settings = {"FCN_MAX_BODY_BYTES": "3_000_000", "FCN_PRECISION": "f32"}
    with serving("fcn-segmenter:latest", {**environment, **settings}, place, place / "log") as running:
        yield running


def as_png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def bentofile():
    return yaml.safe_load((ROOT / "bentofile.yaml").read_text())


def test_the_pins_of_the_bentofile_are_the_installed_versions():
    for pin in bentofile()["python"]["packages"]:
        name, _, pinned = pin.partition("==")
        assert version(name) == pinned


def test_the_bento_holds_the_serving_half_alone(bento):
    source = bento / "src"
    files = {path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()}
    assert {
        "service/app.py",
        "service/ui/index.html",
        "service/ui/page.js",
        "service/ui/page.css",
        "model/runtime/predictor.py",
        "data/pixels.py",
    } <= files
    readers = {"bands", "colour", "drawing", "headers", "labels", "masks", "pages", "pixels", "tiles"}
    data = {"__init__", "errors", "limits", *readers}
    assert {name for name in files if name.startswith("data/")} == {f"data/{name}.py" for name in data}
    assert {name for name in files if name.startswith("model/") and "/runtime/" not in name} == {"model/__init__.py"}
    requirements = (bento / "env" / "python" / "requirements.txt").read_text()
    assert "openvino==" in requirements
    assert "torch" not in requirements


def test_the_bento_lacks_nothing_that_it_imports(bento, environment):
    code = (
        "import json, sys, service.app, service.front, service.simplified\n"
        "import model.runtime.openvino_engine, model.runtime.onnxruntime_engine\n"
        "print(json.dumps([module.__file__ for name, module in sys.modules.items() "
        "if name.split('.')[0] in ('service', 'model', 'data') and module.__file__]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=bento / "src",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    files = json.loads(done.stdout)
    assert len(files) > 50
    assert all(Path(file).is_relative_to(bento / "src") for file in files)


def test_the_process_above_the_workers_loads_nothing_that_answers(environment):
    code = "import json, sys, service.app\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"numpy", "PIL", "fastapi", "openvino", "onnxruntime", "shapely", "pycocotools"}


def test_the_built_bento_answers_a_form_and_a_raw_body(server, picture, picture_labels):
    png = as_png(picture)
    for response in (
        httpx.post(f"{server.url}/v1/segment", files={"image": ("x.png", png)}, timeout=30),
        httpx.post(f"{server.url}/v1/segment", content=png, timeout=30),
    ):
        assert response.status_code == 200, response.text
        labels = np.asarray(Image.open(io.BytesIO(response.content)))
        np.testing.assert_array_equal(labels, picture_labels)


def test_the_built_bento_tells_its_model(server, tiny_bundle):
    card = httpx.get(f"{server.url}/v1/model", timeout=30).json()
    assert card["version"] == tiny_bundle.manifest.version
    assert card["engine"] == {"name": "openvino", "precision": "f32", "tail": "graph"}
    assert card["limits"]["max_body_bytes"] == 3_000_000


@pytest.mark.parametrize("path", ["/", "/healthz", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs.json"])
def test_probes_metrics_and_documents_answer_behind_bentoml_too(server, path):
    response = httpx.get(f"{server.url}{path}", timeout=30)
    assert response.status_code == 200
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/segment", 405),
        ("POST", "/readyz", 405),
        ("POST", "/metrics", 405),
        ("GET", "/no/such/path", 404),
        ("GET", "/schema.json/x", 404),
        ("POST", "/v1/segment", 400),
        ("POST", "/v1/segment?format=gif", 422),
    ],
)
def test_faults_behind_bentoml_have_the_one_form(server, method, path, status):
    response = httpx.request(method, f"{server.url}{path}", timeout=30)
    assert response.status_code == status
    assert set(response.json()["error"]) == {"code", "message", "hint"}


def test_an_upload_beyond_the_limit_gets_its_413_however_it_is_sent(server):
    def chunks():
        for _ in range(60):
            yield bytes(1_000_000)

    for content in (bytes(60_000_000), chunks()):
        response = httpx.post(f"{server.url}/v1/segment", content=content, timeout=60)
        assert response.status_code == 413
        assert response.json()["error"]["code"] == "body_too_large"


def test_raw_nonsense_on_the_socket_does_not_hurt_the_server(server):
    host, port = server.url.removeprefix("http://").split(":")
    for request in (
        b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGIF89a and more than was declared",
        b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nonly this",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            answer = connection.recv(4096)
            assert b" 500 " not in answer.split(b"\r\n")[0]
    assert httpx.get(f"{server.url}/readyz", timeout=10).status_code == 200
    deadline = time.monotonic() + 10
    while "fcn_requests_in_progress 0.0" not in httpx.get(f"{server.url}/metrics", timeout=10).text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_no_process_of_the_server_has_a_training_package_in_memory(server):
    processes = server.processes()
    assert len(processes) >= 2
    loaded = "".join(Path(f"/proc/{process.pid}/maps").read_text() for process in processes)
    assert "openvino" in loaded
    assert "torch" not in loaded


def test_metrics_and_log_name_routes_and_ids_and_no_path_of_a_client(server, picture):
    headers = {"x-request-id": "seen-in-the-log"}
    httpx.post(f"{server.url}/v1/segment", content=as_png(picture), headers=headers, timeout=30)
    httpx.get(f"{server.url}/a-path-of-my-own", timeout=30)
    metrics = httpx.get(f"{server.url}/metrics", timeout=30).text
    assert 'bentoml_service_request_total{endpoint="/v1/segment",http_response_code="200"' in metrics
    assert "fcn_stage_seconds_bucket" in metrics
    log = server.until_logged("request id=seen-in-the-log method=POST route=/v1/segment status=200")
    assert "a-path-of-my-own" not in log + metrics


def test_sigterm_finishes_what_was_accepted_and_exits_with_zero(bento, environment, tmp_path, noise):
    body = as_png(noise(800, 1000))
    answers = []

    def ask(url):
        try:
            answers.append(httpx.post(f"{url}/v1/segment?format=json", content=body, timeout=60).status_code)
        except httpx.ConnectError:
            answers.append("refused")

    with serving("fcn-segmenter:latest", environment, tmp_path, tmp_path / "log") as running:
        threads = [threading.Thread(target=ask, args=(running.url,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 30
        while not answers and time.monotonic() < deadline:
            time.sleep(0.01)
        assert running.stop() == 0, running.log
        for thread in threads:
            thread.join(60)
    assert len(answers) == 6
    assert set(answers) <= {200, 503, "refused"}
    assert 200 in answers


def test_a_bento_keeps_its_model_when_another_is_registered_and_a_folder_can_be_served_without_a_store(
    bento, environment, own_bundle, tiny_bundle, tmp_path
):
    manifest = json.loads((own_bundle.root / MANIFEST_FILE).read_text())
    manifest["name"] = "another"
    (own_bundle.root / MANIFEST_FILE).write_text(json.dumps(manifest))
    register(own_bundle, environment)
    with serving("fcn-segmenter:latest", environment, tmp_path, tmp_path / "log") as running:
        assert httpx.get(f"{running.url}/v1/model", timeout=30).json()["name"] == tiny_bundle.manifest.name

    # From the working tree, with an empty store and a path relative to where the command is given.
    empty = {
        **environment,
        "BENTOML_HOME": str(tmp_path / "empty"),
        "FCN_BUNDLE": os.path.relpath(own_bundle.root, ROOT),
    }
    with serving("service.app:Segmenter", empty, ROOT, tmp_path / "log2") as running:
        assert httpx.get(f"{running.url}/v1/model", timeout=30).json()["name"] == "another"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("altered", "has sha256"),
        ("schema", "schema version 99"),
        ("junk", "cannot be loaded"),
        ("missing", "does not exist"),
        ("setting", "FCN_SLOTS is 'many'"),
        ("tag", "FCN_MODEL is 'my streets'"),
        ("empty store", "model store has no fcn-segmenter:latest"),
    ],
)
def test_what_cannot_be_served_is_refused_at_start_with_one_clear_line(own_bundle, environment, tmp_path, damage, told):
    manifest = own_bundle.root / MANIFEST_FILE
    model = own_bundle.root / MODEL_FILE
    if damage == "altered":
        model.write_bytes(model.read_bytes() + b" ")
    elif damage == "schema":
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    elif damage == "junk":
        model.write_bytes(b"no network")
        digest = hashlib.sha256(b"no network").hexdigest()
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "model_sha256": digest}))
    elif damage == "missing":
        own_bundle.root.rename(tmp_path / "elsewhere")
    settings = {"BENTOML_HOME": str(tmp_path / "home")}
    if damage not in ("empty store", "tag"):
        settings["FCN_BUNDLE"] = str(own_bundle.root)
    if damage == "tag":
        settings["FCN_MODEL"] = "my streets"
    if damage == "setting":
        settings["FCN_SLOTS"] = "many"
    done = subprocess.run(
        bentoml_command("serve", "service.app:Segmenter", "--host", "127.0.0.1", "--port", "0"),
        cwd=ROOT,
        env={**environment, **settings},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("fcn-segmenter")]
    assert told in line
    assert "Traceback" not in done.stderr + done.stdout
