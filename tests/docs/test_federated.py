"""The code of docs/federated.md runs, and says what it does."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from tinykit import federated as fl

PAGE = Path(__file__).resolve().parents[2] / "docs" / "federated.md"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S))
    checkpoint = tmp_path_factory.mktemp("page") / "run.pt"
    page = types.ModuleType("federated_page")
    sys.modules[page.__name__] = page  # where dataclasses look for their module
    code = code.replace('"run.pt"', repr(str(checkpoint)))
    exec(compile(code, str(PAGE), "exec"), page.__dict__)
    return page.__dict__


def again(names: dict[str, Any], strategy: fl.Strategy, **local: Any) -> fl.Simulation:
    settings = {"batch": 10, "lr": 0.1, **local}
    return fl.simulate(
        names["model"], names["devices"], strategy, 3, local=fl.Local(**settings), cohort=5
    )


def test_the_simulation_learns(names: dict[str, Any]) -> None:
    assert len(names["history"]) == 10
    assert names["history"][-1].accuracy > 0.7
    assert names["nova"].accuracy() > 0.2


def test_fednova_with_equal_steps_is_fedavg(names: dict[str, Any]) -> None:
    nova, plain = (again(names, s, steps=5) for s in (names["FedNova"](), fl.FedAvg()))
    assert (nova.weights() - plain.weights()).abs().max() < 1e-6


def test_fednova_counts_updates_per_step(names: dict[str, Any]) -> None:
    """Two devices, one with three times the steps: by hand."""
    import torch

    start, moved = torch.zeros(2), torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    ones = torch.ones(2)
    replies = fl.Replies(
        (0, 1), moved, torch.zeros(2, 0), {}, {}, ones, torch.tensor([1, 3]), ones, 0.1
    )
    model = names["FedNova"]().aggregate({"model": start}, replies, 2)["model"]
    # a mean of two steps, in the mean direction of a step: (1/2, 1/2)
    assert model.tolist() == [1.0, 1.0]


def test_the_spring_is_fedprox(names: dict[str, Any]) -> None:
    spring, prox = (again(names, s, steps=5) for s in (names["Spring"](mu=0.3), fl.FedProx(mu=0.3)))
    assert spring.fingerprint() == prox.fingerprint()


def test_the_other_settings_run(names: dict[str, Any]) -> None:
    assert again(names, names["pfldyn"], steps=2).done == 3
    history = names["on_fleet"].run(3)
    assert all(row.seconds > 0 for row in history)
