"""Make docs/results/page.png: the page at / with a drawn picture that the network has not seen.

    python scripts/page.py BUNDLE [--index 7]

BUNDLE is one of drawn shapes, such as `make demo` leaves in demo/shapes/run/bundle. A Chromium is needed:
see tests/browser.py.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from serving import running

from data.drawing import encode_png
from data.sources.catalogue import SourceConfig, open_source

HERE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(HERE))

from tests.browser import started  # noqa: E402  # tests are no installed package

TARGET = HERE / "docs" / "results" / "page.png"
SIZE = {"width": 1280, "height": 800}
COLOURS = 200
"""Of the file: it keeps the picture near 100 KB."""


def photograph(url: str, picture: bytes) -> bytes:
    """What a person sees who dropped this picture, hid the background and points at a figure; PNG."""
    with started() as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light", reduced_motion="reduce")
        page.goto(url)
        page.set_input_files("#file", {"name": "shapes.png", "mimeType": "image/png", "buffer": picture})
        page.locator("#panel").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.locator("#legend .class", has_text="background").click()
        page.locator("#opacity").fill("65")
        box = page.locator("#frame").bounding_box()
        page.mouse.move(box["x"] + 0.72 * box["width"], box["y"] + 0.34 * box["height"])
        page.wait_for_timeout(300)
        return page.screenshot()


def main() -> None:
    """Serve, look, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--index", type=int, default=7, help="which drawn picture of the test split")
    arguments = parser.parse_args()
    picture = encode_png(open_source(SourceConfig(name="shapes")).load("test", arguments.index).image)
    with tempfile.TemporaryDirectory() as place:
        settings = {"FCN_BUNDLE": str(arguments.bundle.absolute()), "BENTOML_HOME": place, "PYTHONPATH": str(HERE)}
        with running("service.app:Segmenter", Path(place) / "log", settings) as url:
            shot = photograph(url, picture)
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(TARGET, optimize=True)
    print(f"{TARGET.relative_to(HERE)}: {TARGET.stat().st_size // 1000} KB")


if __name__ == "__main__":
    main()
