"""All parameters of a model in one vector, so that a training step is a few vector operations.

A loop over parameters costs a small model as much as its arithmetic: the LC algorithm adds a
gradient to every weight in every step, and an optimizer's update comes on top.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tinykit.graph.errors import TinykitError


class FlatParameters:
    """`model`'s trainable parameters as views of `values`, their gradients as views of `gradient`.

    Parameters
    ----------
    first : names that come first in the vector, in this order; `head` numbers in all

    Attributes
    ----------
    values, gradient : float32 (n,)
    shapes : name → shape
    """

    def __init__(self, model: nn.Module, first: Sequence[str]) -> None:
        parameters = dict(model.named_parameters())
        rest = [n for n, p in parameters.items() if n not in set(first) and p.requires_grad]
        names = [*first, *rest]  # what is frozen stays out: it is neither trained nor compressed
        for name in names:
            if not parameters[name].requires_grad:
                raise TinykitError(
                    f"a task compresses parameter {name!r}, which is frozen: take it out of the "
                    "task, or call requires_grad_(True)"
                )
            if parameters[name].dtype != torch.float32:
                raise TinykitError(
                    f"parameter {name!r} is {parameters[name].dtype}; it has to be float32"
                )
        self.model = model
        self.shapes = {n: tuple(parameters[n].shape) for n in names}
        self.values = torch.cat([parameters[n].detach().reshape(-1) for n in names])
        self.gradient = torch.zeros_like(self.values)
        self.head = sum(parameters[n].numel() for n in first)
        self._spans: dict[str, slice] = {}
        start = 0
        for name in names:
            p = parameters[name]
            span = slice(start, start + p.numel())
            p.data = self.values[span].view(p.shape)
            p.grad = self.gradient[span].view(p.shape)
            self._spans[name] = span
            start = span.stop

    def view(self, vector: Tensor, name: str) -> Tensor:
        """The part of a vector (of the length of all, or of the head) that belongs to `name`."""
        return vector[self._spans[name]].view(self.shapes[name])

    def views(self, vector: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        return {name: self.view(vector, name) for name in names}


def crc(tensors: Mapping[str, object]) -> int:
    """A number that tells apart what holds other tensors (CRC-32)."""
    found = 0
    for name, value in tensors.items():
        if isinstance(value, Tensor):
            found = zlib.crc32(name.encode(), found)
            found = zlib.crc32(value.detach().contiguous().numpy().data, found)
    return found
