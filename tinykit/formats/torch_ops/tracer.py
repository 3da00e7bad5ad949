"""What grows the graph while torch's nodes are walked, and keeps the books on layouts.

torch counts NCHW, the graph stores NHWC. A torch tensor of rank 4 is therefore stored permuted
(`nhwc`), its flattening (N, C·H·W) in the order H·W·C (`hwc`) as long as what comes next can live
with that: a linear layer permutes its columns instead. Everything else gets torch's own order
(`plain`), by a transpose op where memory order differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinykit.graph.builder import GraphBuilder
from tinykit.graph.errors import UnsupportedOpError
from tinykit.graph.ir import Quantization

NAME = "torch import"
NHWC = (0, 2, 3, 1)


@dataclass(frozen=True)
class Value:
    """A computed tensor.

    Parameters
    ----------
    index : of the graph's tensor that stores it
    shape : as torch sees it
    layout : "plain", "nhwc" or "hwc"
    chw : for "hwc", the (C, H, W) that was flattened
    """

    index: int
    shape: tuple[int, ...]
    layout: str = "plain"
    chw: tuple[int, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Const:
    """A tensor that depends on parameters alone, and how it was fake-quantized, if it was.

    Parameters
    ----------
    bits : of its integers
    full : they go down to -2^(bits-1), not only to one above
    """

    data: np.ndarray
    quant: Quantization | None = None
    bits: int = 8
    full: bool = False


@dataclass(frozen=True)
class Call:
    """One torch node: where it is, what it makes, and what was merged into it.

    Parameters
    ----------
    name : the module's path, or the node's name
    position : the node's number among the operators
    shape : of its (first) result, as torch sees it
    act : activation fused into it
    norm : (scale, offset) per output channel of a batch norm folded into it
    pads : (top, bottom, left, right) of a zero padding merged into it
    drop_spatial : result (N, C, 1, 1) is wanted as (N, C)
    """

    name: str
    target: str
    position: int
    shape: tuple[int, ...]
    act: str = "none"
    norm: tuple[np.ndarray, np.ndarray] | None = None
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    drop_spatial: bool = False

    def unsupported(self, why: str) -> UnsupportedOpError:
        return UnsupportedOpError(self.target, self.position, NAME, f"{why} (in {self.name})")


Handler = Callable[..., Any]
HANDLERS: dict[str, Handler] = {}


def handles(*targets: str) -> Callable[[Handler], Handler]:
    """Decorator: ``(tracer, call, *torch's arguments) -> Value`` for these ATen operators."""

    def join(function: Handler) -> Handler:
        for target in targets:
            HANDLERS[f"aten.{target}"] = function
        return function

    return join


@dataclass
class Tracer:
    """The graph so far, and the quantization that fake-quantize nodes ask of its tensors."""

    build: GraphBuilder
    activations: dict[int, Quantization] = field(default_factory=dict)
    weights: dict[int, Quantization] = field(default_factory=dict)
    weight_bits: dict[int, int] = field(default_factory=dict)
    full_range: set[int] = field(default_factory=set)

    def stored(self, value: Value) -> tuple[int, ...]:
        return self.build.tensors[value.index].shape

    def const(self, data: np.ndarray, name: str = "", quant: Const | None = None) -> int:
        """A constant tensor; with `quant`, noted as quantized the way that Const was."""
        index = self.build.const(np.ascontiguousarray(data), name=name)
        if quant is not None and quant.quant is not None:
            self.weights[index] = quant.quant
            self.weight_bits[index] = quant.bits
            if quant.full:
                self.full_range.add(index)
        return index

    def ints(self, values: Sequence[int]) -> int:
        return self.const(np.asarray(values, np.int32))

    def op(
        self,
        kind: str,
        inputs: Sequence[int | None],
        shape: Sequence[int],
        call: Call,
        **attrs: Any,
    ) -> int:
        name = call.name
        taken = {op.name for op in self.build.ops}
        if not name or name in taken:
            name = f"{call.name}/{kind}".lstrip("/")
        if name in taken:
            name = f"{name}_{len(self.build.ops)}"
        return self.build.op(kind, inputs, tuple(shape), "float32", name=name, **attrs)

    def reshape(self, index: int, shape: Sequence[int], call: Call) -> int:
        if self.build.tensors[index].shape == tuple(shape):
            return index
        return self._same_numbers(
            index,
            self.op("reshape", [index, self.ints(shape)], shape, call, new_shape=tuple(shape)),
        )

    def transpose(self, index: int, order: Sequence[int], call: Call) -> int:
        """Axes in another `order`; a reshape where that leaves the memory as it is."""
        shape = self.build.tensors[index].shape
        out = tuple(shape[a] for a in order)
        moved = [a for a in order if shape[a] != 1]
        if moved == sorted(moved):
            return self.reshape(index, out, call)
        return self._same_numbers(index, self.op("transpose", [index, self.ints(order)], out, call))

    def _same_numbers(self, source: int, result: int) -> int:
        if source in self.activations:
            self.activations[result] = self.activations[source]
        return result

    # -- layouts --------------------------------------------------------------------------------

    def plain(self, value: Value, call: Call) -> int:
        """The tensor that stores `value` in torch's own order."""
        if value.layout == "plain":
            return value.index
        if value.layout == "nhwc":
            return self.transpose(value.index, (0, 3, 1, 2), call)
        assert value.chw is not None
        c, h, w = value.chw
        index = self.reshape(value.index, (value.shape[0], h, w, c), call)
        return self.reshape(self.transpose(index, (0, 3, 1, 2), call), value.shape, call)

    def nhwc(self, value: Value, call: Call) -> int:
        """The tensor that stores `value`, of rank 4, as NHWC."""
        if len(value.shape) != 4:
            raise call.unsupported(f"it takes images (N, C, H, W), got {value.shape}")
        if value.layout == "nhwc":
            return value.index
        return self.transpose(value.index, NHWC, call)

    def image(self, index: int, shape: Sequence[int]) -> Value:
        """A Value for NHWC tensor `index`; `shape` is torch's."""
        return Value(index, tuple(shape), "nhwc")

    def like(self, index: int, value: Value) -> Value:
        """A Value laid out as `value` is, stored in `index`."""
        return Value(index, value.shape, value.layout, value.chw)


def stored_shape(shape: Sequence[int], layout: str) -> tuple[int, ...]:
    """How a torch tensor of `shape` is stored."""
    if layout != "nhwc":
        return tuple(shape)
    n, c, h, w = shape
    return (n, h, w, c)


def pair(value: Any) -> tuple[int, int]:
    """torch's int-or-pair as a pair (it writes one number for both)."""
    if isinstance(value, int):
        return value, value
    values = tuple(int(v) for v in value)
    return (values[0], values[0]) if len(values) == 1 else (values[0], values[1])
