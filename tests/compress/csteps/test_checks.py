"""What steps say of parameters and tensors that they cannot work with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tinykit.compress.csteps import (
    AdaptiveCodebook,
    Additive,
    Binary,
    CStep,
    FixedGrid,
    L0Constraint,
    L0Penalty,
    L1Constraint,
    L1Penalty,
    LowRank,
    PowersOfTwo,
    RankSelection,
    ScaledBinary,
    ScaledTernary,
    Ternary,
)
from tinykit.graph.errors import TinykitError

PAIR = Additive((Binary(), Binary()))
NAN, INF = float("nan"), float("inf")
BAD: list[tuple[str, Callable[[], object]]] = [
    ("κ", lambda: L0Constraint(-1)),
    ("κ", lambda: L0Constraint(1.5)),
    ("κ", lambda: L0Constraint(0.0)),
    ("κ", lambda: L0Constraint(NAN)),
    ("κ", lambda: L0Constraint(True)),
    ("κ", lambda: L0Constraint(4)(torch.ones(3))),
    ("radius", lambda: L1Constraint(-1.0)),
    ("radius", lambda: L1Constraint(NAN)),
    ("alpha", lambda: L0Penalty(-0.1)),
    ("alpha", lambda: L1Penalty(INF)),
    ("alpha", lambda: RankSelection(NAN)),
    ("mu", lambda: L0Penalty(1.0)(torch.ones(3), mu=0.0)),
    ("mu", lambda: L1Penalty(1.0)(torch.ones(3), mu=NAN)),
    ("mu", lambda: RankSelection(1.0)(torch.ones(3, 3), mu=-1.0)),
    ("k is", lambda: AdaptiveCodebook(0)),
    ("k is", lambda: AdaptiveCodebook(2.5)),  # type: ignore[arg-type]
    ("k is", lambda: AdaptiveCodebook(10**6)),
    ("step", lambda: FixedGrid(0.0, 0.0, 4)),
    ("step", lambda: FixedGrid(1e8, 1e-3, 4)),
    ("step", lambda: FixedGrid(0.0, 1e38, 5)),
    ("low", lambda: FixedGrid(NAN, 1.0, 4)),
    ("levels", lambda: FixedGrid(0.0, 1.0, 1)),
    ("levels", lambda: FixedGrid(0.0, 1.0, 10**6)),
    ("low_exponent", lambda: PowersOfTwo(2, 1)),
    ("low_exponent", lambda: PowersOfTwo(-200, 1)),
    ("high_exponent", lambda: PowersOfTwo(0, 128)),
    ("rank", lambda: LowRank(-1)),
    ("rank", lambda: LowRank(4)(torch.ones(3, 9))),
    ("cost", lambda: RankSelection(1.0, cost="flops")),  # type: ignore[arg-type]
    ("positions", lambda: RankSelection(1.0, positions=0)),
    ("max_rank", lambda: RankSelection(1.0, max_rank=-1)),
    ("steps", lambda: Additive((Binary(),))),
    ("steps", lambda: Additive([Binary(), Binary()])),  # type: ignore[arg-type]
    ("sweeps", lambda: Additive((Binary(), Binary()), sweeps=0)),
    ("tolerance", lambda: Additive((Binary(), Binary()), tolerance=-1.0)),
    ("previous", lambda: PAIR(torch.ones(3), 1.0, Binary()(torch.ones(3)))),
    ("previous", lambda: PAIR(torch.ones(3), 1.0, PAIR(torch.ones(4)))),
]
VECTOR = [
    L0Constraint(1),
    L1Constraint(1.0),
    L0Penalty(1.0),
    L1Penalty(1.0),
    AdaptiveCodebook(2),
    Binary(),
    Ternary(),
    ScaledBinary(),
    ScaledTernary(),
    FixedGrid(0.0, 1.0, 2),
    PowersOfTwo(-1, 1),
    Additive((Binary(), L0Constraint(1))),
]
MATRIX = [LowRank(1), RankSelection(1.0), Additive((LowRank(1), Binary()))]


@pytest.mark.parametrize(("name", "wrong"), BAD)
def test_the_parameter_is_named(name: str, wrong: Callable[[], object]) -> None:
    with pytest.raises(TinykitError, match=name):
        wrong()


@pytest.mark.parametrize("step", [*VECTOR, *MATRIX], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_x_must_be_finite(step: CStep, bad: float) -> None:
    x = torch.ones(3, 2)
    x[1, 0] = bad
    with pytest.raises(TinykitError, match=r"x holds .* at place 2"):
        step(x if step.view == "matrix" else x.reshape(-1))


@pytest.mark.parametrize("step", [*VECTOR, *MATRIX], ids=lambda s: type(s).__name__)
def test_x_must_hold_something_in_the_shape_of_the_view(step: CStep) -> None:
    empty = torch.ones(0, 3) if step.view == "matrix" else torch.ones(0)
    with pytest.raises(TinykitError, match="x is empty"):
        step(empty)
    other = torch.ones(4) if step.view == "matrix" else torch.ones(2, 2)
    with pytest.raises(TinykitError, match="x has shape"):
        step(other)


@pytest.mark.parametrize("step", [*VECTOR, *MATRIX], ids=lambda s: type(s).__name__)
def test_results_are_float32_of_the_shape_and_leave_x_alone(step: CStep) -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    given = x if step.view == "matrix" else x.reshape(-1)
    before = x.detach().clone()
    theta = step(given)
    assert theta.shape == tuple(given.shape)
    assert theta.decompress().shape == given.shape
    assert theta.decompress().dtype is torch.float32
    assert torch.equal(x.detach(), before)
    assert not any(t.requires_grad for t in theta.continuous().values())
