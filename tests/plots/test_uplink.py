"""Figures of what devices send: sums, means, and every entry in a bar."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from tinykit.federated.history import History, Round
from tinykit.plots import accuracy_by_bytes, accuracy_by_epsilon, what_the_server_sees

SAID = {"title": "t", "subtitle": "s"}


def _history(accuracies: list[float | None], each: int) -> History:
    return History(
        [Round(n + 1, 5, 5, bytes_up=each, accuracy=a) for n, a in enumerate(accuracies)]
    )


def test_bytes_add_up_and_accuracies_are_means() -> None:
    runs = {
        "a": [_history([0.1, None, 0.5], 1024), _history([0.3, None, 0.7], 1024)],
        "b": [_history([0.2, None, 0.4], 512)],
    }
    figure = go.Figure(accuracy_by_bytes(runs, **SAID).to_plotly_json())
    a, b = figure.data
    assert a.x == (1, 3)
    assert a.y == pytest.approx((20, 60))
    assert "50.0 to 70.0 %" in a.hovertext[1]
    assert b.x == (0.5, 1.5)
    assert figure.layout.xaxis.type == "log"
    many = accuracy_by_bytes({str(i): runs["b"] for i in range(12)}, **SAID)
    assert len({(line["line"]["color"], line["line"]["dash"]) for line in many.data}) == 12


def test_infinity_stands_last() -> None:
    runs = {"100": {8.0: [0.5, 0.7], float("inf"): [0.8]}, "1000": {2.0: [0.7], 8.0: [0.9]}}
    figure = go.Figure(accuracy_by_epsilon(runs, **SAID).to_plotly_json())
    assert figure.layout.xaxis.categoryarray == ("2", "8", "∞")
    line, dots, *_ = figure.data
    assert line.x == ("8", "∞")
    assert line.y == pytest.approx((60, 80))
    assert dots.x == ("8", "8", "∞")


def test_every_entry_is_in_a_bar() -> None:
    rng = np.random.default_rng(0)
    update = rng.normal(0, 0.02, 5000)
    masked = rng.integers(0, 2**16, 5000).astype(np.uint32)
    drawn = what_the_server_sees(update, masked, 16, bins=20, **SAID)
    left, right = go.Figure(drawn.to_plotly_json()).data
    assert sum(left.y) == pytest.approx(100)
    assert sum(right.y) == pytest.approx(100)
    assert max(right.y) < 2 * min(right.y)
    assert max(left.y) > 20 * min(left.y)
    what_the_server_sees(np.zeros(3), np.zeros(3, dtype=np.uint32), 8, **SAID)
