"""The algorithms once more, as plain loops from their papers, to measure the kit by.

Ordinary modules, ``torch.optim.SGD``, autograd with ``create_graph``: nothing of the kit but the
draws of cohorts and minibatches, which both must share.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinykit.data.federation import Federation
from tinykit.federated import Cohort, Local
from tinykit.federated.local import minibatches
from tinykit.federated.randomness import Purpose, generator

Batch = tuple[Tensor, Tensor]
Weights = list[Tensor]
#: (parameters, query, support) -> loss
Objective = Callable[[Weights, Batch, Batch], Tensor]
#: (number of the parameter tensor, parameter, its gradient) -> direction
Correction = Callable[[int, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class World:
    """Who learns what, how, and with which draws."""

    federation: Federation
    local: Local
    cohort: int
    rounds: int
    seed: int

    def asked(self, round: int) -> list[int]:
        return Cohort.of(self.cohort, self.federation).draw(self.federation, self.seed, round)

    def size(self, device: int) -> int:
        return len(self.federation.train[device])

    def batches(self, round: int, device: int) -> list[tuple[Batch, Batch]]:
        """(query, support) of each step."""
        part, local = self.federation.train[device], self.local
        steps = local.steps_for(len(part))

        def drawn(purpose: Purpose) -> list[Batch]:
            rows = minibatches(
                part, steps, local.batch, generator(self.seed, purpose, round, device)
            )
            pool = self.federation.pool
            found = []
            for row, size in zip(rows.index, rows.sizes, strict=True):
                images = np.moveaxis(pool.x[row[:size]], 3, 1)
                found.append((torch.tensor(images), torch.tensor(pool.y[row[:size]])))
            return found

        return list(zip(drawn(Purpose.QUERY), drawn(Purpose.SUPPORT), strict=True))


def forward(weights: Weights, x: Tensor) -> tuple[Tensor, Tensor]:
    """Features and logits of the world's two-layer network."""
    first, offset, last, offset2 = weights
    features = torch.tanh(x.flatten(1) @ first.T + offset)
    return features, features @ last.T + offset2


def plain(weights: Weights, query: Batch, support: Batch) -> Tensor:
    return F.cross_entropy(forward(weights, query[0])[1], query[1])


def maml(steps: int, lr: float) -> Objective:
    def objective(weights: Weights, query: Batch, support: Batch) -> Tensor:
        for _ in range(steps):
            loss = plain(weights, support, support)
            slopes = torch.autograd.grad(loss, weights, create_graph=True)
            weights = [w - lr * slope for w, slope in zip(weights, slopes, strict=True)]
        return plain(weights, query, query)

    return objective


def prototypes(weights: Weights, query: Batch, support: Batch) -> Tensor:
    of_support, of_query = forward(weights, support[0])[0], forward(weights, query[0])[0]
    known = sorted(set(support[1].tolist()))
    centres = {c: of_support[support[1] == c].mean(0) for c in known}
    terms = []
    for features, label in zip(of_query, query[1].tolist(), strict=True):
        if label in centres:
            away = torch.stack([((features - centres[c]) ** 2).sum() for c in known])
            terms.append(F.cross_entropy(-away[None], torch.tensor([known.index(label)])))
    return torch.stack(terms).mean() if terms else sum(w.sum() * 0 for w in weights)


def train(
    world: World,
    start: Weights,
    round: int,
    device: int,
    objective: Objective = plain,
    correct: Correction = lambda k, w, g: g,
) -> Weights:
    """What SGD on the device's minibatches makes of `start`."""
    local = world.local
    weights = [w.clone().requires_grad_() for w in start]
    sgd = torch.optim.SGD(
        weights, lr=local.lr * local.decay**round, weight_decay=local.weight_decay
    )
    for query, support in world.batches(round, device):
        sgd.zero_grad()
        objective(weights, query, support).backward()
        for k, w in enumerate(weights):
            slope = torch.zeros_like(w) if w.grad is None else w.grad
            w.grad = correct(k, w.detach(), slope)
        if local.clip is not None:
            nn.utils.clip_grad_norm_(weights, local.clip)
        sgd.step()
    return [w.detach() for w in weights]


def by_examples(world: World, asked: list[int], answers: dict[int, Weights]) -> Weights:
    total = sum(world.size(i) for i in asked)
    return [
        sum(answers[i][k] * world.size(i) for i in asked) / total
        for k in range(len(answers[asked[0]]))
    ]


def alike(asked: list[int], answers: dict[int, Weights]) -> Weights:
    return [torch.stack([answers[i][k] for i in asked]).mean(0) for k in range(4)]


def zeros(like: Weights) -> Weights:
    return [torch.zeros_like(w) for w in like]


def fedavg(world: World, w: Weights, objective: Objective = plain, mu: float = 0.0) -> Weights:
    """McMahan et al. 2017; with mu FedProx (Li et al. 2020)."""
    for r in range(world.rounds):
        sent = w
        answers = {
            i: train(world, w, r, i, objective, lambda k, v, g: g + mu * (v - sent[k]))  # noqa: B023
            for i in world.asked(r)
        }
        w = by_examples(world, world.asked(r), answers)
    return w


def fedavgm(world: World, w: Weights, beta: float, lr: float) -> Weights:
    """Hsu et al. 2019: v ← βv + Δ, w ← w − ηv, where Δ is what averaging takes away."""
    velocity = zeros(w)
    for r in range(world.rounds):
        asked = world.asked(r)
        mean = by_examples(world, asked, {i: train(world, w, r, i) for i in asked})
        velocity = [beta * v + (a - b) for v, a, b in zip(velocity, w, mean, strict=True)]
        w = [a - lr * v for a, v in zip(w, velocity, strict=True)]
    return w


def fedadam(world: World, w: Weights, lr: float, beta1: float, beta2: float, tau: float) -> Weights:
    """Reddi et al. 2021, algorithm 2."""
    m, v = zeros(w), zeros(w)
    for r in range(world.rounds):
        asked = world.asked(r)
        mean = by_examples(world, asked, {i: train(world, w, r, i) for i in asked})
        for k in range(len(w)):
            delta = mean[k] - w[k]
            m[k] = beta1 * m[k] + (1 - beta1) * delta
            v[k] = beta2 * v[k] + (1 - beta2) * delta * delta
        w = [w[k] + lr * m[k] / (v[k].sqrt() + tau) for k in range(len(w))]
    return w


def scaffold(
    world: World, w: Weights, server_lr: float, objective: Objective = plain
) -> tuple[Weights, Weights, list[Weights]]:
    """Karimireddy et al. 2020, algorithm 1, option II: model, c, and every c_i."""
    devices = len(world.federation)
    c, own = zeros(w), [zeros(w) for _ in range(devices)]
    for r in range(world.rounds):
        asked = world.asked(r)
        lr, moves, changes = world.local.lr * world.local.decay**r, [], []
        for i in asked:
            ci, c_now = own[i], c
            y = train(world, w, r, i, objective, lambda k, v, g: g - ci[k] + c_now[k])  # noqa: B023
            steps = len(world.batches(r, i))
            new = [ci[k] - c[k] + (w[k] - y[k]) / (steps * lr) for k in range(4)]
            moves.append([y[k] - w[k] for k in range(4)])
            changes.append([new[k] - ci[k] for k in range(4)])
            own[i] = new
        w = [w[k] + server_lr * sum(m[k] for m in moves) / len(asked) for k in range(4)]
        c = [
            c[k] + len(asked) / devices * (sum(d[k] for d in changes) / len(asked))
            for k in range(4)
        ]
    return w, c, own


def feddyn(
    world: World, w: Weights, alpha: float, objective: Objective = plain
) -> tuple[Weights, Weights, Weights, list[Weights]]:
    """Acar et al. 2021, algorithm 1, with their ∇L_k(θ_k): mean, what is sent, h, and ∇L_k of all.

    There h ← h − α/m·Σ(θ_k − θ) and θ = mean − h/α; the device's linear term is −⟨∇L_k, θ⟩.
    """
    devices = len(world.federation)
    h, slopes, mean = zeros(w), [zeros(w) for _ in range(devices)], w
    for r in range(world.rounds):
        asked, sent, answers = world.asked(r), w, {}
        for i in asked:
            slope = slopes[i]
            answers[i] = train(
                world, w, r, i, objective,
                lambda k, v, g: g - slope[k] + alpha * (v - sent[k]),  # noqa: B023
            )  # fmt: skip
            slopes[i] = [slope[k] - alpha * (answers[i][k] - w[k]) for k in range(4)]
        for k in range(4):
            h[k] = h[k] - alpha / devices * sum(answers[i][k] - w[k] for i in asked)
        mean = alike(asked, answers)
        w = [mean[k] - h[k] / alpha for k in range(4)]
    return mean, w, h, slopes


def fedbn(world: World, model: nn.Module) -> tuple[nn.Module, dict[int, nn.Module]]:
    """Li et al. 2021: state dicts are averaged but for batch norm, which devices keep."""
    norm = {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for own in module.state_dict()
    }
    kept: dict[int, nn.Module] = {}
    shared = copy.deepcopy(model)
    for r in range(world.rounds):
        asked, local = world.asked(r), world.local
        for i in asked:
            own = kept.setdefault(i, copy.deepcopy(model))
            state = {n: v for n, v in shared.state_dict().items() if n not in norm}
            own.load_state_dict(state, strict=False)
            own.train()
            sgd = torch.optim.SGD(
                own.parameters(), local.lr * local.decay**r, weight_decay=local.weight_decay
            )
            for (x, y), _ in world.batches(r, i):
                sgd.zero_grad()
                F.cross_entropy(own(x), y).backward()
                sgd.step()
        total = sum(world.size(i) for i in asked)
        state = {
            n: sum(kept[i].state_dict()[n] * world.size(i) for i in asked) / total
            for n in shared.state_dict()
            if n not in norm
        }
        shared.load_state_dict(state, strict=False)
    return shared, kept


def fedavg_module(world: World, model: nn.Module) -> nn.Module:
    """FedAvg of whole state dicts, statistics of batch norm too."""
    shared = copy.deepcopy(model)
    for r in range(world.rounds):
        asked, local, states = world.asked(r), world.local, []
        for i in asked:
            own = copy.deepcopy(shared).train()
            sgd = torch.optim.SGD(
                own.parameters(), local.lr * local.decay**r, weight_decay=local.weight_decay
            )
            for (x, y), _ in world.batches(r, i):
                sgd.zero_grad()
                F.cross_entropy(own(x), y).backward()
                sgd.step()
            states.append(own.state_dict())
        total = sum(world.size(i) for i in asked)
        shared.load_state_dict(
            {
                n: value if not value.is_floating_point()
                else sum(s[n] * world.size(i) for s, i in zip(states, asked, strict=True)) / total
                for n, value in shared.state_dict().items()
            }
        )  # fmt: skip
    return shared.eval()
