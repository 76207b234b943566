"""What the service answers to good requests; expected label maps are known by hand."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco
from starlette.testclient import TestClient

from data.drawing import overlay
from data.limits import MAX_PIXELS
from model.runtime.predictor import Predictor, Segmentation
from service.guard import Guard
from service.images import overlay_answer
from service.masks import json_answer
from service.options import SegmentOptions
from service.routes import create_app
from service.settings import Settings
from service.station import Station


@pytest.fixture(scope="module")
def client(tiny_bundle):
    station = Station(Settings(precision="f32"))
    station.open(Predictor(tiny_bundle, station.settings.engine_config()))
    yield TestClient(Guard(create_app(station), lambda: station.model_version))
    station.close()


def as_bytes(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def as_labels(response):
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    answer = Image.open(io.BytesIO(response.content))
    assert answer.mode == "P"
    return np.asarray(answer)


def test_a_form_is_answered_with_the_label_map_as_palette_png(client, picture, picture_labels):
    response = client.post("/v1/segment", files={"image": ("x.png", as_bytes(picture), "image/png")})
    np.testing.assert_array_equal(as_labels(response), picture_labels)


def test_the_palette_holds_the_class_colours(client, picture):
    response = client.post("/v1/segment", content=as_bytes(picture))
    palette = Image.open(io.BytesIO(response.content)).getpalette()
    assert palette[:12] == [0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "image/png",
        "image/jpeg",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "application/json",
        "text/plain; charset=utf-8",
        "nonsense",
    ],
)
def test_a_raw_body_is_told_by_its_bytes_whatever_its_header_says(client, picture, picture_labels, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    response = client.post("/v1/segment", content=as_bytes(picture), headers=headers)
    np.testing.assert_array_equal(as_labels(response), picture_labels)


@pytest.mark.parametrize("declared", ["image/jpeg", "application/octet-stream", "text/html"])
def test_a_file_in_a_form_is_told_by_its_bytes_as_well(client, picture, picture_labels, declared):
    response = client.post("/v1/segment", files={"image": ("x.gif", as_bytes(picture), declared)})
    np.testing.assert_array_equal(as_labels(response), picture_labels)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "GIF", "WEBP"])
def test_every_lossless_kind_gives_the_same_label_map(client, picture, picture_labels, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    response = client.post("/v1/segment", content=as_bytes(picture, kind, **options))
    np.testing.assert_array_equal(as_labels(response), picture_labels)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (31, 33), (64, 64)])
def test_the_label_map_has_the_size_of_the_picture(client, size):
    image = np.full((*size, 3), (0, 0, 255), dtype=np.uint8)
    assert (as_labels(client.post("/v1/segment", content=as_bytes(image))) == np.full(size, 3)).all()


def test_the_label_map_lies_over_the_picture_as_a_viewer_shows_it(client, picture, picture_labels):
    image = Image.fromarray(picture)
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=exif)
    labels = as_labels(client.post("/v1/segment", content=buffer.getvalue()))
    np.testing.assert_array_equal(labels, np.rot90(picture_labels, -1))


def test_an_overlay_is_the_picture_under_the_class_colours(client, tiny_bundle, picture, picture_labels):
    response = client.post("/v1/segment?format=overlay&opacity=0.25", content=as_bytes(picture))
    answer = np.asarray(Image.open(io.BytesIO(response.content)))
    expected = overlay(picture, picture_labels, tiny_bundle.manifest.labels, 0.25)
    np.testing.assert_array_equal(answer, expected)


def test_an_overlay_without_opacity_is_the_picture(client, picture):
    response = client.post("/v1/segment?format=overlay&opacity=0", content=as_bytes(picture))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(response.content))), picture)


@pytest.mark.parametrize("width", [0, 1, 2, 5, 64])
def test_an_overlay_drawn_in_bands_equals_one_drawn_at_once(tiny_bundle, noise, monkeypatch, width):
    image = noise(57, 40)
    labels = np.repeat(np.repeat(image[::8, ::8, 0] % 4, 8, 0), 8, 1)[:57, :40].copy()
    labels[20:30, 5:25] = 255
    monkeypatch.setattr("data.bands.BAND_PIXELS", 40 * 7)
    answer = overlay_answer(image, labels, tiny_bundle.manifest.labels, 0.5, width)
    expected = overlay(image, labels, tiny_bundle.manifest.labels, 0.5, outline=width)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer))), expected)


# pycocotools 2.0.11 has an array class of before numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_json_names_the_classes_present_with_masks_that_pycocotools_reads(client, picture, picture_labels):
    response = client.post("/v1/segment?format=json", content=as_bytes(picture))
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert (answer["width"], answer["height"]) == (70, 50)
    assert answer["model"]["name"] == "tiny-colours"
    assert answer["model"]["version"] == response.headers["x-model-version"]
    assert [entry["name"] for entry in answer["classes"]] == ["background", "red", "green", "blue"]
    for entry in answer["classes"]:
        mask = coco.decode(entry["rle"])
        np.testing.assert_array_equal(mask, picture_labels == entry["id"])
        assert entry["pixels"] == mask.sum()
        assert entry["share"] == pytest.approx(mask.mean())
        assert 0.9 < entry["confidence"] <= 1


def test_json_leaves_out_classes_without_a_pixel(client):
    image = np.full((8, 9, 3), (0, 255, 0), dtype=np.uint8)
    (entry,) = client.post("/v1/segment?format=json", content=as_bytes(image)).json()["classes"]
    assert (entry["id"], entry["name"], entry["colour"], entry["pixels"]) == (2, "green", [0, 255, 0], 72)
    assert entry["share"] == 1
    assert entry["rle"]["size"] == [8, 9]


def test_shares_and_mean_confidences_are_those_computed_by_hand(tiny_bundle, monkeypatch):
    monkeypatch.setattr("data.bands.BAND_PIXELS", 2)
    labels = np.array([[1, 1], [2, 1]], dtype=np.uint8)
    confidence = np.array([[255, 51], [102, 0]], dtype=np.uint8)
    red, green = json_answer(Segmentation(labels, confidence), tiny_bundle.manifest, SegmentOptions()).classes
    assert (red.pixels, red.share, red.confidence) == (3, 0.75, pytest.approx(0.4))
    assert (green.pixels, green.share, green.confidence) == (1, 0.25, pytest.approx(0.4))


def test_options_can_stand_in_the_form_where_they_win_over_the_query(client, picture):
    files = {"image": ("x.png", as_bytes(picture))}
    answer = client.post("/v1/segment?format=png", files=files, data={"format": "json"})
    assert answer.json()["width"] == 70


def test_a_file_part_without_a_filename_is_taken_when_it_says_that_it_is_a_picture(client, picture, picture_labels):
    body = (
        b'--b\r\nContent-Disposition: form-data; name="image"\r\nContent-Type: image/png\r\n\r\n'
        + as_bytes(picture)
        + b"\r\n--b--\r\n"
    )
    response = client.post("/v1/segment", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    np.testing.assert_array_equal(as_labels(response), picture_labels)


def test_every_answer_tells_its_id_its_model_and_its_times(client, picture, tiny_bundle):
    response = client.post("/v1/segment", content=as_bytes(picture))
    assert len(response.headers["x-request-id"]) == 32
    assert response.headers["x-model-version"] == tiny_bundle.manifest.version
    timing = response.headers["server-timing"]
    assert [entry.split(";")[0] for entry in timing.split(", ")] == ["decode", "infer", "encode"]
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.headers["x-content-type-options"] == "nosniff"


def test_a_sane_request_id_is_kept_and_any_other_replaced(client):
    assert client.get("/v1/labels", headers={"x-request-id": "job-7.a_B"}).headers["x-request-id"] == "job-7.a_B"
    for bad in ("", "a b", "x" * 65, "<script>"):
        assert client.get("/v1/labels", headers={"x-request-id": bad}).headers["x-request-id"] != bad


def test_one_log_line_a_request_tells_id_route_status_and_time_but_no_path(client, picture, caplog):
    with caplog.at_level("INFO", logger="bentoml.fcn"):
        files = {"image": ("secret-name.png", as_bytes(picture))}
        client.post("/v1/segment", files=files, headers={"x-request-id": "log-1"})
        client.get("/some/secret%0apath")
    first, second = (record.getMessage() for record in caplog.records if record.name == "bentoml.fcn")
    assert "id=log-1" in first
    assert "method=POST route=/v1/segment status=200 ms=" in first
    assert "route=other status=404" in second
    assert "secret" not in first + second


def test_the_model_card_tells_labels_scores_engine_and_limits(client, tiny_bundle):
    card = client.get("/v1/model").json()
    assert card["name"] == "tiny-colours"
    assert card["version"] == tiny_bundle.manifest.version
    assert card["labels"][1] == {"id": 1, "name": "red", "colour": [255, 0, 0]}
    assert card["scores"]["miou"] == 0.75
    assert card["provenance"] == {"run": "tests/conftest.py"}
    assert card["engine"] == {"name": "openvino", "precision": "f32", "tail": "graph"}
    assert card["limits"]["max_pixels"] == MAX_PIXELS


def test_the_labels_stand_alone_as_well(client):
    names = [entry["name"] for entry in client.get("/v1/labels").json()["labels"]]
    assert names == ["background", "red", "green", "blue"]


@pytest.mark.parametrize("path", ["/", "/healthz", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs.json"])
def test_pages_probes_metrics_and_documents_answer(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1/model", "/readyz"])
def test_head_is_get_without_a_body(client, path):
    response = client.head(path)
    assert response.status_code == 200
    assert response.content == b""
    assert response.headers["content-length"] == client.get(path).headers["content-length"]


def test_the_page_asks_nothing_of_other_hosts(client):
    page = client.get("/").text
    assert "http://" not in page
    assert "https://" not in page
    assert "curl" in page


def test_metrics_count_by_route_and_never_by_path(client, picture):
    client.post("/v1/segment", content=as_bytes(picture))
    for number in range(20):
        client.get(f"/no/such/path/{number}")
    text = client.get("/metrics").text
    assert 'bentoml_service_request_total{endpoint="/v1/segment",http_response_code="200"' in text
    assert 'endpoint="other",http_response_code="404"' in text
    assert "/no/such" not in text
    assert 'fcn_class_pixels_total{class="red"}' in text
    assert 'fcn_stage_seconds_count{stage="infer"}' in text
    assert "fcn_requests_in_progress 0.0" in text


@pytest.mark.parametrize("path", ["/openapi.json", "/docs.json"])
def test_the_documents_are_logged_by_their_own_names(client, path, caplog):
    with caplog.at_level("INFO", logger="bentoml.fcn"):
        client.get(path)
    assert f" route={path} " in caplog.text


def test_the_openapi_document_describes_bodies_answers_and_faults(client):
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/v1/segment"]["post"]
    body = operation["requestBody"]["content"]
    assert body["multipart/form-data"]["schema"]["required"] == ["image"]
    assert set(body["multipart/form-data"]["schema"]["properties"]) == {"image", *SegmentOptions.model_fields}
    assert body["application/octet-stream"]["schema"]["format"] == "binary"
    assert {parameter["name"] for parameter in operation["parameters"]} == set(SegmentOptions.model_fields)
    assert set(operation["responses"]["200"]["content"]) == {"image/png", "application/json"}
    for status in ("400", "408", "413", "415", "422", "500", "503", "504"):
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        assert schema["$ref"] == "#/components/schemas/ErrorAnswer"
    assert "HTTPValidationError" not in json.dumps(document["paths"]["/v1/segment"])
