"""What ops on single elements share: their shape rule, and the check of their types."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.ir import Op, Quantization, Tensor
from tinykit.graph.registry import Shape, reference


def same_shape(ins: Sequence[Tensor | None], attrs: Mapping[str, Any]) -> list[Shape]:
    """Shape rule of unary ops: the output has the input's shape."""
    if ins[0] is None:
        raise GraphError("the input is missing")
    return [ins[0].shape]


def check_types(
    op: Op, data: Tensor, output: Tensor, pairs: Collection[tuple[str, str]], backend: str = ""
) -> None:
    """Raise UnsupportedOpError unless (input dtype, output dtype) is among `pairs`."""
    if (data.dtype, output.dtype) not in pairs:
        raise UnsupportedOpError(
            op.kind, None, backend or reference.name, f"{data.dtype} to {output.dtype}"
        )


def quant_of(tensor: Tensor) -> Quantization:
    """The tensor's per-tensor quantization; GraphError when it has none, or one per channel."""
    if tensor.quant is None or tensor.quant.scale.size != 1:
        has = "none" if tensor.quant is None else "one per channel"
        raise GraphError(f"tensor {tensor.name!r} needs one quantization, it has {has}")
    return tensor.quant


def scale_of(tensor: Tensor) -> float:
    """The tensor's scale as the float64 that its float32 value is."""
    return float(quant_of(tensor).scale[0])


def zero_of(tensor: Tensor) -> int:
    return int(quant_of(tensor).zero_point[0])
