"""What goes into and comes out of the layers of a network while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import torch
from torch import Tensor, nn

from tinykit.quant.layers import activation_quantizers
from tinykit.quant.quantizer import Mode, Quantizer


@contextmanager
def plain_activations(model: nn.Module) -> Iterator[None]:
    """Activations of a prepared `model` pass unrounded, so that weights alone make the difference.

    Modes are put back; quantizers that had observed nothing still have not.
    """
    quantizers: list[Quantizer] = list(activation_quantizers(model).values())
    modes = [q.mode for q in quantizers]
    try:
        for q in quantizers:
            q.mode = Mode.OFF
        yield
    finally:
        for q, mode in zip(quantizers, modes, strict=True):
            q.mode = mode


@torch.no_grad()
def record(
    model: nn.Module,
    x: Tensor,
    name: str,
    take: Callable[[Tensor, Tensor], Tensor],
    batch: int = 64,
) -> list[Tensor]:
    """take(input, output) of the layer `name`, for each batch of `x`; the rest is not computed."""
    found: list[Tensor] = []

    def look(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found.append(take(inputs[0], output))
        raise _Enough

    handle = model.get_submodule(name).register_forward_hook(look)
    try:
        for part in x.split(batch):
            with suppress(_Enough):
                model(part)
    finally:
        handle.remove()
    return found


class _Enough(Exception):
    """What was to be seen was seen."""
