"""The page at / when things go wrong, on a phone, in the dark, without scripts; and how its files are sent."""

import contextlib
import hashlib
import re
import socket
import time
from html.parser import HTMLParser
from pathlib import Path

import httpx
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from service.keys import new_key
from tests.browser import PLAIN_HOST
from tests.serving import serving_bundle

UI = Path(__file__).resolve().parent.parent / "service" / "ui"
KEY = new_key()


@pytest.fixture
def photo(tmp_path, picture):
    path = tmp_path / "photo.png"
    Image.fromarray(picture).save(path)
    return path


@pytest.fixture
def nonsense(tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("These are no pixels but words.")
    return path


@pytest.fixture(scope="module")
def guarded(tiny_bundle, tmp_path_factory):
    """A server that asks for a key and receives one body at a time."""
    entry = f"tester:{hashlib.sha256(KEY.encode()).hexdigest()}"
    settings = {"FCN_API_KEYS": entry, "FCN_RECEIVING": "1", "FCN_MIN_UPLOAD_RATE": "1"}
    with serving_bundle(tiny_bundle, tmp_path_factory.mktemp("guarded"), **settings) as running:
        yield running.url


@contextlib.contextmanager
def the_only_place_taken(url):
    """A sender that began at full speed, keeps its place for that, and sends no more until the block ends."""
    host, port = url.removeprefix("http://").split(":")
    key = {"X-API-Key": KEY}
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /v1/segment HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Length: 1000000\r\n\r\n"
        connection.sendall(head.encode() + bytes(200_000))
        deadline = time.monotonic() + 30
        while "fcn_requests_receiving 1.0" not in httpx.get(f"{url}/metrics", headers=key, timeout=30).text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield


def unlock(page):
    page.get_by_label("API key").fill(KEY)
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#model")).to_contain_text("tiny-colours")


def test_a_file_that_is_no_picture_is_told_in_words_and_the_page_goes_on(open_window, served, nonsense, photo):
    window = open_window()
    page = window.open(served)
    window.foresee("status of 415")
    page.set_input_files("#file", nonsense)
    fault = page.get_by_role("alert")
    expect(fault).to_contain_text("no picture the service can read")
    expect(fault).to_contain_text("Send a JPEG, PNG")
    assert re.search(r"415 · unsupported_image · request [0-9a-f]{32}$", page.locator("#fault-trace").text_content())
    assert page.locator("#welcome").is_visible()
    assert not page.locator("#fault-again").is_visible()
    page.set_input_files("#file", photo)
    expect(page.locator("#panel")).to_be_visible()
    assert not fault.is_visible()


def test_a_result_stays_when_the_next_file_is_no_picture(open_window, served, nonsense, photo):
    window = open_window()
    page = window.open(served)
    window.foresee("status of 415")
    page.set_input_files("#file", photo)
    expect(page.locator("#panel")).to_be_visible()
    page.set_input_files("#file", nonsense)
    expect(page.get_by_role("alert")).to_be_visible()
    assert page.locator("#panel").is_visible()
    page.get_by_role("button", name="only red").click()
    assert "classes=red" in page.locator("#command").text_content()


def test_a_file_beyond_the_limit_is_told_before_it_is_sent(open_window, served, tmp_path):
    window = open_window()
    page = window.open(served)
    expect(page.locator("#limits")).to_contain_text("Up to 3 MB")
    path = tmp_path / "large.png"
    path.write_bytes(bytes(3_000_001))
    page.set_input_files("#file", path)
    expect(page.get_by_role("alert")).to_contain_text("the service takes up to 3 MB")
    assert not any("/v1/segment" in url for url in window.requests)


def test_a_picture_of_too_many_pixels_is_told_by_the_service(open_window, served, tmp_path, photo):
    window = open_window()
    page = window.open(served)
    window.foresee("status of 413")
    path = tmp_path / "many.png"
    Image.new("L", (600, 600)).save(path)
    page.set_input_files("#file", path)
    expect(page.get_by_role("alert")).to_contain_text("too large")
    expect(page.locator("#fault-trace")).to_contain_text("413 · image_too_large · request ")
    page.set_input_files("#file", photo)
    expect(page.locator("#panel")).to_be_visible()


def test_something_dropped_that_is_no_file_is_refused_in_words(open_window, served):
    page = open_window().open(served)
    link = page.evaluate_handle(
        "() => { const all = new DataTransfer(); all.setData('text/uri-list', 'https://example.com/'); return all; }"
    )
    page.dispatch_event("body", "drop", {"dataTransfer": link})
    expect(page.locator("#notice")).to_contain_text("addresses are not fetched")


def test_a_key_is_asked_for_used_and_kept_for_the_tab_alone(open_window, guarded, photo):
    window = open_window()
    page = window.open(guarded)
    window.foresee("status of 401")
    expect(page.get_by_label("API key")).to_be_focused()
    page.set_input_files("#file", photo)  # before there is a key: it waits for one
    page.get_by_label("API key").fill("not-the-key")
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#key-title")).to_have_text("This key was not accepted")
    unlock(page)
    expect(page.locator("#panel")).to_be_visible()
    line = page.locator("#command").text_content()
    assert '-H "X-API-Key: $API_KEY"' in line
    assert KEY not in page.content()
    with page.expect_download():
        page.get_by_role("button", name="Label map").click()
    page.reload()
    expect(page.locator("#model")).to_contain_text("tiny-colours")
    assert not page.locator("#key").is_visible()
    assert not page.get_by_role("link", name="Every route").is_visible()  # it would get a 401: links carry no key
    assert page.evaluate("[localStorage.length, document.cookie, location.href]") == [0, "", f"{guarded}/"]


def test_a_busy_service_is_waited_for(open_window, guarded, photo):
    window = open_window()
    page = window.open(guarded)
    window.foresee("status of 401")
    unlock(page)
    window.foresee("status of 503")
    with the_only_place_taken(guarded):
        page.set_input_files("#file", photo)
        expect(page.locator("#waiting")).to_contain_text("as many bodies as it takes")
        expect(page.locator("#waiting")).to_contain_text(re.compile(r"Trying again in \d+ s"))
        assert not page.locator("#panel").is_visible()
    expect(page.locator("#panel")).to_be_visible()
    assert not page.locator("#waiting").is_visible()


def test_waiting_for_a_busy_service_can_be_cut_short_or_given_up(open_window, guarded, photo):
    window = open_window()
    page = window.open(guarded)
    window.foresee("status of 401")
    unlock(page)
    window.foresee("status of 503")
    page.clock.install()
    page.clock.pause_at(page.evaluate("Date.now()") / 1000 + 1)  # no time passes, so only the button ends the wait
    with the_only_place_taken(guarded):
        page.set_input_files("#file", photo)
        expect(page.get_by_role("button", name="Try now")).to_be_visible()
        with page.expect_response("**/v1/segment?*") as second:
            page.get_by_role("button", name="Try now").click()
        assert second.value.status == 503
        expect(page.get_by_role("button", name="Try now")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        assert page.locator("#welcome").is_visible()
    asked = len(window.requests)
    page.clock.run_for(60_000)
    assert len(window.requests) == asked
    assert not page.locator("#panel").is_visible()


def test_a_server_that_is_gone_is_told_and_can_be_tried_again(open_window, served, photo):
    window = open_window()
    page = window.open(served)
    expect(page.locator("#model")).to_contain_text("tiny-colours")
    window.foresee("ERR_INTERNET_DISCONNECTED")
    page.context.set_offline(True)
    page.set_input_files("#file", photo)
    expect(page.get_by_role("alert")).to_contain_text("did not answer")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#panel")).to_be_visible()


def test_a_plain_http_address_on_the_network_has_everything_but_the_camera(open_window, served, photo):
    """Browsers lend neither camera nor clipboard to such a page."""
    window = open_window(permissions=("camera",))
    window.foresee("Cross-Origin-Opener-Policy header has been ignored")  # no such page is isolated, whatever is sent
    page = window.open(served.replace("127.0.0.1", PLAIN_HOST))
    assert page.evaluate("isSecureContext") is False
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Use the camera").click()
    expect(page.locator("#notice")).to_contain_text("Browsers lend the camera to https pages")
    assert chooser.value.element.get_attribute("capture") == "environment"
    chooser.value.set_files(photo)
    expect(page.locator("#panel")).to_be_visible()
    page.get_by_role("button", name="Copy").click()
    expect(page.locator("#copy")).to_have_text("Copied")
    assert page.evaluate("getSelection().toString()") == page.locator("#command").text_content()
    with page.expect_download() as download:
        page.get_by_role("button", name="Label map").click()
    assert download.value.suggested_filename == "photo-labels.png"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_no_state_of_the_page_overflows_or_breaks_a_rule_of_accessibility(
    open_window, served, photo, nonsense, scheme, width
):
    window = open_window(width=width, height=740, scheme=scheme, touch=width < 500)
    page = window.open(served)
    expect(page.locator("#model")).to_contain_text("tiny-colours")

    def judge(state):
        assert page.evaluate("document.documentElement.scrollWidth") <= width, state
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
        assert found.violations_count == 0, f"{state}: {found.generate_report()}"

    judge("empty")
    window.foresee("status of 415")
    page.set_input_files("#file", nonsense)
    expect(page.get_by_role("alert")).to_be_visible()
    judge("fault")
    page.get_by_role("button", name="Dismiss").click()
    page.set_input_files("#file", photo)
    expect(page.locator("#panel")).to_be_visible()
    page.get_by_role("button", name="only red").click()
    judge("result")


def test_the_dark_scheme_is_dark(open_window, served):
    grounds = {}
    for scheme in ("light", "dark"):
        page = open_window(scheme=scheme).open(served)
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds[scheme] = np.mean([int(value) for value in re.findall(r"\d+", ground)[:3]])
    assert grounds["dark"] < 50
    assert grounds["light"] > 200


def test_nothing_moves_for_those_who_ask_for_less_motion(open_window, served):
    moving = "document.getAnimations().length"
    assert open_window(reduced_motion=False).open(served).evaluate(moving) > 0
    assert open_window(reduced_motion=True).open(served).evaluate(moving) == 0


def test_a_tap_on_a_phone_tells_the_class(open_window, served, photo):
    page = open_window(width=360, height=740, touch=True).open(served)
    page.set_input_files("#file", photo)
    expect(page.locator("#panel")).to_be_visible()
    box = page.locator("#frame").bounding_box()
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.25 * box["height"])
    expect(page.locator("#readout")).to_contain_text("green, ")
    assert page.locator("#crosshair").is_visible()
    targets = page.locator("button:visible").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    assert min(targets) >= 44


def test_without_scripts_the_page_says_what_to_do(open_window, served):
    page = open_window(javascript=False).open(served)
    assert "curl --data-binary @photo.jpg" in page.locator("main").text_content()


def test_the_pages_files_are_revalidated_and_a_reload_works(open_window, served, photo):
    window = open_window()
    page = window.open(served)
    page.reload()
    page.set_input_files("#file", photo)
    expect(page.locator("#panel")).to_be_visible()
    for path in ["", *(f"ui/{file.name}" for file in UI.iterdir() if file.name != "index.html")]:
        first = httpx.get(f"{served}/{path}", timeout=30)
        assert first.status_code == 200
        assert first.headers["cache-control"] == "no-cache"
        again = httpx.get(f"{served}/{path}", headers={"If-None-Match": first.headers["etag"]}, timeout=30)
        assert (again.status_code, again.content) == (304, b"")
        # A browser takes the headers of a 304 over: another policy there would lock the page it keeps.
        assert again.headers["content-security-policy"] == first.headers["content-security-policy"]
    assert httpx.get(f"{served}/ui/../app.py", timeout=30).status_code == 404
    assert httpx.get(f"{served}/ui/%2e%2e%2fapp.py", timeout=30).status_code == 404


def test_the_policy_lets_nothing_in_but_the_pages_own_files(served):
    policy = httpx.get(f"{served}/", timeout=30).headers["content-security-policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    assert rules["default-src"] == ["'none'"]
    for kind in ("script-src", "style-src", "connect-src"):
        assert rules[kind] == ["'self'"]
    assert rules["img-src"] == ["'self'", "blob:", "data:"]


class References(HTMLParser):
    """Every address in a page, and every style and script within it."""

    def __init__(self):
        super().__init__()
        self.addresses = []
        self.inline = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name in ("href", "src"):
                self.addresses.append(value)
            if name == "style" or name.startswith("on"):
                self.inline.append(f"{tag} {name}")
        if tag == "style" or (tag == "script" and "src" not in dict(attributes)):
            self.inline.append(tag)


def test_the_page_refers_to_its_own_files_alone(served):
    found = References()
    found.feed((UI / "index.html").read_text())
    assert not found.inline
    assert "ui/page.js" in found.addresses
    for address in found.addresses:
        assert "//" not in address
        answer = httpx.get(f"{served}/{address}", timeout=30)
        if address == "v1/model/card":  # this bundle has none, and the link says so
            assert answer.json()["error"]["code"] == "no_model_card"
        else:
            assert answer.status_code == 200
    for file in UI.iterdir():
        outside = re.findall(r"https?://[\w./]+", file.read_text())
        assert set(outside) <= {"http://www.w3.org/2000/svg"}, file.name
