"""A headless Chromium for tests: found, started once a module, and watched for requests and complaints.

python tests/browser.py      find or install one and start it, as `make test` does first
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Error, expect, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright

VARIABLE = "FCN_CHROMIUM"
NAMES = ("chromium", "google-chrome", "chromium-browser")

PLAIN_HOST = "plain.test"
"""This machine by another name: to browsers no secure place, as every http address but localhost is."""

WAIT_SECONDS = 30
"""For a page to do what it should, on a machine that has other work as well."""

expect.set_options(timeout=WAIT_SECONDS * 1000)

# What makes Chromium start as root and keeps it from asking anyone but this machine. The camera is a made-up one;
# whether a page may use it is each window's matter.
OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    f"--host-resolver-rules=MAP {PLAIN_HOST} 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)


class NoBrowserError(Exception):
    """There is no Chromium, or it does not start; the text is one line that says what to do."""


def find(playwright: Playwright) -> Path:
    """The Chromium to use: the variable's, else the first on the path, else Playwright's own.

    Raises:
        NoBrowserError: there is none.
    """
    told = os.environ.get(VARIABLE)
    if told:
        if shutil.which(told) is None:
            raise NoBrowserError(f"{VARIABLE} is {told!r}, which is no program: set it to a Chromium, or unset it")
        return Path(told)
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return Path(found)
    own = Path(playwright.chromium.executable_path)
    if own.exists():
        return own
    raise NoBrowserError(
        f"the browser tests need a Chromium and found none: `apt-get install chromium`, or "
        f"`{sys.executable} -m playwright install chromium`, or set {VARIABLE} to one"
    )


@contextlib.contextmanager
def started() -> Iterator[Browser]:
    """A running headless Chromium with a new user data folder; stopped at the end.

    Raises:
        NoBrowserError: there is none, or it does not start.
    """
    with sync_playwright() as playwright:
        path = find(playwright)
        try:
            browser = playwright.chromium.launch(executable_path=path, args=list(OPTIONS))
        except Error as error:
            lines = error.message.splitlines()
            reason = next((line for line in lines if "rror:" in line), lines[0])[:200]
            raise NoBrowserError(
                f"{path} does not start ({reason.strip()}): install a Chromium with what it needs "
                f"(`apt-get install chromium`), or set {VARIABLE} to one that runs"
            ) from None
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """One page with its own storage, and all that it asked for and complained of.

    A request to another origin than the first page's, a console error or warning and an uncaught
    exception are problems; ``close`` fails for each, unless a test has said that it was to come.

    Attributes:
        page: Playwright's page.
        requests: Addresses asked for, in order; ``data:`` is none.
        problems: One line each.
    """

    def __init__(self, context: BrowserContext) -> None:
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._context = context
        self._foreseen: list[str] = []
        self._origin: str | None = None
        context.on("request", lambda request: self._on_request(request.url))
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.problems.append(f"exception: {error.error}"))
        self.page: Page = context.new_page()
        self.page.on("websocket", lambda socket: self._on_request(socket.url))
        self.page.set_default_timeout(WAIT_SECONDS * 1000)

    def open(self, target: str | Path) -> Page:
        """Go to an address or a file; the origin of the first one is the only one that may be asked."""
        self.page.goto(target.absolute().as_uri() if isinstance(target, Path) else target)
        return self.page

    def foresee(self, pattern: str) -> None:
        """Expect at least one complaint that matches, such as Chromium's line for an answer of 4xx."""
        self._foreseen.append(pattern)

    def check(self) -> None:
        """Assert that nothing went wrong so far, apart from what was foreseen."""
        unforeseen = [line for line in self.problems if not any(re.search(each, line) for each in self._foreseen)]
        assert not unforeseen, "\n".join(unforeseen)
        for pattern in self._foreseen:
            assert any(re.search(pattern, line) for line in self.problems), f"nothing in the console: {pattern}"

    def close(self) -> None:
        """Close the page, then check."""
        self._context.close()  # first: what is still under way is reported before it ends
        self.check()

    def _on_request(self, url: str) -> None:
        self.requests.append(url)
        if url.startswith("blob:"):
            return
        origin = _origin(url)
        if self._origin is None:
            self._origin = origin
        elif origin != self._origin:
            self.problems.append(f"request to another origin: {url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.problems.append(f"console {message.type}: {message.text} ({message.location.get('url', '')})")


def _origin(url: str) -> str:
    """Scheme, host and port; for a file its folder, as browsers give files no origin."""
    parts = urlsplit(url)
    if parts.scheme == "file":
        return f"file://{parts.path.rpartition('/')[0]}"
    return f"{parts.scheme.replace('ws', 'http')}://{parts.netloc}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One Chromium for a module's tests.

    Not for the whole session: Playwright runs an event loop in the main thread for as long as it is
    open, and no other test could run its own there.
    """
    with contextlib.ExitStack() as stack:
        try:
            browser = stack.enter_context(started())
        except NoBrowserError as error:
            pytest.fail(str(error), pytrace=False)
        yield browser


@pytest.fixture
def open_window(chromium: Browser) -> Iterator[Callable[..., Window]]:
    """Opens windows; they are closed and checked when the test is over."""
    with contextlib.ExitStack() as stack:

        def open_one(
            *,
            width: int = 1280,
            height: int = 800,
            scheme: Literal["light", "dark"] = "light",
            javascript: bool = True,
            reduced_motion: bool = True,
            touch: bool = False,
            scale: float = 1,
            permissions: Sequence[str] = (),
        ) -> Window:
            context = chromium.new_context(
                viewport={"width": width, "height": height},
                color_scheme=scheme,
                java_script_enabled=javascript,
                reduced_motion="reduce" if reduced_motion else "no-preference",
                has_touch=touch,
                is_mobile=touch,
                device_scale_factor=scale,
                permissions=list(permissions),
                locale="en-GB",
            )
            window = Window(context)
            stack.callback(window.close)
            return window

        yield open_one


def main() -> int:
    """See to a browser before the tests: use what is there, else let Playwright fetch its own."""
    try:
        with sync_playwright() as playwright:
            try:
                find(playwright)
            except NoBrowserError:
                if os.environ.get(VARIABLE):
                    raise
                command = [sys.executable, "-m", "playwright", "install", "chromium"]
                subprocess.run(command, check=False, timeout=900)
        with started():
            return 0
    except (NoBrowserError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
