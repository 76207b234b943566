"""Every door that reads JSON: good documents with something wrong in them are never answered with a 5xx."""

from __future__ import annotations

import base64
import copy
import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from model.runtime.predictor import Predictor
from service.guard import Guard
from service.routes import create_app
from service.settings import Settings
from service.station import Station

CONFIG = (
    "<View><Image name='a' value='$url'/><BrushLabels name='b' toName='a'><Label value='red'/></BrushLabels></View>"
)


def picture() -> str:
    buffer = io.BytesIO()
    Image.fromarray(np.full((2, 2, 3), 255, dtype=np.uint8)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PIXELS = {"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [7] * 12, "parameters": {}}
FILES = {"name": "image", "datatype": "BYTES", "shape": [2], "data": [picture(), picture()]}
OUTPUT = {"name": "label_map", "parameters": {"binary_data": True, "classification": 0}}
PARAMETERS = {"threshold": 0.1, "mask_threshold": 0.1, "overlap_mask_area_threshold": 0, "subtask": "semantic"}
TASKS = [{"id": 1, "data": {"url": f"data:image/png;base64,{picture()}"}}, {"id": 2, "data": {"url": "/data/x.png"}}]
GOOD = [
    ("/", {"inputs": picture(), "parameters": PARAMETERS}),
    ("/v2/models/fcn-segmenter/infer", {"id": "7", "inputs": [PIXELS], "outputs": [OUTPUT, {"name": "confidence"}]}),
    ("/v2/models/fcn-segmenter/infer", {"inputs": [FILES], "parameters": {"binary_data_output": True}}),
    ("/setup", {"project": "1.2", "schema": CONFIG, "extra_params": None}),
    ("/predict", {"tasks": TASKS, "project": "1.2", "label_config": CONFIG, "params": {"context": None}}),
]
WORDS = st.sampled_from(
    ["image", "UINT8", "BYTES", "label_map", "instance", picture(), "http://127.0.0.1:9/", "<View/>"]
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS | WORDS | st.integers(-2, 300),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def places(value):
    """Every container within a value with every key or index in it."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


@st.composite
def damaged(draw, good):
    """A document with up to two of its values replaced, or left out."""
    document = copy.deepcopy(good)
    for _ in range(draw(st.integers(0, 2))):
        found = list(places(document))
        if found:
            holder, key = found[draw(st.integers(0, len(found) - 1))]
            if draw(st.booleans()):
                holder[key] = draw(VALUES)
            else:
                del holder[key]
    return document


@pytest.fixture(scope="module")
def client(tiny_bundle):
    station = Station(Settings(precision="f32", max_body_bytes=100_000, max_pixels=10_000))
    station.open(Predictor(tiny_bundle, station.settings.engine_config()))
    yield TestClient(Guard(create_app(station), lambda: station.model_version))
    station.close()


def test_the_documents_that_are_damaged_below_are_good(client):
    for door, document in GOOD:
        response = client.post(door, json=document)
        assert response.status_code == 200, response.text


@pytest.mark.parametrize(("door", "good"), GOOD)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), length=st.none() | st.integers(0, 400), tail=st.binary(max_size=16))
def test_a_damaged_document_is_answered_without_a_5xx(client, door, good, data, length, tail):
    body = json.dumps(data.draw(damaged(good))).encode()
    headers = {} if length is None else {"Inference-Header-Content-Length": str(len(body) if length > 200 else length)}
    response = client.post(door, content=body + (tail if headers else b""), headers=headers)
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert "error" in response.json()
