"""torch module → Graph: float as it is, or integers by calibration, by learned scales, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinykit.data.types import Dataset, Split
from tinykit.graph.builder import GraphBuilder
from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph
from tinykit.graph.lower import lower

if TYPE_CHECKING:
    from torch import nn

    from tinykit.formats.torch_export import TracedGraph

#: examples that calibration looks at
EXAMPLES = 200


def to_graph(
    model: nn.Module,
    calibrate: Dataset | Split | np.ndarray | None = None,
    bits: int | None = None,
    *,
    activation_bits: int | None = None,
    observer: str = "minmax",
    softmax: bool = True,
    shape: tuple[int, ...] | None = None,
    name: str | None = None,
) -> Graph:
    """The Graph of a torch module; float32, or integer when it is calibrated or has learned scales.

    Parameters
    ----------
    model : NCHW in, logits out. A module prepared for quantization (`tinykit.quant.prepare`, the
        result of `tinykit.compress` with `Quantize`) keeps its scales to the last bit.
    calibrate : examples that show the range of each tensor: a dataset (200 of its training images
        are used), a split, or an array (N, H, W, C) that is used whole. None with a plain module
        makes a float graph.
    bits : of weights, 2 to 8; None takes 8, or what the module was prepared for. Below 8
        depthwise filters stay at 8. Up to 4 are stored as int4, more as int8.
    activation_bits : 8, or 16 (weights then 5 to 8); None takes 8, or what it was prepared for
    observer : how ranges are found: minmax, ema, percentile, mse or kl
    softmax : append a softmax to the logits
    shape : (H, W, C) of the input, or (features,) of a flat one; left out, it is that of
        `calibrate`, or what the module says of itself in `input_shape` (the zoo's do)
    name : the graph's name

    Raises
    ------
    UnsupportedOpError
        An operator that the graph does not know, with its place in the module.
    TinykitError
        No shape known, bits that do not exist, or a layer whose quantizer makes numbers that
        TFLite cannot store (a codebook, scales per group); the text names it.
    """
    from tinykit.formats.torch_export import from_torch
    from tinykit.quant.calibrate import calibrate as observe
    from tinykit.quant.calibrate import weight_plan
    from tinykit.quant.exportable import exportable

    if bits not in (None, *range(2, 9)) or activation_bits not in (None, 8, 16):
        raise TinykitError(
            f"weights of {bits} bits with activations of {activation_bits}: weights take 2 to 8, "
            f"activations 8 or 16"
        )
    learned = exportable(model)
    if learned and activation_bits not in (None, learned):
        raise TinykitError(f"the module's activations were prepared for {learned} bits")
    activation_bits = activation_bits or learned or 8
    examples = _examples(calibrate)
    shape = _shape(model, examples, shape)
    traced = from_torch(model, _example(shape), name or "model")
    noted = bool(traced.activations or traced.weights)
    if bits is not None and noted and bits not in {8, *traced.weight_bits.values()}:
        raise TinykitError(f"the module's scales were learned for other than {bits} bits")
    graph = _with_softmax(traced) if softmax else traced.graph
    if examples is None and not noted:
        return graph
    dtype = "int8" if activation_bits == 8 else "int16"
    activations = dict(traced.activations)
    if examples is not None and _missing(graph, activations):
        activations = observe(graph, examples, observer, dtype, activations)
    scales, widths = weight_plan(graph, bits or 8, traced.weight_bits)
    return lower(graph, activations, {**scales, **traced.weights}, dtype, widths, traced.full_range)


def _examples(source: Dataset | Split | np.ndarray | None) -> np.ndarray | None:
    if source is None:
        return None
    if isinstance(source, Dataset):
        source = source.train.take(EXAMPLES)
    x = source.x if isinstance(source, Split) else np.asarray(source, np.float32)
    if not len(x):
        raise TinykitError("calibration needs at least one example, got none")
    return x


def _shape(
    model: nn.Module, examples: np.ndarray | None, given: tuple[int, ...] | None
) -> tuple[int, ...]:
    found = given or getattr(model, "input_shape", None)
    if found is None and examples is not None:
        found = examples.shape[1:]
    if found is None:
        raise TinykitError(
            "to_graph must know the input's shape: pass calibrate=data, or shape=(H, W, C)"
        )
    return tuple(int(d) for d in found)


def _example(shape: tuple[int, ...]):  # type: ignore[no-untyped-def]
    import torch

    if len(shape) == 3:
        h, w, c = shape
        return torch.zeros(1, c, h, w)
    return torch.zeros(1, *shape)


def _with_softmax(traced: TracedGraph) -> Graph:
    """The graph with a softmax over its logits, unless it has one or ends in something else."""
    graph = traced.graph
    (last,) = graph.outputs
    made_by = [op for op in graph.ops if last in op.outputs]
    logits = graph.tensors[last]
    if len(logits.shape) != 2 or (made_by and made_by[0].kind == "softmax"):
        return graph
    build = GraphBuilder(graph.name)
    build.tensors, build.ops = list(graph.tensors), list(graph.ops)
    build.inputs = list(graph.inputs)
    return build.finish([build.op("softmax", [last], logits.shape, "float32", name="softmax")])


def _missing(graph: Graph, known: dict) -> bool:  # type: ignore[type-arg]
    return any(i not in known and t.dtype == "float32" for i, t in graph.activations())
