"""The table and the explorer of the lesson on personalised learning, without a browser."""

from __future__ import annotations

import itertools
from typing import Any

import plotly.graph_objects as go
import pytest

from tinykit.course import PersonalExplorer
from tinykit.course.personal import METHODS, OWN, PersonalTable
from tinykit.explore._shipped import TableError
from tinykit.graph.errors import TinykitError


def row(method: str, seed: int, accuracy: list[float], tuned: dict[str, float]) -> dict[str, Any]:
    return {
        "method": method, "share": 0.1, "seed": seed, "rounds": [5, 10], "accuracy": accuracy,
        "worst_tenth": 0.0, "tuned": tuned,
    }  # fmt: skip


def made(**changes: Any) -> PersonalTable:
    rows = [
        row("FedAvg", 0, [0.2, 0.4], {"5 x 0.1": 0.4, "20 x 0.1": 0.9}),
        row("FedAvg", 1, [0.4, 0.8], {"5 x 0.1": 0.8, "20 x 0.1": 0.5}),
        row("Per-FedAvg", 0, [0.5, 0.7], {"5 x 0.1": 0.6, "20 x 0.1": 0.6}),
        {"method": "alone", "share": 0.0, "seed": 0, "accuracy": [0.5]},
    ]
    return PersonalTable({"format": 1, "about": {}, "rows": rows} | changes)


def test_a_way_is_chosen_by_the_mean_of_all_seeds() -> None:
    table = made()
    assert table.best("FedAvg", 0.1) == ("20 x 0.1", [0.9, 0.5])
    assert table.best("Per-FedAvg", 0.1) == (OWN, [0.7])
    assert table.shares == (0.1,)
    assert table.alone == [0.5]


def test_rounds_count_to_the_mean_of_all_seeds() -> None:
    table = made()
    assert table.by_round("FedAvg", 0.1) == {5: [0.2, 0.4], 10: [0.4, 0.8]}
    assert table.rounds_to("FedAvg", 0.1, 0.59) == 10
    assert table.rounds_to("FedAvg", 0.1, 0.61) is None


def test_what_the_table_lacks_is_said() -> None:
    with pytest.raises(TinykitError, match=r"no 'FedAvg' with 0\.5 of the devices"):
        made().by_round("FedAvg", 0.5)
    with pytest.raises(TableError, match="format 9"):
        made(format=9)


def test_every_position_shows_what_the_shipped_table_has() -> None:
    explorer = PersonalExplorer()
    table = explorer.table
    for share, customise in itertools.product(table.shares, METHODS):
        shown = explorer.compute({"share": share, "customise": customise})
        text = explorer.text(shown)
        best = max(sum(a) / len(a) for _, a in shown.best.values())
        assert f": {100 * best:.1f} %." in text
        for method in METHODS[customise]:
            last = [
                r["accuracy"][-1]
                for r in table.rows
                if (r["method"], r["share"]) == (method, share)
            ]
            assert f"{method}: {100 * (sum(last) / len(last)):.1f} %" in text
        figures = explorer.figures(shown)
        for figure in figures.values():
            checked = go.Figure(figure.to_plotly_json())
            assert "%" in checked.layout.xaxis.title.text + checked.layout.yaxis.title.text
        assert figures["best"].data[0].y[0] == "alone"
        assert len(figures["best"].data[0].y) == 10


def test_what_the_lesson_says_of_the_table_holds() -> None:
    """Its prose speaks of these; a table made anew may need other words."""
    table = PersonalTable()

    def best(method: str, share: float) -> list[float]:
        return table.best(method, share)[1]

    def mean(values: list[float]) -> float:
        return sum(values) / len(values)

    for share in table.shares:
        assert mean(best("FedAvg", share)) > mean(table.alone)
        assert mean(best("Per-FedAvg", share)) > mean(best("FedAvg", share))
        assert mean(best("SCAFFOLD", share)) < mean(best("FedAvg", share))
        assert mean(best("FedDyn", share)) < mean(best("FedAvg", share))
    pairs = zip(best("FedAvg, prototypes", 1), best("PFLDyn, prototypes", 1), strict=True)
    assert all(ours > theirs for theirs, ours in pairs)
    assert table.rounds_to("Per-FedAvg", 1, 0.9) is None
    assert table.rounds_to("PFLDyn, MAML", 1, 0.9) is not None
    for customise in ("MAML", "prototypes"):
        averaging, *others = METHODS[customise]
        assert all(mean(best(m, 0.1)) < mean(best(averaging, 0.1)) + 0.0105 for m in others)
        # with a single device a round: no gain beyond the spread of the seeds, with MAML a loss
        for m in others:
            few = best(m, 0.01)
            won = mean(few) - mean(best(averaging, 0.01))
            assert won < (0 if customise == "MAML" else (max(few) - min(few)) / 2)
