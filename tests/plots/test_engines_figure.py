"""Seconds by rounds: start-up once, then a round each."""

from __future__ import annotations

import plotly.graph_objects as go
import pytest

from tinykit.plots import seconds_by_rounds


def test_lines_start_with_the_first_round_and_end_with_the_last() -> None:
    drawn = seconds_by_rounds(
        {"a": (10.0, 0.5), "b": (1.0, 2.0)}, title="t", subtitle="s", most=200
    )
    a, b = go.Figure(drawn.to_plotly_json()).data
    assert a.x[0] == 1
    assert a.x[-1] == 200
    assert a.y[0] == 10
    assert a.y[-1] == pytest.approx(10 + 199 * 0.5)
    assert b.y[-1] == pytest.approx(1 + 199 * 2)
    assert (a.line.color, a.line.dash) != (b.line.color, b.line.dash)
    assert "200 rounds" in a.hovertext[-1]
    assert drawn.layout.xaxis.type == drawn.layout.yaxis.type == "log"
    assert "seconds" in drawn.layout.yaxis.title.text
