"""The Flower study's trends, and the error that is stated beside them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tinykit.federated.system import FleetError, catalogue, study


def test_the_fit_meets_the_runs_that_it_was_made_of_and_misses_the_third_in_time() -> None:
    first, held_out, last = study.compare()
    assert [c.held_out for c in (first, held_out, last)] == [False, True, False]
    for one in (first, last):
        assert one.time_error == pytest.approx(0, abs=1e-9)
        assert one.energy_error == pytest.approx(0, abs=1e-9)
    # two points, a straight line: by hand
    line = np.polyval(np.polyfit([1, 10], [17.6, 80.3], 1), 5)
    assert held_out.minutes == pytest.approx(line)
    assert 0.2 < held_out.time_error < 0.25
    assert abs(held_out.energy_error) < 0.005


def test_the_trends_of_the_study() -> None:
    costs = [study.replay(epochs) for epochs in (1, 5, 10)]
    assert all(a.round_seconds < b.round_seconds for a, b in pairwise(costs))
    slow, share = study.slowdown()
    assert slow == pytest.approx(1.27)
    assert share == 1
    train = 10 * study.EXAMPLES / study.fit().examples_per_s
    cut, share = study.slowdown(train)
    assert cut == pytest.approx(1, abs=0.01)
    assert 0.7 < share < 0.8, "what the cut-off costs: steps"


def test_boards_draw_more_than_the_study_counts() -> None:
    assert study.compare(catalogue())[-1].energy_error > 5


def test_a_fit_needs_two_of_the_runs() -> None:
    for on in ((1,), (1, 1), (1, 7), (1, 5, 10)):
        with pytest.raises(FleetError, match=r"two of the runs with \[1, 5, 10\]"):
            study.fit(on)
    assert study.fit((5, 10)) != study.fit((1, 10))
