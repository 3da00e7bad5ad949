"""Sliding windows: which elements meet the image, and that memory stays with the image's size."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinykit.graph import GraphBuilder, Quantization
from tinykit.graph.fixedpoint import out_size, pad_before
from tinykit.graph.ir import Graph
from tinykit.graph.ops import conv
from tinykit.graph.ops.convolving import Span

counts = st.integers(1, 12)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(counts, counts, st.integers(1, 5), st.integers(1, 7), st.sampled_from(["same", "valid"]))
def test_spans_against_enumeration(
    size: int, window: int, stride: int, dilation: int, padding: str
) -> None:
    out = out_size(size, window, stride, padding, dilation)
    assume(out > 0)
    pad = pad_before(size, window, stride, out, dilation)
    span = Span.of(size, window, stride, dilation, out, pad)

    def sees(element: int) -> list[int]:
        return [o * stride + element * dilation - pad for o in range(out)]

    meets = [e for e in range(window) if any(0 <= at < size for at in sees(e))]
    kept = list(range(window))[span.kept]
    assert set(meets) <= set(kept)
    assert len(kept) <= 2 * size + stride
    padded = np.pad(np.arange(1, size + 1), (span.before, span.after))
    for i, element in enumerate(kept):
        expected = [at + 1 if 0 <= at < size else 0 for at in sees(element)]
        assert padded[span.positions(i)].tolist() == expected


def pool_graph(kind: str, window: int) -> Graph:
    quant = Quantization.per_tensor(0.1, 3)
    b = GraphBuilder()
    x = b.input("x", (1, 4, 4, 1), "int8", quant)
    size = {"filter_height": window, "filter_width": window}
    return b.finish([b.op(kind, [x], (1, 4, 4, 1), "int8", quant, padding="same", **size)])


def conv_graph(dilation: int) -> Graph:
    quant = Quantization.per_tensor(0.1, 3)
    b = GraphBuilder()
    x = b.input("x", (1, 4, 4, 1), "int8", quant)
    w = b.const(np.arange(9, dtype=np.int8).reshape(1, 3, 3, 1), Quantization.per_tensor(0.1))
    attrs = {"padding": "same", "dilation_h_factor": dilation, "dilation_w_factor": dilation}
    return b.finish([b.op("conv_2d", [x, w], (1, 4, 4, 1), "int8", quant, **attrs)])


@pytest.mark.parametrize(
    ("ordinary", "huge"),
    [
        (pool_graph("average_pool_2d", 9), pool_graph("average_pool_2d", 2**31 - 1)),
        (pool_graph("max_pool_2d", 9), pool_graph("max_pool_2d", 2**31 - 1)),
        (conv_graph(5), conv_graph(2**30)),
    ],
    ids=["average", "max", "dilation"],
)
def test_a_huge_window_costs_no_more_than_one_that_covers_the_image(
    ordinary: Graph, huge: Graph
) -> None:
    x = np.arange(-8, 8, dtype=np.int8).reshape(1, 4, 4, 1)
    tracemalloc.start()
    made = huge.run(x)[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20
    np.testing.assert_array_equal(made, ordinary.run(x)[0])


def test_unrolling_by_rows_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.input("x", (2, 9, 7, 4), "int8", Quantization.per_tensor(0.1, 3))
    w = b.const(
        rng.integers(-127, 128, (6, 3, 3, 2)).astype(np.int8), Quantization.per_tensor(0.01)
    )
    quant = Quantization.per_tensor(0.5, -4)
    graph = b.finish(
        [b.op("conv_2d", [x, w], (2, 5, 7, 6), "int8", quant, padding="same", stride_h=2)]
    )
    values = rng.integers(-128, 128, (2, 9, 7, 4)).astype(np.int8)
    whole = graph.run(values)[0]
    for limit in (1, 2 * 7 * 9 * 4 * 2):
        monkeypatch.setattr(conv, "UNROLLED", limit)
        np.testing.assert_array_equal(graph.run(values)[0], whole)
