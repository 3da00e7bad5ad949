"""The lessons run: within their time and memory, with and without TensorFlow, links included."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbclient import NotebookClient

from tinykit.course import shipped
from tinykit.course.build import place, sources
from tinykit.course.lesson import read
from tinykit.formats import tflite
from tinykit.graph.errors import TinykitError

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sources(ROOT)
MEGABYTE = 1 << 20


@dataclass
class Run:
    """An executed notebook, and what executing it took."""

    notebook: nbformat.NotebookNode
    seconds: float
    peak_bytes: int

    @property
    def text(self) -> str:
        """Everything that the cells printed or displayed, as text."""
        parts: list[str] = []
        for cell in self.notebook.cells:
            for output in cell.get("outputs", []):
                parts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
        return "\n".join(parts)


@dataclass
class Meter:
    """Watches the memory of a process and all its children, every 50 ms."""

    peak: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def watch(self, pid: int) -> None:
        while not self._stop.wait(0.05):
            total = 0
            try:
                for process in [root := psutil.Process(pid), *root.children(recursive=True)]:
                    total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            self.peak = max(self.peak, total)


def execute(path: Path, first: str = "") -> Run:
    """Run a notebook in a fresh kernel; `first` is code that runs before its cells."""
    notebook = nbformat.read(path, as_version=4)
    if first:
        notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    client = NotebookClient(
        notebook, timeout=280, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    meter, start = Meter(), time.perf_counter()
    with client.setup_kernel():
        watcher = threading.Thread(target=meter.watch, args=(client.km.provisioner.pid,))
        watcher.start()
        try:
            for index, cell in enumerate(notebook.cells):
                client.execute_cell(cell, index)
        finally:
            meter._stop.set()
            watcher.join()
    return Run(notebook, time.perf_counter() - start, meter.peak)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_solution_runs_within_its_limits(source: Path) -> None:
    """Its hidden tests pass, in under 1.5 GB; the time is that of a loaded two-core machine."""
    run = execute(place(source, "solution"))
    assert run.peak_bytes < 1500 * MEGABYTE, f"{run.peak_bytes / MEGABYTE:.0f} MB"
    assert run.seconds < 180, f"{run.seconds:.0f} s"
    exercises = [c["metadata"]["check"] for c in read(source).cells if "check" in c["metadata"]]
    for name in exercises:
        assert f"{name}: right" in run.text


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_student_version_runs_and_says_what_is_not_written(source: Path) -> None:
    code = "import sys; sys.modules['tensorflow'] = None"  # as if it were not installed
    run = execute(place(source, "student"), code)
    exercises = [c["metadata"]["check"] for c in read(source).cells if "check" in c["metadata"]]
    for name in exercises:
        assert f"{name}: not written yet" in run.text


def test_tutorial_without_tensorflow_uses_what_ships_and_says_so() -> None:
    source = ROOT / "tutorials" / "src" / "01_deploying_to_microcontrollers.py"
    run = execute(place(source, "reader"), "import sys; sys.modules['tensorflow'] = None")
    assert "pip install 'tinyml-kit[tensorflow]'" in run.text
    assert "goes on with the files that ship" in run.text


def test_shipped_models_are_what_they_say() -> None:
    integer, floating = (tflite.read(shipped(f"cnn_{dtype}")) for dtype in ("int8", "float32"))
    assert integer.input.dtype == "int8"
    assert floating.input.dtype == "float32"
    assert integer.macs == floating.macs
    with pytest.raises(TinykitError, match="there are: cnn_float32, cnn_int8, slim_int8"):
        shipped("nothing")


@pytest.mark.parametrize("version", ["reader", "student", "solution"])
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_links_between_lessons_lead_somewhere(source: Path, version: str) -> None:
    path = place(source, version)
    notebook: Any = nbformat.read(path, as_version=4)
    text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if not target.startswith("http"):
            assert (path.parent / target).resolve().is_file(), target
