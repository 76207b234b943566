"""The door of Label Studio: what its own code sends, what it makes of the answers, and what is refused."""

import base64
import io
import json
import socket

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays
from PIL import Image
from starlette.testclient import TestClient

from data.errors import ImageError
from model.runtime.brush import encode_brush
from model.runtime.predictor import Predictor
from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station

CONFIG = """
<View>
  <Image name="photo" value="$url" zoom="true"/>
  <BrushLabels name="areas" toName="photo">
    <Label value="red" background="#f00"/><Label value="Green"/><Label value="sky"/>
  </BrushLabels>
</View>
"""


def as_bytes(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


def data_url(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


def mask_of(region, read_brush):
    shape = region["original_height"], region["original_width"], 4
    colours = read_brush(region["value"]["rle"]).reshape(shape)
    assert (colours == colours[..., :1]).all()
    return colours[..., 3]


@given(arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_a_mask_survives_the_brush(read_brush, mask):
    values = read_brush(encode_brush(mask).tolist()).reshape(*mask.shape, 4)
    np.testing.assert_array_equal(values[..., 3], mask * np.uint8(255))


def test_the_bytes_are_those_of_label_studios_own_encoder():
    """What mask2rle of label-studio-converter 0.0.59 writes for this mask."""
    mask = np.array([[0, 0, 0, 0], [0, 1, 1, 1], [1, 0, 0, 0]], dtype=np.bool_)
    assert encode_brush(mask).tolist() == [0, 0, 0, 48, 57, 27, 254, 19, 0, 191, 255, 108, 0]


@pytest.mark.parametrize("run", [1, 2, 3, 4, 5, 64, 65, 16383, 16384, 16385, 32768, 32769, 100_000])
def test_a_run_of_any_length_is_read_back(read_brush, run):
    mask = np.zeros((1, run + 3), dtype=np.bool_)
    mask[0, 2 : 2 + run] = True
    np.testing.assert_array_equal(read_brush(encode_brush(mask).tolist())[3::4], mask[0] * np.uint8(255))


def test_many_runs_are_packed_in_parts_as_if_at_once(monkeypatch):
    mask = np.random.default_rng(3).integers(0, 2, (60, 70)).astype(np.bool_)
    whole = encode_brush(mask)
    for at_once in (1, 7, 1000):
        monkeypatch.setattr("model.runtime.brush._AT_ONCE", at_once)
        np.testing.assert_array_equal(encode_brush(mask), whole)
    with pytest.raises(ImageError, match="at most 100 are written"):
        encode_brush(mask, 100)


def test_label_studio_finds_the_backend_and_its_version(served, tiny_bundle):
    version = tiny_bundle.manifest.version
    assert httpx.get(f"{served}/health", timeout=30).json()["status"] == "UP"
    assert httpx.get(f"{served}/versions", timeout=30).json() == {"versions": [version]}
    request = {
        "project": "7.1700000000",
        "schema": CONFIG,
        "hostname": "http://localhost:8080",
        "access_token": "x",
        "extra_params": None,
    }
    assert httpx.post(f"{served}/setup", json=request, timeout=30).json() == {"model_version": version}


def ask(served, tasks, config=CONFIG):
    request = {
        "tasks": tasks,
        "project": "7.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": None},
    }
    return httpx.post(f"{served}/predict", json=request, timeout=30)


def test_a_task_gets_a_brush_for_every_label_of_the_project(served, tiny_bundle, picture, picture_labels, read_brush):
    answer = ask(served, [{"id": 5, "data": {"url": data_url(as_bytes(picture))}, "annotations": []}])
    assert answer.headers["content-type"] == "application/json"
    (prediction,) = answer.json()["results"]
    assert prediction["model_version"] == tiny_bundle.manifest.version
    assert 0.9 < prediction["score"] <= 1
    red, green = prediction["result"]
    assert (red["value"]["brushlabels"], green["value"]["brushlabels"]) == (["red"], ["Green"])
    for index, region in ((1, red), (2, green)):
        assert (region["type"], region["value"]["format"]) == ("brushlabels", "rle")
        assert (region["from_name"], region["to_name"], region["image_rotation"]) == ("areas", "photo", 0)
        np.testing.assert_array_equal(mask_of(region, read_brush), np.where(picture_labels == index, 255, 0))
    assert red["id"] != green["id"]


def test_without_a_configuration_every_class_has_its_own_name(served, picture):
    (prediction,) = ask(served, [{"data": {"image": data_url(as_bytes(picture))}}], None).json()["results"]
    names = [region["value"]["brushlabels"][0] for region in prediction["result"]]
    assert names == ["background", "red", "green", "blue"]


def test_what_cannot_be_answered_has_its_own_reason_and_the_rest_its_answer(served, picture):
    good = data_url(as_bytes(picture))
    values = [
        (good, None),
        ("/data/upload/1/street.jpg", "image_is_text"),
        ("http://localhost:8080/data/upload/1/street.jpg", "image_is_text"),
        ("s3://bucket/street.jpg", "image_is_text"),
        ("../../etc/passwd", "image_is_text"),
        ("data:image/png;base64,!", "malformed_base64"),
        (data_url(b"hello"), "unsupported_image"),
        (data_url(as_bytes(picture)[:80]), "damaged_image"),
        (data_url(as_bytes(np.zeros((600, 600, 3), np.uint8))), "image_too_large"),
        (None, "missing_image"),
        (7, "missing_image"),
        (good, None),
    ]
    results = ask(served, [{"id": index, "data": {"url": value}} for index, (value, _) in enumerate(values)]).json()
    for (_, code), result in zip(values, results["results"], strict=True):
        # Label Studio stores what has a "result" and writes the rest into its log.
        assert ("result" in result) is (code is None)
        if code is not None:
            assert result["error"]["code"] == code
            assert set(result["error"]) == {"code", "message", "hint"}
    assert "--format label-studio" in results["results"][1]["error"]["hint"]
    assert ask(served, [7, {}, {"data": 7}]).json()["results"][0]["error"]["code"] == "missing_image"


def test_an_address_in_a_task_is_never_fetched(served):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.3)
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/x.png"
        ask(served, [{"data": {"url": address}}])
        httpx.post(f"{served}/setup", json={"schema": CONFIG, "hostname": address}, timeout=30)
        config = f'<!DOCTYPE v SYSTEM "{address}"><View/>'
        assert httpx.post(f"{served}/setup", json={"schema": config}, timeout=30).status_code == 422
        with pytest.raises(TimeoutError):
            listening.accept()


@pytest.mark.parametrize(
    "config",
    [
        7,
        ["<View/>"],
        "<View>",
        "no xml",
        "<View/>",
        "\ud800",
        '<?xml version="1.0" encoding="klingon"?><View/>',
        "<View><Image name='a' value='$a'/><PolygonLabels name='b' toName='a'/></View>",
        "<View><BrushLabels name='b' toName='a'><Label value='red'/></BrushLabels></View>",
        "<View><Image name='a' value='/x.png'/><BrushLabels name='b' toName='a'/></View>",
        "<View><Image name='a' value='$'/><BrushLabels name='b' toName='a'><Label value='red'/></BrushLabels></View>",
        "<View><Image name='a' value='$a'/><BrushLabels name='b' toName='a'><Label value='sky'/></BrushLabels></View>",
        "<!DOCTYPE v [<!ENTITY a 'aaaaaaaa'><!ENTITY b '&a;&a;&a;&a;'>]><View>&b;</View>",
        "<View>" * 15_000,
        "<View>" * 7_000 + "</View>" * 7_000,
        "<View a='" + "x" * 200_000 + "'/>",
    ],
)
def test_a_project_that_cannot_be_served_is_told_at_setup_and_at_predict(served, config):
    body = json.dumps({"schema": config, "label_config": config, "tasks": []})
    for path in ("setup", "predict"):
        answer = httpx.post(f"{served}/{path}", content=body, timeout=30)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "unusable_label_config"), answer.text


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "malformed_json"),
        (b"[]", 400, "malformed_json"),
        (b"{}", 400, "malformed_tasks"),
        (b'{"tasks": {}}', 400, "malformed_tasks"),
        (json.dumps({"tasks": [0] * 1001}).encode(), 413, "too_many_images"),
        (bytes(3_000_001), 413, "body_too_large"),
    ],
)
def test_a_broken_request_is_a_fault_of_the_client(served, body, status, code):
    answer = httpx.post(f"{served}/predict", content=body, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_annotations_of_people_are_acknowledged_and_nothing_is_learnt(served):
    answer = httpx.post(f"{served}/webhook", json={"action": "ANNOTATION_CREATED"}, timeout=30)
    assert (answer.status_code, answer.json()["status"]) == (200, "ignored")


def test_a_ragged_answer_is_a_fault_of_its_task(tiny_bundle, noise, monkeypatch):
    monkeypatch.setattr("service.label_studio.MAX_RUNS", 50)
    station = Station(Settings(precision="f32"))
    station.open(Predictor(tiny_bundle, station.settings.engine_config()))
    client = TestClient(Guard(create_app(station), lambda: None))
    answer = client.post("/predict", json={"tasks": [{"data": {"image": data_url(as_bytes(noise(40, 50)))}}]})
    assert answer.json()["results"][0]["error"]["code"] == "unusable_image"
    station.close()
