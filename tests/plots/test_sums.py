"""Figures of sums of compressions, and of two weights in the plane."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from tinykit.plots import Point, by_step, file_parts, plane, size_error

POINTS = [
    Point(100, 40.0, "direct", "a"),
    Point(100, 4.0, "LC", "b"),
    Point(400, 0.0, "LC", "c"),
    Point(500, 3.0, "direct", "d"),
]


def valid(figure: go.Figure) -> go.Figure:
    checked = go.Figure(figure.to_plotly_json())
    assert checked.layout.title.text
    assert checked.layout.xaxis.title.text
    assert checked.layout.yaxis.title.text
    return checked


def test_every_point_is_drawn_once_and_the_front_is_below_all() -> None:
    figure = valid(
        size_error(
            POINTS, methods=["direct", "LC"], title="t", subtitle="s", finest=0.1,
            chosen=POINTS[:2], ring=POINTS[1], reference=Point(2000, 2.0, "", "whole"),
            published={"this": 2.5, "that": 1.5}, published_of_ring="this",
        )
    )  # fmt: skip
    traces = {t.name: t for t in figure.data}
    drawn = [
        (x, y)
        for name in ("direct", "LC")
        for x, y in zip(traces[name].x, traces[name].y, strict=True)
    ]
    # no error is drawn as the least that can be told: a log axis has no zero
    assert sorted(drawn) == sorted((p.size, max(p.error, 0.1)) for p in POINTS)
    front = traces["Pareto front"]
    assert list(zip(front.x, front.y, strict=True)) == [(100, 4.0), (400, 0.1)]
    assert list(traces["your choice"].y) == [4.0]
    assert list(traces["your sum by each method"].y) == [40.0, 4.0]
    assert list(traces["published for your sum"].y) == [2.5]
    assert list(traces["published by others (no file size)"].y) == [1.5]
    low, high = figure.layout.xaxis.range
    assert low < np.log10(traces["published for your sum"].x[0]) < 2 < np.log10(2000) < high


def test_without_points_of_a_method_it_keeps_its_look() -> None:
    both = size_error(POINTS, methods=["direct", "LC"], title="t", subtitle="s", finest=0.1)
    one = size_error(POINTS[1:3], methods=["direct", "LC"], title="t", subtitle="s", finest=0.1)
    look = [next(t for t in f.data if t.name == "LC").marker.color for f in (both, one)]
    assert look[0] == look[1]


def test_a_run_starts_before_its_first_step() -> None:
    figure = valid(
        by_step([50.0, 10.0, 0.0], name="LC", title="t", subtitle="s", unit="error in %",
                levels={"direct": 50.0}, finest=0.5)
    )  # fmt: skip
    run, level = figure.data
    assert list(run.x) == [0, 1, 2]
    assert list(run.y) == [50.0, 10.0, 0.5]
    assert list(level.y) == [50.0, 50.0]


def test_parts_are_stacked_and_add_up() -> None:
    figure = valid(
        file_parts(["1", "rest"], {"codebook": [400.0, 0.0], "names": [0.0, 90.0]},
                   title="t", subtitle="s", y_title="layer")
    )  # fmt: skip
    assert figure.layout.barmode == "stack"
    assert sum(sum(bar.x) for bar in figure.data) == 490
    assert len({bar.marker.color for bar in figure.data}) == 2


def test_contours_are_where_the_loss_is_what_they_say() -> None:
    hessian, optimum = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([0.5, -0.2])
    path = np.array([[0.0, 0.0], [0.1, 0.2]])
    figure = valid(
        plane(hessian, optimum, feasible=[(1, 2)], paths={"w": path}, points={"p": (0, 0)},
              losses=(0.3, 1.2), title="t", subtitle="s", reach=1.0)
    )  # fmt: skip
    for ring, loss in zip(figure.data[:2], (0.3, 1.2), strict=True):
        w = np.stack([ring.x, ring.y], 1) - optimum
        assert 0.5 * np.einsum("ni,ij,nj->n", w, hessian, w) == pytest.approx(loss)
    line = next(t for t in figure.data if t.name == "what compression allows")
    assert np.array(line.y) == pytest.approx(2 * np.array(line.x))
    assert list(next(t for t in figure.data if t.name == "w").x) == [0.0, 0.1]
