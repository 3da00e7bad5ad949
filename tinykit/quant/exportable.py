"""What a graph can hold of what quantizers compute: exactly, or not at all."""

from __future__ import annotations

import torch
from torch import nn

from tinykit.graph.errors import TinykitError
from tinykit.quant.layers import (
    QuantConvTranspose2d,
    QuantLinear,
    activation_quantizers,
    weighted,
)
from tinykit.quant.quantizer import Mode, NotExportable, Quantizer
from tinykit.quant.quantizers.uniform import Uniform

ROUNDS = (Mode.QUANTIZE, Mode.FOLLOW)


def exportable(model: nn.Module) -> int | None:
    """Bits of the model's activations, 8 or 16; None where nothing rounds them yet.

    Weights: whole multiples of one scale, or one per output channel; up to 4 bits as int4, up to 8
    as int8. Activations: 256 or 65,536 levels, because TFLite's kernels saturate at the ends of
    int8 and int16 and nowhere else: with fewer levels, numbers beyond the last would not be
    clipped as they were in training.

    Raises
    ------
    TinykitError
        A quantizer that computes anything else; its place is named.
    """
    for name, layer in weighted(model).items():
        if layer.quantizer.mode not in ROUNDS:
            continue
        try:
            with torch.no_grad():
                scale, low, high = layer.quantizer.whole(layer.weight)
            if low < -127 or high > 127:
                raise NotExportable(
                    f"its weights are integers from {low} to {high}; TFLite's go from -127 to 127"
                )
            four = -low <= 8 and high <= 7
            if four and isinstance(layer, QuantConvTranspose2d):
                raise NotExportable("transposed convolutions have no int4 weights; give it 8 bits")
            if four and isinstance(layer, QuantLinear) and scale.numel() > 1:
                raise NotExportable("int4 linear layers have one scale in all (Grid axis=None)")
        except NotExportable as why:
            raise _named(name, layer.quantizer, why) from why
    found = set()
    for name, q in activation_quantizers(model).items():
        if q.mode not in ROUNDS:
            continue
        try:
            found.add(_levels(q))
        except NotExportable as why:
            raise _named(name, q, why) from why
    if len(found) > 1:
        raise TinykitError(
            "some activations have 8 bits and some 16; a graph's have all the same: prepare with "
            "one activation_bits"
        )
    return found.pop() if found else None


def _levels(q: Quantizer) -> int:
    grid = q.grid
    if not isinstance(q, Uniform):
        raise NotExportable(f"activations need equal steps, which {q.name!r} has not")
    if grid.axis is not None or grid.group is not None:
        raise NotExportable("activations have one scale; this has several")
    if grid.bits not in (8, 16) or grid.narrow:
        raise NotExportable(
            f"activations of {grid.bits} bits: TFLite's kernels saturate where int8 and int16 end, "
            f"and nowhere else; prepare with activation_bits=8"
        )
    if grid.bits == 16 and not grid.symmetric:
        raise NotExportable("16-bit activations are symmetric")
    return grid.bits


def _named(name: str, q: Quantizer, why: NotExportable) -> TinykitError:
    return TinykitError(
        f"{name!r} ({q.name or type(q).__name__}) computes what a graph cannot hold: {why}. It "
        f"still runs in torch (tk.evaluate)."
    )
