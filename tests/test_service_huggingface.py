"""The door of Hugging Face clients, asked by their own client against a real server."""

import base64
import io
import json
import threading

import httpx
import numpy as np
import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from PIL import Image

from model.runtime.predictor import Segmentation
from service.huggingface import Parameters, _segments
from service.pipeline import Watch


def as_bytes(array, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def client(served, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))  # no token of a person's own is looked for
    return InferenceClient(model=served)


def masks_of(segments):
    return {segment.label: np.asarray(segment.mask) for segment in segments}


def check_masks(segments, picture_labels):
    assert [segment.label for segment in segments] == ["background", "red", "green", "blue"]
    for index, segment in enumerate(segments):
        assert segment.mask.mode == "L"
        np.testing.assert_array_equal(np.asarray(segment.mask), np.where(picture_labels == index, 255, 0))
        assert 0.9 < segment.score <= 1


def test_the_client_gets_a_mask_and_a_score_for_every_class_of_bytes(client, picture, picture_labels):
    check_masks(client.image_segmentation(as_bytes(picture)), picture_labels)


def test_the_client_sends_a_path_a_file_and_a_picture_as_well(client, picture, picture_labels, tmp_path):
    path = tmp_path / "street.png"
    path.write_bytes(as_bytes(picture))
    check_masks(client.image_segmentation(str(path)), picture_labels)
    check_masks(client.image_segmentation(path), picture_labels)
    with path.open("rb") as file:
        check_masks(
            InferenceClient(model=f"{client.model}/huggingface").image_segmentation(file.read()), picture_labels
        )


def test_parameters_come_as_json_with_the_picture_in_base64(client, picture, picture_labels):
    segments = client.image_segmentation(
        as_bytes(picture), threshold=0.1, mask_threshold=0.2, overlap_mask_area_threshold=0.5, subtask="semantic"
    )
    check_masks(segments, picture_labels)


def test_classes_below_the_threshold_are_left_out(client, noise):
    image = as_bytes(noise(40, 50))
    every = client.image_segmentation(image)
    limit = sorted(segment.score for segment in every)[1]
    kept = client.image_segmentation(image, threshold=limit)
    assert {segment.label for segment in kept} == {segment.label for segment in every if segment.score >= limit}
    assert len(kept) < len(every)
    assert client.image_segmentation(image, threshold=1.0) == []


def test_pixels_below_the_mask_threshold_are_black(client, noise):
    image = as_bytes(noise(40, 50))
    whole = masks_of(client.image_segmentation(image))
    sure = masks_of(client.image_segmentation(image, mask_threshold=0.7))
    assert all((sure[label] <= whole[label]).all() for label in sure)
    assert 0 < sum(int((mask > 0).sum()) for mask in sure.values()) < 40 * 50


def test_score_and_mask_are_those_computed_by_hand():
    labels = np.array([[1, 1], [2, 1]], dtype=np.uint8)
    confidence = np.array([[255, 51], [102, 204]], dtype=np.uint8)

    segmentation = Segmentation(labels, confidence)

    def answer(**parameters):
        segments = _segments(segmentation, ("a", "b", "c"), Parameters(**parameters), Watch(threading.Event()))
        return [json.loads(segment) for segment in segments]

    b, c = answer()
    assert (b["label"], b["score"]) == ("b", pytest.approx(2 / 3))
    assert (c["label"], c["score"]) == ("c", pytest.approx(0.4))
    (b,) = answer(mask_threshold=0.8)  # 204 of 255 is 0.8 itself, and stays
    assert b["score"] == pytest.approx(0.9)
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(b["mask"]))))
    assert mask.tolist() == [[255, 0], [0, 255]]
    assert [segment["label"] for segment in answer(threshold=0.5)] == ["b"]


def test_a_small_jpeg_whose_base64_looks_like_a_path_is_a_picture(client):
    image = as_bytes(np.full((5, 6, 3), (255, 0, 0), dtype=np.uint8), "JPEG")
    assert base64.b64encode(image).startswith(b"/9j/")
    (segment,) = client.image_segmentation(image, threshold=0.1)
    assert (segment.label, segment.mask.size) == ("red", (6, 5))


@pytest.mark.parametrize("subtask", ["instance", "panoptic"])
def test_other_subtasks_are_refused_with_what_is_possible(client, picture, subtask):
    with pytest.raises(HfHubHTTPError, match="subtask=semantic") as caught:
        client.image_segmentation(as_bytes(picture), subtask=subtask)
    assert caught.value.response.status_code == 422


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"no picture", 415, "unsupported_image"),
        (as_bytes(np.zeros((30, 40, 3), np.uint8))[:60], 422, "damaged_image"),
        (as_bytes(np.zeros((600, 600, 3), np.uint8)), 413, "image_too_large"),
        (bytes(3_000_001), 413, "body_too_large"),
    ],
)
def test_the_client_tells_what_is_wrong_with_a_picture(client, body, status, code):
    for parameters in ({}, {"threshold": 0.1}):
        with pytest.raises(HfHubHTTPError, match=code) as caught:
            client.image_segmentation(body, **parameters)
        assert caught.value.response.status_code == status


GOOD = base64.b64encode(as_bytes(np.zeros((3, 4, 3), np.uint8))).decode()


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"{" * 100_000, 400, "malformed_json"),
        (b'{"inputs":' + b"[" * 100_000, 400, "malformed_json"),
        (b'{"inputs": "\xff"}', 400, "malformed_json"),
        (b'{"inputs": ' + b"9" * 5000 + b"}", 400, "malformed_json"),
        (b'{"inputs": NaN}', 400, "malformed_json"),
        (b'{"inputs": [' + b"{}," * 900_000 + b"{}]}", 400, "malformed_json"),
        (b"{}", 400, "missing_image"),
        (b'{"inputs": null}', 400, "missing_image"),
        (b'{"inputs": ""}', 400, "missing_image"),
        (b'{"inputs": ["a"]}', 400, "missing_image"),
        (b'{"inputs": "http://127.0.0.1:9/x.png"}', 400, "image_is_text"),
        (b'{"inputs": "/etc/passwd"}', 400, "image_is_text"),
        (b'{"inputs": "file:///etc/passwd"}', 400, "image_is_text"),
        (b'{"inputs": "not base64!"}', 400, "malformed_base64"),
        (b'{"inputs": "\\ud800"}', 400, "malformed_base64"),
        (b'{"inputs": "data:image/png,abc"}', 400, "malformed_base64"),
        (b'{"inputs": "aGVsbG8="}', 415, "unsupported_image"),
        (json.dumps({"inputs": GOOD, "parameters": []}).encode(), 422, "invalid_option"),
        (json.dumps({"inputs": GOOD, "parameters": {"threshold": 2}}).encode(), 422, "invalid_option"),
        (json.dumps({"inputs": GOOD, "parameters": {"threshold": {}}}).encode(), 422, "invalid_option"),
        (json.dumps({"inputs": GOOD, "parameters": {"top_k": 2}}).encode(), 422, "invalid_option"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/huggingface"])
def test_a_broken_document_is_a_fault_of_the_client(served, path, document, status, code):
    answer = httpx.post(served + path, content=document, timeout=30)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_document_may_have_null_parameters_a_data_url_and_fields_of_other_tasks(served):
    for document in (
        {"inputs": GOOD},
        {"inputs": f"data:image/png;base64,{GOOD}", "parameters": None, "options": {"wait_for_model": True}},
        {"inputs": GOOD, "parameters": {"subtask": None, "threshold": None}},
    ):
        (segment,) = httpx.post(served, json=document, timeout=30).json()
        assert (segment["label"], set(segment)) == ("background", {"label", "score", "mask"})
        assert isinstance(segment["score"], float)  # the JavaScript client refuses null
