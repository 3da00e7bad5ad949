"""A wheel built from the tree works elsewhere: its tables, templates and C sources are inside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy of the tree so that no stale build folder helps."""
    place = tmp_path_factory.mktemp("wheel")
    tree = place / "tree"
    tree.mkdir()
    shutil.copytree(
        root / "tinykit", tree / "tinykit", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tree)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    run = subprocess.run(
        [*command, "-q", "-w", str(place / "dist"), str(tree)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    (file,) = (place / "dist").glob("*.whl")
    return file


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*command, "--target", str(folder), str(wheel)], check=True)
    return folder


def run_elsewhere(site: Path, tmp_path: Path, code: str) -> str:
    """Run `code` with the installed wheel, from a folder outside the tree; its output."""
    env = {**os.environ, "PYTHONPATH": str(site)}
    head = (
        "import tinykit, pathlib\n"
        f"assert pathlib.Path(tinykit.__file__).is_relative_to({str(site)!r}), tinykit.__file__\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", head + code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_every_file_of_the_package_is_inside(root: Path, wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("tinykit/")}
    listed = subprocess.run(
        ["git", "ls-files", "tinykit"], cwd=root, capture_output=True, text=True, check=True
    )
    tracked = set(listed.stdout.split())
    assert tracked, "git lists no files of the package"
    assert tracked - inside == set()
    assert not [name for name in inside if name.endswith(".pyc")]


def test_name_licence_and_command(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    (entry,) = (n for n in names if n.endswith("entry_points.txt"))
    assert "tinykit = tinykit.cli:main" in archive.read(entry).decode()
    assert any(n.endswith("licenses/LICENSE") for n in names)
    assert wheel.name.startswith("tinyml_kit-")


MODEL = """
import numpy as np
from tinykit.graph import GraphBuilder, Quantization

rng = np.random.default_rng(0)
b = GraphBuilder("wheel")
x = b.input("x", (1, 8, 8, 3), "int8", Quantization.per_tensor(0.05, 3))
w = b.const(rng.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
            Quantization(np.full(4, 0.02), np.zeros(4), 0))
bias = b.const(np.zeros(4, np.int32), Quantization(np.full(4, 0.001), np.zeros(4), 0))
y = b.op("conv_2d", [x, w, bias], (1, 6, 6, 4), "int8", Quantization.per_tensor(0.2, -1))
graph = b.finish([y])
"""


def test_profile_from_the_wheel(site: Path, tmp_path: Path) -> None:
    """Writes a .tflite, builds its C, runs it on the emulated core, reads the device catalogue."""
    code = (
        MODEL
        + "graph.save('wheel.tflite')\nprofile = tinykit.profile('wheel.tflite', 'stm32f446')\n"
        + "data = profile.to_json()\n"
        + "import json\ndata = json.loads(data) if isinstance(data, str) else data\n"
        + "print(data['macs'], data['instructions'] > 0, data['flash_bytes'] > 0)\n"
    )
    assert run_elsewhere(site, tmp_path, code).split() == [str(6 * 6 * 4 * 27), "True", "True"]


def test_digits_from_the_wheel(site: Path, tmp_path: Path) -> None:
    code = "data = tinykit.data.load('digits')\nprint(len(data.train.x) > 1000, data.spec.shape)\n"
    assert run_elsewhere(site, tmp_path, code).strip() == "True (8, 8, 1)"
