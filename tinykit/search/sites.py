"""Where in a graph there is something to choose: its distinct layers, and the chains to fuse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinykit.engine.arrange import candidates, chains
from tinykit.engine.cores import Core
from tinykit.engine.layer import Layer, key_of
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Graph
from tinykit.graph.passes import compact


@dataclass(frozen=True)
class Site:
    """One layer, or one chain of layers, and the schedules that kernels have for it.

    Attributes
    ----------
    graph : the layers alone, with the weights of the graph that they come from
    parts : for each way to cut the chain in two, the keys of both halves; empty for one layer
    """

    key: str
    graph: Graph
    candidates: tuple[Schedule, ...]
    parts: tuple[tuple[str, str], ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        return tuple(Layer(self.graph, position) for position in range(len(self.graph.ops)))


def sites(graphs: Sequence[Graph], core: Core, options: Options) -> list[Site]:
    """Each distinct layer and chain that some specialised kernel serves; short chains first.

    Layers of a chain are in the list even if no kernel serves them alone: a chain is worth fusing
    only when it beats its layers apart.
    """
    found: dict[str, Site] = {}
    for graph in graphs:
        for position in range(len(graph.ops)):
            for layers in chains(graph, position):
                if len(layers) > 1 and not options.fuse:
                    continue
                for site in _of(layers, core, options):
                    found.setdefault(site.key, site)
    return sorted(found.values(), key=lambda site: len(site.graph.ops))


def _of(layers: tuple[Layer, ...], core: Core, options: Options) -> list[Site]:
    serving = _candidates(layers, core, options)
    if not serving:
        return []
    made = [_site(layers, serving)]
    for start in range(len(layers)):
        for stop in range(start + 1, len(layers) + 1):
            part = layers[start:stop]
            if 0 < len(part) < len(layers):
                made.append(_site(part, _candidates(part, core, options)))
    return made


def _site(layers: tuple[Layer, ...], serving: tuple[Schedule, ...]) -> Site:
    cuts = tuple((key_of(layers[:n]), key_of(layers[n:])) for n in range(1, len(layers)))
    graph = isolate(layers[0].graph, [layer.position for layer in layers])
    return Site(key_of(layers), graph, serving, cuts)


def _candidates(layers: tuple[Layer, ...], core: Core, options: Options) -> tuple[Schedule, ...]:
    if any(t is not None and t.quant is None for layer in layers for t in layer.outs):
        return ()
    try:
        return tuple(candidates(layers, core, options))
    except GraphError:  # collapsed scales and the like: the plain kernel says what is wrong
        return ()


def isolate(graph: Graph, positions: Sequence[int]) -> Graph:
    """The ops at `positions`, which follow each other, as a graph of their own.

    Its inputs are the activations that they read and do not make; its outputs are those that the
    last of them makes.
    """
    ops = [graph.ops[position] for position in positions]
    made = {i for op in ops for i in op.outputs}
    reads = [i for op in ops for i in op.inputs if i is not None]
    inputs = [i for i in dict.fromkeys(reads) if i not in made and not graph.tensors[i].is_const]
    tensors, kept, ins, outs = compact(graph.tensors, ops, inputs, ops[-1].outputs)
    return Graph(tuple(tensors), tuple(kept), tuple(ins), tuple(outs), graph.name)
