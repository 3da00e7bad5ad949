"""Binder: what it would build, whether its packages resolve, and that its app fits in 2 GB."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.browser.driver import unused_port
from tinykit.explore.app import environment

LIMIT = 2 * 10**9


def test_recipe_is_what_repo2docker_reads(root: Path) -> None:
    """It prints the Dockerfile that Binder would build; needs no container engine."""
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--debug", str(root)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    recipe = run.stdout + run.stderr
    assert re.search(r'pip install --no-cache-dir -r "?binder/requirements\.txt', recipe)
    assert "binder/postBuild" in recipe
    assert "binder/start" in recipe
    assert not (root / "environment.yml").exists(), "it would silently replace requirements.txt"


def test_requirements_are_pinned_and_hold_no_training(root: Path) -> None:
    pins = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (root / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    lines = (root / "binder" / "requirements.txt").read_text().splitlines()
    names = {line.strip() for line in lines if line and not line.startswith(("#", "-"))}
    assert names <= pins
    assert not names & {"torch", "tensorflow", "tensorflow-cpu"}


def test_requirements_resolve(root: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "-q"]
    run = subprocess.run(
        [*command, "-r", "binder/requirements.txt"], cwd=root, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.fixture
def server(root: Path, tmp_path: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A Jupyter server as Binder starts it, prepared by postBuild's script."""
    config = tmp_path / "config"
    env = {**environment(), "JUPYTER_CONFIG_DIR": str(config), "JUPYTER_WIDGETS_ECHO": "0"}
    prepare = [sys.executable, str(root / "binder" / "prepare.py"), str(tmp_path), str(config)]
    subprocess.run(prepare, check=True, env=env)
    port = unused_port()
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", f"--ServerApp.port={port}"]
    command += ["--ServerApp.ip=127.0.0.1", "--ServerApp.allow_root=True"]
    command += ["--IdentityProvider.token=", f"--ServerApp.root_dir={tmp_path}"]
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        address = f"http://127.0.0.1:{port}/"
        until = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(address + "api", timeout=2):
                    break
            except OSError:
                assert process.poll() is None, (tmp_path / "log").read_text()[-2000:]
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.2)
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


def test_app_starts_on_a_jupyter_server_within_its_memory(
    server: tuple[str, psutil.Process],
) -> None:
    address, process = server
    with urllib.request.urlopen(
        address + "voila/render/app/compress-deploy.ipynb", timeout=120
    ) as answer:
        page = answer.read().decode()
    assert "Compress and deploy" in page
    assert "application/vnd.jupyter.widget-view+json" in page
    assert not re.search(r'(src|href)="https?://', page), "the page asks outside"
    kernels = [p for p in process.children(recursive=True) if "ipykernel" in " ".join(p.cmdline())]
    assert kernels, "no kernel behind the app"
    assert all(p.memory_info().rss > 80e6 for p in kernels), "the app has not been computed"
    used = sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])
    # a server and one kernel; a second reader of the same server must fit too
    assert used < LIMIT / 2, f"{used / 1e6:.0f} MB"
