"""Post-training quantization: which range each tensor of a float graph takes on real examples."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.interpreter import run
from tinykit.graph.ir import Graph, Quantization
from tinykit.graph.lower import CHANNEL_AXIS, DATA_INPUT, KEEPS_SCALE
from tinykit.graph.ranges import FIXED_OUTPUT, quantization
from tinykit.quant.observers import Observer, observer
from tinykit.quant.weights import least_squares_range


def calibrate(
    graph: Graph,
    examples: Iterable[np.ndarray],
    method: str = "minmax",
    activation_dtype: str = "int8",
    given: Mapping[int, Quantization] | None = None,
) -> dict[int, Quantization]:
    """Quantization of the inputs and of everything that the float `graph` computes.

    Parameters
    ----------
    examples : arrays of the graph's input shape, run through the reference interpreter
    method : an observer's name (minmax, ema, percentile, mse)
    given : tensors whose quantization is settled

    Returns
    -------
    quantization : tensor index → Quantization, as `tinykit.graph.lower.lower` takes it. What meets
        in a concatenation shares one range, so that no op has to convert it.
    """
    given = given or {}
    seen: dict[int, Observer] = {}

    def look(index: int, values: np.ndarray) -> None:
        if graph.tensors[index].dtype == "float32" and index not in given:
            if index not in seen:
                seen[index] = observer(method)
            seen[index].update(values)

    count = 0
    for example in examples:
        run(graph, [np.asarray(example, np.float32).reshape(graph.input.shape)], observe=look)
        count += 1
    if not count:
        raise GraphError("calibration needs at least one example")
    ranges = {index: seen[index].range() for index in seen}
    _share(graph, ranges)
    found = {i: quantization(low, high, activation_dtype) for i, (low, high) in ranges.items()}
    return {**found, **given}


def _share(graph: Graph, ranges: dict[int, tuple[float, float]]) -> None:
    """Give tensors that meet in a concatenation the union of their ranges."""
    maker = {i: op for op in graph.ops for i in op.outputs}

    def root(index: int) -> int:
        while index in maker and maker[index].kind in KEEPS_SCALE:
            op = maker[index]
            source = op.inputs[DATA_INPUT.get(op.kind, 0)]
            assert source is not None
            index = source
        return index

    groups: list[set[int]] = []
    for op in graph.ops:
        if op.kind not in ("concatenation", "pack"):
            continue
        members = {root(i) for i in (*op.inputs, *op.outputs) if i is not None}
        # an output with a prescribed scale keeps it and is converted
        members = {i for i in members if i in ranges and _free(maker, i)}
        for other in [g for g in groups if g & members]:
            groups.remove(other)
            members |= other
        groups.append(members)
    for group in groups:
        if group:
            union = min(ranges[i][0] for i in group), max(ranges[i][1] for i in group)
            ranges.update(dict.fromkeys(group, union))


def _free(maker: Mapping[int, object], index: int) -> bool:
    return getattr(maker.get(index), "kind", None) not in FIXED_OUTPUT


def weight_plan(
    graph: Graph, bits: int, settled: Mapping[int, int] | None = None
) -> tuple[dict[int, Quantization], dict[int, int]]:
    """Scales and bits for the weights of `graph` that nothing has settled yet.

    Below 8 bits depthwise filters stay at 8: they are few, each has but nine numbers to a scale.
    """
    scales: dict[int, Quantization] = {}
    widths = dict(settled or {})
    for op in graph.ops:
        if op.kind not in CHANNEL_AXIS:
            continue
        index = op.inputs[1]
        if index is None or index in widths:
            continue
        narrow = bits < 8 and op.kind in ("conv_2d", "fully_connected")
        widths[index] = bits if narrow else 8
        data = graph.tensors[index].data
        if narrow and data is not None:
            one = op.kind == "fully_connected" and bits <= 4
            scales[index] = least_squares_range(data, None if one else CHANNEL_AXIS[op.kind], bits)
    return scales, widths
