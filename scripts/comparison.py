"""Put a finished comparison's report into the docs, and its figure of differences as a picture for the README.

    python scripts/comparison.py FOLDER [NAME]

Copies report.html, .md and .json to docs/results/NAME.* (comparison by default), as they are, and takes
NAME.png of the page's figure with a headless Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser import started  # noqa: E402  the project's one way to find a Chromium

RESULTS = ROOT / "docs" / "results"


def main() -> None:
    """Copy the report and draw its figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("name", nargs="?", default="comparison")
    options = parser.parse_args()
    for ending in ("html", "md", "json"):
        shutil.copyfile(options.folder / f"report.{ending}", RESULTS / f"{options.name}.{ending}")
    with started() as browser:
        page = browser.new_context(viewport={"width": 1100, "height": 900}, device_scale_factor=1.5).new_page()
        page.goto((options.folder / "report.html").absolute().as_uri())
        page.locator("#differences svg").screenshot(path=RESULTS / f"{options.name}.png")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
