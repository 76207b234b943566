"""API keys: how they are given, who is let in, and what stays open."""

import io
import re
import socket
import warnings
from base64 import b64encode
from hashlib import sha256

import httpx
import pytest
from huggingface_hub import InferenceClient
from PIL import Image
from starlette.testclient import TestClient
from tritonclient.http import InferenceServerClient

from data.errors import ConfigError
from model.runtime.predictor import Predictor
from service import keys
from service.gate import Gate
from service.guard import Guard
from service.keys import ApiKey, Keyring, read_key_file, read_keys
from service.routes import create_app
from service.settings import Settings
from service.station import Station
from tests.serving import serving_bundle

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of a package that BentoML imports
    from bentoml import SyncHTTPClient

ALICE = "fcn_alice-0123456789-0123456789-0123456789"
BOB = "fcn_bob-0123456789-0123456789-0123456789"


def entry(name, key):
    return f"{name}:{sha256(key.encode()).hexdigest()}"


def a_picture():
    buffer = io.BytesIO()
    Image.new("RGB", (40, 30), (255, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return Predictor(tiny_bundle)


def guarded(predictor, **settings):
    station = Station(Settings(**settings))
    station.open(predictor)
    app = create_app(station)
    gate = Gate(app, station.settings.keyring(), station.settings.open_doors, app.routes)
    return station, TestClient(Guard(gate, lambda: station.model_version))


@pytest.fixture(scope="module")
def client(predictor):
    station, client = guarded(predictor, api_keys=read_keys("x", f"{entry('alice', ALICE)},{entry('bob', BOB)}"))
    yield client
    station.close()


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": ALICE},
        {"Authorization": f"Bearer {ALICE}"},
        {"Authorization": f"bearer  {BOB} "},
        {"X-API-Key": ALICE, "Authorization": "Basic dXNlcjpwYXNz"},
        {"Authorization": f"Basic {b64encode(f'label-studio:{ALICE}'.encode()).decode()}"},
    ],
)
def test_a_known_key_lets_in_under_either_header(client, headers):
    assert client.post("/v1/segment", content=a_picture(), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_key"),
        ({"X-API-Key": ""}, "missing_key"),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, "unknown_key"),
        ({"Authorization": "Basic dXNlcg=="}, "missing_key"),
        ({"Authorization": "Basic \u00fc"}, "missing_key"),
        ({"Authorization": "Basic /w=="}, "missing_key"),
        ({"Authorization": ALICE}, "missing_key"),
        ({"X-API-Key": ALICE[:-1]}, "unknown_key"),
        ({"X-API-Key": ALICE + "x"}, "unknown_key"),
        ({"X-API-Key": "x" * 5000}, "unknown_key"),
        ({"X-API-Key": sha256(ALICE.encode()).hexdigest()}, "unknown_key"),
        ({"X-API-Key": "wrong", "Authorization": f"Bearer {ALICE}"}, "unknown_key"),
        ({"X-API-Key": "\u00fc" * 40}, "unknown_key"),
    ],
)
def test_any_other_key_gets_a_401_that_says_how_to_send_one(client, headers, code):
    headers = {name: value.encode("latin-1") for name, value in headers.items()}
    response = client.post("/v1/segment", content=a_picture(), headers=headers)
    assert response.status_code == 401
    assert response.json()["error"]["code"] == code
    assert "X-API-Key" in response.json()["error"]["hint"]
    assert response.headers["www-authenticate"].startswith('Bearer realm="fcn-segmenter"')
    assert response.headers["x-request-id"]
    assert ALICE not in response.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/model"),
        ("GET", "/v1/model/card"),
        ("GET", "/v1/labels"),
        ("POST", "/"),
        ("DELETE", "/"),
        ("GET", "/v2"),
        ("POST", "/v2/models/tiny/infer"),
        ("POST", "/segment"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/docs.json"),
        ("GET", "/schema.json"),
        ("OPTIONS", "/v1/segment"),
        ("POST", "/ui/x.js"),
        ("GET", "/no/such/path"),
        ("GET", "//"),
    ],
)
def test_every_door_asks_for_a_key(client, method, path):
    assert client.request(method, f"http://testserver{path}").status_code == 401


def test_a_refusal_below_v2_has_the_form_of_that_protocol(client):
    told = client.post("/v2/models/tiny/infer").json()
    assert told["error"].startswith("This route needs an API key.")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path", ["/", "/ui/page.css", "/livez", "/healthz", "/readyz", "/health", "/v2/health/live", "/v2/health/ready"]
)
def test_the_page_and_the_probes_ask_for_none(client, method, path):
    assert client.request(method, path).status_code == 200


@pytest.mark.parametrize(
    ("doors", "path", "status"),
    [
        ((), "/livez", 401),
        ((), "/readyz", 401),
        ((), "/", 200),
        (("metrics",), "/metrics", 200),
        (("metrics",), "/readyz", 401),
        (("docs",), "/openapi.json", 200),
        (("docs",), "/docs.json", 200),
        (("health", "metrics", "docs"), "/v1/model", 401),
    ],
)
def test_what_else_needs_no_key_is_a_setting(predictor, doors, path, status):
    station, client = guarded(predictor, api_keys=read_keys("x", entry("alice", ALICE)), open_doors=doors)
    assert client.get(path).status_code == status
    station.close()


def test_an_open_door_takes_a_key_all_the_same(client):
    assert client.get("/readyz", headers={"X-API-Key": ALICE}).status_code == 200
    assert client.get("/readyz", headers={"X-API-Key": "an old one"}).status_code == 200


def test_log_and_metrics_name_the_holder_and_never_the_key(client, caplog):
    with caplog.at_level("INFO", logger="bentoml.fcn"):
        client.get("/v1/labels", headers={"X-API-Key": BOB})
        client.get("/v1/labels", headers={"X-API-Key": "a-wrong-one"})
    good, wrong = [record.getMessage() for record in caplog.records if record.name == "bentoml.fcn"]
    assert "route=/v1/labels status=200" in good
    assert "key=bob" in good
    assert "route=/v1/labels status=401" in wrong
    assert "error=unknown_key" in wrong
    metrics = client.get("/metrics", headers={"X-API-Key": ALICE}).text
    assert 'fcn_key_requests_total{http_response_code="200",key="bob"}' in metrics
    assert 'fcn_refused_total{reason="unknown_key"}' in metrics
    for secret in (ALICE, BOB, "a-wrong-one"):
        assert secret not in good + wrong + metrics


def test_a_short_key_never_passes_though_its_hash_is_given():
    assert Keyring((ApiKey("short", sha256(b"secret").hexdigest()),)).holder("secret") is None


def test_a_key_that_is_made_passes_once_its_line_is_given(capsys):
    assert keys.main(["web-2025"]) == 0
    key, line = re.findall(r"^  (\S+)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert len(key) >= 43
    assert Keyring(read_keys("x", line)).holder(key) == "web-2025"


def test_a_name_that_could_not_stand_in_a_log_makes_no_key(capsys):
    with pytest.raises(SystemExit):
        keys.main(["two words"])
    assert "a name has" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        ALICE,
        f"alice:{ALICE}",
        "alice:",
        f":{'0' * 64}",
        f"alice:{'0' * 63}",
        f"a b:{'0' * 64}",
        f"{'n' * 33}:{'0' * 64}",
    ],
)
def test_an_entry_of_another_form_is_told_without_repeating_it(text):
    with pytest.raises(ConfigError, match="is not NAME:SHA256") as told:
        read_keys("FCN_API_KEYS", text)
    assert ALICE not in str(told.value)


def test_names_and_keys_stand_only_once():
    with pytest.raises(ConfigError, match="called 'alice'"):
        Settings.from_environment({"FCN_API_KEYS": f"{entry('alice', ALICE)} {entry('alice', BOB)}"}).keyring()
    with pytest.raises(ConfigError, match="the same API key"):
        Settings.from_environment({"FCN_API_KEYS": f"{entry('alice', ALICE)} {entry('bob', ALICE)}"}).keyring()


def test_keys_of_variable_and_file_are_added_up(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# who may ask\n{entry('bob', BOB)}   # since May\n\n")
    path.chmod(0o444)
    settings = Settings.from_environment({"FCN_API_KEYS": entry("alice", ALICE), "FCN_API_KEYS_FILE": str(path)})
    assert settings.keyring().holder(ALICE) == "alice"
    assert settings.keyring().holder(BOB) == "bob"


def test_a_file_that_cannot_be_relied_on_is_refused(tmp_path):
    path = tmp_path / "keys"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_key_file(path)
    path.write_text(entry("bob", BOB))
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="mode 0666"):
        read_key_file(path)
    path.chmod(0o600)
    path.write_text("# nobody yet\n")
    with pytest.raises(ConfigError, match="leave every door open"):
        read_key_file(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_key_file(path)


def test_a_variable_without_a_key_does_not_open_every_door():
    with pytest.raises(ConfigError, match="leave every door open"):
        Settings.from_environment({"FCN_API_KEYS": " , "})


@pytest.fixture(scope="module")
def server(tiny_bundle, tmp_path_factory):
    place = tmp_path_factory.mktemp("keys")
    path = place / "keys"
    path.write_text(entry("bob", BOB))
    origins = "https://app.example.org"
    with serving_bundle(tiny_bundle, place, FCN_API_KEYS_FILE=str(path), FCN_CORS_ORIGINS=origins) as running:
        yield running


def test_a_real_server_lets_in_by_key_alone(server):
    assert httpx.post(f"{server.url}/v1/segment", content=a_picture(), timeout=30).status_code == 401
    for path in ("/metrics", "/schema.json", "/openapi.json", "/no/such/path"):
        assert httpx.get(f"{server.url}{path}", timeout=30).status_code == 401
    headers = {"Authorization": f"Bearer {BOB}"}
    assert httpx.post(f"{server.url}/v1/segment", content=a_picture(), headers=headers, timeout=30).status_code == 200
    log = server.until_logged("status=200")
    assert "key=bob" in log
    assert BOB not in log


def test_the_document_says_how_a_key_is_sent_and_what_needs_none(client):
    document = client.get("/openapi.json", headers={"X-API-Key": ALICE}).json()
    assert document["components"]["securitySchemes"]["key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert document["security"] == [{"key": []}, {"bearer": []}]
    assert document["paths"]["/readyz"]["get"]["security"] == []
    assert "401" in document["paths"]["/v1/segment"]["post"]["responses"]
    assert "401" not in document["paths"]["/readyz"]["get"]["responses"]
    assert client.get("/openapi.json", headers={"X-API-Key": ALICE}).json() == document


def test_without_keys_the_document_says_nothing_of_them(predictor):
    station, client = guarded(predictor)
    assert "security" not in client.get("/openapi.json").json()
    station.close()


def test_other_peoples_clients_can_send_a_key(server):
    (segment,) = InferenceClient(model=server.url, token=BOB).image_segmentation(a_picture())
    assert segment.label == "red"
    with SyncHTTPClient(server.url, token=BOB) as client:
        assert "segment" in client.endpoints
    client._temp_dir.cleanup()  # which the client leaves to the end of the process
    with InferenceServerClient(server.url.removeprefix("http://")) as client:
        assert client.get_server_metadata(headers={"X-API-Key": BOB})["name"]


def test_a_refused_request_is_answered_while_its_body_is_still_to_come(server):
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert connection.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_page_of_an_allowed_origin_may_read_why_it_was_refused(server):
    response = httpx.get(f"{server.url}/v1/model", headers={"Origin": "https://app.example.org"}, timeout=30)
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "https://app.example.org"
