"""Figures of drift: true to the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.plots.test_plots import valid
from tinykit.plots.drift import local_paths
from tinykit.plots.rounds import ByRound, by_round


def test_paths_and_contours_are_where_they_are_said_to_be() -> None:
    hessian, optimum = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([1.0, -1.0])
    local = [
        {1: np.array([[0.0, 0], [1, 1]]), 0: np.array([[0.0, 0], [2, 1]])},
        {0: np.array([[1.5, 1], [2, 2]])},
    ]
    figure = valid(
        local_paths(
            local,
            np.array([[0.0, 0], [1.5, 1], [2, 2]]),
            hessian=hessian,
            optimum=optimum,
            points={"optimum": optimum},
            losses=(0.5, 2.0),
            window=((-1, 3), (-2, 3)),
            title="t",
            subtitle="s",
        )
    )
    rings = [t for t in figure.data if t.name == "same loss of all"]
    for ring, loss in zip(rings, (0.5, 2.0), strict=True):
        away = np.array([ring.x, ring.y]).T - optimum
        assert 0.5 * np.einsum("ni,ij,nj->n", away, hessian, away) == pytest.approx(loss)
    devices = [t for t in figure.data if str(t.name).startswith("device")]
    assert [t.name for t in devices] == ["device 0", "device 1", "device 0"]
    assert [t.showlegend for t in devices] == [True, True, False]
    assert devices[1].line.color != devices[0].line.color == devices[2].line.color
    assert list(devices[2].x) == [1.5, 2]
    (shared,) = [t for t in figure.data if t.name == "shared model"]
    assert list(shared.y) == [0, 1, 2]
    assert list(figure.layout.yaxis.range) == [-2, 3]


def test_distances_by_round_on_a_log_axis() -> None:
    curve = ByRound("a", range(3), np.array([[1.0, 0.1, np.nan]]))
    figure = valid(by_round([curve], title="t", subtitle="s", unit="u", log=True, y_range=(-2, 1)))
    assert figure.layout.yaxis.type == "log"
    assert list(figure.layout.yaxis.range) == [-2, 1]
    assert list(figure.data[0].y) == [1.0, 0.1]


def test_four_curves_are_told_apart() -> None:
    curves = [ByRound(str(k), [1, 2], np.full((2, 2), float(k))) for k in range(4)]
    figure = valid(by_round(curves, title="t", subtitle="s", unit="u"))
    lines = [t for t in figure.data if t.name is not None]
    assert len({(t.line.color, t.line.dash) for t in lines}) == 4
