"""The Makefile says what is missing: a Python, its venv module, Debian packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = ["bash", "sh", "make", "grep", "xargs", "tr", "sed", "awk", "tee", "touch", "env", "echo"]


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder to use as the whole PATH: a few tools, and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    return folder


def program(folder: Path, name: str, script: str) -> None:
    """A shell script called `name` in `folder`."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def make(root: Path, bare: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))
    }
    return subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=root,
        env={**env, "PATH": str(bare)},
        capture_output=True,
        text=True,
    )


def test_without_python_it_says_how_to_get_one(root: Path, bare: Path, tmp_path: Path) -> None:
    program(bare, "python3", "exit 1")  # as an older Python answers
    run = make(root, bare, "demo", f"VENV={tmp_path / 'venv'}")
    assert run.returncode != 0
    assert "needs Python 3.11 or newer" in run.stdout
    assert "apt-get install python3" in run.stdout


def test_without_the_venv_module_the_package_is_named(
    root: Path, bare: Path, tmp_path: Path
) -> None:
    program(bare, "python3", 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    run = make(root, bare, "demo", f"VENV={tmp_path / 'venv'}")
    assert run.returncode != 0
    assert "apt-get install python3-venv" in run.stdout


def test_debian_packages_are_named_where_they_cannot_be_installed(root: Path, bare: Path) -> None:
    program(bare, "dpkg", "exit 0")
    program(bare, "dpkg-query", "exit 1")
    program(bare, "id", "echo 1000")
    program(bare, "sudo", "exit 1")
    run = make(root, bare, "debs")
    assert run.returncode == 0
    assert "sudo apt-get install chromium gcc-arm-none-eabi" in run.stdout


def test_elsewhere_the_tools_are_named(root: Path, bare: Path) -> None:
    run = make(root, bare, "debs")
    assert run.returncode == 0
    assert "Not Debian or Ubuntu" in run.stdout


def test_pins_are_exact_and_name_no_place(root: Path) -> None:
    lines = [
        line
        for line in (root / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert lines
    for line in lines:
        name, _, version = line.partition("==")
        assert name, line
        assert version, line
        assert not {"/", "@", "+", ";"} & set(line), line
