"""Figures of quantization: valid, and true to the numbers."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from tinykit.plots import accuracy_bars, channel_ranges, error_curve, level_histogram

WORDS = {"title": "t", "subtitle": "s"}


def valid(figure: go.Figure) -> go.Figure:
    checked = go.Figure(figure.to_plotly_json())
    assert checked.layout.title.text
    assert checked.layout.xaxis.title.text
    assert checked.layout.yaxis.title.text
    return checked


def test_histogram_counts_every_value_once() -> None:
    values = np.random.default_rng(0).normal(size=500)
    clipped = np.abs(values) > 1
    figure = valid(
        level_histogram(values, clipped, np.linspace(-1, 1, 15), x_title="value", **WORDS)
    )
    levels, kept, cut = figure.data
    assert list(levels.x[::3]) == pytest.approx(np.linspace(-1, 1, 15))
    assert sum(kept.y) == pytest.approx(100 * (~clipped).mean())
    assert sum(cut.y) == pytest.approx(100 * clipped.mean())
    many = valid(level_histogram(values, clipped, np.linspace(-1, 1, 255), x_title="v", **WORDS))
    assert max(y for y in many.data[0].y if y is not None) == 0, "marks, below the bars"


def test_histogram_of_nothing() -> None:
    valid(level_histogram(np.zeros(0), np.zeros(0, bool), np.zeros(1), x_title="v", **WORDS))


def test_each_channel_has_its_levels() -> None:
    low, high = np.array([-1.0, -2.0, 0.0]), np.array([1.0, 2.0, 3.0])
    own = [np.array([-1.0, 1.0]), np.array([-2.0, 0.0, 2.0]), np.array([0.0, 3.0])]
    figure = valid(channel_ranges(low, high, own, y_title="v", **WORDS))
    assert list(figure.data[0].base) == list(low)
    assert list(figure.data[0].y) == list(high - low)
    marks = [
        (round((a + b) / 2), y)
        for a, b, y in zip(
            figure.data[1].x[::3], figure.data[1].x[1::3], figure.data[1].y[::3], strict=True
        )
    ]
    assert marks == [(0, -1), (0, 1), (1, -2), (1, 0), (1, 2), (2, 0), (2, 3)]
    shared = valid(channel_ranges(low, high, own[:1], y_title="v", **WORDS))
    assert len(shared.data[1].x[::3]) == 6
    wide = np.linspace(-1, 1, 2_001)
    many = valid(channel_ranges(low, high, [wide], y_title="v", **WORDS))
    assert many.data[1].name == "lowest and highest level"
    assert len(many.data[1].x[::3]) == 6


def test_errors_and_who_chooses_what() -> None:
    figure = valid(
        error_curve(
            [0.5, 1.0], [0.04, 0.0], [0.01, 0.03],
            {"one": (1.0, 0.03), "two": (1.0, 0.03), "three": (0.5, 0.05)},
            (0.5, 0.05), **WORDS,
        )
    )  # fmt: skip
    traces = {t.name: t for t in figure.data}
    assert list(traces["both"].y) == pytest.approx([5, 3])
    assert list(traces["clipping"].y) == [pytest.approx(4), None]
    assert list(traces["one, two"].x) == [100]
    assert list(traces["your choice"].y) == pytest.approx([5])


def test_accuracies_beside_the_first() -> None:
    figure = valid(
        accuracy_bars(["a", "b", "c"], [0.9, 0.89, 0.3], y_title="what", chance=0.1, **WORDS)
    )
    assert list(figure.data[0].x) == pytest.approx([90, 89, 30])
    colors = list(figure.data[0].marker.color)
    assert colors[1] != colors[2]
    assert "guessing: 10" in figure.layout.xaxis.title.text
