"""The explorers of the lessons on range and on mixed precision, without a browser."""

from __future__ import annotations

import itertools
import re

import plotly.graph_objects as go
import pytest

from tinykit.course import BitsExplorer, RangeExplorer
from tinykit.course.bits import MixedTable
from tinykit.course.ranges import RangeTable
from tinykit.graph.errors import TinykitError


@pytest.fixture(scope="module")
def ranges() -> RangeExplorer:
    return RangeExplorer()


def test_words_and_figures_of_every_position_are_those_of_the_table(ranges: RangeExplorer) -> None:
    for what, bits, share in itertools.product(
        ("weights", "activations"), ranges.table.values("bits"), (0.05, 0.1, 0.35, 1.0)
    ):
        shown = ranges.compute({"what": what, "bits": bits, "share": share})
        text = ranges.text(shown)
        rows = [
            r
            for r in ranges.table.rows
            if (r["what"], r["bits"], r["method"], r.get("share")) == (what, bits, "ptq", share)
        ]
        mean = sum(r["accuracy"] for r in rows) / len(rows)
        assert f"not trained: {100 * mean:.1f} %" in text
        clipping = sum(r["clipping"] for r in rows) / len(rows)
        assert f"({100 * clipping:.2g} % clipping" in text
        assert ("Nothing was trained" in text) == (bits in (3, 6))
        assert ("Trained were" in text) == (bits in (2, 4, 8) and share == 0.05)
        for figure in ranges.figures(shown).values():
            checked = go.Figure(figure.to_plotly_json())
            assert checked.layout.yaxis.title.text
            assert checked.layout.shapes[0].x0 == share


def test_observers_that_agree_stand_together() -> None:
    seen = RangeTable().observed("weights", 4)
    assert "min-max, EMA, percentile" in seen
    assert seen["min-max, EMA, percentile"][0] == pytest.approx(1, abs=1e-3)
    assert {n for names in seen for n in names.split(", ")} == {
        "min-max", "EMA", "percentile", "MSE", "KL",
    }  # fmt: skip
    assert len(RangeTable().observed("activations", 4)) == 5


def test_learned_ends_start_where_they_are_said_to(ranges: RangeExplorer) -> None:
    ends = ranges.table.learned_ends("weights", 2)
    assert ends[0.1] > 0.1  # wider than it was
    assert ends[1.0] < 1.0


COSTS = {"a": {b: 1.0 / b for b in range(2, 9)}, "b": {b: 8.0 / b**2 for b in range(2, 9)}}
WEIGHTS = {"a": 80, "b": 40}
SIZES = {n: {b: WEIGHTS[n] * b // 8 + 4 for b in range(2, 9)} for n in COSTS}


def test_the_choice_is_the_best_there_is() -> None:
    explorer = BitsExplorer(COSTS, SIZES, WEIGHTS)
    for average in (2.0, 3.25, 5.0, 8.0):
        got = explorer.compute({"average": average})
        assert got.budget == int(120 * average / 8) + 8
        every = [
            COSTS["a"][a] + COSTS["b"][b]
            for a, b in itertools.product(range(2, 9), repeat=2)
            if SIZES["a"][a] + SIZES["b"][b] <= got.budget
        ]
        assert got.cost == pytest.approx(min(every))
        assert got.spent == SIZES["a"][got.bits["a"]] + SIZES["b"][got.bits["b"]]
        text = explorer.text(got)
        assert re.search(rf"{got.spent:,} of {got.budget:,} bytes", text)
        figures = explorer.figures(got)
        assert list(figures["bits"].data[0].y) == list(got.bits.values())
        for figure in figures.values():
            go.Figure(figure.to_plotly_json())


def test_layers_that_do_not_match_are_refused() -> None:
    with pytest.raises(TinykitError, match="same layers"):
        BitsExplorer(COSTS, SIZES, {"a": 80})


def test_the_mixed_table_answers_by_method_and_column() -> None:
    shipped = MixedTable()
    seeds = len(shipped.about["seeds"])
    assert len(shipped.found(2.5, "mixed", "ptq")) == seeds
    assert len(shipped.found(2.5, "mixed", "qat")) == seeds
    assert shipped.found(2.5, "uniform", "ptq") == []
    assert len(shipped.found(2.5, "random", "ptq")) == 5 * seeds
    assert len(shipped.stored(0.5)) == seeds
