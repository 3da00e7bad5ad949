"""One training step under the LC algorithm's penalty, beside a plain loop over parameters.

The plain loop is the algorithm as the papers write it: the penalty of each parameter added to the
loss, differentiated by autograd, an update by `torch.optim.SGD`. Both train LeNet300 with two
levels a layer on the same batches, and their weights are compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.benchmarks._figure import Figure, at_least, plain
from tinykit.compress import csteps
from tinykit.compress.lc.algorithm import LC, Schedule
from tinykit.compress.lc.learn import SGD
from tinykit.compress.lc.task import Task, weight_names

#: times faster than the plain loop
TIMES = 2
BATCHES = (32, 64, 128, 256)
STEPS, TURNS = 60, 5
MU, LR = 1e-3, 0.05


def run() -> list[Figure]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [figure for batch in BATCHES for figure in measure(batch)]
    finally:
        torch.set_num_threads(threads)


def measure(batch: int) -> list[Figure]:
    """Milliseconds of a step of each, in turns, one thread."""
    rng = torch.Generator().manual_seed(0)
    x = torch.rand(STEPS * batch, 1, 28, 28, generator=rng)
    y = torch.randint(0, 10, (len(x),), generator=rng)
    ours = {p: ours_of(x, y, batch, p) for p in ("float32", "bfloat16")}
    loop, bare = plain_loop(x, y, batch, penalty=True), plain_loop(x, y, batch, penalty=False)
    check(x, y, batch)
    took: dict[str, float] = {}
    for _ in range(TURNS):
        for name, work in {**ours, "loop": loop, "bare": bare}.items():
            took[name] = min(took.get(name, 1e9), 1000 * work() / STEPS)
    peer = {"name": "plain loop, ms", "value": took["loop"]}
    where = f"batches of {batch}"
    figures = [
        plain(f"{where}: a step", took["float32"], "ms", peer),
        plain(f"{where}: times the plain loop", took["loop"] / took["float32"], "×"),
        plain(
            f"{where}: what the penalty adds to a step",
            took["float32"] - took["bare"],
            "ms",
            {"name": "what it adds in the plain loop, ms", "value": took["loop"] - took["bare"]},
        ),
    ]
    times = took["loop"] / took["bfloat16"]
    name = f"{where}: times the plain loop, bfloat16"
    # the table of MNIST runs is made with these
    best = batch == BATCHES[-1]
    return [*figures, at_least(name, times, "×", TIMES) if best else plain(name, times, "×")]


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(),
            nn.Linear(100, 10),
        )  # fmt: skip


def ours_of(x: Tensor, y: Tensor, batch: int, precision: str) -> Callable[[], float]:
    """Seconds of an L step over `x`."""
    sgd = SGD((x, y), 1, LR, batch_size=batch, precision=precision)  # type: ignore[arg-type]
    model = network()
    tasks = [Task(name, csteps.AdaptiveCodebook(2)) for name in weight_names(model)]
    run = LC(model, tasks, sgd, Schedule(MU, 1.0, 100))
    run.mu = MU
    run.aim()

    def work() -> float:
        begun = time.perf_counter()
        sgd(run.model, run.flat, run, number=1, seed=0, tick=lambda: None)
        return time.perf_counter() - begun

    return work


def plain_loop(x: Tensor, y: Tensor, batch: int, *, penalty: bool) -> Callable[[], float]:
    """Seconds of the same, parameter by parameter; or of training without a penalty."""
    model = network()
    named = dict(model.named_parameters())
    step = csteps.AdaptiveCodebook(2)
    weights = {n: named[n] for n in weight_names(model)}
    delta = {n: step(w.detach().reshape(-1)).decompress().view_as(w) for n, w in weights.items()}
    lagrange = {n: torch.zeros_like(w) for n, w in weights.items()}
    optimizer = torch.optim.SGD(model.parameters(), LR * 0.98, 0.9, nesterov=True)

    def work() -> float:
        order = torch.Generator().manual_seed(0)
        begun = time.perf_counter()
        for index in torch.randperm(len(y), generator=order).split(batch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[index]), y[index])
            if penalty:
                for n, w in weights.items():
                    loss = loss + MU / 2 * ((w - delta[n] - lagrange[n] / MU) ** 2).sum()
            loss.backward()
            optimizer.step()
        return time.perf_counter() - begun

    work.model = model  # type: ignore[attr-defined]
    return work


def check(x: Tensor, y: Tensor, batch: int) -> None:
    """Both end at the same weights, or what is timed is not the same work."""
    loop = plain_loop(x, y, batch, penalty=True)
    loop()
    sgd = SGD((x, y), 1, LR, batch_size=batch)
    model = network()
    tasks = [Task(name, csteps.AdaptiveCodebook(2)) for name in weight_names(model)]
    run = LC(model, tasks, sgd, Schedule(MU, 1.0, 100))
    run.mu = MU
    run.aim()
    sgd(run.model, run.flat, run, number=1, seed=0, tick=lambda: None)
    theirs = torch.cat([p.detach().reshape(-1) for p in loop.model.parameters()])  # type: ignore[attr-defined]
    mine = torch.cat([p.detach().reshape(-1) for p in run.model.parameters()])
    gap = float((mine - theirs).norm() / theirs.norm())
    if gap > 1e-3:
        raise AssertionError(f"batches of {batch}: the two end {gap:.1e} apart")
