"""A run that is stopped and resumed ends with the same bits as one that is not."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tinykit.compress import csteps
from tinykit.compress.csteps import Dense
from tinykit.compress.lc.algorithm import LC, Schedule
from tinykit.compress.lc.checkpoint import from_state, resume, save, to_state
from tinykit.compress.lc.learn import SGD
from tinykit.compress.lc.task import Task
from tinykit.graph import TinykitError


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(16, 3),
        )  # fmt: skip


def make(
    seed: int = 0, steps: int = 6, k: int = 2, weights: int = 0, lr: float = 0.05, data: int = 0
) -> LC:
    rng = torch.Generator().manual_seed(data)
    x = torch.randn(96, 3, 4, 1, generator=rng)
    y = (x.sum((1, 2, 3)) > 0).long()
    both = csteps.Additive((csteps.LowRank(1), csteps.L0Constraint(5)))
    tasks = [Task("1.weight", csteps.AdaptiveCodebook(k)), Task("5.weight", both)]
    sgd = SGD((x, y), epochs=2, lr=lr, batch_size=32)
    return LC(network(weights), tasks, sgd, Schedule(1e-2, 1.1, steps), seed=seed)


def bits(run: LC) -> list[bytes]:
    state = run.result().model.state_dict()
    return [t.numpy().tobytes() for t in state.values()] + [run.lagrange.numpy().tobytes()]


def test_resumed_is_as_uninterrupted(tmp_path: Path) -> None:
    whole = make()
    whole.run(progress=False)
    for stop in (0, 1, 4):
        part = make()
        part.run(stop, progress=False)
        save(part, tmp_path / "run.pt")
        resumed = resume(make(), tmp_path / "run.pt")
        assert resumed.done == stop
        resumed.run(progress=False)
        assert bits(resumed) == bits(whole)
        assert [(r.number, r.gap, r.loss) for r in resumed.history[1:]] == [
            (r.number, r.gap, r.loss) for r in whole.history[1:]
        ]


SCRIPT = """
import sys
sys.path.insert(0, {here!r})
from test_checkpoint import make
from tinykit.compress.lc.checkpoint import save
def after(run):
    save(run, {path!r})
    print(run.done, flush=True)
make(steps=400).run(progress=False, on_step=after)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "run.pt"
    code = SCRIPT.format(here=str(Path(__file__).parent), path=str(path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=os.environ)
    assert child.stdout is not None
    for _ in range(3):
        child.stdout.readline()
    time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    resumed = resume(make(steps=400), path)
    done = resumed.done
    assert done >= 2
    resumed.run(2, progress=False)
    whole = make(steps=400)
    whole.run(done + 2, progress=False)
    assert bits(resumed) == bits(whole)


def test_thetas_survive() -> None:
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
    steps = [
        csteps.LowRank(2), csteps.Additive((csteps.LowRank(1), csteps.L0Constraint(3))),
    ]  # fmt: skip
    for step in steps:
        theta = step(x)
        again = from_state(to_state(theta))
        assert torch.equal(theta.decompress(), again.decompress())


@dataclass(frozen=True)
class Mine(Dense):
    """A form of somebody else."""


def test_a_form_of_one_s_own_survives() -> None:
    again = from_state(to_state(Mine((2,), torch.ones(2))))
    assert type(again) is Mine
    with pytest.raises(TinykitError, match="holds a Theirs"):
        from_state({"type": "Theirs", "shape": (2,)})


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"seed": 1}, "other seed"),
        ({"k": 3}, "other tasks"),
        ({"steps": 7}, "other schedule"),
        ({"weights": 1}, "other start"),
        ({"lr": 0.1}, "other l_step"),
        ({"data": 1}, "other l_step"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    other: dict[str, Any], words: str, tmp_path: Path
) -> None:
    save(make(), tmp_path / "run.pt")
    with pytest.raises(TinykitError, match=words):
        resume(make(**other), tmp_path / "run.pt")


def test_what_is_no_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(TinykitError, match="there is no checkpoint"):
        resume(make(), tmp_path / "none.pt")
    save(make(), tmp_path / "run.pt")
    whole = (tmp_path / "run.pt").read_bytes()
    for number, content in enumerate((b"", b"nonsense", whole[: len(whole) // 2])):
        (tmp_path / f"{number}.pt").write_bytes(content)
        with pytest.raises(TinykitError, match="no checkpoint of the LC algorithm, or damaged"):
            resume(make(), tmp_path / f"{number}.pt")
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(TinykitError, match="no checkpoint of the LC algorithm"):
        resume(make(), tmp_path / "other.pt")
