"""resize_bilinear and resize_nearest_neighbor in C, with tables of source rows and columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tinykit.engine.codegen import OpContext, codegen
from tinykit.graph.ir import Op, Tensor
from tinykit.graph.ops import resize as rule


def _sizes(data: Tensor, output: Tensor, ctx: OpContext) -> str:
    batches, out_h, out_w, channels = output.shape
    return ctx.struct(
        "tk_resize",
        batches=batches,
        in_h=data.shape[1],
        in_w=data.shape[2],
        out_h=out_h,
        out_w=out_w,
        channels=channels,
    )


@codegen.register("resize_nearest_neighbor")
def resize_nearest_neighbor(
    op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext
) -> str:
    data, output = ins[0], outs[0]
    if data.dtype != output.dtype or max(data.shape) > 0xFFFF:
        ctx.unsupported(f"{data.dtype} {data.shape} inputs with {output.dtype} outputs")
    ctx.use("resize")
    tables = [
        ctx.array(rule._nearest(data.shape[i], output.shape[i], op.attrs), "uint16_t")
        for i in (1, 2)
    ]
    unit = data.numpy_dtype.itemsize
    return (
        f"tk_resize_nearest({_sizes(data, output, ctx)}, {tables[0]}, {tables[1]}, {unit}, "
        f"{ctx.input(0)}, {ctx.output()});"
    )


@codegen.register("resize_bilinear")
def resize_bilinear(op: Op, ins: Sequence[Tensor], outs: Sequence[Tensor], ctx: OpContext) -> str:
    data, output = ins[0], outs[0]
    if data.dtype not in ("int8", "float32") or output.dtype != data.dtype:
        ctx.unsupported(f"{data.dtype} inputs with {output.dtype} outputs")
    ctx.use("resize")
    real = data.dtype == "float32"
    suffix, ctype, line = (
        ("f32", "tk_between_f32", rule._line) if real else ("s8", "tk_between", rule._line10)
    )
    tables = []
    for i in (1, 2):
        lower, upper, place = line(data.shape[i], output.shape[i], op.attrs)
        rows: list[dict[str, Any]] = [
            {"lower": int(a), "upper": int(b), "place": float(c) if real else int(c)}
            for a, b, c in zip(lower, upper, place, strict=True)
        ]
        tables.append(ctx.structs(ctype, rows))
    return (
        f"tk_resize_bilinear_{suffix}({_sizes(data, output, ctx)}, {tables[0]}, {tables[1]}, "
        f"{ctx.input(0)}, {ctx.output()});"
    )
