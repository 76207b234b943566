"""report.html in a real browser, offline: in light and dark, on a telephone, without script, and printed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from data.sources.catalogue import SourceConfig
from model.compare.config import CompareConfig
from model.compare.report import write_report
from model.config import TrainConfig
from tests.comparisons import make_comparison

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.browser import Window


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arms = ("bilinear", "learned", "learned-dense", "dysample")
    config = CompareConfig(TrainConfig(SourceConfig("shapes")), arms, (32, 8))
    shares = {"bilinear": 0.5, "learned": 0.2, "learned-dense": 0.45, "dysample": 0.52}
    return write_report(make_comparison(tmp_path_factory.mktemp("page") / "c", config, shares))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_report_is_read_offline_without_script_and_fits_its_window(
    open_window: Callable[..., Window], path: Path, scheme: str, width: int
) -> None:
    window = open_window(scheme=scheme, width=width, javascript=False, touch=width < 500)
    page = window.open(path)
    assert page.title().startswith("Is learned upsampling worth it?")
    verdict = page.locator("#verdict")
    assert verdict.is_visible()
    assert "better than bilinear" in verdict.inner_text()
    assert page.locator("figure svg").count() >= 6
    assert page.locator("#scores tbody tr").count() == 2 * 4 + 2
    assert window.requests == [path.absolute().as_uri()]


def test_nothing_on_a_telephone_is_wider_than_the_screen_but_what_scrolls_by_itself(
    open_window: Callable[..., Window], path: Path
) -> None:
    page = open_window(width=360, touch=True).open(path)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    # Tables and figures keep a readable size and move inside their own box.
    assert page.locator(".scroll").first.evaluate("box => box.scrollWidth > box.clientWidth")


def test_every_picture_is_decoded(open_window: Callable[..., Window], path: Path) -> None:
    page = open_window().open(path)
    sizes = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert sizes
    assert all(sizes)


CONTRASTS = """() => {
  const channel = value => (value /= 255) <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parsed = text => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parsed(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('p, th, td, dt, dd, h1, h2, figcaption, .call, svg text')].map(node => {
    const style = getComputedStyle(node);
    const front = luminance(parsed(node.closest('svg') ? style.fill : style.color));
    const back = luminance(behind(node.closest('svg') ? node.closest('figure') : node));
    return [(Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05), node.textContent.slice(0, 40)];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_as_wcag_aa_asks(open_window: Callable[..., Window], path: Path, scheme: str) -> None:
    found: list[list[Any]] = open_window(scheme=scheme).open(path).evaluate(CONTRASTS)
    assert len(found) > 100
    weak = [(round(ratio, 2), text) for ratio, text in found if ratio < 4.5]
    assert not weak


def test_it_prints_on_white_paper_of_a_few_pages(open_window: Callable[..., Window], path: Path) -> None:
    page = open_window(scheme="dark").open(path)
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    printed = page.pdf(format="A4", print_background=True, prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 14
