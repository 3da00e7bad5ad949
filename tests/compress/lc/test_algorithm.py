"""The LC algorithm against problems whose constrained optimum is known some other way."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinykit.compress import csteps
from tinykit.compress.csteps.base import CStep
from tinykit.compress.csteps.theta import Dense, Theta
from tinykit.compress.lc.algorithm import LC, Schedule
from tinykit.compress.lc.learn import SGD
from tinykit.compress.lc.retrain import retrain
from tinykit.compress.lc.task import Task, weight_names
from tinykit.graph import TinykitError

SIZE = 8


class Vector(nn.Module):
    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.w = nn.Parameter(values.clone())


@dataclass
class Quadratic:
    """L(w) = ½ (w − c)ᵀ H (w − c), whose L step has a closed form: it needs no learning rate."""

    h: Tensor
    c: Tensor

    def __call__(self, model, flat, penalty, *, number, seed, tick) -> float:  # type: ignore[no-untyped-def]
        # the gradient at 0 of the penalty alone is −(μ Δ + λ)
        w = flat.values
        w.zero_()
        flat.gradient.zero_()
        penalty.add_gradient()
        pull = -flat.gradient
        a = self.h + penalty.mu * torch.eye(len(w))
        w.copy_(torch.linalg.solve(a.double(), (self.h @ self.c + pull).double()).float())
        tick()
        return self.loss(w)

    def loss(self, w: Tensor) -> float:
        return float(0.5 * (w - self.c) @ self.h @ (w - self.c))

    def batches(self, number: int) -> int:
        return 1


def problem(seed: int) -> Quadratic:
    rng = torch.Generator().manual_seed(seed)
    a = torch.randn(SIZE, SIZE, generator=rng)
    return Quadratic(a @ a.T + 0.5 * torch.eye(SIZE), torch.randn(SIZE, generator=rng))


@pytest.mark.parametrize("seed", range(6))
def test_a_convex_constraint_is_solved_to_its_optimum(seed: int) -> None:
    """The ℓ1 ball is convex: the augmented Lagrangian has to find the one optimum, SLSQP's."""
    optimize = pytest.importorskip("scipy.optimize")
    task = problem(seed)
    h, c = task.h.numpy().astype(float), task.c.numpy().astype(float)
    radius = 0.5 * np.abs(c).sum()
    # w = p − q with p, q >= 0 makes the constraint smooth
    found = optimize.minimize(
        lambda z: 0.5 * (z[:SIZE] - z[SIZE:] - c) @ h @ (z[:SIZE] - z[SIZE:] - c),
        np.zeros(2 * SIZE),
        jac=lambda z: (
            np.concatenate([h @ (z[:SIZE] - z[SIZE:] - c)] * 2) * np.repeat([1, -1], SIZE)
        ),
        bounds=[(0, None)] * (2 * SIZE),
        constraints={"type": "ineq", "fun": lambda z: radius - z.sum()},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    best = found.x[:SIZE] - found.x[SIZE:]
    run = LC(
        Vector(task.c), [Task("w", csteps.L1Constraint(radius))], task, Schedule(0.5, 1.05, 120)
    )
    w = run.run(progress=False).model.w.detach()
    assert float(w.abs().sum()) <= radius * (1 + 1e-6)
    np.testing.assert_allclose(w.numpy(), best, atol=2e-3)
    assert run.gap < 1e-3


@pytest.mark.parametrize("seed", range(8))
def test_cardinality_is_solved_better_than_by_direct_compression(seed: int) -> None:
    """All supports of 3 of 8 tried out give the optimum; LC has no guarantee, but is near it."""
    from itertools import combinations

    task = problem(seed)

    def best_on(support: tuple[int, ...]) -> float:
        index = list(support)
        w = torch.zeros(SIZE)
        w[index] = torch.linalg.solve(task.h[index][:, index], (task.h @ task.c)[index])
        return task.loss(w)

    optimum = min(map(best_on, combinations(range(SIZE), 3)))
    run = LC(Vector(task.c), [Task("w", csteps.L0Constraint(3))], task, Schedule(0.05, 1.1, 100))
    direct = task.loss(run.result().model.w.detach())
    made = run.run(progress=False).model.w.detach()
    assert int((made != 0).sum()) <= 3
    reached = task.loss(made)
    assert optimum <= reached + 1e-5
    assert reached - optimum <= 0.5 * (direct - optimum) + 1e-4
    assert run.gap < 1e-3


# -- against a plain loop, written from the paper -----------------------------------------------


def data(seed: int = 0, n: int = 96) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, 4, 1, generator=rng)
    return x, (x.sum((1, 2, 3)) > 0).long() + (x[:, 0, 0, 0] > 1).long()


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 3))


def plain_lc(
    model: nn.Sequential, sgd: SGD, steps: dict[str, CStep], schedule: Schedule
) -> dict[str, Tensor]:
    """Parameter by parameter, the penalty by autograd, momentum by torch.optim."""
    x, y = sgd.examples
    named = dict(model.named_parameters())
    delta = {
        n: s(named[n].detach().reshape(-1), schedule.mu).decompress() for n, s in steps.items()
    }
    lagrange = {n: torch.zeros(named[n].numel()) for n in steps}
    for number in range(schedule.steps):
        mu = schedule.mu * schedule.growth**number
        lr = min(sgd.lr * sgd.decay**number, 1 / mu)
        optimizer = torch.optim.SGD(model.parameters(), lr, sgd.momentum, nesterov=True)
        order = torch.Generator().manual_seed(number)
        for _ in range(sgd.epochs * (2 if number == 0 else 1)):
            full = len(y) // sgd.batch_size
            for index in torch.randperm(len(y), generator=order).split(sgd.batch_size)[:full]:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[index]), y[index])
                for n in steps:
                    away = named[n].reshape(-1) - delta[n] - lagrange[n] / mu
                    loss = loss + mu / 2 * (away * away).sum()
                loss.backward()
                optimizer.step()
        for n, step in steps.items():
            w = named[n].detach().reshape(-1)
            delta[n] = step(w - lagrange[n] / mu, mu).decompress()
            lagrange[n] = lagrange[n] - mu * (w - delta[n])
    return delta


@pytest.mark.parametrize(
    "step", [csteps.AdaptiveCodebook(2), csteps.L0Constraint(0.3), csteps.L0Penalty(1e-4)]
)
def test_it_does_what_a_plain_loop_does(step: CStep) -> None:
    sgd, schedule = SGD(data(), epochs=2, lr=0.1, batch_size=32), Schedule(1e-2, 1.3, 8)
    model = network()
    names = weight_names(model)
    run = LC(model, [Task(n, step) for n in names], sgd, schedule)
    made = dict(run.run(progress=False).model.named_parameters())
    expected = plain_lc(network(), sgd, dict.fromkeys(names, step), schedule)
    for name in names:
        torch.testing.assert_close(
            made[name].detach().reshape(-1), expected[name], atol=2e-5, rtol=1e-4
        )


def test_the_penalty_s_gradient_is_that_of_its_formula() -> None:
    model = network()
    run = LC(model, [Task("1.weight", csteps.AdaptiveCodebook(3))], SGD(data(), batch_size=32))
    run.step()
    run.mu = 0.37
    run.aim()
    run.flat.gradient.zero_()
    run.add_gradient()
    w = run.flat.values[: run.flat.head].clone().requires_grad_(True)
    away = w - run.delta - run.lagrange / run.mu
    (run.mu / 2 * (away * away).sum()).backward()
    assert w.grad is not None
    torch.testing.assert_close(run.flat.gradient[: run.flat.head], w.grad)
    assert not run.flat.gradient[run.flat.head :].any()


def test_the_result_is_delta_and_the_model_is_left_alone() -> None:
    model = network()
    before = [p.detach().clone() for p in model.parameters()]
    tasks = [Task("1.weight", csteps.AdaptiveCodebook(2)), Task("3.weight", csteps.L0Constraint(9))]
    run = LC(model, tasks, SGD(data(), batch_size=32, lr=0.1), Schedule(1e-2, 1.5, 12))
    made = run.run(progress=False)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert len(made.model[1].weight.unique()) == 2
    assert int((made.model[3].weight != 0).sum()) == 9
    assert [r.number for r in made.history] == list(range(13))
    assert made.gap == made.history[-1].gap
    assert made.gap < made.history[0].gap
    # biases have no task: they are trained
    assert not torch.equal(made.model[1].bias, model[1].bias)


def test_shared_and_separate_codebooks() -> None:
    model = network()
    names = tuple(weight_names(model))
    shared = LC(model, [Task(names, csteps.AdaptiveCodebook(2))], SGD(data(), batch_size=32))
    weights = [p for n, p in shared.result().model.named_parameters() if n in names]
    assert len(torch.cat([w.detach().reshape(-1) for w in weights]).unique()) == 2


def test_scoring_leaves_the_weights_alone() -> None:
    scores: list[float] = []

    def score(model: nn.Module) -> float:
        scores.append(float(model[1].weight.unique().numel()))  # type: ignore[index, union-attr, operator]
        return scores[-1]

    tasks = [Task("1.weight", csteps.AdaptiveCodebook(2))]
    plain = LC(network(), tasks, SGD(data(), batch_size=32), Schedule(steps=3))
    scored = LC(network(), tasks, SGD(data(), batch_size=32), Schedule(steps=3), score=score)
    assert torch.equal(plain.run(progress=False).model[1].weight, scored.run().model[1].weight)  # type: ignore[index, union-attr, arg-type]
    assert scores == [2.0] * 4
    assert [r.score for r in scored.history] == scores


def test_the_penalty_method_keeps_no_multipliers() -> None:
    tasks = [Task("1.weight", csteps.AdaptiveCodebook(2))]
    run = LC(network(), tasks, SGD(data(), batch_size=32), Schedule(steps=3), multipliers="penalty")
    run.run(progress=False)
    assert not run.lagrange.any()


def test_runs_are_reproducible_and_seeds_matter() -> None:
    tasks = [Task("1.weight", csteps.AdaptiveCodebook(2))]

    def end(seed: int) -> Tensor:
        run = LC(network(), tasks, SGD(data(), batch_size=32), Schedule(steps=3), seed=seed)
        return run.run(progress=False).model[1].weight  # type: ignore[index, return-value]

    assert torch.equal(end(1), end(1))
    assert not torch.equal(end(1), end(2))


# -- retraining what direct compression found ----------------------------------------------------


@pytest.mark.parametrize(
    "step", [csteps.AdaptiveCodebook(3), csteps.L0Constraint(0.2), csteps.L0Penalty(1e-3)]
)
def test_retraining_keeps_codes_and_lowers_the_loss(step: CStep) -> None:
    x, y = data(n=192)
    sgd = SGD((x, y), epochs=4, batch_size=32)
    direct = LC(network(), [Task("1.weight", step)], sgd).result()
    made = retrain(direct, sgd, 5, lr=1e-2, progress=False)

    def loss(model: nn.Module) -> float:
        with torch.no_grad():
            return float(F.cross_entropy(model(x), y))

    assert loss(made.model) < loss(direct.model)
    before, after = direct.model[1].weight, made.model[1].weight  # type: ignore[index]
    assert torch.equal(before == 0, after == 0)  # type: ignore[arg-type, union-attr]
    assert len(before.unique()) == len(after.unique())  # type: ignore[union-attr, operator]


def test_retraining_without_anything_to_train_is_direct_compression() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3, bias=False))
    sgd = SGD(data(), batch_size=32)
    direct = LC(model, [Task("1.weight", csteps.L0Constraint(0))], sgd).result()
    assert retrain(direct, sgd, 2, progress=False) is direct


# -- errors --------------------------------------------------------------------------------------


class Nothing(CStep):
    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Theta:
        return Dense(tuple(x.shape), x.clone())


def lc(*tasks: Task, model: nn.Module | None = None) -> Callable[[], LC]:
    return lambda: LC(model or network(), tasks, SGD(data()))


def spoiled() -> nn.Module:
    model = network()
    with torch.no_grad():
        model[1].weight[0, 0] = math.nan
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lc(), "at least one task"),
        (lc(Task("9.weight", Nothing())), r"'9\.weight'; there are: 1\.weight, 1\.bias"),
        (lc(Task("1.weight", Nothing()), Task("1.weight", Nothing())), r"two tasks.*Additive"),
        (lc(Task(("1.weight", "1.weight"), Nothing())), r"two tasks compress '1\.weight'"),
        (lc(Task("1.weight", Nothing()), model=spoiled()), r"'1\.weight' holds NaN"),
        (lambda: Task((), Nothing()), "at least one parameter"),
        (lambda: Task(("1.weight", "3.weight"), csteps.LowRank(2)), "one matrix"),
        (lambda: Schedule(mu=0), "mu > 0"),
        (lambda: Schedule(growth=0.9), "growth >= 1"),
        (lambda: SGD(data(), epochs=0), "epochs >= 1"),
        (lambda: SGD(data(), momentum=1.0), "momentum"),
        (lambda: SGD((torch.zeros(0, 1, 1, 1), torch.zeros(0).long())), "got none"),
        (lambda: lc(Task("1.weight", Nothing()), model=nn.Sequential(nn.ReLU()))(), "no parameter"),
        (lambda: weight_names(nn.Sequential(nn.ReLU())), "nothing to compress"),
        (lambda: lc(Task("1.weight", Nothing()), model=network().double())(), "float32"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(make: Callable[[], object], words: str) -> None:
    with pytest.raises(TinykitError, match=words):
        make()


def test_an_empty_layer_is_named() -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that it initialises nothing
        model = nn.Sequential(nn.Linear(3, 0))
    with pytest.raises(TinykitError, match=r"'0\.weight' is empty"):
        LC(model, [Task("0.weight", Nothing())], SGD(data()))


def test_divergence_is_said() -> None:
    with pytest.raises(TinykitError, match="lower lr"):
        LC(network(), [Task("1.weight", Nothing())], SGD(data(), lr=1e6, epochs=20)).run()
