"""Dilated convolution, which TensorFlow writes as space_to_batch → convolution → batch_to_space.

TFLite Micro's space_to_batch_nd never sets the value it pads with (its parameters are allocated in
``Init`` and filled nowhere, ``micro/kernels/space_to_batch_nd.cc``), so a padded one computes with
whatever lay in memory. A convolution with dilation factors gives what was meant, in less time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinykit.graph.ir import Graph, Op, Tensor
from tinykit.graph.passes import remove_dead

_CONVOLUTIONS = ("conv_2d", "depthwise_conv_2d")


def with_dilations(graph: Graph) -> Graph:
    """Convolutions between space_to_batch_nd and batch_to_space_nd get dilation factors instead.

    What padding remains in a space_to_batch_nd goes to a pad op of its own before it.
    """
    if all(op.kind != "space_to_batch_nd" for op in graph.ops):
        return graph
    rewriter = _Rewriter(graph)
    return remove_dead(graph.replace(tensors=rewriter.tensors, ops=rewriter.ops))


@dataclass(frozen=True)
class _Dilated:
    """A chain that is one dilated convolution: of what, with which attributes and padding."""

    source: int
    convolution: Op
    attrs: Mapping[str, Any]
    pads: list[list[int]] | None  # rows, then columns; None when the attributes say it all


class _Rewriter:
    def __init__(self, graph: Graph) -> None:
        self.tensors = list(graph.tensors)
        self.ops: list[Op] = []
        self.maker = {i: op for op in graph.ops for i in op.outputs}
        readers = Counter(i for op in graph.ops for i in op.inputs)
        readers.update(graph.outputs)
        self.single = {i for i, count in readers.items() if count == 1}
        for op in graph.ops:
            found = self._dilated(op) if op.kind == "batch_to_space_nd" else None
            if found is not None:
                # Runs where the chain ended; what it replaces is dead and goes at the end.
                self._convolve(op, found)
            elif op.kind == "space_to_batch_nd":
                self._pad_before(op)
            else:
                self.ops.append(op)

    def _dilated(self, last: Op) -> _Dilated | None:
        middle = self._only_maker(last)
        first = self._only_maker(middle) if middle is not None else None
        if middle is None or first is None or first.kind != "space_to_batch_nd":
            return None
        kind, attrs = middle.kind, middle.attrs
        constants = [self._constant(op, i) for op in (first, last) for i in (1, 2)]
        known = [c for c in constants if c is not None]
        if kind not in _CONVOLUTIONS or len(known) < 4:
            return None
        block, block_back = (known[i].ravel().tolist() for i in (0, 2))
        pads, crops = (known[i].reshape(-1, 2).tolist() for i in (1, 3))
        source, filters = first.inputs[0], middle.inputs[1]
        if source is None or filters is None:
            return None
        # Both ends only move values, so a change of scale would be no part of the convolution.
        for a, b in ((source, first.outputs[0]), (middle.outputs[0], last.outputs[0])):
            if not _same_scale(self.tensors[a], self.tensors[b]):
                return None
        data, kernel = self.tensors[source], self.tensors[filters].shape[1:3]
        plain = all(attrs[f"{a}_{d}{f}"] == 1 for d in "wh" for a, f in _FACTORS)
        if not plain or attrs["padding"] != "valid" or block != block_back or len(block) != 2:
            return None
        if any(c[0] for c in crops) or len(data.shape) != 4:
            return None
        before, wanted = data.shape[1:3], self.tensors[last.outputs[0]].shape[1:3]
        spans = [(k - 1) * d + 1 for k, d in zip(kernel, block, strict=True)]
        # What the convolution really sees: rows and columns that are cropped again do not count.
        padding = [
            [p[0], w + s - 1 - b - p[0]]
            for p, w, s, b in zip(pads, wanted, spans, before, strict=True)
        ]
        if any(p[1] < 0 for p in padding):
            return None
        same = [[(s - 1) // 2, s - 1 - (s - 1) // 2] for s in spans]
        none = padding == [[0, 0], [0, 0]]
        factors = {"dilation_h_factor": block[0], "dilation_w_factor": block[1]}
        style = "same" if padding == same and not none else "valid"
        rest = None if none or style == "same" else padding
        return _Dilated(source, middle, {**attrs, **factors, "padding": style}, rest)

    def _convolve(self, last: Op, found: _Dilated) -> None:
        source, old = found.source, found.convolution
        if found.pads is not None:
            source = self._pad(source, [[0, 0], *found.pads, [0, 0]])
        self.ops.append(
            Op(old.kind, (source, *old.inputs[1:]), last.outputs, found.attrs, old.name)
        )

    def _pad_before(self, op: Op) -> None:
        pads, source = self._constant(op, 2), op.inputs[0]
        if pads is not None and pads.any() and source is not None:
            pads = pads.reshape(-1, 2)
            behind = len(self.tensors[source].shape) - 1 - len(pads)
            source = self._pad(source, [[0, 0], *pads.tolist(), *[[0, 0]] * behind])
            nothing = self._add("no_padding", np.zeros_like(pads))
            op = replace(op, inputs=(source, op.inputs[1], nothing))
        self.ops.append(op)

    def _pad(self, source: int, pads: list[list[int]]) -> int:
        tensor = self.tensors[source]
        shape = tuple(d + sum(p) for d, p in zip(tensor.shape, pads, strict=True))
        amounts = self._add(f"{tensor.name}/paddings", np.array(pads, np.int32))
        self.tensors.append(replace(tensor, name=f"{tensor.name}/padded", shape=shape, data=None))
        out = len(self.tensors) - 1
        self.ops.append(Op("pad", (source, amounts), (out,)))
        return out

    def _constant(self, op: Op, place: int) -> np.ndarray | None:
        index = op.inputs[place]
        return None if index is None else self.tensors[index].data

    def _only_maker(self, op: Op) -> Op | None:
        first = op.inputs[0]
        return self.maker.get(first) if first is not None and first in self.single else None

    def _add(self, name: str, data: np.ndarray) -> int:
        self.tensors.append(Tensor(name, data.shape, data.dtype.name, data=data))
        return len(self.tensors) - 1


def _same_scale(a: Tensor, b: Tensor) -> bool:
    return b.quant is None if a.quant is None else a.quant.same_as(b.quant)


#: the attributes that must be 1: ("stride", "") for stride_w, ("dilation", "_factor") and so on
_FACTORS = (("stride", ""), ("dilation", "_factor"))
