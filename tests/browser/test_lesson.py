"""The lessons in JupyterLab, in a real browser: predict, unlock, turn a knob, compare."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driver import PATIENCE, Watched, serving, unused_port, watched_page
from tinykit import explore
from tinykit.explore.app import environment

NAME, SECOND = "01_from_notebook_to_chip", "02_inside_the_engine"
RUN_ALL = "void window.jupyterapp.commands.execute('notebook:run-all-cells')"


@pytest.fixture(scope="module")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a copy of the reader's notebook, with settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    lessons = folder / "lessons"
    lessons.mkdir()
    for name in (NAME, SECOND):
        shutil.copy(root / "notebooks" / f"{name}.ipynb", lessons)
    port = unused_port()
    options = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.root_dir": lessons,
        "ServerApp.allow_root": True,
        "IdentityProvider.token": "",
        "LabApp.expose_app_in_browser": True,
        "LabApp.news_url": "",
    }
    env = {
        **environment(),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    overrides = folder / "settings" / "@jupyterlab" / "apputils-extension"
    overrides.mkdir(parents=True)
    (overrides / "notification.jupyterlab-settings").write_text(
        json.dumps({"fetchNews": "false", "checkForUpdates": False}), encoding="utf-8"
    )
    # The notebook is drawn whole: cells out of sight would otherwise not be there to be found.
    notebook = folder / "settings" / "@jupyterlab" / "notebook-extension"
    notebook.mkdir(parents=True)
    (notebook / "tracker.jupyterlab-settings").write_text(
        json.dumps({"windowingMode": "none"}), encoding="utf-8"
    )
    command = [sys.executable, "-m", "jupyterlab", "--no-browser"]
    command += [f"--{key}={value}" for key, value in options.items()]
    with serving(command, port, env) as address:
        yield address


def test_lesson_as_a_reader_uses_it(browser: object, lab: str, tmp_path: Path) -> None:
    seen: Watched = watched_page(browser, {"width": 1300, "height": 1500})
    page = seen.page
    page.goto(f"{lab}lab/tree/{NAME}.ipynb", timeout=PATIENCE)
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
    page.wait_for_function("window.jupyterapp !== undefined", timeout=PATIENCE)
    page.wait_for_function("document.body.innerText.includes('| Idle')", timeout=PATIENCE)
    page.evaluate(RUN_ALL)
    page.wait_for_function(
        "document.body.innerText.includes('int8_layer: not written yet')", timeout=2 * PATIENCE
    )
    text = page.inner_text(".jp-Notebook")
    assert "You made no prediction" in text
    assert "The knobs unlock when you have committed" in text
    assert page.locator(".tinykit-view").count() == 0
    assert "Traceback" not in text

    # The answer, by keyboard alone: radio buttons, then the button.
    radios = page.locator('.widget-radio-box input[type="radio"]')
    radios.first.focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="This is my prediction").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".tinykit-figure svg", timeout=PATIENCE)
    page.wait_for_function("document.body.innerText.includes('Your prediction: 4 times')")
    page.wait_for_function("document.body.innerText.includes('A surprise: you said 4 times')")

    # A knob, by keyboard: the words are those of `compute`, before and after.
    explorer = explore.load("compress-deploy")
    settings = explorer.settings({"width": 0.5, "bits": 32})
    seen.wait_for_turn(1)
    assert seen.readout() == explorer.text(explorer.compute(settings))
    page.locator(".tinykit-explorer .noUi-handle").first.focus()
    page.keyboard.press("ArrowLeft")
    seen.wait_for_turn(2)
    widths = next(c for c in explorer.controls if c.name == "width").values
    narrower = explorer.compute({**settings, "width": widths[widths.index(0.5) - 1]})
    assert seen.readout() == explorer.text(narrower)
    page.locator(".tinykit-explorer").scroll_into_view_if_needed()
    page.screenshot(path=str(tmp_path / "lesson.png"))
    assert seen.outside == []
    page.close()


def test_second_lesson_as_a_reader_uses_it(browser: object, lab: str) -> None:
    seen: Watched = watched_page(browser, {"width": 1300, "height": 1500})
    page = seen.page
    page.goto(f"{lab}lab/tree/{SECOND}.ipynb?reset", timeout=PATIENCE)  # no other is open
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
    page.wait_for_function("document.body.innerText.includes('| Idle')", timeout=PATIENCE)
    page.evaluate(RUN_ALL)
    page.wait_for_function(
        "document.body.innerText.includes('pack_pairs: not written yet')", timeout=2 * PATIENCE
    )
    text = page.inner_text(".jp-Notebook")
    assert "You made no prediction" in text
    assert page.locator(".tinykit-view").count() == 0
    assert "Traceback" not in text

    page.locator('.widget-radio-box input[type="radio"]').first.focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="This is my prediction").press("Enter")
    page.wait_for_selector(".tinykit-figure svg", timeout=PATIENCE)
    page.wait_for_function("document.body.innerText.includes('A surprise: you said 1, as MLA')")

    # It starts with everything off; own kernels and SIMD bring SMLAD, in sight at once.
    explorer = explore.load("inside-engine")
    off = dict.fromkeys(("specialise", "simd", "unroll", "fuse", "in_place"), False)
    seen.wait_for_turn(1)
    assert seen.readout() == explorer.text(explorer.compute({**off, "layer": 2}))
    for turn, button in enumerate((0, 1), 2):
        page.get_by_role("button", name="on", exact=True).nth(button).press("Enter")
        seen.wait_for_turn(turn)
    on = {**off, "specialise": True, "simd": True, "layer": 2}
    assert seen.readout() == explorer.text(explorer.compute(on))
    listing = page.locator(".tinykit-panel pre").nth(1)
    assert "smlad" in listing.inner_text()
    assert seen.outside == []
    page.close()
