"""The README keeps its word: its code runs, its commands and files exist."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def readme(root: Path) -> str:
    return (root / "README.md").read_text(encoding="utf-8")


def blocks(readme: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)


def test_api_block_runs_as_written(readme: str, tmp_path: Path) -> None:
    block = blocks(readme, "python")[0]
    lines = block.rstrip().splitlines()
    assert lines[-1].startswith("tk.profile(")
    lines[-1] = f"print({lines[-1].split('#')[0].strip()})"
    lines.append("print('test accuracy', tk.evaluate(graph, data))")
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:tinykit", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert (tmp_path / "digits.tflite").read_bytes()[4:8] == b"TFL3"
    assert "counted" in run.stdout
    assert "stm32f446" in run.stdout
    accuracy = float(run.stdout.split("test accuracy")[1])
    assert accuracy > 0.9


def test_every_scheme_of_the_compression_block_runs(readme: str, tmp_path: Path) -> None:
    block = blocks(readme, "python")[1]
    assert block.count("tk.compress(") == 6
    lines = [
        "import tinykit as tk",
        "data = tk.data.load('digits').subset(100, 50, 50)",
        "model = tk.zoo.mlp(data.spec, width=0.2)",
        "tk.fit(model, data, 20)",
        block.replace("tk.compress(model", "small = tk.compress(model"),
    ]
    run = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:tinykit", "-c", "\n".join(lines)],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]


def test_the_federated_block_runs(readme: str) -> None:
    block = blocks(readme, "python")[2].replace("rounds=40", "rounds=2")
    *before, last = block.strip().splitlines()
    assert last.startswith("tk.explore.watch(")
    import tinykit as tk
    from tinykit import federated as fl
    from tinykit.data.partitions import IID, partition

    data = tk.data.load("digits")
    names: dict[str, object] = {
        "tk": tk, "fl": fl, "data": data, "model": tk.zoo.mlp(data.spec, hidden=(8,)),
        "devices": partition(data, IID(), devices=10, samples=20),
    }  # fmt: skip
    exec("\n".join([*before, "shown = " + last]), names)
    assert len(names["shown"].join(60)) == 2  # type: ignore[attr-defined]


def test_the_table_of_the_lc_algorithm_is_the_shipped_one(readme: str, root: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_readme", root / "docs" / "make_readme.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    assert made.lc_table() in readme


def test_make_targets_exist(readme: str, root: Path) -> None:
    named = set(re.findall(r"\bmake ([a-z]+)\b", readme))
    assert {"demo", "lab", "test"} <= named
    there = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert named <= there


def test_commands_exist(readme: str) -> None:
    named = set(re.findall(r"^tinykit ([a-z]+)", "\n".join(blocks(readme, "sh")), re.MULTILINE))
    assert named
    for command in named:
        run = subprocess.run(
            [sys.executable, "-m", "tinykit.cli", command, "--help"], capture_output=True
        )
        assert run.returncode == 0, command


def test_links_and_paths_exist(readme: str, root: Path) -> None:
    links = [t for t in re.findall(r"\]\(([^)#]+)\)", readme) if not t.startswith("http")]
    paths = [p for p in re.findall(r"`([\w./]+)`", readme) if "/" in p and not p.startswith("http")]
    made = {"report/", "student/", "solution/"}
    missing = [p for p in links + paths if p not in made and not (root / p).exists()]
    assert not missing


def test_extras_are_those_of_the_package(readme: str, root: Path) -> None:
    import tomllib

    package = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    assert package["name"] == "tinyml-kit"
    extras = set(package["optional-dependencies"]) - {"dev"}
    (line,) = (line for line in readme.splitlines() if line.startswith("`pip install tinyml-kit`"))
    assert extras <= set(re.findall(r"`(\w+)`", line))
