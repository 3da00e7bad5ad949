"""What the lessons on federated learning compute with, and their explorers, without a browser."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from tinykit import federated as fl
from tinykit.course import AveragingExplorer, DriftExplorer, check
from tinykit.course.bowls import ALGORITHMS, Bowls, follow
from tinykit.course.drift import LR, ROUNDS, START, STEPS, STRENGTH, TWO
from tinykit.graph.errors import TinykitError

STRATEGIES = {
    "fedavg": fl.FedAvg(),
    "fedprox": fl.FedProx(mu=STRENGTH),
    "scaffold": fl.Scaffold(),
    "feddyn": fl.FedDyn(alpha=STRENGTH),
}


@pytest.mark.parametrize("cohort", [1, 2])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_paths_end_where_the_kits_strategies_end(name: str, cohort: int) -> None:
    made = fl.quadratic_simulation(
        TWO.hessians, TWO.optima, STRATEGIES[name], start=START, steps=7, lr=LR, cohort=cohort
    )
    cohorts = [made.cohort.draw(made.federation, made.seed, r) for r in range(12)]
    path = follow(TWO, name, cohorts, start=START, steps=7, lr=LR, strength=STRENGTH)
    for rounds in (1, 12):
        made.run(rounds, progress=False)
        assert path.shared[rounds] == pytest.approx(made.weights().numpy(), abs=1e-5)


@pytest.mark.parametrize(("steps", "mu"), list(itertools.product((1, 3, 20), (0.0, 0.5))))
def test_the_fixed_point_is_where_a_round_leads_nowhere(steps: int, mu: float) -> None:
    rng = np.random.default_rng(steps)
    roots = rng.normal(size=(3, 4, 4))
    bowls = Bowls(roots @ roots.transpose(0, 2, 1) / 4 + 0.1 * np.eye(4), rng.normal(size=(3, 4)))
    point = bowls.fixed_point(steps, 0.05, mu)
    path = follow(
        bowls, "fedprox", [[0, 1, 2]], start=point, steps=steps, lr=0.05, strength=mu
    )  # fmt: skip
    assert path.shared[1] == pytest.approx(point, abs=1e-9)
    away = np.linalg.norm(point - bowls.optimum)
    assert away == pytest.approx(0, abs=1e-9) if steps == 1 else away > 1e-3


def test_the_optimum_has_no_common_gradient() -> None:
    total = sum(TWO.gradient(i, TWO.optimum) for i in range(len(TWO)))
    assert total == pytest.approx(np.zeros(2), abs=1e-12)


def test_an_unknown_algorithm_is_named() -> None:
    with pytest.raises(TinykitError, match="no algorithm 'sgd'; there are fedavg"):
        follow(TWO, "sgd", [[0]], start=START, steps=1, lr=LR)


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_words_on_drift_are_those_of_the_path(name: str, both: bool) -> None:
    explorer = DriftExplorer()
    for steps in STEPS:
        result = explorer.compute({"algorithm": name, "steps": steps, "both": both})
        assert len(result.path.shared) == ROUNDS + 1
        for figure in explorer.figures(result).values():
            go.Figure(figure.to_plotly_json())
        text = explorer.text(result)
        (after,) = re.findall(r"([\d.e-]+) from the optimum after 5 rounds", text)
        assert float(after) == pytest.approx(result.distances[5], abs=6e-4)
        end = result.distances[-1]
        if both and name in ("fedavg", "fedprox") and steps >= 5:
            assert end == pytest.approx(np.linalg.norm(result.fixed - TWO.optimum), abs=2e-3)
        if name in ("scaffold", "feddyn") and steps in (5, 10, 20):
            assert end < 1e-3


def test_words_on_averages_are_those_of_the_table() -> None:
    explorer = AveragingExplorer()
    about, rows = explorer.table.about, explorer.table.rows
    for skew, steps in itertools.product(about["skews"], about["steps"]):
        result = explorer.compute({"skew": skew, "steps": steps})
        mine = [r for r in rows if (r["skew"], r["steps"]) == (skew, steps)]
        text = explorer.text(result)
        last = 100 * np.mean([r["shared"][-1] for r in mine])
        best = 100 * max(max(r["own"][-1]) for r in mine)
        assert f"average recognises {last:.0f} %" in text
        assert f"the best of all {best:.0f} %" in text
        for figure in explorer.figures(result).values():
            checked = go.Figure(figure.to_plotly_json())
            assert "%" in checked.layout.yaxis.title.text


def test_rounds_to_a_goal_are_counted_from_one() -> None:
    table = AveragingExplorer().table
    first = table.shared("IID", 60)[:, 0]
    assert table.rounds_to(0.0, "IID", 60) == [1, 1, 1]
    assert table.rounds_to(float(first.max()), "IID", 60)[int(first.argmax())] == 1
    assert table.rounds_to(1.01, "IID", 60) == [None, None, None]


@pytest.mark.parametrize(
    ("client", "part"),
    [
        (lambda device: device.sgd(), "has to return fl.Reply(model, memory, sent), not Tensor"),
        (lambda device: fl.Reply(device.sgd()), "memory of the reply has to be {'control'"),
        (
            lambda device: fl.Reply(device.sgd(), {"control": device.start}),
            "sent of the reply has to be {'control': a vector}, it has nothing",
        ),
        (lambda device: device.memory - device.start, "memory and shared are dicts"),
        (lambda device: device.sgd(lambda w: w), "calls its function with two"),
    ],
)
def test_a_client_that_returns_something_else_is_told_so(client: Any, part: str) -> None:
    report = check("scaffold_client", client)
    assert not report.passed
    assert part in str(report)


def test_the_line_is_the_students_not_the_checks() -> None:
    def client(device: Any) -> Any:
        own = device.memory["c"]
        return fl.Reply(device.sgd(), {"control": own}, {"control": own})

    report = check("scaffold_client", client)
    assert 'own = device.memory["c"]' in report.explanation
    assert "device.shared['control']" in report.explanation


def test_a_round_that_works_on_w_itself_is_found_out() -> None:
    def attempt(w: Any, gradients: Any, examples: Any, steps: int, lr: float) -> Any:
        total, weights = np.zeros_like(w), 0
        for gradient, n in zip(gradients, examples, strict=True):
            if gradient is not None:
                mine = w
                for _ in range(steps):
                    mine -= lr * gradient(mine)
                total, weights = total + n * mine, weights + n
        return total / weights

    assert "`y = w` is no copy" in check("fedavg_round", attempt).explanation
