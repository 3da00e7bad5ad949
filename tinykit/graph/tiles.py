"""Tile, which TFLite Micro lacks, said in ops that it has.

TensorFlow writes nearest-neighbour upsampling by whole factors as expand_dims → tile → reshape, an
axis at a time. All of these, and what they become here, only copy values.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from tinykit.graph.ir import Graph, Op, Quantization, Tensor
from tinykit.graph.passes import remove_dead

#: TFLite Micro's concatenation takes no more inputs
MOST_CONCATENATED = 10


def without_tiles(graph: Graph) -> Graph:
    """Upsampling along rows or columns becomes resize_nearest_neighbor, other tiles concatenation.

    A tile whose multiples are not constant stays.
    """
    if all(op.kind != "tile" for op in graph.ops):
        return graph
    rewriter = _Rewriter(graph)
    return remove_dead(graph.replace(tensors=rewriter.tensors, ops=rewriter.ops))


class _Rewriter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.tensors = list(graph.tensors)
        self.ops: list[Op] = []
        self.maker = {i: op for op in graph.ops for i in op.outputs}
        readers = Counter(i for op in graph.ops for i in op.inputs)
        readers.update(graph.outputs)
        self.single = {i for i, count in readers.items() if count == 1}
        self.resized: dict[int, Op] = {}  # by output: the resizes made here
        upsamplings = {op: found for op in graph.ops if (found := self._upsampling(op))}
        replaced = {op for found in upsamplings.values() for op in found[1:]}
        for op in graph.ops:
            if op in upsamplings:
                self._resize(op, upsamplings[op][0])
            elif op not in replaced and not (op.kind == "tile" and self._concatenate(op)):
                self.ops.append(op)

    def _upsampling(self, op: Op) -> tuple[int, Op, Op] | None:
        """If `op` ends expand_dims → tile → reshape on an image: the image, both others."""
        tile = self._only_maker(op, "reshape", "tile")
        expand = None if tile is None else self._only_maker(tile, "tile", "expand_dims")
        multiples = None if tile is None else self._multiples(tile)
        if tile is None or expand is None or multiples is None or expand.inputs[0] is None:
            return None
        source = expand.inputs[0]
        before, after = self.tensors[source].shape, self.tensors[op.outputs[0]].shape
        expanded = self.tensors[expand.outputs[0]].shape
        same = (self.tensors[i].quant for i in (source, op.outputs[0]))
        if len(before) != 4 or not _same_quantization(*same):
            return None
        for axis in (1, 2):
            only = [m if a == axis + 1 else 1 for a, m in enumerate(multiples)]
            grown = tuple(d * multiples[axis + 1] if a == axis else d for a, d in enumerate(before))
            inserted = (*before[: axis + 1], 1, *before[axis + 1 :])
            if multiples == only and after == grown and expanded == inserted:
                return source, tile, expand
        return None

    def _only_maker(self, op: Op, kind: str, maker: str) -> Op | None:
        """What makes the first input of `op`, of these kinds, when nothing else reads it."""
        first = op.inputs[0] if op.inputs else None
        if op.kind != kind or first is None or first not in self.single:
            return None
        found = self.maker.get(first)
        return found if found is not None and found.kind == maker else None

    def _multiples(self, tile: Op) -> list[int] | None:
        """How often each axis is repeated, when that is known and sound."""
        if len(tile.inputs) != 2 or len(tile.outputs) != 1 or None in tile.inputs:
            return None
        source, repeats = (self.tensors[i] for i in tile.inputs if i is not None)
        if repeats.data is None:
            return None
        multiples = [int(m) for m in repeats.data.ravel()]
        before, after = source.shape, self.tensors[tile.outputs[0]].shape
        if len(multiples) != len(before) or min(multiples, default=0) < 1:
            return None
        grown = tuple(d * m for d, m in zip(before, multiples, strict=True))
        return multiples if grown == after and 0 not in after else None

    def _resize(self, op: Op, source: int) -> None:
        """One resize in place of `op`, taking in a resize made here that only it reads."""
        earlier = self.resized.get(source)
        if earlier is not None and source in self.single:
            assert earlier.inputs[0] is not None
            source = earlier.inputs[0]
            self.ops.remove(earlier)
        out = op.outputs[0]
        size = self._add(
            Tensor(
                f"{self.tensors[out].name}/size",
                (2,),
                "int32",
                data=np.array(self.tensors[out].shape[1:3], np.int32),
            )
        )
        # Centres of pixels keep the source index clear of rounding: floor((i + ½) / factor).
        attrs = {"align_corners": False, "half_pixel_centers": True}
        made = Op("resize_nearest_neighbor", (source, size), (out,), attrs, op.name)
        self.resized[out] = made
        self.ops.append(made)

    def _concatenate(self, tile: Op) -> bool:
        """The tile as concatenations of its input with itself, an axis at a time."""
        multiples = self._multiples(tile)
        if multiples is None or not any(m > 1 for m in multiples):
            return False
        current, out = tile.inputs[0], tile.outputs[0]
        steps = [
            (axis, count) for axis, multiple in enumerate(multiples) for count in _factors(multiple)
        ]
        if max(count for _, count in steps) > MOST_CONCATENATED:
            return False
        for number, (axis, count) in enumerate(steps, 1):
            assert current is not None
            tensor = self.tensors[current]
            shape = tuple(d * count if a == axis else d for a, d in enumerate(tensor.shape))
            if number == len(steps):
                made = out
            else:
                name = f"{self.tensors[out].name}/{number}"
                made = self._add(replace(self.tensors[out], name=name, shape=shape))
            attrs = {"axis": axis, "fused_activation_function": "none"}
            self.ops.append(Op("concatenation", (current,) * count, (made,), attrs, tile.name))
            current = made
        return True

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1


def _same_quantization(a: Quantization | None, b: Quantization | None) -> bool:
    return b is None if a is None else a.same_as(b)


def _factors(number: int) -> list[int]:
    """`number` as a product of factors up to MOST_CONCATENATED where it has such, ascending."""
    factors = []
    while number > 1:
        small = [f for f in range(MOST_CONCATENATED, 1, -1) if number % f == 0]
        factors.append(small[0] if small else number)
        number //= factors[-1]
    return sorted(factors)
