"""The watched browser sees what a page asks for and complains of: the tests of pages rely on it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BROWSER = Path(__file__).with_name("browser.py")

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A page</title>
<style>body {{ color-scheme: light dark; background: canvas; color: canvastext }}</style>
<p>Words</p>{more}"""


@pytest.fixture
def page_file(tmp_path):
    def write(more=""):
        path = tmp_path / "page.html"
        path.write_text(PAGE.format(more=more), encoding="utf-8")
        return path

    return write


def test_a_page_that_keeps_to_itself_passes(open_window, page_file):
    path = page_file('<img alt="" src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">')
    window = open_window()
    page = window.open(path)
    assert page.get_by_text("Words").is_visible()
    assert window.requests == [path.as_uri()]
    window.check()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('<img alt="" src="https://example.com/a.png">', "another origin: https://example.com/a.png"),
        ("<style>@import url(https://example.com/a.css)</style>", "another origin: https://example.com/a.css"),
        ("<script>new WebSocket('ws://127.0.0.1:9/')</script>", "another origin: ws://127.0.0.1:9/"),
        ("<script>console.warn('careful')</script>", "console warning: careful"),
        ("<script>console.error('broken')</script>", "console error: broken"),
        ("<script>nowhere()</script>", "exception: nowhere is not defined"),
        ("<script>Promise.reject(Error('unheard'))</script>", "exception: unheard"),
    ],
)
def test_what_a_page_asks_of_others_or_complains_of_fails_the_test(open_window, page_file, more, told):
    window = open_window()
    page = window.open(page_file(more))
    for _ in range(100):
        if window.problems:
            break
        page.wait_for_timeout(100)
    with pytest.raises(AssertionError, match=told):
        window.check()
    window.foresee(".")


def test_a_complaint_that_was_foreseen_and_does_not_come_fails_the_test(open_window, page_file):
    window = open_window()
    window.open(page_file())
    window.foresee("status of 415")
    with pytest.raises(AssertionError, match="nothing in the console: status of 415"):
        window.check()
    window.problems.append("status of 415")


def test_a_window_has_its_scheme_size_and_scripts_as_asked_for(open_window, page_file):
    path = page_file("<script>document.title = 'Run'</script>")
    grounds = set()
    for scheme in ("light", "dark"):
        page = open_window(scheme=scheme, width=360, javascript=False).open(path)
        assert page.title() == "A page"
        assert page.evaluate("innerWidth") == 360
        grounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    page = open_window().open(path)
    assert page.title() == "Run"
    assert page.pdf().startswith(b"%PDF")


def test_without_a_browser_one_line_says_how_to_get_one(tmp_path):
    # As on a machine without Chromium: nothing on the path, and Playwright has an empty folder and no network.
    code = f"""
import runpy, sys
names = runpy.run_path({str(BROWSER)!r})
with names["sync_playwright"]() as playwright:
    try:
        names["find"](playwright)
    except names["NoBrowserError"] as error:
        print(error)
"""
    empty = {"PATH": str(tmp_path), "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path), "HOME": str(tmp_path)}
    kept = {name: value for name, value in os.environ.items() if name not in {"FCN_CHROMIUM", *empty}}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**kept, **empty}, capture_output=True, text=True, timeout=60, check=True
    )
    (line,) = done.stdout.splitlines()
    assert "apt-get install chromium" in line
    assert "playwright install chromium" in line
    assert "FCN_CHROMIUM" in line


@pytest.mark.parametrize(("value", "told"), [("/no/such/program", "is no program"), ("/bin/false", "does not start")])
def test_a_browser_that_cannot_be_used_is_told_before_the_tests(value, told):
    done = subprocess.run(
        [sys.executable, BROWSER],
        env={**os.environ, "FCN_CHROMIUM": value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert told in line
    assert value in line
