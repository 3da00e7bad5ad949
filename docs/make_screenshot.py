"""The README's pictures: the apps in Chromium. ``python docs/make_screenshot.py`` from the root."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser.driver import browsing, open_app, serving_notebook, watched_page  # noqa: E402
from tinykit.explore.app import write_notebook  # noqa: E402

#: explorer → file, height of the page
PICTURES = {
    "compress-deploy": ("screenshot", 1120),
    "inside-engine": ("inside_engine", 1480),
    "combine": ("combine", 1150),
    "federate": ("federate", 1280),
    "round-cost": ("round_cost", 1320),
}
WIDTH = 1400


def main() -> None:
    for name, (file, height) in PICTURES.items():
        with tempfile.TemporaryDirectory() as folder:
            notebook = write_notebook(name, Path(folder))
            with serving_notebook(notebook) as address, browsing() as browser:
                seen = watched_page(browser, {"width": WIDTH, "height": height})
                open_app(seen, address)
                seen.page.wait_for_timeout(500)
                seen.page.screenshot(path=str(ROOT / "docs" / f"{file}.png"))


if __name__ == "__main__":
    main()
