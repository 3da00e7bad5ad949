"""The intermediate representation: an immutable graph of tensors and ops in TFLite's terms.

Every backend reads this and nothing else. Op kinds are TFLite's builtin names in lower case
(``conv_2d``, ``fully_connected``), attributes are the fields of TFLite's option tables, and weight
layouts are TFLite's (conv OHWI, depthwise 1HWO, fully connected OI; activations NHWC), so that a
model read from a file means what the file meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from tinykit.graph.errors import GraphError

#: dtype name -> (numpy type that holds it, bits one element takes in a file)
DTYPES: Mapping[str, tuple[type, int]] = MappingProxyType(
    {
        "float32": (np.float32, 32),
        "int8": (np.int8, 8),
        "uint8": (np.uint8, 8),
        "int16": (np.int16, 16),
        "int32": (np.int32, 32),
        "int64": (np.int64, 64),
        "int4": (np.int8, 4),  # unpacked in memory: one int8 per element, values -8..7
        "bool": (np.bool_, 8),
    }
)


@dataclass(frozen=True, eq=False)
class Quantization:
    """Affine quantization, ``real = scale * (q - zero_point)``.

    Parameters
    ----------
    scale : float32 array, shape (1,) or (channels,)
    zero_point : int64 array, same shape
    axis : int or None
        The tensor's quantized dimension; None when one scale serves the whole tensor.
    """

    scale: np.ndarray
    zero_point: np.ndarray
    axis: int | None = None

    def __post_init__(self) -> None:
        scale = np.atleast_1d(np.asarray(self.scale, np.float32))
        zero = np.atleast_1d(np.asarray(self.zero_point, np.int64))
        if zero.size == 1 and scale.size > 1:
            zero = np.full(scale.shape, zero[0], np.int64)
        if scale.ndim != 1 or zero.shape != scale.shape or scale.size == 0:
            raise GraphError(
                f"quantization needs one zero point per scale, got {scale.shape} scales and "
                f"{zero.shape} zero points"
            )
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            raise GraphError("quantization scales must be finite and positive")
        if self.axis is None and scale.size != 1:
            raise GraphError(f"{scale.size} scales but no axis that they belong to")
        object.__setattr__(self, "scale", _frozen(scale))
        object.__setattr__(self, "zero_point", _frozen(zero))

    @classmethod
    def per_tensor(cls, scale: float, zero_point: int = 0) -> Quantization:
        return cls(np.array([scale], np.float32), np.array([zero_point], np.int64))

    @property
    def per_channel(self) -> bool:
        return self.axis is not None

    def same_as(self, other: Quantization | None) -> bool:
        return (
            other is not None
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


@dataclass(frozen=True, eq=False)
class Tensor:
    """A value in the graph: an activation, or a constant when `data` is given.

    `shape` is static (a dynamic batch is 1). int4 data is held unpacked, one int8 an element.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    quant: Quantization | None = None
    data: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise GraphError(
                f"tensor {self.name!r}: unknown dtype {self.dtype!r}; known: {', '.join(DTYPES)}"
            )
        shape = tuple(int(d) for d in self.shape)
        if any(d < 0 for d in shape):
            raise GraphError(f"tensor {self.name!r}: negative dimension in {shape}")
        object.__setattr__(self, "shape", shape)
        if self.quant is not None and self.quant.axis is not None:
            axis = self.quant.axis
            if not 0 <= axis < len(shape) or shape[axis] != self.quant.scale.size:
                raise GraphError(
                    f"tensor {self.name!r}: {self.quant.scale.size} scales along axis {axis} do "
                    f"not fit shape {shape}"
                )
        if self.data is not None:
            want = DTYPES[self.dtype][0]
            data = np.asarray(self.data)
            if data.dtype != want:
                raise GraphError(
                    f"tensor {self.name!r}: data is {data.dtype}, {self.dtype} is held as "
                    f"{np.dtype(want).name}"
                )
            if data.shape != shape:
                raise GraphError(f"tensor {self.name!r}: data {data.shape}, declared {shape}")
            object.__setattr__(self, "data", _frozen(data))

    @property
    def is_const(self) -> bool:
        return self.data is not None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in a file or an arena (int4 packs two to a byte)."""
        return (self.size * DTYPES[self.dtype][1] + 7) // 8

    @property
    def numpy_dtype(self) -> np.dtype:
        return np.dtype(DTYPES[self.dtype][0])

    def real(self, values: np.ndarray) -> np.ndarray:
        """The real numbers (float32) that stored `values` of this tensor stand for."""
        if self.quant is None:
            return np.asarray(values, np.float32)
        scale, zero = self.quant.scale, self.quant.zero_point
        if self.quant.axis is not None:
            along = [1] * len(self.shape)
            along[self.quant.axis] = -1
            scale, zero = scale.reshape(along), zero.reshape(along)
        return ((np.asarray(values, np.int64) - zero) * scale.astype(np.float64)).astype(np.float32)

    def stored(self, values: np.ndarray) -> np.ndarray:
        """Real `values` as this (per-tensor quantized or float) tensor would store them."""
        if self.quant is None:
            return np.asarray(values).astype(self.numpy_dtype)
        lo, hi = integer_range(self.dtype)
        q = np.round(np.asarray(values, np.float64) / self.quant.scale[0])
        return np.clip(q + self.quant.zero_point[0], lo, hi).astype(self.numpy_dtype)


@dataclass(frozen=True, eq=False)
class Op:
    """One operation. `inputs` and `outputs` index `Graph.tensors`; None is an absent input."""

    kind: str
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs))
        object.__setattr__(self, "attrs", MappingProxyType(dict(self.attrs)))


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: tensors in SSA form and the ops that make them, in execution order.

    Validated on construction: an invalid graph cannot exist. An op whose kind is not in the opset
    may stand in a graph (so that the rest can be profiled); running it raises UnsupportedOpError.

    Raises
    ------
    GraphError
        An index out of range, a tensor made twice or used before it is made, wrong arity,
        attributes or shapes that the op's own rule (see `tinykit.graph.registry`) contradicts.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name: str = "model"

    def __post_init__(self) -> None:
        for key in ("tensors", "ops", "inputs", "outputs"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        from tinykit.graph.validate import validate

        validate(self)

    # -- looking around -------------------------------------------------------------------------

    def op_name(self, index: int) -> str:
        """A readable, unique name of op `index`: its own, or position and kind."""
        op = self.ops[index]
        return op.name or f"{index}:{op.kind}"

    def ins(self, op: Op) -> list[Tensor | None]:
        return [None if i is None else self.tensors[i] for i in op.inputs]

    def outs(self, op: Op) -> list[Tensor]:
        return [self.tensors[i] for i in op.outputs]

    @property
    def input(self) -> Tensor:
        """The only input; GraphError when there are several."""
        if len(self.inputs) != 1:
            raise GraphError(f"graph {self.name!r} has {len(self.inputs)} inputs, not one")
        return self.tensors[self.inputs[0]]

    @property
    def output(self) -> Tensor:
        if len(self.outputs) != 1:
            raise GraphError(f"graph {self.name!r} has {len(self.outputs)} outputs, not one")
        return self.tensors[self.outputs[0]]

    def activations(self) -> Iterator[tuple[int, Tensor]]:
        """Index and tensor of everything that is computed or fed (not constants) and used."""
        used = set(self.inputs) | set(self.outputs)
        for op in self.ops:
            used.update(i for i in (*op.inputs, *op.outputs) if i is not None)
        for i in sorted(used):
            if not self.tensors[i].is_const:
                yield i, self.tensors[i]

    @property
    def weight_bytes(self) -> int:
        """Bytes of the constants that some op reads, each once."""
        used = {i for op in self.ops for i in op.inputs if i is not None}
        return sum(self.tensors[i].nbytes for i in used if self.tensors[i].is_const)

    @property
    def unsupported(self) -> list[tuple[int, Op]]:
        """Position and op of every kind that is not in the opset."""
        from tinykit.graph.registry import spec_of

        return [(i, op) for i, op in enumerate(self.ops) if spec_of(op.kind) is None]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference (counted; see each op's rule)."""
        return sum(self.op_macs(i) for i in range(len(self.ops)))

    def op_macs(self, index: int) -> int:
        from tinykit.graph.registry import spec_of

        op = self.ops[index]
        spec = spec_of(op.kind)
        return 0 if spec is None else spec.macs(self.ins(op), self.outs(op), op.attrs)

    # -- doing ----------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> Graph:
        return replace(self, **changes)

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Run the reference interpreter on stored values; see `tinykit.graph.interpreter.run`."""
        from tinykit.graph.interpreter import run

        return run(self, inputs)

    def save(self, path: str) -> None:
        """Write the graph in the format that the suffix of `path` names (``.tflite``)."""
        from tinykit.graph.fileio import save

        save(self, path)


def integer_range(dtype: str) -> tuple[int, int]:
    """Smallest and largest stored value of an integer dtype."""
    bits = DTYPES[dtype][1]
    if dtype == "uint8":
        return 0, 255
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def _frozen(array: np.ndarray) -> np.ndarray:
    if array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
    return array
