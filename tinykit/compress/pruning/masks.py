"""Masks: which parameters stay zero, said explicitly.

A weight that training happens to set to zero is not pruned, and one that is pruned must stay zero
whatever an optimizer does; so a sparse model carries its masks as the attribute `masks`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class Masks:
    """Parameter's name → bool tensor of its shape, False where it is zero for good.

    A name may be that of a parameter which does not exist yet: pruned channels mask their
    convolution's bias, which it gets when batch norm is folded into it.
    """

    keep: Mapping[str, Tensor] = field(default_factory=dict)

    def __and__(self, other: Masks) -> Masks:
        """What both keep."""
        joined = dict(self.keep)
        for name, mask in other.keep.items():
            joined[name] = joined[name] & mask if name in joined else mask
        return Masks(joined)

    def present(self, model: nn.Module) -> list[tuple[nn.Parameter, Tensor]]:
        """The parameters of `model` that are masked, and their masks."""
        there = dict(model.named_parameters())
        return [
            (there[name], mask)
            for name, mask in self.keep.items()
            if name in there and there[name].shape == mask.shape
        ]

    @torch.no_grad()
    def hold(self, model: nn.Module) -> None:
        """Set to zero what is masked."""
        for parameter, mask in self.present(model):
            parameter.masked_fill_(~mask, 0)

    def removed(self, model: nn.Module) -> int:
        """How many parameters of `model` are masked."""
        return sum(int((~mask).sum()) for _, mask in self.present(model))


def masks_of(model: nn.Module) -> Masks:
    """The masks that `model` carries; empty where it is dense.

    A model with ``sparse = True`` and no masks says that its weights that are zero now stay so.
    """
    masks = getattr(model, "masks", None)
    if isinstance(masks, Masks):
        return masks
    if getattr(model, "sparse", False):
        named = model.named_parameters()
        return Masks({name: p.detach() != 0 for name, p in named if p.ndim > 1})
    return Masks()


def attach(model: nn.Module, masks: Masks) -> nn.Module:
    """`model` itself, carrying `masks` from now on, its masked parameters zero."""
    model.masks = masks  # type: ignore[assignment]
    model.sparse = True  # type: ignore[assignment]
    masks.hold(model)
    return model


def hand_on(source: nn.Module, target: nn.Module) -> None:
    """Let `target`, made from `source` with parameters of the same names, carry its masks."""
    masks = masks_of(source)
    if masks.keep:
        attach(target, masks)
