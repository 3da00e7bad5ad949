"""The learning-compression (LC) algorithm.

Idelbayev and Carreira-Perpiñán, "A flexible, extensible software framework for model compression
based on the LC algorithm", arXiv:2005.07786; Carreira-Perpiñán, "Model compression as constrained
optimization", arXiv:1707.01209.

    min L(w) subject to w = Δ(Θ)

is solved by alternating, for a growing μ, an L step, which trains the weights w with the penalty
μ/2 ‖w − Δ(Θ) − λ/μ‖², and a C step, Θ ← argmin ‖w − λ/μ − Δ(Θ)‖², which knows nothing of data or
loss; λ ← λ − μ (w − Δ(Θ)) follows each pair. Any model that torch can train and any Δ with a C step
go together.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from tinykit.compress.csteps._checks import number, whole
from tinykit.compress.csteps.theta import Theta
from tinykit.compress.lc.compressed import Compressed
from tinykit.compress.lc.flat import FlatParameters, crc
from tinykit.compress.lc.learn import LStep
from tinykit.compress.lc.task import Task, checked
from tinykit.graph.errors import TinykitError
from tinykit.nn.progress import bar

#: the published setting for LeNet300; μ grows by a tenth in each of 40 steps
MU, GROWTH, STEPS = 9e-5, 1.1, 40


@dataclass(frozen=True)
class Schedule:
    """μ₀ · growthⁿ for n = 0 … steps − 1.

    Parameters
    ----------
    mu : μ₀, the weight of the penalty in the first step; too large and the first C step is final,
        too small and the first steps change nothing
    growth : factor from step to step
    steps : how many pairs of L and C step
    """

    mu: float = MU
    growth: float = GROWTH
    steps: int = STEPS

    def __post_init__(self) -> None:
        number("mu", self.mu, signed=True)
        number("growth", self.growth, signed=True)
        whole("steps", self.steps, 0)
        if not self.mu > 0 or not self.growth >= 1 or self.steps < 1:
            raise TinykitError(
                f"a schedule needs mu > 0, growth >= 1 and steps >= 1, got {self.mu}, "
                f"{self.growth}, {self.steps}"
            )
        if not math.log(self.mu) + (self.steps - 1) * math.log(self.growth) < math.log(1e30):
            raise TinykitError(
                f"mu reaches {self.mu} · {self.growth}^{self.steps - 1}, beyond float32: take a "
                "smaller growth"
            )

    def __getitem__(self, number: int) -> float:
        return self.mu * self.growth**number


@dataclass(frozen=True)
class Record:
    """What one pair of steps came to.

    Attributes
    ----------
    mu : weight of the penalty
    loss : mean training loss of the L step's last pass, nats; nan for the start
    gap : ‖w − Δ(Θ)‖ / ‖w‖ over all compressed parameters, after the C step
    score : what `score` said of the network with w = Δ(Θ); nan where none was given
    """

    number: int
    mu: float
    loss: float
    gap: float
    score: float


class LC:
    """Compress `model` by `tasks`; `run` does it, step by step if wanted.

    Parameters
    ----------
    model : left alone, a copy is trained
    tasks : what to compress how; parameters without a task are trained as they are
    l_step : trains the copy under the penalty (`SGD`)
    schedule : of μ
    multipliers : "augmented" keeps the Lagrange multipliers λ; "penalty" has none (the quadratic
        penalty method)
    score : called with the network at w = Δ(Θ) after each step, e.g. its accuracy
    seed : of everything random

    Attributes
    ----------
    history : a `Record` for the start (direct compression) and for each step done
    thetas : the compressed form of each task now

    Raises
    ------
    TinykitError
        Tasks that do not fit the model; see `checked`.
    """

    def __init__(
        self,
        model: nn.Module,
        tasks: Sequence[Task],
        l_step: LStep,
        schedule: Schedule | None = None,
        *,
        multipliers: Literal["augmented", "penalty"] = "augmented",
        score: Callable[[nn.Module], float] | None = None,
        seed: int = 0,
    ) -> None:
        if multipliers not in ("augmented", "penalty"):
            raise TinykitError(f"multipliers are 'augmented' or 'penalty', not {multipliers!r}")
        self.tasks = checked(tasks, model)
        self.model = copy.deepcopy(model)
        self.l_step, self.schedule, self.seed = l_step, schedule or Schedule(), seed
        self.multipliers, self.score = multipliers, score
        self.names = [name for task in self.tasks for name in task.parameters]
        self.flat = FlatParameters(self.model, self.names)
        self._started_from = crc(self.model.state_dict())
        head = self.flat.head
        #: λ, and Δ(Θ), of the compressed parameters
        self.lagrange = torch.zeros(head)
        self.delta = torch.zeros(head)
        self.mu = 0.0
        self.done = 0
        self.history: list[Record] = []
        # direct compression: the best Θ for the weights as they are; penalty forms need some μ
        self.thetas = self._compress(self.schedule[0])
        self._note(0.0, float("nan"))

    # -- the algorithm --------------------------------------------------------------------------

    def run(
        self,
        steps: int | None = None,
        *,
        progress: bool | None = None,
        on_step: Callable[[LC], None] | None = None,
    ) -> Compressed:
        """Go on until the schedule's end, or for `steps` more steps.

        Parameters
        ----------
        on_step : called after each step (to save, to draw); what it raises stops the run, which
            can go on from where it is
        """
        last = self.schedule.steps if steps is None else min(self.done + steps, self.schedule.steps)
        total = sum(self.l_step.batches(n) for n in range(self.done, last))
        with bar(total, "LC", progress) as shown:
            while self.done < last:
                self.step(shown.update)
                now = self.history[-1]
                shown.set_postfix_str(f"step {self.done}, gap {now.gap:.3f}, {now.score:.4g}")
                if on_step:
                    on_step(self)
        return self.result()

    def step(self, tick: Callable[[], object] = lambda: None) -> None:
        """One L step, one C step, one update of λ."""
        number = self.done
        self.mu = self.schedule[number]
        self.aim()
        loss = self.l_step(
            self.model,
            self.flat,
            self,
            number=number,
            seed=self.seed * 100_003 + number,
            tick=tick,
        )
        self.thetas = self._compress(self.mu)
        if self.multipliers == "augmented":
            self.lagrange -= self.mu * (self._weights() - self.delta)
        self.done += 1
        self._note(self.mu, loss)

    def aim(self) -> None:
        """Draw w to Δ(Θ) + λ/μ from now on: the penalty's gradient is μ w less a target."""
        self._target = self.mu * self.delta + self.lagrange

    def add_gradient(self) -> None:
        """The penalty's gradient, μ (w − Δ(Θ)) − λ, onto that of the loss."""
        head = self.flat.head
        gradient = self.flat.gradient[:head]
        gradient.add_(self.flat.values[:head], alpha=self.mu).sub_(self._target)

    def _weights(self) -> Tensor:
        return self.flat.values[: self.flat.head]

    def _compress(self, mu: float) -> list[Theta]:
        """The C step of each task, for w − λ/μ; `delta` follows."""
        started = self.mu > 0  # there is no λ/μ before the first step
        wanted = self._weights() - self.lagrange / mu if started else self._weights()
        previous = self.thetas if started else [None] * len(self.tasks)
        views = self.flat.views(wanted, self.names)
        found = []
        for task, before in zip(self.tasks, previous, strict=True):
            try:
                found.append(task.step(task.gather(views), mu, before))
            except TinykitError as error:
                raise TinykitError(f"{', '.join(task.parameters)}: {error}") from None
        self._decompress(found)
        return found

    def _decompress(self, thetas: Sequence[Theta]) -> None:
        for task, theta in zip(self.tasks, thetas, strict=True):
            for name, part in task.decompressed(theta, self.flat.shapes).items():
                self.flat.view(self.delta, name).copy_(part.detach())

    # -- what it comes to -----------------------------------------------------------------------

    @property
    def gap(self) -> float:
        """‖w − Δ(Θ)‖ / ‖w‖ now."""
        w = self._weights().double()
        norm = float(w.norm())
        return float((w - self.delta.double()).norm()) / norm if norm else 0.0

    def _note(self, mu: float, loss: float) -> None:
        score = float("nan")
        if self.score:
            kept = self._weights().clone()
            try:
                self._weights().copy_(self.delta)
                score = float(self.score(self.model.eval()))
            finally:
                self._weights().copy_(kept)
        self.history.append(Record(self.done, mu, loss, self.gap, score))

    def result(self) -> Compressed:
        """The compressed network as it is now: w = Δ(Θ)."""
        made = copy.deepcopy(self.model).eval()
        for p in made.parameters():
            p.grad = None
            p.data = p.data.clone()  # no longer a view of all
        parameters = dict(made.named_parameters())
        with torch.no_grad():
            for name in self.names:
                parameters[name].copy_(self.flat.view(self.delta, name))
        return Compressed(made, self.tasks, tuple(self.thetas), self.gap, tuple(self.history))

    # -- saving ---------------------------------------------------------------------------------

    def restore(self) -> None:
        """Make what follows from `done` and `thetas` fit them, after both were read from a file."""
        self.mu = self.schedule[self.done - 1] if self.done else 0.0
        self._decompress(self.thetas)

    def fingerprint(self) -> dict[str, object]:
        """What has to be the same for a saved state to fit."""
        return {
            "tasks": [repr(task) for task in self.tasks],
            "shapes": {n: list(s) for n, s in self.flat.shapes.items()},
            "schedule": asdict(self.schedule),
            "multipliers": self.multipliers,
            "seed": self.seed,
            "start": self._started_from,
            "l_step": self.l_step.fingerprint() if hasattr(self.l_step, "fingerprint") else None,
        }
