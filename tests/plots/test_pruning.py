"""Figures of pruning: every weight is somewhere, marks lie on their curves."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinykit.plots import Curve, kept_weights, sensitivity_curves, shares, weight_histogram

SAID = {"title": "t", "subtitle": "s"}


@given(
    st.lists(st.tuples(st.floats(-2, 2, width=32), st.booleans()), min_size=1, max_size=60),
    st.integers(1, 50),
)
def test_every_weight_is_in_one_bar(weights: list[tuple[float, bool]], bins: int) -> None:
    values = np.array([w for w, _ in weights])
    kept = np.array([k for _, k in weights])
    figure = go.Figure(weight_histogram(values, kept, bins=bins, **SAID).to_plotly_json())
    stay, gone = figure.data
    assert sum(stay.y) == kept.sum()
    assert sum(gone.y) == (~kept).sum()
    assert figure.layout.barmode == "stack"


def test_bars_add_up_to_the_layers() -> None:
    figure = go.Figure(kept_weights(["a", "b"], [3, 40], [30, 40], **SAID).to_plotly_json())
    stay, gone = figure.data
    assert [x + y for x, y in zip(stay.x, gone.x, strict=True)] == [30, 40]
    assert gone.text == ("10% of 30 stay", "100% of 40 stay")


def test_marks_lie_on_their_curves_and_curves_differ_without_colour() -> None:
    curves = [Curve(str(i), [0, 0.5, 1], [1, 0.9, 0.1 * i], 0.75) for i in range(10)]
    figure = go.Figure(sensitivity_curves(curves, thick="3", **SAID).to_plotly_json())
    *lines, marks = figure.data
    looks = {(line.line.color, line.line.dash) for line in lines}
    assert len(looks) == 10
    assert [line.name for line in lines if line.line.width > 2] == ["3"]
    assert marks.y == pytest.approx([100 * (0.9 + 0.1 * i) / 2 for i in range(10)])
    without = sensitivity_curves([Curve("a", [0, 1], [1, 0])], **SAID)
    assert len(without.data) == 1


def test_shares_are_in_percent_with_words() -> None:
    bars = shares(
        ["a", "b"],
        [0.5, 1],
        ["5 B", "10 B"],
        unit="%",
        y_title="what",
        emphasis=[False, True],
        **SAID,
    )
    (trace,) = go.Figure(bars.to_plotly_json()).data
    assert trace.x == (50, 100)
    assert trace.text == ("5 B", "10 B")
    assert len(set(trace.marker.color)) == 2
