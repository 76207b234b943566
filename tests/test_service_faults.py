"""What the service answers to wrong, broken and hostile requests: always 4xx, in one form, without a leak."""

import io
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from model.runtime.predictor import Predictor
from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station

MAX_BODY = 200_000
MAX_PIXELS = 250_000
LEAKS = re.compile(r"Traceback|\.py\b|/tmp|/usr|/root|/home|/work|site-packages|0x[0-9a-f]{6}|BytesIO|object at")


@pytest.fixture(scope="module")
def predictor(tiny_bundle):
    return Predictor(tiny_bundle)


@pytest.fixture(scope="module")
def client(predictor):
    station = Station(Settings(max_body_bytes=MAX_BODY, max_pixels=MAX_PIXELS))
    station.open(predictor)
    yield TestClient(Guard(create_app(station), lambda: station.model_version))
    station.close()


def as_bytes(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def check_fault(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"error"}
    error = response.json()["error"]
    assert set(error) == {"code", "message", "hint"}
    assert error["code"] == code
    assert error["message"].endswith(".")
    assert error["hint"]
    assert not LEAKS.search(response.text)
    assert response.headers["x-request-id"]
    return error


PNG = as_bytes(np.full((20, 30, 3), (255, 0, 0), dtype=np.uint8))
NOISE = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def png_of_size(width, height):
    """A PNG whose header promises a size that nothing follows up."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


def form(*parts, boundary=b"b", end=True):
    """A multipart body of (headers, content) pairs."""
    body = b"".join(b"--" + boundary + b"\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts)
    return body + (b"--" + boundary + b"--\r\n" if end else b"")


FORM_TYPE = {"content-type": "multipart/form-data; boundary=b"}
IMAGE_HEAD = b'Content-Disposition: form-data; name="image"; filename="x.png"\r\nContent-Type: image/png'


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "missing_image"),
        (b"hello", 415, "unsupported_image"),
        (b'{"inputs": "aGVsbG8="}', 415, "unsupported_image"),
        (b"http://169.254.169.254/latest/meta-data", 415, "unsupported_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_image"),
        (b"%PDF-1.7\n", 415, "unsupported_image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "unsupported_image"),
        (PNG[: len(PNG) // 2], 422, "damaged_image"),
        (as_bytes(NOISE, "JPEG")[:700], 422, "damaged_image"),
        (as_bytes(NOISE, "WEBP")[:300], 422, "damaged_image"),
        (as_bytes(NOISE, "TIFF")[:900], 422, "damaged_image"),
        (png_of_size(501, 500), 413, "image_too_large"),
        (png_of_size(60_000, 60_000), 413, "image_too_large"),
        (b"P6 99999 99999 255\n" + bytes(100), 413, "image_too_large"),
        (bytes(MAX_BODY + 1), 413, "body_too_large"),
    ],
)
def test_a_body_that_cannot_be_used_is_told_why(client, body, status, code):
    check_fault(client.post("/v1/segment", content=body), status, code)


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (PNG, "multipart/form-data", "malformed_form"),
        (PNG, "multipart/form-data; boundary=", "malformed_form"),
        (PNG, "multipart/form-data; boundary=b", "malformed_form"),
        (b"", "multipart/form-data; boundary=b", "malformed_form"),
        (b"--b--\r\n", "multipart/form-data; boundary=b", "missing_image"),
        (form((IMAGE_HEAD, PNG), end=False), "multipart/form-data; boundary=b", "malformed_form"),
        (form((IMAGE_HEAD, PNG))[:-30], "multipart/form-data; boundary=b", "malformed_form"),
        (form((IMAGE_HEAD, PNG)), "multipart/form-data; boundary=c", "malformed_form"),
        (form((IMAGE_HEAD, PNG)), "multipart/form-data; boundary=" + "b" * 300, "malformed_form"),
        (form((b"Content-Type: image/png", PNG)), "multipart/form-data; boundary=b", "malformed_form"),
        (form((b"no colon here", PNG)), "multipart/form-data; boundary=b", "malformed_form"),
        (form((b"X-Long: " + b"x" * 100_000, PNG)), "multipart/form-data; boundary=b", "malformed_form"),
        (form((b"X: y\r\n" * 50 + IMAGE_HEAD, PNG)), "multipart/form-data; boundary=b", "malformed_form"),
        (
            form(*[(b'Content-Disposition: form-data; name="f%d"' % i, b"1") for i in range(2000)]),
            "multipart/form-data; boundary=b",
            "malformed_form",
        ),
        (
            form((b'Content-Disposition: form-data; name="image"', b"x" * 5000)),
            "multipart/form-data; boundary=b",
            "image_is_text",
        ),
        (
            form((b'Content-Disposition: form-data; name="classes"', b"x" * 5000), (IMAGE_HEAD, PNG)),
            "multipart/form-data; boundary=b",
            "malformed_form",
        ),
        (form((IMAGE_HEAD, b"")), "multipart/form-data; boundary=b", "missing_image"),
        (form((IMAGE_HEAD, PNG), (IMAGE_HEAD, PNG)), "multipart/form-data; boundary=b", "several_images"),
        (
            form((IMAGE_HEAD, PNG), (IMAGE_HEAD.replace(b"image", b"mask", 1), PNG)),
            "multipart/form-data; boundary=b",
            "unexpected_file",
        ),
    ],
)
def test_a_malformed_form_is_a_400(client, body, content_type, code):
    check_fault(client.post("/v1/segment", content=body, headers={"content-type": content_type}), 400, code)


def test_a_jpeg_needs_its_end_marker_and_a_png_no_last_chunk(client):
    jpeg = as_bytes(NOISE, "JPEG")
    check_fault(client.post("/v1/segment", content=jpeg[:-2]), 422, "damaged_image")
    assert client.post("/v1/segment", content=jpeg).status_code == 200
    assert PNG[-8:-4] == b"IEND"
    assert client.post("/v1/segment", content=PNG[:-12]).status_code == 200


def test_a_text_that_is_too_long_is_named_and_not_taken_for_a_picture(client):
    response = client.post("/v1/segment", files={"image": ("x.png", PNG)}, data={"classes": "red," * 1500})
    error = check_fault(response, 400, "malformed_form")
    assert error["message"] == "The text field 'classes' is longer than 4096 bytes."


def test_a_wrong_field_name_is_answered_with_the_right_one(client):
    error = check_fault(client.post("/v1/segment", files={"file": ("x.png", PNG)}), 400, "missing_image")
    assert "'file'" in error["message"]
    assert "image=@" in error["hint"]


@pytest.mark.parametrize("text", ["http://localhost:1/x.png", "file:///etc/passwd", "/etc/passwd", "x.png", "", "AAAA"])
def test_a_text_in_the_file_field_is_refused_and_never_fetched_or_opened(client, text, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise RuntimeError("the service opened a connection")

    body = form((b'Content-Disposition: form-data; name="image"', text.encode()))
    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    check_fault(client.post("/v1/segment", content=body, headers=FORM_TYPE), 400, "image_is_text")


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("format=jpeg", "'format' is 'jpeg'"),
        ("format=", "'format' is ''"),
        ("format=PNG", "'format'"),
        ("opacity=2", "'opacity' is '2'"),
        ("opacity=-0.1", "'opacity'"),
        ("opacity=nan", "'opacity'"),
        ("opacity=inf", "'opacity'"),
        ("opacity=1e999", "'opacity'"),
        ("opacity=half", "'opacity' is 'half'"),
        ("fromat=json", "'fromat' is not an option"),
        ("format=json&x=1&y=2&z=3&u=4", "more"),
        ("format=" + "a" * 5000, "..."),
        ("format=%00%0d%0a", "x00"),
        ("format=%ff%fe", "'format'"),
        ("format=<script>", "'format'"),
    ],
)
def test_an_unknown_option_or_value_is_named_with_what_is_possible(client, query, told):
    error = check_fault(client.post(f"/v1/segment?{query}", content=PNG), 422, "invalid_option")
    assert told in error["message"]
    assert len(error["message"]) < 500
    assert "format=" in error["hint"]


@pytest.mark.parametrize(
    ("field", "value"),
    [("format", "jpeg"), ("opacity", "2"), ("opacity", "\0"), ("fromat", "json"), ("format", "a" * 99)],
)
def test_the_same_holds_for_options_in_the_form(client, field, value):
    response = client.post("/v1/segment", files={"image": ("x.png", PNG)}, data={field: value})
    assert repr(field) in check_fault(response, 422, "invalid_option")["message"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_another_method_is_a_405_that_names_the_right_one(client, method):
    response = client.request(method, "/v1/segment", content=PNG)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    if method != "HEAD":
        check_fault(response, 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/", "GET, HEAD, POST"),
        ("/huggingface", "POST"),
        ("/v1/model", "GET, HEAD"),
        ("/ui/page.css", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
    ],
)
def test_every_method_of_a_path_is_named_whatever_route_it_belongs_to(client, path, allowed):
    response = client.delete(path)
    check_fault(response, 405, "method_not_allowed")
    assert response.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path",
    [
        "/v1",
        "/v1/segment/",
        "/v3",
        "/nope",
        "/v1/..%2f..%2fetc/passwd",
        "/%2e%2e/etc/passwd",
        "/" + "a" * 5000,
        "/docs",
    ],
)
def test_an_unknown_path_is_a_404_that_tells_where_to_go(client, path):
    error = check_fault(client.post(path, content=PNG), 404, "not_found")
    assert "/v1/segment" in error["hint"]


def test_a_body_without_a_length_is_counted_as_it_comes(client):
    def chunks():
        for _ in range(MAX_BODY // 1000 + 1):
            yield bytes(1000)

    check_fault(client.post("/v1/segment", content=chunks()), 413, "body_too_large")


def test_a_body_longer_than_its_declared_length_is_counted_all_the_same(client):
    response = client.post("/v1/segment", content=bytes(MAX_BODY + 1), headers={"content-length": "10"})
    check_fault(response, 413, "body_too_large")


def test_a_length_beyond_the_limit_is_refused_before_the_body(client):
    response = client.post("/v1/segment", content=PNG, headers={"content-length": "9" * 5000})
    check_fault(response, 413, "body_too_large")


@pytest.mark.parametrize("length", ["-5", "ten", "1e3", "²"])
def test_a_length_that_is_no_number_is_a_400(client, length):
    response = client.post("/v1/segment", content=PNG, headers={"content-length": length.encode()})
    check_fault(response, 400, "bad_request")


def test_before_its_model_is_loaded_the_service_says_so(tiny_bundle):
    station = Station(Settings())
    early = TestClient(Guard(create_app(station), lambda: station.model_version))
    for method, path in (("POST", "/v1/segment"), ("GET", "/v1/model"), ("GET", "/v1/labels"), ("GET", "/readyz")):
        response = early.request(method, path)
        check_fault(response, 503, "not_ready")
        assert response.headers["retry-after"] == "1"
    assert early.get("/livez").status_code == 200
    station.close()


class BrokenPredictor(Predictor):
    """A predictor with a fault that nobody foresaw."""

    def predict(self, image, **options):
        if image.shape == (20, 30, 3):
            raise ZeroDivisionError("secret detail of /srv/model/runtime/predictor.py")
        return super().predict(image, **options)


def test_an_unforeseen_fault_is_one_json_500_without_details_and_a_log_entry_with_the_id(tiny_bundle, caplog):
    station = Station(Settings())
    station.open(BrokenPredictor(tiny_bundle))
    broken = TestClient(Guard(create_app(station), lambda: station.model_version))
    with caplog.at_level("INFO", logger="bentoml.fcn"):
        response = broken.post("/v1/segment", content=PNG, headers={"x-request-id": "find-me"})
    error = check_fault(response, 500, "internal")
    assert "secret" not in response.text
    assert "X-Request-Id" in error["hint"]
    failed, line = [record for record in caplog.records if record.name == "bentoml.fcn"]
    assert "find-me" in failed.getMessage()
    assert failed.exc_info[0] is ZeroDivisionError
    assert "id=find-me" in line.getMessage()
    assert "status=500" in line.getMessage()
    assert "error=internal" in line.getMessage()
    # The slot is free again, and the next picture is answered.
    assert station.admission.taken == 0
    assert broken.post("/v1/segment", content=as_bytes(NOISE)).status_code == 200
    station.close()


def hostile_bodies():
    """About 200 raw bodies: cut, flipped, spliced and mislabelled pictures, and things that are none."""
    random = np.random.default_rng(7)
    pictures = {
        "png": as_bytes(NOISE),
        "palette": as_bytes(NOISE[..., 0]),
        "jpeg": as_bytes(NOISE, "JPEG"),
        "webp": as_bytes(NOISE, "WEBP"),
        "tiff": as_bytes(NOISE, "TIFF"),
        "lzw": as_bytes(NOISE, "TIFF", compression="tiff_lzw"),
        "gif": as_bytes(NOISE[..., 0], "GIF"),
        "bmp": as_bytes(NOISE, "BMP"),
        "ppm": as_bytes(NOISE, "PPM"),
    }
    for name, data in pictures.items():
        for share in (0.01, 0.1, 0.3, 0.6, 0.9, 0.999):
            yield f"{name} cut at {share}", data[: max(1, int(len(data) * share))]
        for seed in range(10):
            flipped = bytearray(data)
            places = random.integers(0, min(len(data), 200 if seed % 2 else len(data)), 8)
            for place in places:
                flipped[place] ^= 1 << int(random.integers(8))
            yield f"{name} flipped {seed}", bytes(flipped)
        yield f"{name} behind a html page", b"<html><script>alert(1)</script></html>" + data
        yield f"{name} before a zip", data + b"PK\x03\x04" + bytes(50)
        yield f"{name} twice", data + data
        yield f"{name} head on noise", data[:64] + random.bytes(2000)
    for other in pictures:
        yield f"png head on {other}", pictures["png"][:16] + pictures[other][16:]
    for size in (1, 2, 3, 7, 64, 5000):
        yield f"{size} random bytes", random.bytes(size)
    yield "zeros", bytes(1000)
    yield "gif of 65535", b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(30)
    yield "bmp of 2^31", b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 2**31 - 1, -(2**31), 1, 24, 0) + bytes(24)
    yield "png of 0x0", png_of_size(0, 0)
    yield "png of 2^31", png_of_size(2**31 - 1, 2**31 - 1)
    yield "tiff that points at itself", b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + b"\0" * 12 + struct.pack("<I", 8)
    yield "ppm without an end", b"P6 " + b"1" * 5000
    yield "ppm of text", b"P3 3 3 255 " + b"999999 " * 27
    text = b"Comment\0\0" + zlib.compress(bytes(20_000_000), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    yield "text bomb in png", pictures["png"][:33] + chunk + pictures["png"][33:]
    yield "python pickle", b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93."
    yield "shell", b"#!/bin/sh\nrm -rf /\n"


HOSTILE = dict(hostile_bodies())


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_body_is_answered_without_a_5xx_or_a_leak(client, name):
    check_survived(client.post("/v1/segment?format=json", content=HOSTILE[name]))


def check_survived(response):
    assert response.status_code in (200, 400, 413, 415, 422), response.text
    if response.status_code != 200:
        check_fault(response, response.status_code, response.json()["error"]["code"])


def hostile_forms():
    """Forms and headers that no browser sends."""
    good = form((IMAGE_HEAD, PNG))
    yield "odd charset", good, "multipart/form-data; boundary=b; charset=punycode"
    yield "quoted boundary", good, 'multipart/form-data; boundary="b"'
    yield "half-quoted boundary", good, 'multipart/form-data; boundary="b'
    yield "two boundaries", good, "multipart/form-data; boundary=c; boundary=b"
    yield "boundary of spaces", good, 'multipart/form-data; boundary="   "'
    yield "mixed", good, "multipart/mixed; boundary=b"
    yield "capitals", good, "MULTIPART/FORM-DATA; BOUNDARY=b"
    yield "semicolons", good, "multipart/form-data" + ";" * 5000
    yield "path for a filename", good.replace(b"x.png", b"../../../etc/passwd"), FORM_TYPE["content-type"]
    yield "zero byte in a name", good.replace(b'"image"', b'"im\0age"'), FORM_TYPE["content-type"]
    yield "name in bad utf-8", good.replace(b'"image"', b'"\xff\xfe"'), FORM_TYPE["content-type"]
    yield (
        "base64",
        good.replace(b"image/png", b"image/png\r\nContent-Transfer-Encoding: base64"),
        FORM_TYPE["content-type"],
    )
    yield "preamble", b"hello\r\n" + good, FORM_TYPE["content-type"]
    yield "epilogue", good + b"--b\r\n" * 100, FORM_TYPE["content-type"]
    yield "bare line feeds", good.replace(b"\r\n", b"\n"), FORM_TYPE["content-type"]
    yield "nearly boundaries", form((IMAGE_HEAD, b"\r\n--" * 30_000)), FORM_TYPE["content-type"]
    yield "returns", form((IMAGE_HEAD, b"\r" * 150_000)), FORM_TYPE["content-type"]
    yield "empty parts", b"--b\r\n\r\n\r\n" * 5000 + b"--b--", FORM_TYPE["content-type"]
    yield (
        "form within",
        form((b'Content-Disposition: form-data; name="image"\r\nContent-Type: multipart/mixed; boundary=c', good)),
        FORM_TYPE["content-type"],
    )
    yield "json", b'{"image": "http://localhost/x.png"}', "application/json"
    yield "pickle", b"\x80\x04.", "application/vnd.bentoml+pickle"
    yield "url-encoded", b"image=http%3A%2F%2Flocalhost%2Fx.png", "application/x-www-form-urlencoded"


FORMS = {name: (body, content_type) for name, body, content_type in hostile_forms()}


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_is_answered_without_a_5xx_or_a_leak(client, name):
    body, content_type = FORMS[name]
    check_survived(client.post("/v1/segment?format=json", content=body, headers={"content-type": content_type}))
