"""What each option of /v1/segment does to the answer; every expected pixel is known by hand."""

import asyncio
import base64
import io

import httpx
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from data.labels import LabelMap
from model.runtime.predictor import Predictor
from service.errors import ServiceError
from service.guard import Guard
from service.routes import create_app
from service.selection import chosen_classes
from service.settings import Settings
from service.station import Station


@pytest.fixture(scope="module")
def station(tiny_bundle):
    station = Station(Settings(precision="f32", max_pixels=1_000_000))
    station.open(Predictor(tiny_bundle, station.settings.engine_config()))
    yield station
    station.close()


@pytest.fixture(scope="module")
def client(station):
    return TestClient(Guard(create_app(station), lambda: station.model_version))


def as_bytes(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def as_image(content, mode):
    answer = Image.open(io.BytesIO(content))
    assert answer.format == "PNG"
    assert answer.mode == mode
    return np.asarray(answer)


def ask(client, image, query, mode):
    response = client.post(f"/v1/segment?{query}", content=as_bytes(image))
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/png"
    return as_image(response.content, mode)


def fault(client, query, **parts):
    response = client.post(f"/v1/segment?{query}", **(parts or {"content": as_bytes(np.zeros((4, 4, 3), np.uint8))}))
    assert response.status_code == 422, response.text
    assert response.json()["error"]["code"] == "invalid_option"
    return response.json()["error"]


RED = (255, 0, 0)


def test_label_is_a_greyscale_png_of_the_class_ids_without_a_palette(client, picture, picture_labels):
    np.testing.assert_array_equal(ask(client, picture, "format=label", "L"), picture_labels)


def test_confidence_is_a_greyscale_png_with_255_for_certainty(client):
    # Of pure red the scores are 0, 1, -1 and -1 for the four classes; the largest softmax of 8 times those
    # is 1 / (1 + e^-8 + 2 e^-16) = 0.99966. Of mid-grey, 0.5 each, black has 0 and every colour 0.
    image = np.zeros((3, 5, 3), dtype=np.uint8)
    image[:, :2] = RED
    answer = ask(client, image, "format=confidence", "L")
    assert (answer[:, :2] == 255).all()
    grey = np.full((2, 2, 3), 128, dtype=np.uint8)
    # x = 128/255: scores 0 and three times 2x - 1 = 0.00392; softmax of 8 times those: 0.2519... = 64 of 255.
    assert (ask(client, grey, "format=confidence", "L") == 64).all()


def test_rgba_is_the_picture_where_a_chosen_class_is_and_nothing_elsewhere(client, picture, picture_labels):
    answer = ask(client, picture, "format=rgba&classes=red,blue", "RGBA")
    chosen = np.isin(picture_labels, (1, 3))
    np.testing.assert_array_equal(answer[..., 3], np.where(chosen, 255, 0))
    np.testing.assert_array_equal(answer[chosen][:, :3], picture[chosen])
    assert not answer[~chosen].any()


def test_rgba_of_all_classes_is_the_whole_picture(client, picture):
    answer = ask(client, picture, "format=rgba", "RGBA")
    np.testing.assert_array_equal(answer[..., :3], picture)
    assert (answer[..., 3] == 255).all()


@pytest.mark.parametrize("form", ["png", "label"])
def test_pixels_of_classes_not_asked_for_are_255(client, picture, picture_labels, form):
    answer = ask(client, picture, f"format={form}&classes=green", "P" if form == "png" else "L")
    np.testing.assert_array_equal(answer, np.where(picture_labels == 2, 2, 255))


def test_the_palette_draws_them_in_the_ignore_colour(client, picture):
    response = client.post("/v1/segment?classes=green", content=as_bytes(picture))
    colours = np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB"))
    assert tuple(colours[0, 0]) == (224, 224, 192)
    assert tuple(colours[0, -1]) == (0, 255, 0)


def test_an_overlay_of_some_classes_leaves_the_rest_of_the_picture_plain(client, picture, picture_labels):
    answer = ask(client, picture, "format=overlay&classes=green&opacity=1", "RGB")
    np.testing.assert_array_equal(answer[picture_labels != 2], picture[picture_labels != 2])
    assert (answer[picture_labels == 2] == (0, 255, 0)).all()


def test_the_confidence_of_classes_not_asked_for_is_0(client, picture, picture_labels):
    whole = ask(client, picture, "format=confidence", "L")
    answer = ask(client, picture, "format=confidence&classes=green", "L")
    np.testing.assert_array_equal(answer, np.where(picture_labels == 2, whole, 0))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("classes=red", [1]),
        ("classes=1", [1]),
        ("classes=red,3", [1, 3]),
        ("classes=red&classes=blue", [1, 3]),
        ("classes=+red+,+blue+&classes=red", [1, 3]),
        ("classes=blue,", [3]),
        ("classes=0", [0]),
        ("classes=", [0, 1, 2, 3]),
        ("classes=background,red,green,blue", [0, 1, 2, 3]),
    ],
)
def test_classes_are_given_by_name_or_id_with_commas_or_repeated(client, picture, query, ids):
    answer = client.post(f"/v1/segment?format=json&{query}", content=as_bytes(picture)).json()
    assert [entry["id"] for entry in answer["classes"]] == ids
    assert all(entry["share"] == pytest.approx(entry["pixels"] / 3500) for entry in answer["classes"])


def test_classes_can_be_repeated_in_a_form_and_win_over_the_query(client, picture):
    files = {"image": ("x.png", as_bytes(picture))}
    data = {"classes": ["red", "blue"], "format": "json"}
    answer = client.post("/v1/segment?classes=green", files=files, data=data).json()
    assert [entry["name"] for entry in answer["classes"]] == ["red", "blue"]


def test_an_unknown_class_is_told_with_those_like_it_and_those_there_are(client):
    error = fault(client, "classes=reed,blue,Gren")
    assert "'reed'" in error["message"]
    assert "did you mean red" in error["message"]
    assert "'Gren'" in error["message"]
    assert "did you mean green" in error["message"]
    assert "background, red, green, blue" in error["hint"]
    assert "0 to 3" in error["hint"]


@pytest.mark.parametrize("text", ["4", "255", "-1", "1.0", "²", "9" * 50, "red;blue", "%00", "\u00e9" * 2000])
def test_a_class_that_is_none_is_refused_in_a_short_answer(client, text):
    error = fault(client, f"classes={text}")
    assert len(error["message"]) < 300


def test_a_name_may_hold_a_comma_and_goes_before_an_id():
    labels = LabelMap.from_names(["sky", "road, wet", "0"])
    assert np.flatnonzero(chosen_classes(["road, wet"], labels)).tolist() == [1]
    assert np.flatnonzero(chosen_classes(["0"], labels)).tolist() == [2]
    assert np.flatnonzero(chosen_classes(["1,sky"], labels)).tolist() == [0, 1]
    with pytest.raises(ServiceError):
        chosen_classes(["road"], labels)


def test_many_classes_are_told_in_short():
    labels = LabelMap.from_names([f"class number {index}" for index in range(200)])
    with pytest.raises(ServiceError) as raised:
        chosen_classes(["nothing"], labels)
    assert "180 more" in raised.value.hint
    assert len(raised.value.hint) < 500


@pytest.mark.parametrize(("value", "width"), [("true", 1), ("false", 0), ("True", 1), ("1", 1), ("0", 0), ("4", 4)])
def test_borders_of_an_overlay_have_the_width_asked_for(client, value, width):
    image = np.zeros((20, 20, 3), dtype=np.uint8)
    image[:, 10:] = RED
    answer = ask(client, image, f"format=overlay&opacity=0.5&outline={value}", "RGB")
    # Half red over red is red already, half black over black is black: only a blend of another colour shows.
    paler = image.copy()
    paler[:, 10:] = (255, 100, 100)
    answer = ask(client, paler, f"format=overlay&opacity=0.5&outline={value}", "RGB")
    pure = (answer[:, 10:] == RED).all(axis=2)
    # The border lies on the last pixel before the edge; wider ones take a pixel after it, then one before, ...
    assert pure.sum(axis=1).tolist() == [width // 2] * 20


def test_a_class_among_plain_pixels_has_its_border_all_round(client):
    image = np.zeros((9, 9, 3), dtype=np.uint8)
    image[2:7, 2:7] = (255, 100, 100)
    answer = ask(client, image, "format=overlay&classes=red&opacity=0.5", "RGB")
    pure = (answer == RED).all(axis=2)
    expected = np.zeros((9, 9), dtype=bool)
    expected[2:7, 2:7] = True
    expected[3:6, 3:6] = False
    np.testing.assert_array_equal(pure, expected)


def test_json_without_masks_holds_the_numbers_alone(client, picture):
    answer = client.post("/v1/segment?format=json&masks=none", content=as_bytes(picture)).json()
    assert set(answer) == {"width", "height", "model", "classes"}
    assert all(set(entry) == {"id", "name", "colour", "pixels", "share", "confidence"} for entry in answer["classes"])
    assert [entry["pixels"] for entry in answer["classes"]] == [25 * 35] * 4


def test_json_with_maps_holds_what_label_and_confidence_give(client, picture):
    query = "format=json&masks=none&maps=true&classes=red,green"
    answer = client.post(f"/v1/segment?{query}", content=as_bytes(picture)).json()
    for key, form in (("label_map", "label"), ("confidence_map", "confidence")):
        alone = client.post(f"/v1/segment?format={form}&classes=red,green", content=as_bytes(picture))
        assert base64.b64decode(answer[key], validate=True) == alone.content


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("outline=-1", "'outline' is '-1'"),
        ("outline=65", "'outline' is '65'"),
        ("outline=thick", "'outline' is 'thick'"),
        ("outline=1.5", "'outline'"),
        ("maps=1", "'maps' is '1'"),
        ("maps=yes", "'maps' is 'yes'"),
        ("masks=svg", "'masks' is 'svg'"),
        ("tolerance=-1", "'tolerance'"),
        ("tolerance=nan", "'tolerance'"),
        ("min_area=-1", "'min_area'"),
        ("min_area=2.5", "'min_area'"),
        ("min_area=99999999999999999999", "'min_area'"),
        ("resize=640", "'resize' is '640'"),
        ("resize=0x5", "'resize'"),
        ("resize=5x", "'resize'"),
        ("resize=longest:0", "'resize'"),
        ("resize=1000001x1", "'resize'"),
        ("min_aera=3", "did you mean min_area"),
        ("format=png&format=json", "'format' is given 2 times"),
    ],
)
def test_an_option_that_cannot_be_is_named_with_what_is_possible(client, query, told):
    error = fault(client, query)
    assert told in error["message"]
    possible = "format=png, label, overlay, confidence, rgba, json"
    for part in (possible, "opacity=0 to 1", "outline=true, false or 0 to 64"):
        assert part in error["hint"]


def test_an_option_twice_in_a_form_is_a_422_as_well(client, picture):
    head = b'--b\r\nContent-Disposition: form-data; name="format"\r\n\r\npng\r\n' * 2
    body = (
        head
        + b'--b\r\nContent-Disposition: form-data; name="image"; filename="x"\r\n\r\n'
        + as_bytes(picture)
        + b"\r\n--b--\r\n"
    )
    headers = {"content-type": "multipart/form-data; boundary=b"}
    error = fault(client, "", content=body, headers=headers)
    assert "'format' is given 2 times" in error["message"]


def test_wrong_options_of_the_query_are_told_before_the_body_is_read(station):
    read = 0

    async def body():
        nonlocal read
        read += 1
        yield bytes(1000)

    async def ask_it():
        transport = httpx.ASGITransport(create_app(station))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/v1/segment?classes=nobody", content=body())

    assert asyncio.run(ask_it()).status_code == 422
    assert read == 0


def test_an_option_that_does_not_go_with_the_format_is_checked_and_has_no_effect(client, picture, picture_labels):
    np.testing.assert_array_equal(ask(client, picture, "opacity=0.3&tolerance=5&masks=polygon", "P"), picture_labels)
    fault(client, "format=png&opacity=7")


def test_equal_questions_have_equal_strong_tags_and_others_do_not(client, picture):
    def tag(query="", image=picture, **headers):
        response = client.post(f"/v1/segment?{query}", content=as_bytes(image), headers=headers)
        assert response.status_code == 200
        return response.headers["etag"]

    first = tag()
    assert first.startswith('"')
    assert first.endswith('"')
    assert tag() == tag("format=png") == tag("opacity=0.50") == first
    others = [tag("format=label"), tag("min_area=1"), tag("classes=red"), tag(image=picture[:, ::-1])]
    assert len({first, *others}) == 5
    # A form asks the same question in another dress.
    form = client.post("/v1/segment", files={"image": ("y.png", as_bytes(picture))}, data={"format": "png"})
    assert form.headers["etag"] == first


def test_a_tag_follows_from_the_precision_too(client, tiny_bundle, picture):
    other = Station(Settings(engine="onnxruntime", precision="f32"))
    other.open(Predictor(tiny_bundle, other.settings.engine_config()))
    elsewhere = TestClient(create_app(other)).post("/v1/segment", content=as_bytes(picture))
    here = client.post("/v1/segment", content=as_bytes(picture))
    other.close()
    assert elsewhere.headers["etag"] != here.headers["etag"]


def test_a_post_is_answered_in_full_whatever_tag_the_client_has(client, picture):
    tag = client.post("/v1/segment", content=as_bytes(picture)).headers["etag"]
    for value in (tag, "*", f'W/{tag}, "other"'):
        response = client.post("/v1/segment", content=as_bytes(picture), headers={"if-none-match": value})
        assert response.status_code == 200
        assert response.content


@pytest.mark.parametrize("path", ["/v1/model", "/v1/labels"])
def test_what_seldom_changes_is_a_304_for_who_has_it(client, path):
    first = client.get(path)
    tag = first.headers["etag"]
    for value in (tag, f"W/{tag}", f'"a,b", {tag}', "*"):
        again = client.get(path, headers={"if-none-match": value})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == tag
        assert client.head(path, headers={"if-none-match": value}).status_code == 304
    for value in ('"other"', "", tag.strip('"'), tag[:-2] + '"'):
        assert client.get(path, headers={"if-none-match": value}).content == first.content
    assert client.head(path).headers["etag"] == tag


@pytest.mark.parametrize(
    ("query", "shape"),
    [("resize=35x25", (25, 35)), ("resize=longest:35", (25, 35)), ("resize=7x100", (100, 7)), ("resize=", (50, 70))],
)
@pytest.mark.parametrize("form", ["png", "label", "overlay", "confidence", "rgba"])
def test_the_answer_has_the_size_asked_for_in_every_format(client, picture, query, shape, form):
    response = client.post(f"/v1/segment?format={form}&{query}", content=as_bytes(picture))
    assert Image.open(io.BytesIO(response.content)).size == shape[::-1]


def test_a_smaller_answer_has_the_class_that_covers_most_of_each_pixel(client, picture, picture_labels):
    answer = ask(client, picture, "resize=14x10", "P")
    np.testing.assert_array_equal(answer, picture_labels[2::5, 2::5])
    image = np.zeros((3, 9, 3), dtype=np.uint8)
    image[:, :2] = image[:, 3:4] = RED
    assert ask(client, image, "format=label&resize=3x1", "L").tolist() == [[1, 0, 0]]


def test_json_and_its_maps_have_the_size_asked_for(client, picture):
    answer = client.post("/v1/segment?format=json&maps=true&resize=longest:14", content=as_bytes(picture)).json()
    assert (answer["width"], answer["height"]) == (14, 10)
    assert [entry["pixels"] for entry in answer["classes"]] == [35] * 4
    assert answer["classes"][0]["rle"]["size"] == [10, 14]
    assert as_image(base64.b64decode(answer["label_map"]), "L").shape == (10, 14)


def test_an_overlay_and_a_cut_out_show_the_picture_at_the_size_asked_for(client, picture):
    answer = ask(client, picture, "format=rgba&resize=14x10&classes=red", "RGBA")
    assert (answer[:5, :7] == (250, 10, 0, 255)).all()
    assert not answer[5:].any()
    plain = ask(client, picture, "format=overlay&resize=14x10&opacity=0", "RGB")
    np.testing.assert_array_equal(plain, picture[2::5, 2::5])


def test_an_answer_has_no_more_pixels_than_a_picture_may_have(client, picture):
    assert client.post("/v1/segment?resize=1000x1000", content=as_bytes(picture)).status_code == 200
    error = fault(client, "resize=1001x1000", content=as_bytes(picture))
    assert "1001x1000 = 1001000 pixels" in error["message"]
    assert "1000000" in error["hint"]
    # The longer side is known, the shorter one follows from the picture: 70x50.
    assert client.post("/v1/segment?resize=longest:1183", content=as_bytes(picture)).status_code == 200
    assert "'resize' is 'longest:1184'" in fault(client, "resize=longest:1184", content=as_bytes(picture))["message"]


def test_the_shorter_side_never_falls_to_nought(client):
    image = np.zeros((2, 900, 3), dtype=np.uint8)
    assert ask(client, image, "resize=longest:3", "P").shape == (1, 3)


def test_small_pieces_go_to_the_class_around_them(client):
    image = np.zeros((12, 12, 3), dtype=np.uint8)
    image[2:6, 2:6] = RED
    image[8:10, 8:10] = (0, 0, 255)
    assert set(np.unique(ask(client, image, "min_area=4", "P"))) == {0, 1, 3}
    assert set(np.unique(ask(client, image, "min_area=5", "P"))) == {0, 1}
    assert set(np.unique(ask(client, image, "min_area=17", "P"))) == {0}
    # Counted in the answer's pixels, and before classes are chosen.
    assert set(np.unique(ask(client, image, "min_area=4&resize=6x6", "P"))) == {0, 1}
    assert set(np.unique(ask(client, image, "min_area=5&classes=blue", "P"))) == {255}


def test_json_with_polygons_holds_the_mask_of_each_class_in_pixels_of_the_answer(client, picture):
    query = "format=json&masks=polygon&tolerance=0&classes=red,blue"
    answer = client.post(f"/v1/segment?{query}", content=as_bytes(picture)).json()
    red, blue = answer["classes"]
    assert "rle" not in red
    assert red["polygon"] == {
        "type": "MultiPolygon",
        "coordinates": [[[[0, 0], [35, 0], [35, 25], [0, 25], [0, 0]]]],
    }
    assert blue["polygon"]["coordinates"] == [[[[0, 25], [35, 25], [35, 50], [0, 50], [0, 25]]]]
    small = client.post(f"/v1/segment?{query}&resize=14x10", content=as_bytes(picture)).json()
    assert small["classes"][0]["polygon"]["coordinates"] == [[[[0, 0], [7, 0], [7, 5], [0, 5], [0, 0]]]]
