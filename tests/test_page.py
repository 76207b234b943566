"""The page at /, in a real browser against a real server: pictures come in by every way, their classes are right."""

import base64
import io
import json
import struct
import subprocess
import zlib

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.conftest import TINY_LABELS
from tests.serving import serving_bundle

# Half red, a third green, a sixth blue: the order of the legend.
LABELS = np.ones((60, 90), dtype=np.uint8)
LABELS[30:, :60] = 2
LABELS[30:, 60:] = 3
NAMES = ["red", "green", "blue"]


def coloured(labels):
    """The picture that the tiny bundle labels so, with somewhat dirty colours."""
    palette = np.asarray(TINY_LABELS.palette, dtype=np.uint8)
    return np.where(palette[labels] > 0, 235, 18).astype(np.uint8)


def as_bytes(array, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def as_rgb(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture(scope="module")
def site(tiny_bundle, tmp_path_factory):
    """The address of a server with no settings but its bundle."""
    with serving_bundle(tiny_bundle, tmp_path_factory.mktemp("site")) as running:
        yield running.url


@pytest.fixture
def photo(tmp_path):
    """A picture's file with a name that a shell has to be told of carefully."""
    path = tmp_path / "my street's photo.png"
    path.write_bytes(as_bytes(coloured(LABELS)))
    return path


@pytest.fixture
def page(open_window, site):
    return open_window().open(site)


def choose(page, path):
    page.set_input_files("#file", path)
    expect(page.locator("#panel")).to_be_visible()


def point_at(page, x, y, shape=LABELS.shape):
    """Move the mouse to the middle of a pixel."""
    box = page.locator("#frame").bounding_box()
    height, width = shape
    page.mouse.move(box["x"] + (x + 0.5) / width * box["width"], box["y"] + (y + 0.5) / height * box["height"])


def canvas(page, name):
    """A canvas as RGBA, shape (H, W, 4)."""
    url = page.evaluate("id => document.getElementById(id).toDataURL()", name)
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))).convert("RGBA"))


def settled(page):
    """Wait until what was asked for is painted."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def legend_names(page):
    return page.locator("#legend .name").all_text_contents()


def shown_alphas(page):
    """The overlay's opacity within each class, 0 to 255."""
    settled(page)
    alpha = canvas(page, "overlay")[..., 3]
    return [int(alpha[15, 45]), int(alpha[45, 30]), int(alpha[45, 75])]


def test_a_chosen_picture_gets_its_classes_by_share_with_colours(page, photo):
    choose(page, photo)
    assert legend_names(page) == NAMES
    assert page.locator("#legend .share").all_text_contents() == ["50.0 %", "33.3 %", "16.7 %"]
    swatches = page.locator("#legend .swatch").evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )
    assert swatches == ["rgb(255, 0, 0)", "rgb(0, 255, 0)", "rgb(0, 0, 255)"]
    assert page.locator("#size").text_content().startswith("90 × 60 pixels, answered in ")
    for stage in ("decode", "infer", "encode"):
        assert stage in page.locator("#timing").text_content()
    assert "3 classes: red 50.0 %" in page.locator("#spoken").text_content()


def test_the_model_in_service_is_named_with_its_version_and_score(page, tiny_bundle):
    expect(page.locator("#model")).to_contain_text("val mIoU 75.0 %")
    words = page.locator("#model").text_content()
    assert tiny_bundle.manifest.name in words
    assert tiny_bundle.manifest.version in words


def test_a_dropped_picture_is_taken(page, photo):
    transfer = page.evaluate_handle(
        """text => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
            return transfer;
        }""",
        base64.b64encode(photo.read_bytes()).decode(),
    )
    page.dispatch_event("body", "dragenter", {"dataTransfer": transfer})
    assert page.locator("#drop").is_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})
    assert not page.locator("#drop").is_visible()
    expect(page.locator("#panel")).to_be_visible()
    assert legend_names(page) == NAMES
    assert "@dropped.png" in page.locator("#command").text_content()


def test_a_pasted_picture_is_taken_and_pasted_words_are_refused(open_window, site, photo):
    page = open_window(permissions=("clipboard-read", "clipboard-write")).open(site)
    copy = """async ([text, kind]) => {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        await navigator.clipboard.write([new ClipboardItem({[kind]: new Blob([bytes], {type: kind})})]);
    }"""
    page.evaluate(copy, [base64.b64encode(b"https://example.com/a.png").decode(), "text/plain"])
    page.keyboard.press("Control+V")
    expect(page.locator("#notice")).to_contain_text("holds no picture")
    page.evaluate(copy, [base64.b64encode(photo.read_bytes()).decode(), "image/png"])
    page.keyboard.press("Control+V")
    expect(page.locator("#panel")).to_be_visible()
    assert legend_names(page) == NAMES
    assert page.locator("#notice").text_content() == ""
    # The shell line needs a file, and the clipboard is none: the page offers it.
    with page.expect_download() as download:
        page.get_by_role("link", name="Picture").click()
    assert download.value.suggested_filename == "pasted.png"
    np.testing.assert_array_equal(as_rgb(download.value.path().read_bytes()), coloured(LABELS))


def test_a_picture_is_taken_from_the_camera(open_window, site):
    page = open_window(permissions=("camera",)).open(site)
    page.get_by_role("button", name="Use the camera").click()
    page.get_by_role("button", name="Take the picture").click()
    expect(page.locator("#panel")).to_be_visible()
    assert len(legend_names(page)) >= 1
    assert "@camera.jpg" in page.locator("#command").text_content()
    assert page.evaluate("document.getElementById('camera-video').srcObject") is None
    with page.expect_download() as download:
        page.get_by_role("link", name="Picture").click()
    assert download.value.path().read_bytes().startswith(b"\xff\xd8")  # JPEG


def test_a_camera_that_is_not_allowed_leaves_the_page_usable(page, photo):
    page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#notice")).to_contain_text("not allowed")
    choose(page, photo)
    assert legend_names(page) == NAMES


def test_pointing_tells_the_class_and_confidence_of_the_very_pixel(page, photo, site):
    choose(page, photo)
    response = httpx.post(f"{site}/v1/segment?format=confidence", content=photo.read_bytes(), timeout=30)
    confidence = np.asarray(Image.open(io.BytesIO(response.content)))
    for x, y in [(0, 0), (89, 0), (45, 29), (45, 30), (59, 30), (60, 30), (0, 59), (89, 59)]:
        point_at(page, x, y)
        name = TINY_LABELS.names[LABELS[y, x]]
        assert page.locator("#tip b").text_content() == name
        assert page.locator("#tip").is_visible()
        sure = f"{round(confidence[y, x] / 255 * 100)} %"
        assert page.locator("#readout").text_content() == f"{name}, {sure} sure, at {x}, {y}"
        assert page.locator("#legend .under-pointer .name").text_content() == name
    page.mouse.move(2, 2)
    assert not page.locator("#tip").is_visible()


def test_classes_are_toggled_shown_alone_and_all_at_once(page, photo):
    choose(page, photo)
    half = 128
    assert shown_alphas(page) == [half, half, half]
    page.locator("#legend .class", has_text="green").click()
    assert shown_alphas(page) == [half, 0, half]
    assert page.locator("#legend .class", has_text="green").get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="only blue").click()
    assert shown_alphas(page) == [0, 0, half]
    page.get_by_role("button", name="only blue").click()
    assert shown_alphas(page) == [half, half, half]
    page.get_by_role("button", name="None").click()
    assert shown_alphas(page) == [0, 0, 0]
    assert page.get_by_role("button", name="Cut-out").is_disabled()
    page.get_by_role("button", name="All").click()
    assert shown_alphas(page) == [half, half, half]
    point_at(page, 45, 15)
    page.locator("#legend .class", has_text="red").click()
    point_at(page, 45, 15)
    assert page.locator("#readout").text_content().endswith("(hidden)")


def test_the_slider_changes_what_is_seen(page, photo):
    choose(page, photo)
    page.mouse.move(2, 2)

    def seen(opacity):
        page.locator("#opacity").fill(str(opacity))
        settled(page)
        shot = as_rgb(page.locator("#frame").screenshot()).astype(int)
        return shot[shot.shape[0] // 4, shot.shape[1] // 2]

    np.testing.assert_allclose(seen(0), (235, 18, 18), atol=3)
    np.testing.assert_allclose(seen(50), (245, 9, 9), atol=3)
    np.testing.assert_allclose(seen(100), (255, 0, 0), atol=3)


def test_the_shell_line_run_gives_the_bytes_of_the_download_and_what_is_on_screen(page, photo):
    choose(page, photo)
    page.locator("#opacity").fill("70")
    page.locator("#legend .class", has_text="green").click()
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Overlay").click()
    line = page.locator("#command").text_content()
    subprocess.run(["bash", "-c", line], cwd=photo.parent, check=True, timeout=30, capture_output=True)
    name = "my street's photo-overlay.png"
    assert download.value.suggested_filename == name
    assert download.value.path().read_bytes() == (photo.parent / name).read_bytes()

    asked = as_rgb((photo.parent / name).read_bytes()).astype(float)
    picture, overlay = canvas(page, "picture").astype(float), canvas(page, "overlay").astype(float)
    alpha = overlay[..., 3:] / 255
    on_screen = overlay[..., :3] * alpha + picture[..., :3] * (1 - alpha)
    np.testing.assert_allclose(on_screen, asked, atol=3)


def test_the_view_of_confidence_is_the_services_own_and_so_is_its_shell_line(page, tmp_path, noise):
    path = tmp_path / "noise.png"
    path.write_bytes(as_bytes(noise(40, 60)))
    choose(page, path)
    page.locator("#legend .class", has_text="green").click()
    page.get_by_role("radio", name="Confidence").check()
    settled(page)
    line = page.locator("#command").text_content()
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, timeout=30, capture_output=True)
    asked = np.asarray(Image.open(tmp_path / "noise-confidence.png"))
    assert len(np.unique(asked)) > 20
    overlay = canvas(page, "overlay")
    np.testing.assert_array_equal(overlay[..., 3], 255)
    for channel in range(3):
        np.testing.assert_array_equal(overlay[..., channel], asked)
    assert page.locator("#opacity").is_disabled()
    page.get_by_role("radio", name="Classes").check()
    assert page.locator("#opacity").is_enabled()


def test_without_a_class_neither_confidence_nor_cut_out_is_offered_and_the_page_says_why(page, photo):
    choose(page, photo)
    confidence, cut_out = (page.locator(f"[data-format={form}]") for form in ("confidence", "rgba"))
    why = page.get_by_text("No class is shown")
    assert not why.is_visible()
    page.get_by_role("button", name="None").click()
    assert confidence.is_disabled()
    assert cut_out.is_disabled()
    assert why.is_visible()
    assert "format=overlay&opacity=0" in page.locator("#command").text_content()  # the picture, as on screen
    assert page.locator("#copy").is_enabled()
    page.get_by_role("radio", name="Confidence").check()
    settled(page)
    assert not canvas(page, "overlay")[..., :3].any()
    assert page.locator("#command").text_content().startswith("# Show a class")
    assert page.locator("#copy").is_disabled()
    page.get_by_role("button", name="only blue").click()
    assert not why.is_visible()
    assert "format=confidence&classes=blue" in page.locator("#command").text_content()
    for button in (confidence, cut_out, page.locator("#copy")):
        assert button.is_enabled()


def test_a_download_that_ends_does_not_offer_what_has_gone_meanwhile(page, photo):
    choose(page, photo)
    none = "document.getElementById('none').click()"
    with page.expect_download():
        page.evaluate(f"document.querySelector('[data-format=confidence]').click(), {none}")
    settled(page)
    assert page.locator("[data-format=confidence]").is_disabled()


def test_the_shell_line_is_copied(open_window, site, photo):
    page = open_window(permissions=("clipboard-read", "clipboard-write")).open(site)
    choose(page, photo)
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("#command").text_content()


def test_downloads_hold_what_their_names_say(page, photo):
    choose(page, photo)
    page.get_by_role("button", name="only blue").click()
    found = {}
    for button in ("Label map", "Cut-out", "JSON"):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        found[download.value.suggested_filename] = download.value.path().read_bytes()
    assert set(found) == {f"my street's photo{ending}" for ending in ("-labels.png", "-cutout.png", ".json")}
    label_map, cut_out, answer = found.values()
    with Image.open(io.BytesIO(label_map)) as opened:
        assert opened.mode == "P"
        np.testing.assert_array_equal(np.asarray(opened), LABELS)
    cut = np.asarray(Image.open(io.BytesIO(cut_out)))
    np.testing.assert_array_equal(cut[..., 3], np.where(LABELS == 3, 255, 0))
    np.testing.assert_array_equal(cut[LABELS == 3][:, :3], coloured(LABELS)[LABELS == 3])
    entries = json.loads(answer)["classes"]
    assert {entry["name"] for entry in entries} == set(NAMES)
    assert all(entry["rle"]["counts"] for entry in entries)


def test_a_photograph_taken_on_its_side_lies_under_its_own_classes(page, tmp_path):
    """EXIF orientation 6: stored lying, shown upright, by the browser and the service alike."""
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "upright.jpg"
    path.write_bytes(as_bytes(coloured(np.rot90(LABELS)), "JPEG", quality=95, subsampling=0, exif=exif))
    choose(page, path)
    assert page.locator("#size").text_content().startswith("90 × 60 pixels")
    palette = np.asarray(TINY_LABELS.palette).astype(int)
    picture = canvas(page, "picture")[..., :3].astype(int)
    assert picture.shape[:2] == LABELS.shape
    for x, y in [(45, 10), (20, 45), (80, 45), (5, 5), (85, 55)]:
        point_at(page, x, y)
        nearest = np.abs(palette - picture[y, x]).sum(axis=1).argmin()
        assert nearest == LABELS[y, x]
        assert page.locator("#tip b").text_content() == TINY_LABELS.names[nearest]


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"/></rdf:RDF></x:xmpmeta>'
)


@pytest.mark.parametrize(
    ("kind", "orientation", "as_stored"),
    [
        ("WEBP", 2, np.fliplr),
        ("WEBP", 3, lambda labels: np.rot90(labels, 2)),
        ("WEBP", 4, np.flipud),
        ("WEBP", 6, np.rot90),
        ("WEBP", "XMP", lambda labels: np.rot90(labels, 2)),
        ("JPEG", "XMP", lambda labels: np.rot90(labels, 2)),
    ],
)
def test_a_picture_that_browsers_do_not_turn_lies_under_its_own_classes(page, tmp_path, kind, orientation, as_stored):
    """Browsers follow no EXIF in WebP and no XMP anywhere; a square keeps its size, however it is turned."""
    labels = LABELS[:, :60].copy()
    labels[30:, 40:] = 3
    stored = coloured(as_stored(labels))
    exif = Image.Exif()
    exif[0x0112] = orientation
    metadata = {"xmp": XMP} if orientation == "XMP" else {"exif": exif}
    path = tmp_path / f"turned.{kind.lower()}"
    exact = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0}
    path.write_bytes(as_bytes(stored, kind, **exact, **metadata))
    choose(page, path)
    np.testing.assert_allclose(canvas(page, "picture")[..., :3].astype(int), coloured(labels), atol=30)
    for x, y in [(5, 5), (55, 5), (5, 55), (55, 55)]:
        point_at(page, x, y, labels.shape)
        assert page.locator("#tip b").text_content() == TINY_LABELS.names[labels[y, x]]


@pytest.mark.parametrize("kind", ["TIFF", "PPM"])
def test_a_picture_that_browsers_cannot_show_is_shown_as_the_service_sees_it(page, tmp_path, kind):
    path = tmp_path / f"scan.{kind.lower()}"
    path.write_bytes(as_bytes(coloured(LABELS), kind))
    choose(page, path)
    np.testing.assert_array_equal(canvas(page, "picture")[..., :3], coloured(LABELS))
    assert legend_names(page) == NAMES


def test_a_picture_larger_than_what_is_drawn_is_sent_whole_and_told_by_its_own_pixels(page, tmp_path):
    labels = np.ones((80, 3000), dtype=np.uint8)
    labels[:, 1777:] = 3
    path = tmp_path / "wide.png"
    path.write_bytes(as_bytes(coloured(labels)))
    choose(page, path)
    assert page.locator("#size").text_content().startswith("3000 × 80 pixels")
    assert canvas(page, "picture").shape[1] == 2048
    page.locator("#frame").focus()
    page.keyboard.press("ArrowRight")  # the crosshair, in the middle
    assert page.locator("#readout").text_content().endswith("at 1500, 40")
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    assert "red" in page.locator("#readout").text_content()
    assert page.locator("#readout").text_content().endswith("at 1770, 40")
    page.keyboard.press("ArrowRight")
    assert "blue" in page.locator("#readout").text_content()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("shape", [(5000, 1), (3000, 40), (40, 3000), (1, 5000)])
def test_a_picture_of_extreme_shape_stays_within_the_window_and_tells_its_own_pixels(
    open_window, site, tmp_path, shape, width
):
    page = open_window(width=width, height=800).open(site)
    height, breadth = shape
    tall, length = breadth < height, max(shape)
    labels = np.where(np.indices(shape).max(axis=0) < length // 2, 1, 3).astype(np.uint8)
    path = tmp_path / "strip.png"
    path.write_bytes(as_bytes(coloured(labels)))
    choose(page, path)
    frame, drawn = page.locator("#frame").bounding_box(), page.locator("#picture").bounding_box()
    # Room for the words and the button of a wait, and no more than the window.
    assert 144 <= frame["height"] <= 0.76 * 800 + 1
    assert 144 <= frame["width"] <= width
    for side, start in (("width", "x"), ("height", "y")):
        assert drawn[side] >= 32
        assert frame[start] <= drawn[start]
        assert drawn[start] + drawn[side] <= frame[start] + frame[side] + 0.1
    # Where the picture is, whatever its frame: three quarters along it, in its middle across.
    page.mouse.move(
        drawn["x"] + (0.5 if tall else 0.75) * drawn["width"],
        drawn["y"] + (0.75 if tall else 0.5) * drawn["height"],
    )
    assert page.locator("#tip b").text_content() == "blue"
    x, y = map(int, page.locator("#readout").text_content().partition(" at ")[2].split(", "))
    assert abs(max(x, y) - 0.75 * length) < 0.01 * length
    assert min(x, y) == min(shape) // 2
    page.mouse.down()
    cross = page.locator("#crosshair").bounding_box()
    for side, start, told, size in (("width", "x", x, breadth), ("height", "y", y, height)):
        middle = drawn[start] + (told + 0.5) / size * drawn[side]
        assert abs(cross[start] + cross[side] / 2 - middle) < 1
    page.mouse.move(  # beside it
        frame["x"] + (2 if tall else frame["width"] / 2),
        frame["y"] + (frame["height"] / 2 if tall else 2),
    )
    nearest = page.locator("#readout").text_content().partition(" at ")[2].split(", ")
    assert nearest[0 if tall else 1] == "0"


def test_a_transparent_picture_lies_on_white_as_the_service_sees_it(page, tmp_path):
    clear = np.zeros((40, 40, 4), dtype=np.uint8)
    clear[:20] = (235, 18, 18, 255)
    path = tmp_path / "clear.png"
    path.write_bytes(as_bytes(clear))
    choose(page, path)
    np.testing.assert_array_equal(canvas(page, "picture")[30, 20], (255, 255, 255, 255))


def test_everything_can_be_done_by_keyboard_alone(page, photo):
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Choose a picture"
        page.keyboard.press("Enter")
    chooser.value.set_files(photo)
    expect(page.locator("#panel")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == "frame"
    page.keyboard.press("ArrowDown")
    assert page.locator("#crosshair").is_visible()
    assert page.locator("#readout").text_content().startswith("green")
    for _ in range(2):
        page.keyboard.press("Shift+ArrowRight")
    assert page.locator("#readout").text_content().startswith("blue")
    assert page.locator("#readout").get_attribute("aria-live") == "polite"
    page.keyboard.press("Enter")
    assert shown_alphas(page) == [0, 0, 128]
    page.keyboard.press("Escape")
    assert shown_alphas(page) == [128, 128, 128]

    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("(document.activeElement.id || document.activeElement.textContent).trim()"))
        if reached[-1] == "opacity":
            page.keyboard.press("Home")
            assert shown_alphas(page) == [0, 0, 0]
            page.keyboard.press("End")
            assert shown_alphas(page) == [255, 255, 255]
        if reached[-1].startswith("green"):
            page.keyboard.press("Space")
            assert shown_alphas(page) == [255, 0, 255]
        if reached[-1] == "JSON":
            with page.expect_download():
                page.keyboard.press("Enter")
            break
    assert reached[-1] == "JSON"
    assert {
        "Another picture",
        "Camera",
        "opacity",
        "all",
        "none",
        "Label map",
        "Overlay",
        "Confidence",
        "cut-out",
    } <= set(reached)


def png_with_filter(values, number):
    """A greyscale PNG whose every row has one filter, by the PNG specification's chapter 9."""
    height, width = values.shape
    padded = np.zeros((height + 1, width + 1), dtype=int)
    padded[1:, 1:] = values
    here, left, up, corner = padded[1:, 1:], padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    estimate = left + up - corner
    choices = np.stack([left, up, corner])
    nearest = np.abs(choices - estimate).argmin(axis=0)
    paeth = np.take_along_axis(choices, nearest[None], axis=0)[0]
    guess = [np.zeros_like(here), left, up, (left + up) // 2, paeth][number]
    rows = np.concatenate([np.full((height, 1), number), (here - guess) % 256], axis=1).astype(np.uint8)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    packed = zlib.compress(rows.tobytes())
    halves = chunk(b"IDAT", packed[:50]) + chunk(b"IDAT", packed[50:])
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + halves + chunk(b"IEND", b"")


@pytest.mark.parametrize("number", range(5))
def test_the_page_reads_every_filter_of_a_greyscale_png(page, number):
    values = np.random.default_rng(number).integers(0, 256, (23, 31), dtype=np.uint8)
    png = png_with_filter(values, number)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), values)
    read = page.evaluate(
        "async text => { const {readGrey} = await import('/ui/png.js');"
        " const {width, height, data} = await readGrey(text); return [width, height, ...data]; }",
        base64.b64encode(png).decode(),
    )
    assert read[:2] == [31, 23]
    np.testing.assert_array_equal(np.reshape(read[2:], values.shape), values)
