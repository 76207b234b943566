"""The door of KServe and Triton clients: Triton's own client against a real server, and what is refused."""

import asyncio
import io
import json
import re
import struct

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as asynchronous
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient
from tritonclient.utils import InferenceServerException

from model.runtime.predictor import Predictor
from service.errors import ServiceError
from service.guard import Guard
from service.numbers import read_numbers, set_apart, write_numbers
from service.routes import create_app
from service.settings import Settings
from service.station import Station

MODEL = "tiny-colours"


def as_bytes(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def client(served):
    with triton.InferenceServerClient(served.removeprefix("http://")) as client:
        yield client


def tensor(array, binary=True, datatype="UINT8"):
    given = triton.InferInput("image", list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def test_the_client_finds_server_and_model_ready_and_their_metadata(client, tiny_bundle):
    version = tiny_bundle.manifest.version
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(MODEL)
    assert client.is_model_ready(MODEL, version)
    assert not client.is_model_ready("resnet")
    assert not client.is_model_ready(MODEL, "1")
    assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    metadata = client.get_model_metadata(MODEL, version)
    assert metadata["versions"] == [version]
    assert metadata["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert [output["name"] for output in metadata["outputs"]] == ["label_map", "confidence"]


@pytest.mark.parametrize("ask", [None, True, False], ids=["by default", "binary", "JSON"])
@pytest.mark.parametrize("send_binary", [True, False])
def test_the_client_gets_label_map_and_confidence_in_binary_and_in_json(
    client, picture, picture_labels, ask, send_binary
):
    outputs = None
    if ask is not None:
        outputs = [triton.InferRequestedOutput(name, binary_data=ask) for name in ("confidence", "label_map")]
    answer = client.infer(MODEL, [tensor(picture[None], send_binary)], outputs=outputs, request_id="job-7")
    np.testing.assert_array_equal(answer.as_numpy("label_map"), picture_labels[None])
    assert answer.as_numpy("label_map").dtype == np.uint8
    assert answer.as_numpy("confidence").shape == (1, 50, 70)
    assert answer.as_numpy("confidence").min() > 200
    assert answer.get_response()["id"] == "job-7"
    assert answer.get_response()["model_name"] == MODEL


def test_one_output_alone_can_be_asked_for(client, picture):
    answer = client.infer("fcn-segmenter", [tensor(picture)], outputs=[triton.InferRequestedOutput("label_map")])
    assert [output["name"] for output in answer.get_response()["outputs"]] == ["label_map"]


def test_a_picture_without_the_first_axis_and_a_batch_are_taken(client, picture, picture_labels, tiny_bundle):
    answer = client.infer(MODEL, [tensor(picture)], model_version=tiny_bundle.manifest.version)
    np.testing.assert_array_equal(answer.as_numpy("label_map"), picture_labels[None])
    batch = np.stack([picture, picture[::-1], picture[:, ::-1]])
    answer = client.infer(MODEL, [tensor(batch)])
    expected = np.stack([picture_labels, picture_labels[::-1], picture_labels[:, ::-1]])
    np.testing.assert_array_equal(answer.as_numpy("label_map"), expected)


def test_the_asynchronous_client_works_too(served, picture, picture_labels):
    async def ask():
        async with asynchronous.InferenceServerClient(served.removeprefix("http://")) as client:
            assert await client.is_model_ready(MODEL)
            given = asynchronous.InferInput("image", list(picture.shape), "UINT8").set_data_from_numpy(picture)
            answer = await client.infer(MODEL, [given])
            np.testing.assert_array_equal(answer.as_numpy("label_map")[0], picture_labels)

    asyncio.run(ask())


def test_files_of_pictures_are_taken_as_bytes(client, picture, picture_labels):
    files = np.array([as_bytes(picture), as_bytes(picture, "BMP")], dtype=object)
    answer = client.infer(MODEL, [tensor(files, datatype="BYTES")])
    np.testing.assert_array_equal(answer.as_numpy("label_map"), np.stack([picture_labels] * 2))
    answer = client.infer(MODEL, [tensor(files[:1, None], datatype="BYTES")])
    assert answer.as_numpy("label_map").shape == (1, 50, 70)


def test_files_stand_in_json_as_base64_and_alone_behind_a_length_of_zero(served, picture, picture_labels):
    import base64

    url = f"{served}/v2/models/{MODEL}/infer"
    text = base64.b64encode(as_bytes(picture)).decode()
    document = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}]}
    answer = httpx.post(url, json=document, timeout=30).json()
    assert answer["outputs"][0]["data"] == picture_labels.ravel().tolist()
    raw = httpx.post(url, content=as_bytes(picture), headers={"Inference-Header-Content-Length": "0"}, timeout=30)
    length = int(raw.headers["Inference-Header-Content-Length"])
    label_map = np.frombuffer(raw.content[length : length + 3500], dtype=np.uint8).reshape(50, 70)
    np.testing.assert_array_equal(label_map, picture_labels)


def test_nested_json_arrays_are_read_as_flat_ones(served, picture, picture_labels):
    document = {
        "inputs": [{"data": picture[None].tolist(), "name": "image", "datatype": "UINT8", "shape": [1, 50, 70, 3]}]
    }
    answer = httpx.post(f"{served}/v2/models/{MODEL}/infer", json=document, timeout=30).json()
    assert answer["outputs"][0]["data"] == picture_labels.ravel().tolist()


def test_the_client_tells_what_is_wrong(client, picture):
    for refused, told in (
        (lambda: client.infer("resnet", [tensor(picture)]), "Ask for tiny-colours"),
        (lambda: client.infer(MODEL, [tensor(picture)], model_version="7"), "no such version"),
        (lambda: client.infer(MODEL, [tensor(picture.astype(np.float32), datatype="FP32")]), "datatype 'FP32'"),
        (lambda: client.infer(MODEL, [tensor(picture[..., 0])]), r"shape \[1, 50, 70\]|shape \[50, 70\]"),
        (lambda: client.infer(MODEL, [tensor(picture), tensor(picture)]), "2 inputs"),
        (lambda: client.infer(MODEL, [tensor(np.zeros((1, 600, 600, 3), np.uint8))]), "360000 pixels; at most 250000"),
        (lambda: client.infer(MODEL, [tensor(np.zeros((65, 2, 2, 3), np.uint8))]), "65 pictures; at most 64"),
        (lambda: client.infer(MODEL, [tensor(np.zeros((1200, 1200, 3), np.uint8))]), "body has more than"),
        (lambda: client.infer(MODEL, [tensor(picture)], outputs=[triton.InferRequestedOutput("boxes")]), "'boxes'"),
        (
            lambda: client.infer(
                MODEL, [tensor(picture)], outputs=[triton.InferRequestedOutput("label_map", class_count=3)]
            ),
            "classification",
        ),
        (lambda: client.infer(MODEL, [tensor(picture)], request_compression_algorithm="gzip"), "compressed"),
        (lambda: client.infer(MODEL, [tensor(np.array([b"hello"], object), datatype="BYTES")]), "not a picture"),
        (
            lambda: client.infer(MODEL, [tensor(np.array([as_bytes(picture)[:90]], object), datatype="BYTES")]),
            "damaged",
        ),
        (
            lambda: client.infer(
                MODEL, [tensor(np.array([as_bytes(picture), as_bytes(picture[:9])], object), datatype="BYTES")]
            ),
            "another size",
        ),
        (lambda: client.get_model_metadata("resnet"), "no model of this name"),
        (lambda: client.get_model_config(MODEL), "Not Found"),
    ):
        with pytest.raises(InferenceServerException, match=told) as caught:
            refused()
        assert caught.value.status() in {"400", "404", "413", "415", "422"}


def test_shared_memory_is_never_opened(client, picture):
    given = triton.InferInput("image", [50, 70, 3], "UINT8").set_shared_memory("region", 10_500)
    with pytest.raises(InferenceServerException, match="shared memory"):
        client.infer(MODEL, [given])
    with pytest.raises(InferenceServerException, match="Not Found"):
        client.register_system_shared_memory("region", "/etc/passwd", 10)


@pytest.fixture(scope="module")
def station(tiny_bundle):
    station = Station(Settings(max_body_bytes=200_000_000, max_pixels=30_000_000, precision="f32"))
    station.open(Predictor(tiny_bundle, station.settings.engine_config()))
    yield station
    station.close()


@pytest.fixture(scope="module")
def local(station):
    return TestClient(Guard(create_app(station), lambda: station.model_version))


def infer(client, inputs, length=None, tail=b"", **document):
    body = json.dumps({"inputs": inputs, **document}).encode()
    headers = (
        {"Inference-Header-Content-Length": str(len(body)) if length is None else length} if tail or length else {}
    )
    return client.post(f"/v2/models/{MODEL}/infer", content=body + tail, headers=headers)


def one(**fields):
    return [{"name": "image", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [7] * 12, **fields}]


def binary(size, **fields):
    (given,) = one(parameters={"binary_data_size": size}, **fields)
    del given["data"]
    return [given]


@pytest.mark.parametrize(
    ("inputs", "more"),
    [
        (None, {}),
        ([], {}),
        ([7], {}),
        (one(name="input"), {}),
        (one(name=None), {}),
        (one(name={"a": 1}), {}),
        (one(datatype=None), {}),
        (one(datatype="INT8"), {}),
        (one(datatype=["UINT8"]), {}),
        (one(shape=None), {}),
        (one(shape=[]), {}),
        (one(shape=[1, 2, 2, 4]), {}),
        (one(shape=[0, 2, 2, 3]), {}),
        (one(shape=[-1, 2, -2, 3]), {}),
        (one(shape=[1, 2.0, 2, 3]), {}),
        (one(shape=[1, "2", 2, 3]), {}),
        (one(shape=[True, 2, 2, 3]), {}),
        (one(shape=[True, True, 3], data=[7] * 3), {}),
        (one(shape=[1, 1, 2, 2, 3]), {}),
        (one(shape=[10**30, 2, 2, 3]), {}),
        (one(data=[7] * 11), {}),
        (one(data=[7] * 13), {}),
        (one(data=[]), {}),
        (one(data=None), {}),
        (one(data="AAAA"), {}),
        (one(data={"a": 1}), {}),
        (one(data=[7] * 11 + [256]), {}),
        (one(data=[7] * 11 + [-1]), {}),
        (one(data=[7] * 11 + [10**4000]), {}),
        (one(data=[7] * 11 + [1.5]), {}),
        (one(data=[7] * 11 + [True]), {}),
        (one(data=[7] * 11 + ["7"]), {}),
        (one(data=[7] * 11 + [None]), {}),
        (one(parameters=[]), {}),
        (one(parameters={"binary_data_size": 12}), {}),
        (binary(11), {"tail": bytes(12)}),
        (binary(13), {"tail": bytes(12)}),
        (binary(-1), {"tail": bytes(12)}),
        (binary(12.5), {"tail": bytes(12)}),
        (binary("12"), {"tail": bytes(12)}),
        (binary(True), {"tail": bytes(1), "shape": [1]}),
        (binary(11), {"tail": bytes(11)}),
        (one(), {"tail": bytes(12)}),
        (binary(12), {"tail": bytes(12), "length": "12x"}),
        (binary(12), {"tail": bytes(12), "length": "-1"}),
        (binary(12), {"tail": bytes(12), "length": "9" * 5000}),
        (binary(12), {"tail": bytes(12), "length": "5"}),
        (binary(12), {"tail": bytes(12), "length": "99999"}),
        (one(), {"id": 7}),
        (one(), {"outputs": {"name": "label_map"}, "parameters": 7}),
        (one(), {"outputs": [7]}),
        (one(), {"outputs": [{"name": "label_map"}, {"name": "label_map"}]}),
        (one(), {"outputs": [{"name": "label_map", "parameters": {"binary_data": "yes"}}]}),
        (one(), {"outputs": [{"name": "label_map", "parameters": {"shared_memory_region": "x"}}]}),
        (one(), {"parameters": {"binary_data_output": 1}}),
        (one(datatype="BYTES", shape=[1], data=[7]), {}),
        (one(datatype="BYTES", shape=[1], data=["http://127.0.0.1/x.png"]), {}),
        (one(datatype="BYTES", shape=[1], data=["no base64!"]), {}),
        (one(datatype="BYTES", shape=[2], data=["aGVsbG8="]), {}),
        (one(datatype="BYTES", shape=[1, 2], data=["aGVsbG8=", "aGVsbG8="]), {}),
        (binary(3, datatype="BYTES", shape=[1]), {"tail": bytes(3)}),
        (binary(4, datatype="BYTES", shape=[1]), {"tail": struct.pack("<I", 9)}),
        (binary(8, datatype="BYTES", shape=[1]), {"tail": struct.pack("<II", 0, 0)}),
        (binary(4, datatype="BYTES", shape=[1]), {"tail": struct.pack("<I", 2**32 - 1)}),
    ],
)
def test_a_broken_request_is_a_fault_of_the_client_in_the_protocols_form(local, inputs, more):
    response = infer(local, inputs, **more)
    assert response.status_code in (400, 413, 415), response.text
    assert set(response.json()) == {"error"}
    assert isinstance(response.json()["error"], str)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b'{"inputs": [{"data": [1, 2', b'{"data":[1,2]', b'{"data":' * 2000, b"\xff\xfe"]
)
def test_what_is_no_document_is_a_fault_too(local, body):
    response = local.post(f"/v2/models/{MODEL}/infer", content=body)
    assert (response.status_code, type(response.json()["error"])) == (400, str)


def test_every_fault_below_v2_has_the_protocols_form(local):
    for method, path, status in (
        ("GET", "/v2/nothing", 404),
        ("POST", "/v2", 405),
        ("GET", f"/v2/models/{MODEL}/infer", 405),
        ("POST", "/v2/models/a%2Fb/infer", 404),
        ("POST", f"/v2/models/{MODEL}/versions/..%2f..%2fetc/infer", 404),
    ):
        response = local.request(method, path)
        assert (response.status_code, type(response.json()["error"])) == (status, str)


def test_an_answer_in_json_has_a_limit_and_says_how_to_get_it_all(local):
    pixels = np.zeros((2100, 2000, 3), np.uint8)
    response = infer(local, binary(pixels.size, shape=list(pixels.shape)), tail=pixels.tobytes())
    assert response.status_code == 413
    assert "binary_data_output" in response.json()["error"]


def test_before_the_model_is_loaded_the_protocol_says_so():
    station = Station(Settings())
    early = TestClient(Guard(create_app(station), lambda: None))
    for path in ("/v2/health/ready", f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/ready"):
        assert early.get(path).status_code == 503
    assert early.get("/v2/health/live").status_code == 200
    station.close()


def test_the_interpreter_is_never_held_for_more_than_a_piece(local, monkeypatch):
    """json.loads lets no other thread run until it is done; the longest text that it gets is therefore short."""
    longest = 0
    loads = json.loads

    def watched(text, **options):
        nonlocal longest
        longest = max(longest, len(text))
        return loads(text, **options)

    monkeypatch.setattr(json, "loads", watched)
    side = 700
    body = infer(local, one(shape=[1, side, side, 3], data=np.full((side, side, 3), 255, np.uint8).tolist()))
    monkeypatch.undo()
    assert body.status_code == 200
    assert body.json()["outputs"][0]["data"] == [1] * side * side
    assert longest < 100_000


@given(st.lists(st.integers(0, 255), max_size=300), st.integers(1, 40))
def test_numbers_written_are_the_numbers_read(values, piece):
    import service.numbers

    array = np.array(values, dtype=np.uint8)
    before, service.numbers._PIECE = service.numbers._PIECE, piece
    try:
        text = b"".join(write_numbers(array))
        assert json.loads(text) == values
        np.testing.assert_array_equal(read_numbers(text, len(values)), array)
        document, arrays = set_apart(b'{"a": 1, "data" : ' + text + b', "b": {"data":[]}}')
        assert sorted(arrays.values()) == sorted([text, b"[]"])
        assert json.loads(document)["data"] in arrays
    finally:
        service.numbers._PIECE = before


@pytest.mark.parametrize("text", [b"[1,,2]", b"[1 2]", b"[1][2]", b"[01,2]", b"[1,300]", b"[1]", b"[1,2,3]", b"[]"])
def test_what_is_no_array_of_that_many_bytes_is_refused(text):
    with pytest.raises(ServiceError):
        read_numbers(text, 2)


def test_keys_within_texts_are_no_arrays():
    text = b'{"id": "a \\"data\\":[1,2] b", "data\\"": [3], "x": {"data": "[1]"}, "data": 5, "Data": [1]}'
    document, arrays = set_apart(text)
    assert (document, arrays) == (text, {})
    assert json.loads(document)["data"] == 5


def sent(local, shape, data):
    body = b'{"inputs":[{"name":"image","datatype":"UINT8","shape":' + shape + b',"data":' + data + b"}]}"
    return local.post(f"/v2/models/{MODEL}/infer", content=body)


@pytest.mark.parametrize("last", [b"-6", b"4.5", b"null", b"true", b'"6"'])
@pytest.mark.parametrize("data", [b"[[[1,2,3],[4,5,%b]]]", b"[1,2,3,4,5,%b]", b"[[[1,2,3],[%b,4,5]]]"])
def test_what_is_no_whole_number_is_named_however_deep_it_stands(local, data, last):
    response = sent(local, b"[1,2,3]", data % last)
    assert response.status_code == 400
    assert "something else than whole numbers" in response.json()["error"]


@pytest.mark.parametrize(
    "data",
    [
        b"[1,2,3]]]]",
        b"[[1],[2,[3]",
        b"[1,2,3],",
        b"[1],[2,3]",
        b"[1][2,3]",
        b"[1,2],3",
        b"[1[,2,3]]",
        b"[1,2,3[]]",
        b"[1,2,3,]",
        b"[[1,2],3]]",
        b"[[[1,2,3]",
        b"]1,2,3[",
        b"[1 2,3]",
        b"[" * 3000 + b"1,2,3" + b"]" * 2999,
    ],
)
def test_what_is_no_json_is_never_taken_for_an_array(local, data):
    with pytest.raises((ValueError, RecursionError)):
        json.loads(b'{"data":' + data + b"}")
    assert sent(local, b"[1,1,3]", data).status_code == 400


@given(st.text("[]1 ,", max_size=12), st.integers(1, 5))
@example("1,]", 3)
@example("[1,2[]]]", 2)
def test_what_the_parser_refuses_is_not_taken_for_an_array_either(inner, piece):
    import service.numbers

    def taken():
        text, arrays = set_apart(document)
        json.loads(text)
        for array in arrays.values():
            read_numbers(array, len(re.findall(rb"\d+", array)))

    document = b'{"data":[' + inner.encode() + b"}"
    before, service.numbers._PIECE = service.numbers._PIECE, piece
    try:
        json.loads(document)
    except ValueError:
        with pytest.raises((ValueError, ServiceError)):
            taken()
    else:
        assert set_apart(document)[1]
    finally:
        service.numbers._PIECE = before


@pytest.mark.parametrize("indent", [None, 2, 9])
def test_an_array_is_read_however_it_is_laid_out(local, picture, picture_labels, indent):
    document = {"inputs": [{"data": picture.tolist(), "name": "image", "datatype": "UINT8", "shape": [50, 70, 3]}]}
    text = json.dumps(document, indent=indent).encode()
    assert len(set_apart(text)[1]) == 1
    response = local.post(f"/v2/models/{MODEL}/infer", content=text)
    assert response.json()["outputs"][0]["data"] == picture_labels.ravel().tolist()
