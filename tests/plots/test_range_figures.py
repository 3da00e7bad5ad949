"""Figures of ranges and of bits: true to the numbers."""

from __future__ import annotations

import pytest

from tests.plots.test_plots import valid
from tinykit.plots.bits import LEAST, layer_bits, sensitivities
from tinykit.plots.ranges import Errors, accuracy_lines, range_errors

ERRORS = Errors([0.25, 0.5, 1.0], [0.2, 0.01, 0.0], [0.002, 0.02, 0.1])


def test_errors_are_drawn_whole_and_in_parts() -> None:
    figure = valid(
        range_errors({2: ERRORS}, marks={"MSE": (0.5, 0.03)}, title="t", subtitle="s", at=0.5)
    )
    traces = {t.name: t for t in figure.data}
    assert list(traces["sum"].y) == pytest.approx([0.202, 0.03, 0.1])
    assert list(traces["rounding"].y) == pytest.approx([0.002, 0.02, 0.1])
    # no error has no logarithm: nothing is drawn
    assert traces["clipping"].y[2] is None
    assert (traces["MSE"].x[0], traces["MSE"].y[0]) == (0.5, 0.03)
    assert figure.layout.shapes[0].x0 == 0.5
    assert ERRORS.best == 0.5


def test_clipping_is_one_line_for_all_bits() -> None:
    figure = valid(range_errors({2: ERRORS, 4: ERRORS}, title="t", subtitle="s"))
    assert [t.name for t in figure.data].count("clipping") == 1
    shown = [t.name for t in figure.data if t.showlegend is not False]
    assert shown == ["2 bits", "4 bits", "clipping"]


def test_accuracies_are_means_with_every_seed() -> None:
    series = {"a": {0.1: [0.5, 0.7], 1.0: [0.9, 1.0]}}
    figure = valid(accuracy_lines(series, title="t", subtitle="s", references={"float": 0.97}))
    line, seeds, reference = figure.data
    assert list(line.y) == pytest.approx([60, 95])
    assert list(seeds.x) == [0.1, 0.1, 1.0, 1.0]
    assert list(seeds.y) == pytest.approx([50, 70, 90, 100])
    assert list(reference.y) == [97, 97]


def test_bits_and_costs_of_layers() -> None:
    bits, weights = {"a": 2, "b": 8}, {"a": 400, "b": 80}
    figure = valid(layer_bits(bits, weights, title="t", subtitle="s", uniform=3))
    assert list(figure.data[0].y) == [2, 8]
    assert list(figure.data[0].text) == ["100 B", "80 B"]
    costs = {"a": {2: 0.5, 8: -0.1}, "b": {2: 0.1, 8: 0.0}}
    figure = valid(sensitivities(costs, weights, title="t", subtitle="s", chosen=bits))
    traces = {t.name: list(t.y) for t in figure.data}
    assert traces == {"2 bits": [0.5, 0.1], "8 bits": [LEAST, LEAST], "chosen": [0.5, LEAST]}
