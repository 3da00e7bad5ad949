"""The reference interpreter against TFLite Micro, on random graphs over every op.

Integer outputs agree bit for bit. Float32 outputs agree to `FLOAT` of the tensor's largest
magnitude, because the order of a sum differs.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests import growers
from tests.strategies import DTYPE_NAMES, graphs, inputs_for
from tinykit.formats.tflite import write
from tinykit.graph import GraphBuilder, Quantization
from tinykit.graph.ir import Graph
from tinykit.graph.registry import OPSET
from tinykit.targets.tflm import TflmError, run

FLOAT = 2e-5
#: kinds that no random graph has: TFLite Micro lacks the one, the other only feeds shapes
APART = {"relu_n1_to_1", "shape"}
SUPPORTED = [(k, d) for k in growers.GROWERS for d in sorted(growers.SUPPORTED[k])]
LACKING = [
    (k, d)
    for k in growers.GROWERS
    for d in DTYPE_NAMES
    if d not in growers.SUPPORTED[k] and (d != "int4" or k in growers.WEIGHTED)
] + [("expand_dims", "int32"), ("transpose", "int32")]


def some(count: int) -> settings:
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )


def occurring(graph: Graph) -> Counter[tuple[str, str]]:
    """(kind, dtype) of every op; the dtype is the data's, or int4 where the weights are."""
    found: Counter[tuple[str, str]] = Counter()
    for op in graph.ops:
        data = {"split": 1, "transpose_conv": 2}.get(op.kind, 0)
        tensors = [graph.tensors[i] for i in op.inputs if i is not None]
        narrow = any(t.dtype == "int4" for t in tensors)
        found[op.kind, "int4" if narrow else tensors[data].dtype] += 1
    return found


def agree(graph: Graph) -> None:
    samples = inputs_for(graph, np.random.default_rng(0))
    theirs = run(write(graph), samples).outputs
    for sample, expected in zip(samples, theirs, strict=True):
        for tensor, ours, wanted in zip(
            (graph.tensors[i] for i in graph.outputs), graph.run(*sample), expected, strict=True
        ):
            assert ours.shape == wanted.shape == tensor.shape
            assert ours.dtype == wanted.dtype == tensor.numpy_dtype
            if tensor.dtype == "float32":
                slack = FLOAT * max(1e-6, float(np.abs(wanted).max()))
                np.testing.assert_allclose(ours, wanted, rtol=0, atol=slack)
            else:
                np.testing.assert_array_equal(ours, wanted)


@pytest.mark.parametrize(("kind", "dtype"), SUPPORTED)
def test_every_op_and_dtype(kind: str, dtype: str) -> None:
    seen: Counter[tuple[str, str]] = Counter()

    @some(6)
    @given(graphs(dtype=dtype, max_ops=4, must=kind))
    def check(graph: Graph) -> None:
        seen.update(occurring(graph))
        agree(graph)

    check()
    assert seen[kind, dtype] >= 6


@pytest.mark.parametrize("dtype", DTYPE_NAMES)
def test_larger_graphs(dtype: str) -> None:
    @some(40)
    @given(graphs(dtype=dtype, max_ops=12))
    def check(graph: Graph) -> None:
        agree(graph)

    check()


def test_random_graphs_cover_the_opset() -> None:
    assert set(OPSET) == set(growers.GROWERS) | APART


@pytest.mark.parametrize(("kind", "dtype"), LACKING)
def test_what_is_left_out_is_what_tflm_lacks(
    kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(growers.SUPPORTED, kind, growers.SUPPORTED[kind] | {dtype})

    @some(3)
    @given(graphs(kinds=[kind], dtype=dtype, max_ops=1, must=kind))
    def check(graph: Graph) -> None:
        with pytest.raises(TflmError):
            run(write(graph), inputs_for(graph, np.random.default_rng(0)))

    check()


def test_tflm_lacks_relu_n1_to_1_as_an_op() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 3), "float32")
    graph = b.finish([b.op("relu_n1_to_1", [x], (1, 3), "float32")])
    with pytest.raises(TflmError, match="RELU_N1_TO_1"):
        run(write(graph), [np.zeros((1, 3), np.float32)])


def test_shape() -> None:
    b = GraphBuilder()
    x = b.input("x", (2, 5, 3), "int8", Quantization.per_tensor(0.1))
    agree(b.finish([b.op("shape", [x], (3,), "int32")]))
