"""What the LC algorithm ends with: a network, the Θ that its weights are decompressed from."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tinykit.compress.csteps.theta import Factors, Theta
from tinykit.compress.dead import Untraceable, drop_dead
from tinykit.compress.encoded import Encoded, Part, encode, raw
from tinykit.compress.lc.task import Task
from tinykit.compress.slim import replace_layers

if TYPE_CHECKING:
    from tinykit.compress.lc.algorithm import Record


@dataclass(frozen=True)
class Compressed:
    """A compressed network.

    Attributes
    ----------
    model : torch module in eval mode, its compressed weights w = Δ(Θ)
    tasks, thetas : what was compressed how, and the form found for each
    gap : ‖w − Δ(Θ)‖ / ‖w‖ at the end, before w was set to Δ(Θ)
    history : of the run
    """

    model: nn.Module
    tasks: tuple[Task, ...]
    thetas: tuple[Theta, ...]
    gap: float
    history: tuple[Record, ...] = field(default=(), repr=False)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {n: tuple(p.shape) for n, p in self.model.named_parameters()}

    def weights(self) -> dict[str, Tensor]:
        """Δ(Θ) of every compressed parameter, differentiable in the Θ."""
        found: dict[str, Tensor] = {}
        for task, theta in zip(self.tasks, self.thetas, strict=True):
            found |= task.decompressed(theta, self.shapes)
        return found

    def parts(self) -> list[Part]:
        """What a file holds: each task's Θ, and all else as it is."""
        shapes = self.shapes
        done: set[str] = set()
        found = []
        for task, theta in zip(self.tasks, self.thetas, strict=True):
            view = task.shaping if task.step.view == "matrix" else None
            names = task.parameters
            found.append(Part(names, tuple(shapes[n] for n in names), theta, view))
            done |= set(names)
        # by named_parameters: state_dict() says a weight that layers share once for each of them
        state = self.model.state_dict().keys()
        there = (*self.model.named_parameters(), *self.model.named_buffers())
        found += [
            raw(n, t) for n, t in there if n not in done and n in state and t.is_floating_point()
        ]
        return found

    def encode(self) -> Encoded:
        """The compressed network as a file, written and read back; ``.total`` is its bytes."""
        return encode(self.parts())

    def slim(self, shape: tuple[int, ...] | None = None) -> nn.Module:
        """A copy of the network that is smaller where a runtime can make use of it.

        Layers of low rank become two where that is less, units without any weight are removed.
        What cannot be (layers of other kinds than Linear and Conv2d, a forward that torch.fx cannot
        trace) stays as it is. `shape` is (H, W, C) of the input, or (features,); None takes the
        model's `input_shape`, and where it has none, no unit is removed.
        """
        low = {
            task.parameters[0]: (theta, task.shaping)
            for task, theta in zip(self.tasks, self.thetas, strict=True)
            if isinstance(theta, Factors) and self._splits(task.parameters[0])
        }
        made = replace_layers(self.model, low)  # type: ignore[arg-type]
        shape = shape or getattr(made, "input_shape", None)
        if shape is None:
            return made
        try:
            return drop_dead(made, shape)
        except Untraceable:  # found after all the training: what was learned is worth keeping
            return made

    def _splits(self, weight: str) -> bool:
        return type(self.model.get_submodule(weight.rpartition(".")[0])) in (nn.Linear, nn.Conv2d)

    def with_thetas(self, thetas: tuple[Theta, ...]) -> Compressed:
        """The same network with other Θ; its weights follow."""
        made = replace(self, model=copy.deepcopy(self.model), thetas=thetas)
        parameters = dict(made.model.named_parameters())
        with torch.no_grad():
            for name, value in made.weights().items():
                parameters[name].copy_(value)
        return made
