"""A task of the LC algorithm: which parameters, seen how, compressed how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn

from tinykit.compress.csteps.base import CStep
from tinykit.compress.csteps.theta import Theta
from tinykit.compress.finetune import weighted
from tinykit.compress.views import Shaping, from_matrix, to_matrix
from tinykit.graph.errors import TinykitError


@dataclass(frozen=True)
class Task:
    """Compress `parameters` by `step`.

    Parameters
    ----------
    parameters : names as in ``model.named_parameters()``; several are joined into one vector, and
        so share a codebook or a number of weights to keep
    step : a C step; one that works on a matrix takes one parameter
    shaping : how a convolution is seen as a matrix (see `tinykit.compress.views`)
    """

    parameters: tuple[str, ...]
    step: CStep
    shaping: Shaping = 1

    def __post_init__(self) -> None:
        if isinstance(self.parameters, str):
            object.__setattr__(self, "parameters", (self.parameters,))
        if not self.parameters:
            raise TinykitError("a task names at least one parameter")
        if not isinstance(self.step, CStep):
            raise TinykitError(f"a task's step is a C step, not {self.step!r}")
        if self.step.view == "matrix" and len(self.parameters) > 1:
            raise TinykitError(
                f"{self.step!r} works on one matrix, and the task names {len(self.parameters)} "
                f"parameters ({', '.join(self.parameters)}): make it a task for each"
            )

    def gather(self, tensors: dict[str, Tensor]) -> Tensor:
        """What the step works on, of tensors by name: (n,) or (rows, columns)."""
        if self.step.view == "matrix":
            return to_matrix(tensors[self.parameters[0]], self.shaping)
        return torch.cat([tensors[name].reshape(-1) for name in self.parameters])

    def scatter(self, joined: Tensor, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """The inverse of `gather`."""
        if self.step.view == "matrix":
            name = self.parameters[0]
            return {name: from_matrix(joined, shapes[name], self.shaping)}
        parts = joined.reshape(-1).split([prod(shapes[name]) for name in self.parameters])
        return {n: p.reshape(shapes[n]) for n, p in zip(self.parameters, parts, strict=True)}

    def decompressed(self, theta: Theta, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
        """Δ(Θ) by parameter."""
        return self.scatter(theta.decompress(), shapes)


def weight_names(model: nn.Module) -> list[str]:
    """Names of the weights of all convolutions and linear layers, in order.

    Raises
    ------
    TinykitError
        There are none.
    """
    owners = {id(m.weight): None for m in weighted(model)}
    names = [name for name, p in model.named_parameters() if id(p) in owners]
    if not names:
        raise TinykitError("there is nothing to compress: no convolution or linear layer")
    return names


def checked(tasks: Sequence[Task], model: nn.Module) -> tuple[Task, ...]:
    """`tasks`, when each parameter that they name exists, is whole, and is named once.

    Raises
    ------
    TinykitError
        No tasks, an unknown, empty or non-finite parameter, or tasks that overlap.
    """
    parameters = dict(model.named_parameters())
    owner: dict[str, Task] = {}
    if not tasks:
        raise TinykitError("the LC algorithm needs at least one task")
    for task in tasks:
        for name in task.parameters:
            if name not in parameters:
                raise TinykitError(
                    f"no parameter is called {name!r}; there are: {', '.join(parameters)}"
                )
            if name in owner:
                raise TinykitError(
                    f"two tasks compress {name!r}: {owner[name].step!r} and {task.step!r}. To add "
                    "what both find, make one task of Additive((first, second))"
                )
            owner[name] = task
            values = parameters[name]
            if not values.numel():
                raise TinykitError(f"parameter {name!r} is empty (shape {tuple(values.shape)})")
            if not torch.isfinite(values).all():
                raise TinykitError(
                    f"parameter {name!r} holds NaN or infinite values: its training diverged"
                )
    return tuple(tasks)
