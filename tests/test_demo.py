"""The main job, with a short training: its table, files and report, against other measurements."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import tinykit as tk
from tinykit.demo import DemoResult, run_demo
from tinykit.demo.job import findings
from tinykit.demo.svg import bars, scatter
from tinykit.targets.profile import PROVENANCES


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoResult, Path, list[str]]:
    out = tmp_path_factory.mktemp("report")
    said: list[str] = []
    return run_demo("digits", out, epochs=4, say=said.append), out, said


def test_the_promised_forms_and_costs(done: tuple[DemoResult, Path, list[str]]) -> None:
    result, _, said = done
    names = [row.name for row in result.rows]
    assert names[:4] == ["float32", "int8 PTQ", "pruned", "pruned + int8 QAT"]
    base, both = result["float32"].profile, result["pruned + int8 QAT"].profile
    assert base.flash_bytes >= 6 * both.flash_bytes
    assert base.instructions > both.instructions
    assert all(row.mismatches == 0 for row in result.rows)
    text = "\n".join(said)
    for word in (*names, *PROVENANCES, "flash_bytes", "instructions", "estimated_ms"):
        assert word in text


def test_accuracy_in_tflite_micro_is_that_of_the_generated_c(
    done: tuple[DemoResult, Path, list[str]],
) -> None:
    """Two runtimes, one number: TFLite Micro on the file, the C engine on the graph."""
    result, _, _ = done
    data = tk.data.load("digits")
    for row in result.rows:
        assert row.accuracy == tk.evaluate(tk.load(row.file), data)
        assert row.accuracy > 0.8  # even after so short a training


def test_sizes_are_those_of_the_files(done: tuple[DemoResult, Path, list[str]]) -> None:
    result, out, _ = done
    data = json.loads((out / "demo.json").read_text())
    for line, row in zip(data["table"]["rows"], result.rows, strict=True):
        assert line["file_bytes"] == row.file.stat().st_size
        assert line["accuracy"] == pytest.approx(100 * row.accuracy, abs=0.01)
        weights = sum(r.flash_bytes for r in row.profile.layers)
        assert weights < line["flash_bytes"] < weights + 40_000  # the rest is code and tables


def test_findings_are_computed_from_the_rows(done: tuple[DemoResult, Path, list[str]]) -> None:
    result, _, said = done
    base, both = result["float32"], result["pruned + int8 QAT"]
    line = next(f for f in findings(result) if f.startswith("pruned + int8 QAT"))
    ratio = base.profile.flash_bytes / both.profile.flash_bytes
    assert f"flash is {ratio:.1f}x smaller" in line
    images = round(abs(base.accuracy - both.accuracy) * result.tested)
    assert f"({images} of {result.tested} test images)" in line or not images
    assert line in said


class _Page(HTMLParser):
    """Collects what a browser would fetch, and which elements are left open."""

    VOID = {"meta", "link", "br", "img", "circle", "rect", "line", "path"}

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "action", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)


def test_the_report_loads_nothing_and_is_well_formed(
    done: tuple[DemoResult, Path, list[str]],
) -> None:
    result, out, _ = done
    text = (out / "index.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert [u for u in page.fetched if not u.startswith("data:")] == []
    assert (page.unbalanced, page.open) == ([], [])
    assert not re.search(r"https?:|url\(|@import|<script", text)
    for row in result.rows:
        assert f"{row.profile.flash_bytes:,}" in text
        assert row.name in text


def test_bars_are_proportional_to_their_values() -> None:
    drawn = bars("flash", "B", {"a": 100.0, "b": 50.0, "c": 0.0}, limit=120)
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', drawn)]
    assert widths[0] == pytest.approx(2 * widths[1], abs=0.2)
    assert widths[2] == 1  # a trace of it stays to be seen
    assert "stroke-dasharray" in drawn
    assert "stroke-dasharray" not in bars("flash", "B", {"a": 1.0}, limit=1e6)


def test_scatter_places_points_in_order() -> None:
    drawn = scatter("t", "x", "y", {"a": (10.0, 90.0), "b": (20.0, 95.0), "c": (30.0, 80.0)})
    dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    points = np.array(dots[::2], float)  # every other circle is the legend's
    assert list(np.argsort(points[:, 0])) == [0, 1, 2]
    assert list(np.argsort(-points[:, 1])) == [2, 0, 1]  # screens count downwards
    assert scatter("t", "x", "y", {"only": (1.0, 50.0)})


def test_an_unknown_dataset_or_board_is_explained(tmp_path: Path) -> None:
    with pytest.raises(tk.TinykitError, match="digits"):
        run_demo("nonesuch", tmp_path, say=None)
    with pytest.raises(tk.TinykitError, match="stm32f446"):
        run_demo("digits", tmp_path, target="stm32f445", say=None)
