"""The widgets, driven as a front end drives them, without a browser."""

from __future__ import annotations

import datetime
import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from tests.explore.test_explorer import Doubling
from tinykit.explore.explorer import Settings, Tick, quiet
from tinykit.explore.figure_view import FigureView, plain, plotly_js
from tinykit.explore.view import ExplorerView


@pytest.fixture
def view() -> ExplorerView:
    return Doubling().view()


def test_knobs_have_labels_and_start_where_asked() -> None:
    view = Doubling().view(number=2)
    assert view.knobs["number"].description == "Number"
    assert view.figures.readout == "twice that is 0"
    assert [type(k).__name__ for k in view.knobs.values()] == [
        "SelectionSlider", "ToggleButtons", "FileUpload",
    ]  # fmt: skip


def test_a_knob_moves_figures_and_readout_together(view: ExplorerView) -> None:
    assert view.figures.turn == 1
    view.knobs["number"].value = 2
    assert view.figures.turn == 2
    assert view.figures.readout == "twice that is 0"
    assert view.figures.figures["value"]["data"][0]["y"] == [0]


class Renaming(Doubling):
    """Calls its number otherwise when there are many, and hides a knob when there is one; knows
    what it is called only once it was computed."""

    name = "renaming"
    known = False

    def compute(self, settings: Settings, tick: Tick = quiet) -> int:
        self.known = True
        return super().compute(settings, tick)

    def labels(self, settings: Settings) -> Mapping[str, str | None]:
        if not self.known:
            return {}
        if settings["number"] == 1:
            return {"slow": None}
        return {"number": "Many"}


def test_knobs_are_named_and_shown_by_what_they_do() -> None:
    view = Renaming().view()
    number, slow = view.knobs["number"], view.knobs["slow"]
    assert (number.description, number.layout.display) == ("Number", None)
    assert slow.layout.display == "none"
    number.value = 2
    assert (number.description, slow.layout.display) == ("Many", None)
    number.value = 1
    assert (number.description, slow.layout.display) == ("Number", "none")


def test_a_mistake_is_told_in_words_and_the_next_knob_clears_it(view: ExplorerView) -> None:
    view.knobs["number"].value = 13
    assert view.figures.status == {"error": "13 cannot be doubled: choose another number"}
    assert view.figures.readout == "twice that is 0"
    view.knobs["number"].value = 2
    assert view.figures.status == {}


def test_a_bug_is_told_in_words_and_logged(
    view: ExplorerView, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        view.knobs["number"].value = 14
    assert "Something went wrong inside tinykit (ZeroDivisionError" in view.figures.status["error"]
    assert "Traceback" not in view.figures.status["error"]
    assert caplog.records[0].exc_info is not None


def test_slow_work_shows_progress_then_the_result(view: ExplorerView) -> None:
    seen = []
    view.figures.observe(lambda change: seen.append(change["new"]), "status")
    view.knobs["slow"].value = True
    view.join()
    assert seen[0] == {"work": "working", "fraction": None}
    assert {"work": "doubling", "fraction": None} in seen
    assert seen[-1] == {}
    assert view.figures.turn == 2


def test_a_file_is_taken_and_removed(view: ExplorerView) -> None:
    chooser = view.knobs["file"]

    def choose(content: bytes) -> None:
        chooser.value = (
            {
                "name": "a.bin", "type": "", "size": len(content), "content": memoryview(content),
                "last_modified": datetime.datetime.now(datetime.UTC),
            },
        )  # fmt: skip

    choose(b"abc")
    assert view.settings["file"].content == b"abc"
    assert chooser.value == (), "the same name can be chosen again"
    choose(bytes(11))
    assert "has 11 bytes; at most 10" in view.figures.status["error"]
    remove = next(w for w in view.children[0].children[2].children if hasattr(w, "click"))
    remove.click()
    assert view.settings["file"] is None
    assert view.figures.status == {}


def test_plain_makes_json_of_what_figures_hold() -> None:
    figure = go.Figure(go.Scatter(x=np.float32([1, math.inf]), y=(1, None), text=["a", "b"]))
    data = plain({"a": figure, "b": np.int64(3), "c": [1.5, math.nan], "d": [1, 2.5]})
    trace = data["a"]["data"][0]
    assert trace["text"] == ["a", "b"]
    assert trace["y"] == [1, None]
    assert data["b"] == 3
    assert data["c"] == [1.5, None]
    assert data["d"] == [1, 2.5]


def test_plotly_js_comes_from_the_installed_package() -> None:
    assert b"plotly.js" in plotly_js()[:200]


def test_figure_view_answers_for_plotly_js_only() -> None:
    view = FigureView()
    sent = []
    view.send = lambda content, buffers=None: sent.append((content, len(buffers)))  # type: ignore[method-assign]
    view._answer(None, {"type": "other"}, [])
    view._answer(None, {"type": "plotly.js"}, [])
    assert sent == [({"type": "plotly.js"}, 1)]


class Counting(Doubling):
    """Shows how far it has counted before it is done."""

    name = "counting"

    def compute(self, settings: Settings, tick: Tick = quiet) -> int:
        settings = self.settings(settings)
        tick(0.5, "counting", settings["number"])
        return super().compute(settings, tick)

    def text(self, result: int) -> str:
        return f"counted to {result}"


def test_a_partial_result_is_drawn_and_its_words_wait() -> None:
    view = Counting().view()
    before = view.figures.readout
    drawn: list[Any] = []
    view.figures.observe(lambda change: drawn.append(change["new"]), "figures")
    words: list[str] = []
    view.figures.observe(lambda change: words.append(change["new"]), "readout")
    view.knobs["slow"].value = True
    view.join()
    # without an event loop what is shown is shown from the worker
    assert [d["value"]["data"][0]["y"] for d in drawn] == [[1], [0]]
    assert words == []
    assert view.figures.readout == before == "counted to 0"
    assert view.figures.status == {}
