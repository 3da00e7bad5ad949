"""Functions of one 8-bit value in C: their 256 results are computed here by the reference kernel.

A table of 256 bytes is what any such function costs in flash, and one load an element in time. A
function that merely limits its input (relu without a change of scale) needs no table.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.registry import reference


def results(op: Op, data: Tensor, output: Tensor) -> np.ndarray:
    """What `op` makes of each of the 256 values of `data`'s dtype, in the order of their bits."""
    values = np.arange(256, dtype=np.uint8).view(data.numpy_dtype)
    # tensors of 256 elements stand in for those of the op
    ins = [replace(data, shape=(256,), data=None)]
    outs = [replace(output, shape=(256,), data=None)]
    return reference.get(op.kind)(op, ins, outs, [values])[0]


def write(op: Op, data: Tensor, output: Tensor, ctx: OpContext) -> str:
    """C statement that applies `op`, whose input and output have 8 bits."""
    table = results(op, data, output)
    ctx.use("lookup")
    if data.dtype == output.dtype == "int8":
        low, high = int(table.min()), int(table.max())
        if np.array_equal(table, np.clip(np.arange(256, dtype=np.uint8).view(np.int8), low, high)):
            return f"tk_limit_s8({ctx.input(0)}, {ctx.output()}, {data.size}, {low}, {high});"
    name = ctx.array(table.view(np.uint8), "uint8_t", f"{op.kind} of 0..127, -128..-1")
    return f"tk_lookup_8({name}, {ctx.input(0)}, {ctx.output()}, {data.size});"
