"""The learning step (L step): train, while every weight is drawn to where compression wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinykit.compress.lc.flat import FlatParameters, crc
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import TrainingError, tensors


class Penalty(Protocol):
    """μ/2 ‖w − Δ(Θ) − λ/μ‖²: what the L step adds to the loss."""

    mu: float

    def add_gradient(self) -> None:
        """Add its gradient, μ (w − Δ(Θ)) − λ, to the parameters' ``grad``."""


class LStep(Protocol):
    """Minimises loss plus penalty over the parameters of `model`, in place.

    Called once for each value of μ: `number` counts from 0, `tick` is to be called once a batch
    (it moves the progress bar), `seed` differs from step to step and run to run. What trains by
    ``backward`` calls ``penalty.add_gradient()`` after it and before the optimizer's step.
    """

    def __call__(
        self,
        model: nn.Module,
        flat: FlatParameters,
        penalty: Penalty,
        *,
        number: int,
        seed: int,
        tick: Callable[[], object],
    ) -> float:
        """Returns the mean loss (without penalty) of its last pass."""

    def batches(self, number: int) -> int:
        """How often `tick` will be called in step `number`."""

    # It may have ``fingerprint() -> dict`` of plain values: a checkpoint of a run with another
    # one is refused.


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with Nesterov's momentum, as the LC papers train.

    Parameters
    ----------
    data : its training split is used; or a pair of tensors (NCHW images, int64 labels)
    epochs : passes over the data in each step; the first step makes twice as many
    lr : learning rate of the first step; never above 1/μ, where the penalty would diverge
    decay : the learning rate is multiplied with this after each step
    batch_size : examples
    momentum : Nesterov's
    precision : "float32"; or "bfloat16" for the matrix products forward and backward (weights,
        penalty and updates stay float32), faster where the processor multiplies in that format
    """

    data: Dataset | tuple[Tensor, Tensor]
    epochs: int = 1
    lr: float = 0.05
    decay: float = 0.98
    batch_size: int = 128
    momentum: float = 0.9
    precision: Literal["float32", "bfloat16"] = "float32"

    def __post_init__(self) -> None:
        if self.epochs < 1 or not self.lr > 0 or self.batch_size < 1:
            raise TinykitError(
                f"an L step needs epochs >= 1, lr > 0 and batch_size >= 1, got {self.epochs}, "
                f"{self.lr}, {self.batch_size}"
            )
        if not 0 <= self.momentum < 1 or not 0 < self.decay <= 1:
            raise TinykitError(
                f"an L step needs 0 <= momentum < 1 and 0 < decay <= 1, got {self.momentum}, "
                f"{self.decay}"
            )
        if self.precision not in ("float32", "bfloat16"):
            raise TinykitError(f"precision is 'float32' or 'bfloat16', not {self.precision!r}")
        if isinstance(self.data, Dataset):
            # once, not in each of forty steps
            object.__setattr__(self, "data", tensors(self.data.train.x, self.data.train.y))
        x, y = self.data  # type: ignore[misc]
        if not len(y):
            raise TinykitError("an L step needs examples to learn from, got none")
        object.__setattr__(self, "data", (x.contiguous(), y))

    def loss(self, model: Callable[[Tensor], Tensor], index: Tensor) -> Tensor:
        """Mean cross-entropy, nats, of the examples at `index`."""
        x, y = self.examples
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            scores = model(x[index])
        return F.cross_entropy(scores.float(), y[index])

    @property
    def examples(self) -> tuple[Tensor, Tensor]:
        return self.data  # type: ignore[return-value]

    def passes(self, number: int) -> int:
        """Epochs of step `number`."""
        return self.epochs * (2 if number == 0 else 1)

    def _per_epoch(self) -> int:
        return max(1, len(self.examples[1]) // self.batch_size)

    def batches(self, number: int) -> int:
        return self.passes(number) * self._per_epoch()

    def __call__(
        self,
        model: nn.Module,
        flat: FlatParameters,
        penalty: Penalty,
        *,
        number: int,
        seed: int,
        tick: Callable[[], object],
    ) -> float:
        examples = len(self.examples[1])
        lr = self.lr * self.decay**number
        if penalty.mu > 0:
            lr = min(lr, 1 / penalty.mu)
        order = torch.Generator().manual_seed(seed)
        velocity = torch.zeros_like(flat.values)
        values, gradient = flat.values, flat.gradient
        mean = 0.0
        model.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # dropout
            for _ in range(self.passes(number)):
                total = torch.zeros(())
                for index in torch.randperm(examples, generator=order).split(self.batch_size)[
                    : self._per_epoch()
                ]:
                    gradient.zero_()
                    loss = self.loss(model, index)
                    loss.backward()
                    penalty.add_gradient()
                    velocity.mul_(self.momentum).add_(gradient)
                    gradient.add_(velocity, alpha=self.momentum)
                    values.sub_(gradient, alpha=lr)
                    total += loss.detach()
                    tick()
                mean = float(total) / self._per_epoch()
                if not torch.isfinite(total):
                    raise TrainingError(
                        f"the L step diverged at mu = {penalty.mu:.3g} (loss {mean}): lower lr "
                        f"(it was {lr:.3g})"
                    )
        model.eval()
        return mean

    def fingerprint(self) -> dict[str, object]:
        """What has to be the same for a stopped run to go on with this step."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "data"}
        _, y = self.examples
        return {**said, "examples": len(y), "labels": crc({"labels": y})}
