"""Serving an app and opening it in Chromium; used by the tests and by the `widgets` benchmark."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tinykit.explore import app

if TYPE_CHECKING:
    from playwright.sync_api import Page

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
]
#: milliseconds to wait for a page; generous, since the machine may be busy
PATIENCE = 90_000
WIDE = {"width": 1400, "height": 1200}


def chromium() -> str | None:
    """Path of a Chromium, or None."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    mac = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
    return mac if os.path.exists(mac) else None


def unused_port() -> int:
    """A port that the system hands out: two test processes at once get two."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(command: list[str], port: int, env: dict[str, str] | None = None) -> Iterator[str]:
    """Run a server until the block ends; gives its address once it answers."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            until = time.monotonic() + 120
            while True:
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise RuntimeError(f"no answer from {command}: {log.read()[-3000:]!r}")
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/voila/x", timeout=1):
                        break
                except urllib.error.HTTPError as answer:
                    answer.close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def serving_notebook(notebook: Path) -> Iterator[str]:
    """`notebook`, or a folder of them, by Voila with tinykit's template; gives its address."""
    port = unused_port()
    with serving(app.command(notebook, port), port, app.environment(notebook)) as address:
        yield address


@dataclass
class Watched:
    """A page and what was seen happening on it.

    Attributes
    ----------
    requests : addresses asked for, data: and blob: left out
    errors : messages on the console, and exceptions that nothing caught
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def outside(self) -> list[str]:
        """Requests that left this machine."""
        return [u for u in self.requests if urlsplit(u).hostname not in ("127.0.0.1", "localhost")]

    def readout(self) -> str:
        return self.page.inner_text(".tinykit-readout")

    def alert(self) -> str:
        return self.page.inner_text(".tinykit-alert")

    def turn(self) -> int:
        return int(self.page.get_attribute(".tinykit-view", "data-turn") or 0)

    def wait_for_turn(self, turn: int) -> None:
        """Wait until turn number `turn` or a later one is shown."""
        self.page.wait_for_function(
            "turn => Number(document.querySelector('.tinykit-view').dataset.turn) >= turn",
            arg=turn,
            timeout=PATIENCE,
        )

    def choose_file(self, button: str, path: Path) -> None:
        """Press the button whose name begins with `button` and choose a file."""
        with self.page.expect_file_chooser(timeout=PATIENCE) as chooser:
            self.page.get_by_role("button", name=button).first.press("Enter")
        chooser.value.set_files(str(path))

    def figure(self, name: str) -> str:
        """The SVG of figure `name`."""
        return self.page.inner_html(f".tinykit-figure[data-figure={name}]")


@contextlib.contextmanager
def browsing() -> Iterator[object]:
    """A Chromium; raises RuntimeError where there is none."""
    from playwright.sync_api import sync_playwright

    path = chromium()
    if path is None:
        raise RuntimeError("no Chromium found: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def watched_page(browser: object, size: dict[str, int] | None = None) -> Watched:
    """A new page on which every request and every error is noted."""
    page = browser.new_page(viewport=size or WIDE)  # type: ignore[attr-defined]
    seen = Watched(page)

    def asked(request: object) -> None:
        url = request.url  # type: ignore[attr-defined]
        if not url.startswith(("data:", "blob:")):
            seen.requests.append(url)

    def said(message: object) -> None:
        if message.type == "error":  # type: ignore[attr-defined]
            seen.errors.append(message.text)  # type: ignore[attr-defined]

    page.on("request", asked)
    page.on("websocket", lambda socket: seen.requests.append(socket.url))
    page.on("console", said)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    return seen


def open_app(seen: Watched, address: str) -> None:
    """Open an explorer's app and wait until its figures are drawn."""
    seen.page.goto(address, timeout=PATIENCE)
    seen.page.wait_for_selector(".tinykit-figure svg", timeout=PATIENCE)
    seen.wait_for_turn(1)
