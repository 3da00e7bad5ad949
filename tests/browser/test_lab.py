"""The first lesson in JupyterLab: opened, run cell by cell, predicted, its knob turned."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.driver import PATIENCE, Watched, serving
from tinykit import explore
from tinykit.explore import app

LESSON = "01_from_notebook_to_chip.ipynb"


@pytest.fixture(scope="module")
def lab_address(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a copy of the lesson, with settings of its own."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(root / "notebooks" / LESSON, folder)
    private = tmp_path_factory.mktemp("jupyter")
    # all cells in the page, also those out of sight
    tracker = private / "settings" / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}')
    env = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(private / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(private / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(private / "workspaces"),
        "OMP_NUM_THREADS": "1",
    }
    port = app.free_port(19_900, 100)
    command = [
        sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0", "--ServerApp.ip=127.0.0.1", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={folder}", "--ServerApp.allow_root=True",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=",
        "--LabApp.expose_app_in_browser=True",
    ]  # fmt: skip
    with serving(command, port, env) as address:
        yield address


def gated_cell(root: Path) -> int:
    """Position among the lesson's cells of the one whose knobs wait for a prediction."""
    lesson = json.loads((root / "notebooks" / LESSON).read_text("utf-8"))
    return next(
        i
        for i, cell in enumerate(lesson["cells"])
        if cell["cell_type"] == "code" and "prediction.gate" in "".join(cell["source"])
    )


#: runs the first cells one after the other, as Shift+Enter does; nobody waits here
_RUN = """count => {
  const run = async () => {
    const { context, sessionContext } = window.jupyterapp.shell.currentWidget;
    await context.ready;
    await sessionContext.ready;
    for (let i = 0; i < count; i++) {
      await window.jupyterapp.commands.execute('notebook:run-cell-and-select-next');
    }
  };
  run();
}"""


@pytest.mark.timeout(600)
def test_the_lesson_is_used_in_jupyterlab(page: Watched, lab_address: str, root: Path) -> None:
    lab = page.page
    lab.goto(f"{lab_address}lab/tree/{LESSON}", timeout=PATIENCE)
    lab.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=PATIENCE)
    lab.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=PATIENCE)
    lab.evaluate(_RUN, gated_cell(root) + 1)
    lab.wait_for_selector("text=The knobs unlock", timeout=2 * PATIENCE)
    assert lab.locator(".tinykit-view").count() == 0, "the knobs wait for the prediction"

    lab.locator(".jp-OutputArea input[type=radio]").nth(2).check()
    lab.get_by_role("button", name="This is my prediction").first.click()
    lab.wait_for_selector(".tinykit-figure svg", timeout=PATIENCE)
    page.wait_for_turn(1)

    explorer = explore.load("compress-deploy")
    settings = explorer.settings({"width": 0.5, "bits": 32})
    assert page.readout() == explorer.text(explorer.compute(settings))
    handle = lab.locator(".noUi-handle").first
    handle.focus()
    lab.keyboard.press("ArrowRight")
    page.wait_for_turn(2)
    widths = explorer.controls[0].values
    wider = explorer.compute({**settings, "width": widths[widths.index(0.5) + 1]})
    assert page.readout() == explorer.text(wider)
