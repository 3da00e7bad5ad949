"""pad (with zero, or the zero point) and padv2 (with a given value)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.constants import given, pairs, values
from tinykit.graph.registry import Shape, define_op, reference


def zero_of(tensor: Tensor) -> Any:
    """The stored value that stands for 0."""
    zero = 0 if tensor.quant is None else int(tensor.quant.zero_point[0])
    return tensor.numpy_dtype.type(zero)


@define_op("pad", arity=(2, 2))
def pad_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> Sequence[Shape | None]:
    shape = given(ins[0]).shape
    flat = values(ins[1], 2 * len(shape))
    if flat is None:
        return [None]
    if min(flat, default=0) < 0:
        raise GraphError(f"negative paddings {flat}")
    return [tuple(d + sum(p) for d, p in zip(shape, pairs(flat), strict=True))]


@define_op("padv2", arity=(3, 3))
def padv2_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> Sequence[Shape | None]:
    if given(ins[2]).size != 1:
        raise GraphError(f"one value to pad with, got shape {given(ins[2]).shape}")
    return pad_shape(ins[:2], attrs)


@reference.register("pad", "padv2")
def pad(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    value = args[2].ravel()[0] if len(args) > 2 else zero_of(outs[0])
    return [np.pad(args[0], pairs([int(v) for v in args[1].ravel()]), constant_values=value)]
