"""Passes and rewrites: a simpler graph, the same outputs for every input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.same import difference
from tests.strategies import DTYPE_NAMES, graphs, inputs_for
from tinykit.formats.tflite import write
from tinykit.graph import Graph, GraphBuilder, Quantization
from tinykit.graph.dilation import with_dilations
from tinykit.graph.passes import FOLDED_BYTES, fold, remove_dead
from tinykit.graph.rewrites import for_micro
from tinykit.graph.tiles import without_tiles
from tinykit.targets.tflm import run as tflm

Q = Quantization.per_tensor(0.1, 4)


def kinds(graph: Graph) -> list[str]:
    return [op.kind for op in graph.ops]


# -- folding ------------------------------------------------------------------------------------


def open_batch(batch: int = 1) -> Graph:
    """What TensorFlow emits for Reshape((2, 3)) when the batch size is open."""
    b = GraphBuilder()
    x = b.input("x", (batch, 6), "int8", Q)
    shape = b.op("shape", [x], (2,), "int32")
    cut = [b.const(np.int32([v])) for v in (0, 1, 1)]
    size = b.op("strided_slice", [shape, *cut], (), "int32", shrink_axis_mask=1)
    wanted = b.op(
        "pack",
        [size, b.const(np.int32(2)), b.const(np.int32(3))],
        (3,),
        "int32",
        values_count=3,
    )
    return b.finish([b.op("reshape", [x, wanted], (batch, 2, 3), "int8", Q)])


@pytest.mark.parametrize("batch", [1, 4])
def test_shape_arithmetic_becomes_a_constant(batch: int) -> None:
    graph = open_batch(batch)
    folded = fold(graph)
    assert kinds(folded) == ["reshape"]
    assert folded.tensors[folded.ops[0].inputs[1]].data.tolist() == [batch, 2, 3]
    assert len(folded.tensors) == 3
    x = np.arange(batch * 6, dtype=np.int8).reshape(batch, 6)
    np.testing.assert_array_equal(folded.run(x)[0], graph.run(x)[0])


@given(
    st.sampled_from(DTYPE_NAMES).flatmap(lambda dtype: graphs(dtype=dtype, max_ops=5)),
    st.integers(0, 2**16),
)
def test_folding_keeps_every_output(graph: Graph, seed: int) -> None:
    sample = inputs_for(graph, np.random.default_rng(seed), 1)[0]
    expected = graph.run(*sample)
    folded = fold(graph)
    assert difference(folded, fold(folded)) is None
    for a, b in zip(folded.run(*sample), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@given(
    st.sampled_from(DTYPE_NAMES).flatmap(lambda dtype: graphs(dtype=dtype, max_ops=5)),
    st.integers(0, 2**16),
)
def test_a_graph_fed_with_constants_folds_to_its_outputs(graph: Graph, seed: int) -> None:
    """With every input a constant, all that is left are the ops that make outputs."""
    sample = inputs_for(graph, np.random.default_rng(seed), 1)[0]
    expected = graph.run(*sample)
    given_values = dict(zip(graph.inputs, sample, strict=True))
    tensors = tuple(
        replace(t, data=given_values[i]) if i in given_values else t
        for i, t in enumerate(graph.tensors)
    )
    folded = fold(graph.replace(tensors=tensors, inputs=()))
    outputs = set(folded.outputs)
    if all(len(op.outputs) == 1 for op in graph.ops):  # else one may be an output, another feed on
        assert all(outputs & set(op.outputs) for op in folded.ops)
    for a, b in zip(folded.run(), expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_folding_does_not_blow_up() -> None:
    """A constant that would grow out of proportion stays an op."""
    b = GraphBuilder()
    x = b.input("x", (1, 3000, 3000, 1), "float32")
    small = b.const(np.ones((1, 1, 1, 1), np.float32))
    size = b.const(np.int32([3000, 3000]))
    large = b.op("resize_nearest_neighbor", [small, size], (1, 3000, 3000, 1), "float32")
    graph = b.finish([b.op("add", [x, large], (1, 3000, 3000, 1), "float32")])
    assert FOLDED_BYTES < 3000 * 3000 * 4
    assert kinds(fold(graph)) == ["resize_nearest_neighbor", "add"]


def test_shared_constants_justify_growth_once() -> None:
    """A thousand tensors on the same bytes may not unfold into a thousand copies."""
    b = GraphBuilder()
    data = np.zeros((1, 1 << 16), np.int8)
    data.flags.writeable = False
    total = b.input("x", (1, 1 << 16), "float32")
    for _ in range(100):
        part = b.op("dequantize", [b.const(data, Q)], data.shape, "float32")
        total = b.op("add", [total, part], data.shape, "float32")
    left = kinds(fold(b.finish([total]))).count("dequantize")
    allowed = (FOLDED_BYTES + 8 * data.size) // (4 * data.size)
    assert left == 100 - allowed


def test_an_op_that_fails_on_its_constants_stays() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4), "float32")
    y = b.op("rfft2d", [b.const(np.ones((1, 4), np.float32))], (1, 4), "float32")
    assert kinds(fold(b.finish([b.op("add", [x, y], (1, 4), "float32")]))) == ["rfft2d", "add"]


def test_dead_ops_and_tensors_go() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 4), "float32")
    unused = b.input("unused", (1, 9), "float32")
    b.op("tanh", [unused], (1, 9), "float32")
    b.const(np.ones(5, np.float32))
    graph = remove_dead(b.finish([b.op("relu", [x], (1, 4), "float32")]))
    assert kinds(graph) == ["relu"]
    assert [t.name for t in graph.tensors] == ["x", "unused", "1:relu"]  # inputs are an interface
    assert (graph.inputs, graph.outputs) == ((0, 1), (2,))


# -- dilation -----------------------------------------------------------------------------------


@st.composite
def dilated(draw: st.DrawFn) -> Graph:
    """space_to_batch_nd → convolution → batch_to_space_nd, with the paddings converters choose."""
    height, width, depth = draw(st.tuples(*[st.integers(3, 9)] * 2, st.integers(1, 3)))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    block = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    wise = draw(st.sampled_from(["conv_2d", "depthwise_conv_2d"]))
    outs, pads, crops = [], [], []
    for size, k, d in zip((height, width), kernel, block, strict=True):
        span = (k - 1) * d
        before = draw(st.sampled_from([0, span // 2, span]))
        after = draw(st.sampled_from([0, span - before]))
        out = size + before + after - span
        extra = -(size + before + after) % d
        outs.append(out)
        pads.append([before, after + extra])
        crops.append([0, extra])
    if min(outs) < 1:
        outs = [max(o, 1) for o in outs]
        return draw(dilated())
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    b = GraphBuilder()
    x = b.input("x", (1, height, width, depth), "int8", Q)
    padded = [s + sum(p) for s, p in zip((height, width), pads, strict=True)]
    cut = [p // d for p, d in zip(padded, block, strict=True)]
    many = block[0] * block[1]
    blocks = b.const(np.int32(block))
    y = b.op("space_to_batch_nd", [x, blocks, b.const(np.int32(pads))],
             (many, *cut, depth), "int8", Q)  # fmt: skip
    channels, shape, axis, attrs = 2, (2, *kernel, depth), 0, {}
    if wise == "depthwise_conv_2d":
        channels, shape, axis = depth, (1, *kernel, depth), 3
        attrs = {"depth_multiplier": 1}
    scale = rng.uniform(0.01, 0.1, channels).astype(np.float32)
    w = b.const(rng.integers(-127, 128, shape).astype(np.int8),
                Quantization(scale, np.zeros(channels, np.int64), axis))  # fmt: skip
    qy = Quantization.per_tensor(0.5, -7)
    seen = [c - k + 1 for c, k in zip(cut, kernel, strict=True)]
    y = b.op(wise, [y, w, None], (many, *seen, channels), "int8", qy, padding="valid", **attrs)
    y = b.op("batch_to_space_nd", [y, blocks, b.const(np.int32(crops))],
             (1, *outs, channels), "int8", qy)  # fmt: skip
    return b.finish([y])


@given(dilated())
def test_dilated_convolution_is_what_the_three_ops_compute(graph: Graph) -> None:
    simple = with_dilations(graph)
    assert kinds(simple) in (["conv_2d"], ["depthwise_conv_2d"],
                             ["pad", "conv_2d"], ["pad", "depthwise_conv_2d"])  # fmt: skip
    x = np.random.default_rng(0).integers(-128, 128, graph.input.shape).astype(np.int8)
    np.testing.assert_array_equal(simple.run(x)[0], graph.run(x)[0])


def test_tflite_micro_agrees_only_after_the_rewrite() -> None:
    """Its space_to_batch_nd pads with what lay in memory; with 0 where zero lay there."""
    b = GraphBuilder()
    x = b.input("x", (1, 2, 2, 1), "int8", Q)
    args = [b.const(np.int32([2, 2])), b.const(np.int32([[2, 2], [0, 2]]))]
    graph = b.finish([b.op("space_to_batch_nd", [x, *args], (4, 3, 2, 1), "int8", Q)])
    value = np.int8([[[[1], [2]], [[3], [4]]]])
    rewritten = with_dilations(graph)
    assert kinds(rewritten) == ["pad", "space_to_batch_nd"]
    expected = graph.run(value)[0]
    assert (expected == 4).sum() == 21  # the zero point, which stands for the real number 0
    np.testing.assert_array_equal(rewritten.run(value)[0], expected)
    np.testing.assert_array_equal(tflm(write(rewritten), [value]).outputs[0], expected)
    assert (tflm(write(graph), [value]).outputs[0] != expected).any()


def test_a_chain_that_others_read_stays() -> None:
    """The middle of the chain is also an output: nothing to gain by a second convolution."""
    b = GraphBuilder()
    x = b.input("x", (1, 4, 4, 1), "float32")
    block, none = b.const(np.int32([2, 2])), b.const(np.zeros((2, 2), np.int32))
    s = b.op("space_to_batch_nd", [x, block, none], (4, 2, 2, 1), "float32")
    w = b.const(np.ones((1, 1, 1, 1), np.float32))
    c = b.op("conv_2d", [s, w, None], (4, 2, 2, 1), "float32", padding="valid")
    y = b.op("batch_to_space_nd", [c, block, none], (1, 4, 4, 1), "float32")
    graph = b.finish([y, c])
    assert kinds(with_dilations(graph)) == kinds(graph)


# -- tiles --------------------------------------------------------------------------------------


def upsampling(rows: int, columns: int, height: int = 3, width: int = 2) -> Graph:
    """What TensorFlow emits for UpSampling2D((rows, columns))."""
    b = GraphBuilder()
    x = b.input("x", (1, height, width, 2), "int8", Q)
    for axis, times in ((1, rows), (2, columns)):
        shape = list(b.tensors[x].shape)
        inserted = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
        y = b.op("expand_dims", [x, b.const(np.int32(axis + 1))], inserted, "int8", Q)
        multiples = np.ones(5, np.int32)
        multiples[axis + 1] = times
        tiled = [d * m for d, m in zip(inserted, multiples.tolist(), strict=True)]
        y = b.op("tile", [y, b.const(multiples)], tiled, "int8", Q)
        shape[axis] *= times
        x = b.op("reshape", [y, b.const(np.int32(shape))], shape, "int8", Q)
    return b.finish([x])


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (3, 1), (1, 5), (7, 49)])
def test_upsampling_is_one_resize(rows: int, columns: int) -> None:
    graph = without_tiles(upsampling(rows, columns))
    assert kinds(graph) == ["resize_nearest_neighbor"]
    x = np.random.default_rng(0).integers(-128, 128, graph.input.shape).astype(np.int8)
    expected = x.repeat(rows, 1).repeat(columns, 2)
    np.testing.assert_array_equal(graph.run(x)[0], expected)
    np.testing.assert_array_equal(tflm(write(graph), [x]).outputs[0], expected)


@given(
    st.lists(st.tuples(st.integers(1, 3), st.sampled_from([1, 1, 2, 3, 7, 10, 12, 22, 30])),
             min_size=1, max_size=4)
)  # fmt: skip
def test_other_tiles_are_concatenations(axes: list[tuple[int, int]]) -> None:
    shape, multiples = tuple(d for d, _ in axes), [m for _, m in axes]
    b = GraphBuilder()
    x = b.input("x", shape, "int8", Q)
    grown = tuple(d * m for d, m in axes)
    y = b.op("tile", [x, b.const(np.int32(multiples))], grown, "int8", Q)
    graph = without_tiles(b.finish([y]))
    value = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    if kinds(graph) == ["tile"]:  # times 1, or by a prime that concatenation cannot reach
        assert all(m == 1 for m in multiples) or 22 in multiples
        return
    assert set(kinds(graph)) == {"concatenation"}
    assert max(len(op.inputs) for op in graph.ops) <= 10
    np.testing.assert_array_equal(graph.run(value)[0], np.tile(value, multiples))


def test_rewrites_leave_other_graphs_alone() -> None:
    graph = open_batch()
    assert for_micro(graph) is graph
