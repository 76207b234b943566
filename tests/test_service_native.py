"""The door of BentoML's own clients, asked by them against a real server."""

import asyncio
import io
import json
import os
import pickle
import socket
import warnings
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of a package that BentoML imports
    from bentoml import AsyncHTTPClient, SyncHTTPClient
    from bentoml.exceptions import BentoMLException


def as_bytes(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def photo(picture, tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(as_bytes(picture))
    return path


@pytest.fixture
def client(served):
    with SyncHTTPClient(served) as client:
        yield client
    client._temp_dir.cleanup()  # which the client leaves to the end of the process


def test_the_client_gets_the_label_map_as_a_file(client, photo, picture_labels):
    for answer in (client.segment(image=photo), client.segment(photo), client.segment(image=str(photo))):
        assert isinstance(answer, Path)
        assert answer.suffix == ".png"
        with Image.open(answer) as label_map:
            assert label_map.mode == "P"
            np.testing.assert_array_equal(np.asarray(label_map), picture_labels)


def test_the_client_sends_a_picture_of_pillow(client, photo, picture_labels):
    with Image.open(photo) as image, Image.open(client.segment(image=image)) as label_map:
        np.testing.assert_array_equal(np.asarray(label_map), picture_labels)


def test_options_reach_the_service_though_the_client_writes_them_as_json(client, photo, picture):
    with Image.open(client.segment(image=photo, format="overlay", opacity=0)) as overlay:
        np.testing.assert_array_equal(np.asarray(overlay), picture)
    with Image.open(client.segment(image=photo, format="label", classes=["red", "green"])) as labels:
        assert set(np.unique(labels)) == {1, 2, 255}
    answer = client.segment(image=photo, format="json", opacity=None, maps=True)
    assert answer.suffix == ".json"
    assert json.loads(answer.read_text())["width"] == 70
    assert "label_map" in json.loads(answer.read_text())


def test_the_client_gets_json_as_a_dictionary(client, photo):
    answer = client.segment_json(image=photo)
    assert [entry["name"] for entry in answer["classes"]] == ["background", "red", "green", "blue"]
    assert set(answer["classes"][0]["rle"]) == {"size", "counts"}


def test_the_asynchronous_client_works_too(served, photo, picture_labels):
    async def ask():
        # A client closes the files of all of its calls when one of them ends: calls at once need a client each.
        async with AsyncHTTPClient(served) as first, AsyncHTTPClient(served) as second:
            label_map, answer = await asyncio.gather(first.segment(image=photo), second.segment_json(image=photo))
            with Image.open(label_map) as image:
                np.testing.assert_array_equal(np.asarray(image), picture_labels)
            assert answer["height"] == 50
        for client in (first, second):
            client._temp_dir.cleanup()

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"no picture", 415, "unsupported_image"),
        (as_bytes(np.zeros((30, 40, 3), np.uint8))[:60], 422, "damaged_image"),
        (as_bytes(np.zeros((600, 600, 3), np.uint8)), 413, "image_too_large"),
        (bytes(3_100_000), 413, "body_too_large"),
        (b"", 400, "missing_image"),
    ],
)
def test_the_client_tells_what_is_wrong_with_a_picture(client, tmp_path, content, status, code):
    (tmp_path / "x.jpg").write_bytes(content)
    for call in (client.segment, client.segment_json):
        with pytest.raises(BentoMLException, match=code) as caught:
            call(image=tmp_path / "x.jpg")
        assert caught.value.error_code == status


@pytest.mark.parametrize("classes", [[1, 3], ["red", 3], ["1", "blue"], "1,3"])
def test_the_client_names_classes_by_id_or_by_name(client, photo, classes):
    answer = client.segment_json(image=photo, classes=classes)
    assert [entry["name"] for entry in answer["classes"]] == ["red", "blue"]
    with Image.open(client.segment(image=photo, format="label", classes=classes)) as labels:
        assert set(np.unique(labels)) == {1, 3, 255}


def test_one_class_can_be_named_by_its_id_alone(client, photo):
    assert [entry["name"] for entry in client.segment_json(image=photo, classes=2)["classes"]] == ["green"]


@pytest.mark.parametrize("classes", [[True], [1.5], [None], [[1]], [7], [-1]])
def test_what_is_no_class_is_refused_by_name(client, photo, classes):
    with pytest.raises(BentoMLException, match="'classes' has"):
        client.segment_json(image=photo, classes=classes)


@pytest.mark.parametrize("place", ["data", "params"])
def test_the_route_that_answers_in_json_takes_no_other_form(served, photo, place):
    files = {"image": photo.read_bytes()}
    refused = httpx.post(f"{served}/segment_json", files=files, timeout=30, **{place: {"format": "png"}})
    assert refused.status_code == 422
    assert "'format' is not an option of /segment_json" in refused.json()["error"]["message"]


def test_options_in_the_query_count_here_too_and_those_of_the_form_win(served, photo, picture_labels):
    def ask(path, **form):
        return httpx.post(served + path, files={"image": photo.read_bytes()}, data=form, timeout=30)

    labels = Image.open(io.BytesIO(ask("/segment?format=overlay&classes=red", format="label").content))
    np.testing.assert_array_equal(np.asarray(labels), np.where(picture_labels == 1, 1, 255))
    assert "rle" not in ask("/segment_json?masks=none").json()["classes"][0]
    for path in ("/segment", "/segment_json"):
        refused = ask(f"{path}?bogus=1")
        assert refused.status_code == 422
        assert "'bogus' is not an option" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    "options", [{"opacity": 7}, {"format": "gif"}, {"format": ["png", "json"]}, {"opacity": {"a": 1}}]
)
def test_the_client_tells_what_is_wrong_with_an_option(client, photo, options):
    with pytest.raises(BentoMLException, match="invalid_option"):
        client.segment(image=photo, **options)


def test_the_schema_describes_what_the_service_has_and_nothing_else(served):
    schema = httpx.get(f"{served}/schema.json", timeout=30)
    assert schema.headers["x-request-id"]
    routes = {route["name"]: route for route in schema.json()["routes"]}
    assert set(routes) == {"segment", "segment_json"}
    assert routes["segment"]["input"]["properties"]["image"]["type"] == "file"
    assert "format" not in routes["segment_json"]["input"]["properties"]


@pytest.fixture
def listener():
    """A socket that would notice anybody who fetches from it."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.3)
        yield listening


def test_an_address_in_the_place_of_a_file_is_never_fetched(client, served, listener):
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
    with pytest.raises(BentoMLException, match="image_is_text"):
        client.segment(image=address)
    for request in (
        {"files": {"image": (None, address)}},
        {"files": {"image": (None, f'"{address}"')}},
        {"data": {"image": address}},
        {"json": {"image": address}},
        {"content": address},
        {"content": address, "headers": {"content-type": "application/json"}},
        {"files": {"image": ("x.png", address.encode())}},
    ):
        for path in ("/segment", "/segment_json"):
            answer = httpx.post(served + path, timeout=30, **request)
            assert answer.status_code in (400, 415), answer.text
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [address]}
    for path, document in (
        ("/", {"inputs": address}),
        ("/huggingface", {"inputs": address, "parameters": {"threshold": 0.5}}),
        ("/v2/models/fcn-segmenter/infer", {"inputs": [tensor]}),
        ("/v1/segment", {"image": address}),
    ):
        assert httpx.post(served + path, json=document, timeout=30).status_code in (400, 415)
    with pytest.raises(TimeoutError):
        listener.accept()


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_is_unpickled(served, tmp_path):
    body = pickle.dumps({"image": Hostile(tmp_path / "made")})
    for path in ("/segment", "/segment_json", "/v1/segment"):
        headers = {"content-type": "application/vnd.bentoml+pickle"}
        assert httpx.post(served + path, content=body, headers=headers, timeout=30).status_code == 415
    assert not (tmp_path / "made").exists()
