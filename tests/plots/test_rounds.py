"""Figures by round: means, ranges and gaps are those of the numbers."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from tinykit.plots.rounds import ByRound, by_round, holdings, sorted_devices

NAN = float("nan")


def valid(figure: go.Figure) -> go.Figure:
    return go.Figure(figure.to_plotly_json())


def curve() -> ByRound:
    return ByRound("a", [1, 2, 3, 4], np.array([[1, 2, NAN, NAN], [3, 6, 5, NAN]], dtype=float))


def test_a_curve_is_a_mean_and_a_range_of_those_that_are_there() -> None:
    of = curve()
    assert of.mean.tolist()[:3] == [2, 4, 5]
    assert of.low.tolist()[:3] == [1, 2, 5]
    assert of.high.tolist()[:3] == [3, 6, 5]
    assert np.isnan([of.mean[3], of.low[3], of.high[3]]).all()


def test_a_band_goes_there_above_and_back_below() -> None:
    figure = valid(by_round([curve()], title="t", subtitle="s", unit="u", scale=10, goal=30))
    band, line = figure.data
    assert band.fill == "toself"
    assert list(band.x) == [1, 2, 3, 3, 2, 1]
    assert list(band.y) == [30, 60, 50, 50, 20, 10]
    assert (list(line.x), list(line.y)) == ([1, 2, 3], [20, 40, 50])
    assert figure.layout.shapes[0].y0 == 30
    assert figure.layout.xaxis.range[1] == 4.5


def test_one_run_has_no_band_and_curves_differ_without_colour() -> None:
    one = ByRound("a", [1], np.array([[1.0]]))
    figure = valid(by_round([one, one], title="t", subtitle="s", unit="u", end=20))
    assert len(figure.data) == 2
    assert figure.data[0].line.dash != figure.data[1].line.dash
    assert figure.layout.xaxis.range[1] == 20.5


def test_nothing_done_yet_is_a_figure_all_the_same() -> None:
    none = ByRound("a", [], np.zeros((1, 0)))
    assert list(valid(by_round([none], title="t", subtitle="s", unit="u", end=5)).data[0].x) == []


def test_devices_are_sorted_within_each_run() -> None:
    of = np.array([[0.5, 0.1, 0.9], [0.2, 0.8, 0.3]])
    drawn = valid(sorted_devices([("a", of)], title="t", subtitle="s", unit="u", scale=100))
    assert list(drawn.data[0].y) == pytest.approx([15, 40, 85])


def test_a_heat_map_holds_each_device_s_shares_once() -> None:
    counts = np.array([[0, 4, 0], [3, 1, 0], [1, 3, 0], [0, 0, 5]])
    drawn = valid(holdings(counts, ["x", "y", "z"], title="t", subtitle="s"))
    columns = np.array(drawn.data[0].z).T
    shares = counts / counts.sum(axis=1, keepdims=True)
    assert sorted(columns.tolist()) == sorted(shares.tolist())
    # by main class, the purest first
    assert columns.tolist() == [shares[1].tolist(), shares[0].tolist(), shares[2].tolist(),
                                shares[3].tolist()]  # fmt: skip
    assert "device 1<br>class x: 3 of 4" in str(drawn.data[0].hovertext)
