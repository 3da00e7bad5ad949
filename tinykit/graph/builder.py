"""Growing a Graph op by op."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinykit.graph import ops  # noqa: F401  (fills the opset)
from tinykit.graph.ir import Graph, Op, Quantization, Tensor
from tinykit.graph.registry import spec_of


class GraphBuilder:
    """Grows a Graph op by op; `finish` validates and freezes it.

    >>> b = GraphBuilder("relu")
    >>> x = b.input("x", (1, 4), "float32")
    >>> y = b.op("relu", [x], (1, 4), "float32")
    >>> g = b.finish([y])
    """

    def __init__(self, name: str = "model") -> None:
        self.name = name
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.inputs: list[int] = []

    def tensor(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def input(
        self, name: str, shape: Sequence[int], dtype: str, quant: Quantization | None = None
    ) -> int:
        index = self.tensor(Tensor(name, tuple(shape), dtype, quant))
        self.inputs.append(index)
        return index

    def const(
        self,
        data: np.ndarray,
        quant: Quantization | None = None,
        name: str = "",
        dtype: str | None = None,
    ) -> int:
        data = np.asarray(data)
        dtype = dtype or data.dtype.name
        name = name or f"const_{len(self.tensors)}"
        return self.tensor(Tensor(name, data.shape, dtype, quant, data))

    def op(
        self,
        kind: str,
        inputs: Sequence[int | None],
        shape: Sequence[int],
        dtype: str,
        quant: Quantization | None = None,
        name: str = "",
        **attrs: Any,
    ) -> int:
        """Append an op with one output of the given shape, dtype and quantization; returns it."""
        return self.op_multi(
            kind,
            inputs,
            [Tensor(name or self._name(kind), tuple(shape), dtype, quant)],
            name,
            **attrs,
        )[0]

    def op_multi(
        self,
        kind: str,
        inputs: Sequence[int | None],
        outs: Sequence[Tensor],
        name: str = "",
        **attrs: Any,
    ) -> list[int]:
        """Append an op with several outputs. Attributes left out take the opset's defaults."""
        if (spec := spec_of(kind)) is not None:
            attrs = {**spec.attrs, **attrs}
        indices = [self.tensor(t) for t in outs]
        self.ops.append(Op(kind, tuple(inputs), tuple(indices), attrs, name or self._name(kind)))
        return indices

    def _name(self, kind: str) -> str:
        return f"{len(self.ops)}:{kind}"

    def finish(self, outputs: Sequence[int]) -> Graph:
        return Graph(
            tuple(self.tensors), tuple(self.ops), tuple(self.inputs), tuple(outputs), self.name
        )
