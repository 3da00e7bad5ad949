"""Serving explorers: the notebook, the command, ports, and `tinykit app` from start to Ctrl-C."""

from __future__ import annotations

import html
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.browser.driver import unused_port
from tinykit import explore
from tinykit.explore import app
from tinykit.graph.errors import MissingToolError


def test_the_notebook_shows_the_explorer(tmp_path: Path) -> None:
    path = app.write_notebook("compress_deploy", tmp_path)
    notebook = json.loads(path.read_text("utf-8"))
    assert path.name == "compress-deploy.ipynb"
    assert notebook["metadata"]["title"] == "Compress and deploy · tinykit"
    code = "".join(c["source"] for c in notebook["cells"] if c["cell_type"] == "code")
    scope: dict[str, object] = {}
    exec(compile(code, "notebook", "exec"), scope)  # runs as it stands
    with pytest.raises(explore.UnknownExplorerError):
        app.write_notebook("nonsense", tmp_path)


def test_the_index_lists_every_explorer(tmp_path: Path) -> None:
    apps = app.write_index(tmp_path)
    assert {p.stem for p in apps.glob("*.ipynb")} == set(explore.names())
    first = Path(app.environment(apps)["JUPYTER_PATH"].split(os.pathsep)[0])
    page = (first / "voila" / "templates" / "tinykit" / "tree.html").read_text("utf-8")
    for name, explorer in explore.explorers().items():
        assert f'href="{{{{ base_url }}}}voila/render/{name}.ipynb">{explorer.title}</a>' in page
        assert html.escape(explorer.summary) in page
    assert not re.search(r"https?://", page)
    # a single app is served without
    alone = app.write_notebook("inside-engine", tmp_path)
    assert str(first) not in app.environment(alone)["JUPYTER_PATH"]


def test_the_template_ships_and_links_nothing_outside() -> None:
    folder = Path(app.environment()["JUPYTER_PATH"].split(os.pathsep)[0])
    template = folder / "voila" / "templates" / "tinykit"
    pages = list(template.iterdir())
    assert {"conf.json", "index.html.j2", "page.html", "error.html"} <= {p.name for p in pages}
    for page in pages:
        assert not re.search(r"https?://", page.read_text("utf-8")), page.name


def test_command_names_template_port_and_culling(tmp_path: Path) -> None:
    command = app.command(tmp_path / "x.ipynb", 1234)
    assert command[:4] == [sys.executable, "-m", "voila", str(tmp_path / "x.ipynb")]
    assert "--VoilaConfiguration.template=tinykit" in command
    assert "--Voila.port=1234" in command
    assert any(c.startswith("--MappingKernelManager.cull_idle_timeout=") for c in command)


def test_missing_voila_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingToolError, match="pip install voila"):
        app.command(tmp_path / "x.ipynb", 1234)


def test_a_taken_port_is_told_or_passed_over() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        with pytest.raises(app.AppError, match=f"port {taken} is taken.*--port"):
            app.free_port(taken, 1)
        assert taken < app.free_port(taken, 20) < taken + 20
    with pytest.raises(app.AppError, match="port 70000 does not exist"):
        app.free_port(70000, 1)


def test_a_server_that_dies_is_told_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("first\nno kernel called python9\n")
    dead = subprocess.Popen([sys.executable, "-c", "pass"])
    dead.wait()
    with pytest.raises(app.AppError, match="no kernel called python9"):
        app._wait_until_it_answers(dead, 9, log)


@pytest.mark.parametrize(
    ("arguments", "ending"), [([], signal.SIGINT), (["inside-engine"], signal.SIGTERM)]
)
def test_the_command_serves_until_interrupted(arguments: list[str], ending: signal.Signals) -> None:
    port = unused_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tinykit.cli", "app", *arguments, "--no-browser", f"--port={port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert f"http://localhost:{port}/" in line, process.communicate(timeout=30)
        with urllib.request.urlopen(f"http://localhost:{port}/", timeout=120) as answer:
            page = answer.read().decode()
        assert "Inside the engine" in page
        assert ("Compress and deploy" in page) == (not arguments)
        process.send_signal(ending)
        rest, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "has ended" in rest
        assert "Traceback" not in errors
    finally:
        process.kill()
        process.communicate()
    assert app.free_port(port, 1) == port, "nothing is left on the port"


def test_without_torch_the_apps_that_need_it_are_left_out_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "torch" else there(name, *a)
    )
    left = explore.available()
    assert "compress-deploy" in left
    assert set(explore.names()) - set(left) == {"prune", "quantize"}
    with pytest.raises(MissingToolError, match=r"Prune needs torch.*pip install torch"):
        explore.load("prune")
    apps = app.write_index(tmp_path)
    assert {p.stem for p in apps.glob("*.ipynb")} == set(left)
