"""The README's picture: the app in Chromium. ``python docs/make_screenshot.py`` from the root."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.browser.driver import browsing, open_app, serving_notebook, watched_page  # noqa: E402
from tinykit.explore.app import write_notebook  # noqa: E402

SIZE = {"width": 1400, "height": 1120}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        notebook = write_notebook("compress-deploy", Path(folder))
        with serving_notebook(notebook) as address, browsing() as browser:
            seen = watched_page(browser, SIZE)
            open_app(seen, address)
            seen.page.wait_for_timeout(500)
            seen.page.screenshot(path=str(ROOT / "docs" / "screenshot.png"))


if __name__ == "__main__":
    main()
