"""Figures of a federated round: every bar is a number of the cost, every limit is drawn."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest

from tinykit.federated.system import PHASES, Fleet, Work
from tinykit.plots import Setting, energy_by_phase, round_timeline, setting_costs

FLEET = Fleet(["pixel-4", "nexus-6", "redmi-note-8"] * 20, Work.from_macs(1e7))


def cost(devices: int = 3, **limits: float):
    return FLEET.cost(range(devices), 10, 20, 1e5, 1e5, **limits)


def valid(figure: go.Figure) -> go.Figure:
    return go.Figure(figure.to_plotly_json())


def bars(figure: go.Figure) -> dict[str, go.Bar]:
    return {t.name: t for t in figure.data if t.type == "bar"}


def test_a_timeline_adds_up_and_its_slowest_device_is_first() -> None:
    of = cost()
    drawn = bars(valid(round_timeline(of)))
    assert tuple(drawn) == PHASES
    assert list(drawn["compute"].y) == ["nexus-6 · 1", "redmi-note-8 · 2", "pixel-4 · 0"]
    ends = np.sum([drawn[p].x for p in PHASES], axis=0)
    assert ends == pytest.approx([of.round_seconds] * 3)


def test_limits_and_those_who_meet_them_are_marked() -> None:
    cut = valid(round_timeline(cost(cutoff_s=5.0)))
    marks = next(t for t in cut.data if t.name == "cut-off")
    assert len(marks.x) == 3
    assert marks.x[0] == pytest.approx(2 + 1e5 * 8 / 35.4e6 + 5)
    words = next(t for t in cut.data if t.type == "scatter" and t.mode == "text").text
    assert list(words) == ["7 of 10 steps", "2 of 10 steps", ""]
    late = valid(round_timeline(cost(deadline_s=6.0)))
    assert late.layout.shapes[0].x0 == 6.0
    assert (
        next(t for t in late.data if t.type == "scatter" and t.mode == "text").text[0]
        == "too late: dropped"
    )
    free = valid(round_timeline(cost()))
    assert (
        next(t for t in free.data if t.type == "scatter" and t.mode == "text").text[0]
        == "straggler"
    )
    assert not free.layout.shapes


def test_of_a_large_cohort_some_are_drawn_the_ends_included() -> None:
    of = cost(60)
    figure = valid(round_timeline(of, limit=10))
    rows = bars(figure)["compute"].y
    assert len(rows) == 10
    assert rows[0].startswith("nexus-6")
    assert rows[-1].startswith("pixel-4")
    assert "10 of 60 devices" in figure.layout.title.subtitle.text


def test_energy_adds_up() -> None:
    costs = {"all": cost(), "cut": cost(cutoff_s=5.0)}
    drawn = bars(valid(energy_by_phase(costs)))
    for n, of in enumerate(costs.values()):
        assert sum(drawn[p].x[n] for p in PHASES) == pytest.approx(of.total_joules)


def test_settings_without_accuracy_are_drawn_where_it_is_not_needed() -> None:
    settings = [Setting("E = 1", 10, 100, 0.5, "GPU"), Setting("E = 5", 50, 2_500, None, "GPU")]
    accuracy = valid(setting_costs(settings, subtitle="modelled"))
    assert list(accuracy.data[0].y) == [50.0]
    energy = valid(setting_costs(settings, x="seconds", y="joules", subtitle="modelled"))
    assert list(energy.data[0].y) == [100, 2_500]
    assert "2.5 kJ, accuracy unknown" in energy.data[0].hovertext[1]


def test_nothing_is_drawn_of_nothing() -> None:
    assert valid(round_timeline(cost(0))).layout.title.subtitle.text.startswith("0 devices")
    valid(energy_by_phase({}))
    valid(setting_costs([], subtitle=""))
