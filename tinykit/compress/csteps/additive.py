"""A sum of compressed forms as a C step: a codebook with a sparse correction, low rank plus sparse.

Idelbayev and Carreira-Perpiñán, "More general and effective model compression via an additive
combination of compressions" (ECML PKDD 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tinykit.compress.csteps._checks import CStepError, matrix, number, vector, whole
from tinykit.compress.csteps.base import CStep, View
from tinykit.compress.csteps.theta import Sum, Theta


@dataclass(frozen=True)
class Additive(CStep):
    """argmin Σ αᵢ Cᵢ(Θᵢ) + μ/2 ‖x − Σ Δᵢ‖², by turns: each step is given what the others leave.

    Each turn can only lower the objective, so it converges, though not always to the least. It
    starts from `previous`, or with nothing, so that the first of `steps` takes what it can, the
    second what that leaves, and so on.

    With a "matrix" step among them the view is "matrix", and "vector" steps get the matrix
    flattened, row by row.

    Parameters
    ----------
    steps : two or more
    sweeps : > 0, how often each step has its turn, at most
    tolerance : ≥ 0; a sweep that lowers the objective by a smaller share than this is the last
    """

    steps: tuple[CStep, ...]
    sweeps: int = 30
    tolerance: float = 1e-6

    def __post_init__(self) -> None:
        steps = self.steps
        if not isinstance(steps, tuple) or not all(isinstance(step, CStep) for step in steps):
            raise CStepError(f"steps is {steps!r}; it must be a tuple of C steps")
        if len(steps) < 2:
            raise CStepError(f"steps has {len(steps)} of them; a sum takes two or more")
        whole("sweeps", self.sweeps, 1)
        number("tolerance", self.tolerance)

    @property
    def view(self) -> View:
        return "matrix" if any(step.view == "matrix" for step in self.steps) else "vector"

    @property
    def penalised(self) -> bool:
        return any(step.penalised for step in self.steps)

    def __call__(self, x: Tensor, mu: float = 1.0, previous: Theta | None = None) -> Sum:
        number("mu", mu, positive=True)
        values = torch.from_numpy(matrix(x) if self.view == "matrix" else vector(x))
        shape = tuple(values.shape)
        terms: list[Theta | None] = [None] * len(self.steps)
        if previous is not None:
            terms[:] = self._continued(previous, shape)
        parts = [_dense(term, values) for term in terms]
        # the first turn of each is taken whatever it gives: nobody vouches that `previous` keeps
        # to the constraints. After that, a turn which only rounding would make worse is not.
        found = [self._turn(i, values, parts, mu, terms[i]) for i in range(len(self.steps))]
        least = self._total(values, found, parts, mu)
        for _ in range(self.sweeps - 1):
            before = least
            for i in range(len(self.steps)):
                kept = parts[i]
                term = self._turn(i, values, parts, mu, found[i])
                total = self._total(values, [*found[:i], term, *found[i + 1 :]], parts, mu)
                if total < least:
                    found[i], least = term, total
                else:
                    parts[i] = kept
            if before - least <= self.tolerance * before:
                break
        return Sum(shape, tuple(found))

    def _turn(
        self, i: int, values: Tensor, parts: list[Tensor], mu: float, previous: Theta | None
    ) -> Theta:
        """Step i for what the others leave; its part is put into `parts`."""
        rest = values - sum(part for j, part in enumerate(parts) if j != i)
        step = self.steps[i]
        term = step(rest if step.view == self.view else rest.reshape(-1), mu, previous)
        parts[i] = _dense(term, values)
        return term

    def _total(self, values: Tensor, terms: list[Theta], parts: list[Tensor], mu: float) -> float:
        gap = values - sum(parts)
        distance = float((gap * gap).sum())
        penalties = math.fsum(s.penalty(t) for s, t in zip(self.steps, terms, strict=True))
        return penalties + mu / 2 * distance if self.penalised else distance

    def _continued(self, previous: Theta, shape: tuple[int, ...]) -> tuple[Theta, ...]:
        if not isinstance(previous, Sum) or len(previous.terms) != len(self.steps):
            raise CStepError(
                f"previous is no Sum of {len(self.steps)} terms, one for each of steps; give what "
                f"this step returned, or None"
            )
        if previous.shape != shape:
            raise CStepError(f"previous has shape {previous.shape}, but x has {shape}")
        return previous.terms

    def penalty(self, theta: Theta) -> float:
        terms = self._continued(theta, theta.shape)
        return math.fsum(s.penalty(t) for s, t in zip(self.steps, terms, strict=True))


def _dense(term: Theta | None, like: Tensor) -> Tensor:
    if term is None:
        return torch.zeros_like(like)
    return term.decompress().detach().double().reshape(like.shape)
