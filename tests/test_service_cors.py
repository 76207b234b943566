"""Which pages may read answers, and what a browser is told of this service's own page."""

import pytest
from starlette.testclient import TestClient

from data.errors import ConfigError
from model.runtime.predictor import Predictor
from service.cors import Cors
from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station

HERE = "https://app.example.org"
ASKED = {"Origin": HERE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}


@pytest.fixture(scope="module")
def clients(tiny_bundle):
    station = Station(Settings())
    station.open(Predictor(tiny_bundle))
    app = create_app(station)
    yield {
        origins: TestClient(Guard(Cors(app, origins), lambda: station.model_version))
        for origins in ((), (HERE, "http://localhost:8080"), ("*",))
    }
    station.close()


@pytest.fixture
def off(clients):
    return clients[()]


@pytest.fixture
def some(clients):
    return clients[(HERE, "http://localhost:8080")]


@pytest.fixture
def every(clients):
    return clients[("*",)]


def test_unless_it_is_set_no_page_of_another_origin_may_read_an_answer(off):
    assert "access-control-allow-origin" not in off.get("/v1/labels", headers={"Origin": HERE}).headers
    preflight = off.options("/v1/segment", headers=ASKED)
    assert preflight.status_code == 405
    assert "access-control-allow-origin" not in preflight.headers


def test_a_named_origin_may_read_answers_and_the_headers_that_tell_something(some):
    response = some.get("/v1/labels", headers={"Origin": HERE})
    assert response.headers["access-control-allow-origin"] == HERE
    assert "Origin" in response.headers["vary"]
    shown = set(response.headers["access-control-expose-headers"].split(", "))
    assert {"X-Request-Id", "Server-Timing", "ETag", "X-Model-Version", "Retry-After"} <= shown
    assert "access-control-allow-credentials" not in response.headers


def test_another_origin_may_not(some):
    response = some.get("/v1/labels", headers={"Origin": "https://app.example.org.evil.test"})
    assert "access-control-allow-origin" not in response.headers


def test_an_error_may_be_read_as_well(some):
    response = some.post("/v1/segment", content=b"no picture", headers={"Origin": HERE})
    assert response.status_code == 415
    assert response.headers["access-control-allow-origin"] == HERE


def test_a_browser_that_asks_first_is_told_what_it_may_send(some):
    response = some.options("/v1/segment", headers=ASKED)
    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == HERE
    assert "POST" in response.headers["access-control-allow-methods"]
    assert "x-api-key" in response.headers["access-control-allow-headers"].lower()
    assert response.headers["access-control-max-age"] == "600"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"Origin": "https://other.test"}, "origin"),
        ({"Access-Control-Request-Method": "DELETE"}, "method"),
        ({"Access-Control-Request-Headers": "x-forwarded-host"}, "headers"),
    ],
)
def test_a_browser_that_may_not_is_told_why_in_the_one_form(some, changed, told, caplog):
    with caplog.at_level("INFO", logger="bentoml.fcn"):
        response = some.options("/v1/segment", headers={**ASKED, **changed})
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "cors_refused"
    assert told in response.json()["error"]["message"]
    assert "FCN_CORS_ORIGINS" in response.json()["error"]["hint"]
    assert "error=cors_refused" in caplog.text


def test_all_origins_are_let_in_without_credentials(every):
    response = every.get("/v1/labels", headers={"Origin": "https://other.test", "Cookie": "a=b"})
    assert response.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    "origins",
    [
        "https://a.test/",
        "https://a.test/app",
        "a.test",
        "null",
        "*, https://a.test",
        "https://*.a.test",
        "none, https://a.test",
        "https://a.test:99999",
        "https://a.test:0",
        "https://a.test:",
        "https://-..",
        "https://a..test",
        "https://-a.test",
        "https://" + "a" * 64 + ".test",
        "https://256.0.0.1",
        "https://a.1",
        "https://[::1::]",
        "https://[fe80::1%eth0]",
        "ftp://a.test",
    ],
)
def test_what_is_no_origin_is_refused_at_start(origins):
    with pytest.raises(ConfigError, match="FCN_CORS_ORIGINS holds"):
        Settings.from_environment({"FCN_CORS_ORIGINS": origins})


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://App.Example.ORG", "https://app.example.org"),
        ("HTTPS://a.test:443", "https://a.test"),
        ("http://a.test:80", "http://a.test"),
        ("http://a.test:443", "http://a.test:443"),
        ("http://a.test:08080", "http://a.test:8080"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[0:0::1]:80", "http://[::1]"),
        ("https://xn--bcher-kva.test.", "https://xn--bcher-kva.test."),
    ],
)
def test_an_origin_is_compared_in_the_form_in_which_a_browser_sends_it(given, sent):
    assert Settings.from_environment({"FCN_CORS_ORIGINS": given}).cors_origins == (sent,)


def policy_of(response):
    pairs = (part.strip().partition(" ") for part in response.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in pairs}


def test_the_page_runs_its_own_scripts_alone_and_may_ask_for_the_camera(off):
    response = off.get("/")
    policy = policy_of(response)
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert set(policy["img-src"].split()) == {"'self'", "blob:", "data:"}
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert "unsafe" not in response.headers["content-security-policy"]
    assert "camera=(self)" in response.headers["permissions-policy"]


def test_anything_else_may_load_nothing(off):
    for response in (off.get("/v1/labels"), off.get("/no/such/path"), off.post("/v1/segment", content=b"x")):
        assert policy_of(response) == {"default-src": "'none'", "frame-ancestors": "'none'"}
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cross-origin-opener-policy"] == "same-origin"
