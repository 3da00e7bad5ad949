"""softmax in C."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinykit.engine import ctext
from tinykit.engine.codegen import OpContext, codegen
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops.pointwise import check_types
from tinykit.graph.ops.softmax import (
    TYPES,
    check_output,
    exp_table,
    int8_exps,
    int16_params,
    reciprocal_table,
)


@codegen.register("softmax")
def softmax(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, output = ins[0], outs[0]
    check_types(op, data, output, TYPES, codegen.name)
    depth = data.shape[-1]
    rows = data.size // depth if depth else 0
    ctx.use("softmax")
    source, target = ctx.input(0), ctx.output()
    if data.dtype == "float32":
        beta = ctext.number(np.float32(op.attrs["beta"]))
        return f"tk_softmax_f32({source}, {target}, {rows}, {depth}, {beta});"
    check_output(op, data, output)
    if data.dtype == "int16":
        mantissa, shift = int16_params(op, data)
        params = ctx.struct(
            "tk_softmax_s16",
            rows=rows,
            depth=depth,
            mantissa=mantissa,
            shift=shift,
            exp_table=ctx.array(exp_table(), "int16_t", "exp on [-10, 0]"),
            reciprocal_table=ctx.array(reciprocal_table(), "int16_t", "1 / (1 + x) on [0, 1]"),
        )
        return f"tk_softmax_s16({params}, {source}, {target});"
    exps = int8_exps(op, data)
    params = ctx.struct(
        "tk_softmax_s8",
        rows=rows,
        depth=depth,
        exps_count=exps.size,
        exps=ctx.array(exps, "int32_t", "exp(-d * scale), d = 0, 1, ..."),
    )
    suffix = "s8" if output.dtype == "int8" else "s8_s16"
    return f"tk_softmax_{suffix}({params}, {source}, {target});"
