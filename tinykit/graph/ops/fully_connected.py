"""fully_connected: a matrix product with the last axis (or with everything but the batch)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.convolving import (
    centred,
    check_bias,
    check_types,
    leave_accumulator,
    quant_of,
)
from tinykit.graph.registry import Shape, define_op, reference


def _macs(ins: Sequence[Tensor | None], outs: Sequence[Tensor], attrs: Mapping[str, Any]) -> int:
    assert ins[1] is not None
    return outs[0].size * ins[1].shape[-1]


@define_op(
    "fully_connected",
    arity=(2, 3),
    attrs={"fused_activation_function": "none", "keep_num_dims": False},
    macs=_macs,
)
def fully_connected_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    data, weights = ins[0], ins[1]
    if data is None or weights is None or len(weights.shape) != 2:
        raise GraphError("fully_connected needs an input and weights of 2 dimensions")
    channels, depth = weights.shape
    check_bias(ins[2] if len(ins) > 2 else None, channels)
    if attrs["keep_num_dims"]:
        if data.shape[-1:] != (depth,):
            raise GraphError(f"weights {weights.shape} do not fit the last axis of {data.shape}")
        return [(*data.shape[:-1], channels)]
    if depth == 0 or data.size % depth:
        raise GraphError(f"{data.size} inputs cannot be cut into rows of {depth}")
    return [(data.size // depth, channels)]


@reference.register("fully_connected")
def fully_connected(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], args: Sequence[np.ndarray]
) -> list[np.ndarray]:
    x, weights = args[0], args[1]
    bias = args[2] if len(args) > 2 else None
    data, output = ins[0], outs[0]
    check_types(op, data, ins[1], output)
    if data.dtype != "float32" and quant_of(ins[1]).scale.size > 1 and ins[1].dtype == "int4":
        why = "int4 weights with a scale per channel (give them one scale, or take int8)"
        raise UnsupportedOpError(op.kind, None, reference.name, why)
    rows = centred(x, data).reshape(-1, weights.shape[1])
    kernel = weights.astype(np.float64)
    if data.dtype != "float32" and quant_of(ins[1]).scale.size == 1:
        kernel -= float(quant_of(ins[1]).zero_point[0])
    acc = rows @ kernel.T
    activation = op.attrs["fused_activation_function"]
    made = leave_accumulator(acc, bias, data, ins[1], output, activation)
    return [made.reshape(output.shape)]
