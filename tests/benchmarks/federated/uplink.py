"""What it costs to send less, and to tell less: accuracy by bytes, and by ε.

Digits: 50 devices of 30 examples each, drawn with replacement in proportions of Dirichlet(0.1); 5
devices a round. Fashion-MNIST: devices of 50 examples each, no two alike, a tenth of them a round
by lot, softmax regression. Each figure is a mean over seeds, with the range beside it.
"""

from __future__ import annotations

from statistics import mean

import numpy as np
import torch
from torch import nn

import tinykit as tk
from tests.benchmarks import Figure, at_least, at_most, plain
from tinykit.data.federation import Federation
from tinykit.federated import Cohort, FedAvg, History, Local, Privacy, Simulation, noise_for
from tinykit.federated.compression import Compression, Float32, KBit, RandomK, Sign, TopK
from tinykit.federated.privacy import epsilon

SEEDS = (0, 1, 2)
ROUNDS, PRIVATE_ROUNDS = 40, 30
METHODS: dict[str, Compression] = {
    "32 bits": Float32(),
    "4 bits": KBit(4),
    "2 bits": KBit(2),
    "2 bits, error feedback": KBit(2, error_feedback=True),
    "top 5 %": TopK(0.05),
    "top 5 %, no error feedback": TopK(0.05, error_feedback=False),
    "top 5 % + 4 bits": TopK(0.05) + KBit(4),
    "random 5 %": RandomK(0.05),
    "random 5 %, no error feedback": RandomK(0.05, error_feedback=False),
    "signs": Sign(),
    "signs, no error feedback": Sign(error_feedback=False),
}
POPULATIONS = (100, 1000)
BUDGETS = (2.0, 8.0, float("inf"))
SHARE, CLIP = 0.1, 1.0


def digits(seed: int) -> tuple[Federation, tk.data.Dataset]:
    """50 devices of 30 digits."""
    data, rng = tk.data.load("digits"), np.random.default_rng(seed)
    of_class = [np.flatnonzero(data.train.y == c) for c in range(10)]
    parts = []
    for _ in range(50):
        counts = rng.multinomial(30, rng.dirichlet([0.1] * 10))
        drawn = [rng.choice(own, n) for own, n in zip(of_class, counts, strict=True)]
        parts.append(np.concatenate(drawn).astype(np.int64))
    return Federation("digits, Dirichlet(0.1)", data.spec, data.train, tuple(parts)), data


def compressed(method: Compression, seed: int, share: float = 0.1, rounds: int = ROUNDS) -> History:
    """FedAvg on digits with `method`, a `share` of the devices each round."""
    federation, data = digits(seed)
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return Simulation(
        model,
        federation,
        FedAvg(),
        local=Local(steps=20, batch=10, lr=0.1),
        cohort=share,
        seed=seed,
        test=data.test,
        engine="vectorised",
        compression=method,
    ).run(rounds, progress=False)


def private(devices: int, budget: float, seed: int) -> History:
    """DP-FedAvg on Fashion-MNIST with ε = `budget` after all rounds."""
    data, rng = tk.data.load("fashion_mnist"), np.random.default_rng(seed)
    order = rng.permutation(len(data.train.y))[: 50 * devices].reshape(devices, 50)
    federation = Federation(
        f"Fashion-MNIST, {devices} devices", data.spec, data.train, tuple(order.astype(np.int64))
    )
    delta = devices**-1.1
    noise = 0.0 if np.isinf(budget) else noise_for(budget, PRIVATE_ROUNDS, SHARE, delta)
    torch.manual_seed(seed)
    return Simulation(
        nn.Sequential(nn.Flatten(), nn.Linear(784, 10)),
        federation,
        FedAvg(weighted=False),
        local=Local(steps=5, batch=10, lr=0.1),
        cohort=Cohort(share=SHARE, sampling="poisson"),
        seed=seed,
        test=data.test,
        evaluate_every=PRIVATE_ROUNDS,
        engine="vectorised",
        privacy=Privacy(CLIP, noise),
    ).run(PRIVATE_ROUNDS, progress=False)


def run() -> list[Figure]:
    return [*_bytes(), *_participation(), *_privacy(), *_accountant()]


def _last(history: History) -> float:
    accuracy = history[-1].accuracy
    assert accuracy is not None
    return 100 * accuracy


def _range(values: list[float]) -> str:
    return f"{min(values):.1f} to {max(values):.1f}"


def _bytes() -> list[Figure]:
    histories = {name: [compressed(m, s) for s in SEEDS] for name, m in METHODS.items()}
    whole = sum(r.bytes_up for r in histories["32 bits"][0])
    figures, accuracy = [], {}
    for name, runs in histories.items():
        values = [_last(h) for h in runs]
        accuracy[name] = mean(values)
        sent = sum(r.bytes_up for r in runs[0])
        figures.append(
            plain(
                f"digits, {name}: accuracy after {ROUNDS} rounds ({_range(values)})",
                mean(values),
                "%",
                {"name": f"bytes sent, {whole / sent:.1f} times less", "value": sent},
            )
        )
    return [
        *figures,
        at_least("4 bits against 32: accuracy", accuracy["4 bits"] - accuracy["32 bits"], "points",
                 -2.0),
    ]  # fmt: skip


def _participation() -> list[Figure]:
    """Error feedback pays its debt when a device is asked again: every round, or every tenth."""
    figures = []
    for share in (0.1, 1.0):
        for name in ("top 5 %", "signs"):
            gain = [
                _last(compressed(METHODS[name], s, share))
                - _last(compressed(METHODS[f"{name}, no error feedback"], s, share))
                for s in SEEDS
            ]
            figures.append(
                plain(
                    f"digits, {name}, {share:.0%} a round: what error feedback gains "
                    f"({_range(gain)})",
                    mean(gain),
                    "points",
                )
            )
    return figures


def _privacy() -> list[Figure]:
    figures, accuracy = [], {}
    for devices in POPULATIONS:
        for budget in BUDGETS:
            runs = [private(devices, budget, seed) for seed in SEEDS]
            values = [_last(h) for h in runs]
            accuracy[devices, budget] = mean(values)
            spent = runs[0][-1].epsilon
            assert spent is not None
            figures.append(
                plain(
                    f"Fashion-MNIST, {devices} devices, ε = {budget:g}, δ = {devices**-1.1:.1g}: "
                    f"accuracy after {PRIVATE_ROUNDS} rounds ({_range(values)})",
                    mean(values),
                    "%",
                    {"name": "ε spent", "value": spent},
                )
            )
    lost = {d: accuracy[d, BUDGETS[-1]] - accuracy[d, 2.0] for d in POPULATIONS}
    return [
        *figures,
        at_most("1000 devices: what ε = 2 costs", lost[1000], "points", 3.0,
                {"name": "100 devices, points", "value": lost[100]}),
    ]  # fmt: skip


def _accountant() -> list[Figure]:
    # Abadi et al., CCS 2016, section 3.2
    return [
        at_most("ε for q = 0.01, σ = 4, δ = 1e-5, 10,000 rounds", epsilon(4, 10_000, 0.01, 1e-5),
                "", 1.26, {"name": "published, moments accountant", "value": 1.26}),
        plain("the same by the PRV accountant", epsilon(4, 10_000, 0.01, 1e-5, "prv"), ""),
    ]  # fmt: skip
