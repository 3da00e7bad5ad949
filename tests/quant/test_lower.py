"""Float graph → integer graph: TFLite's rules one by one, and the numbers they give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinykit.graph import Graph, GraphBuilder, GraphError, Quantization, UnsupportedOpError
from tinykit.graph.lower import fuse_activations, lower
from tinykit.graph.ranges import quantization, quantize_weights, weight_range
from tinykit.quant.calibrate import calibrate

RNG = np.random.default_rng(0)


def per_tensor(scale: float, zero: int = 0) -> Quantization:
    return Quantization.per_tensor(scale, zero)


def conv(weights: np.ndarray, bias: np.ndarray | None = None, **attrs: object) -> Graph:
    b = GraphBuilder("conv")
    x = b.input("x", (1, 4, 4, weights.shape[3]), "float32")
    ins = [x, b.const(weights, name="w")]
    if bias is not None:
        ins.append(b.const(bias, name="b"))
    side = 4 - weights.shape[1] + 1
    return b.finish([b.op("conv_2d", ins, (1, side, side, weights.shape[0]), "float32", **attrs)])


def test_convolution_by_the_rules() -> None:
    w = RNG.normal(size=(5, 3, 3, 2)).astype(np.float32)
    w[3] = 0  # a dead channel
    bias = RNG.normal(size=5).astype(np.float32)
    graph = lower(conv(w, bias), {0: per_tensor(0.02, 3), 3: per_tensor(0.05, -7)})
    (op,) = graph.ops
    data, weights, biases = graph.ins(op)
    assert data is not None
    assert weights is not None
    assert biases is not None
    assert (data.dtype, weights.dtype, biases.dtype) == ("int8", "int8", "int32")
    assert weights.quant is not None
    assert biases.quant is not None
    assert weights.quant.axis == 0
    assert not weights.quant.zero_point.any()
    assert weights.data is not None
    assert np.array_equal(np.abs(weights.data).max(axis=(1, 2, 3)), [127, 127, 127, 0, 127])
    assert np.abs(weights.real(weights.data) - w).max() <= weights.quant.scale.max() / 2 * 1.001
    np.testing.assert_array_equal(biases.quant.scale, np.float32(0.02) * weights.quant.scale)
    assert biases.data is not None
    assert np.abs(biases.real(biases.data) - bias).max() <= biases.quant.scale.max()
    assert graph.input.quant is not None
    assert (graph.input.quant.zero_point[0], graph.output.dtype) == (3, "int8")


def test_depthwise_channels_are_on_axis_3() -> None:
    b = GraphBuilder("dw")
    x = b.input("x", (1, 4, 4, 6), "float32")
    w = b.const(RNG.normal(size=(1, 3, 3, 6)).astype(np.float32))
    y = b.op("depthwise_conv_2d", [x, w], (1, 2, 2, 6), "float32")
    graph = lower(b.finish([y]), {x: per_tensor(0.1), y: per_tensor(0.1)})
    weights = graph.ins(graph.ops[0])[1]
    assert weights is not None
    assert weights.quant is not None
    assert weights.quant.axis == 3
    assert weights.quant.scale.shape == (6,)


def test_int4_weights() -> None:
    w = RNG.normal(size=(5, 3, 3, 2)).astype(np.float32)
    graph = lower(conv(w), {0: per_tensor(0.1), 2: per_tensor(0.1)}, weight_bits=4)
    weights = graph.ins(graph.ops[0])[1]
    assert weights is not None
    assert weights.data is not None
    assert weights.dtype == "int4"
    assert weights.nbytes == 45
    assert np.abs(weights.data).max() == 7


def test_int4_fully_connected_has_one_scale() -> None:
    b = GraphBuilder("fc")
    x = b.input("x", (1, 6), "float32")
    y = b.op("fully_connected", [x, b.const(RNG.normal(size=(3, 6)).astype(np.float32))], (1, 3),
             "float32")  # fmt: skip
    for bits, count in ((4, 1), (8, 3)):
        graph = lower(b.finish([y]), {x: per_tensor(0.1), y: per_tensor(0.1)}, weight_bits=bits)
        weights = graph.ins(graph.ops[0])[1]
        assert weights is not None
        assert weights.quant is not None
        assert weights.quant.scale.size == count


def test_int16_activations() -> None:
    w, bias = RNG.normal(size=(2, 1, 1, 2)).astype(np.float32), np.float32([1, -2])
    graph = lower(
        conv(w, bias), {0: per_tensor(1e-4), 3: per_tensor(2e-4)}, activation_dtype="int16"
    )
    assert [t.dtype for t in graph.ins(graph.ops[0]) if t] == ["int16", "int8", "int64"]
    with pytest.raises(GraphError, match="zero point is 0"):
        lower(conv(w), {0: per_tensor(1e-4, 5), 2: per_tensor(1)}, activation_dtype="int16")
    with pytest.raises(UnsupportedOpError, match="4-bit weights under int16"):
        lower(conv(w), {0: per_tensor(1), 2: per_tensor(1)}, None, "int16", 4)


def test_given_weight_scales_are_kept() -> None:
    w = RNG.normal(size=(2, 1, 1, 3)).astype(np.float32)
    scale = np.float32([0.0301, 0.0499])
    given_ = {1: Quantization(scale, np.zeros(2), 0)}
    graph = lower(conv(w), {0: per_tensor(0.1), 2: per_tensor(0.1)}, given_)
    weights = graph.ins(graph.ops[0])[1]
    assert weights is not None
    assert weights.quant is not None
    assert np.array_equal(weights.quant.scale, scale)
    want = np.clip(np.round(w / scale[:, None, None, None].astype(np.float64)), -127, 127)
    assert np.array_equal(weights.data, want)


def test_full_range() -> None:
    """The most negative integer is kept where it is asked for; -128 is refused."""
    w = np.float32([-1.0, 0.5, 0.875]).reshape(1, 1, 1, 3)
    scale = {1: per_tensor(0.125)}
    ends = {0: per_tensor(0.1), 2: per_tensor(0.1)}
    for full, least in (((), -7), ((1,), -8)):
        graph = lower(conv(w), ends, scale, weight_bits=4, full_range=full)
        weights = graph.ins(graph.ops[0])[1]
        assert weights is not None
        assert weights.data is not None
        assert weights.data.ravel().tolist() == [least, 4, 7]
    fine = {1: per_tensor(1 / 128)}
    with pytest.raises(UnsupportedOpError, match="a weight of -128"):
        lower(conv(w), ends, fine, weight_bits=8, full_range=(1,))


def test_a_bias_that_int32_cannot_hold_raises_the_weights_scale() -> None:
    w = np.full((1, 1, 1, 1), 1e-6, np.float32)
    graph = lower(conv(w, np.float32([1000.0])), {0: per_tensor(0.001), 3: per_tensor(10)})
    bias = graph.ins(graph.ops[0])[2]
    assert bias is not None
    assert bias.data is not None
    assert bias.real(bias.data)[0] == pytest.approx(1000, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "shape", "extra", "attrs"),
    [
        ("max_pool_2d", (1, 3, 3, 3), None, {"filter_width": 2, "filter_height": 2}),
        ("average_pool_2d", (1, 3, 3, 3), None, {"filter_width": 2, "filter_height": 2}),
        ("reshape", (1, 48), np.int32([1, 48]), {}),
        ("transpose", (1, 3, 4, 4), np.int32([0, 3, 1, 2]), {}),
        ("pad", (1, 6, 4, 3), np.int32([[0, 0], [1, 1], [0, 0], [0, 0]]), {}),
        ("resize_bilinear", (1, 8, 8, 3), np.int32([8, 8]), {}),
        ("resize_nearest_neighbor", (1, 8, 8, 3), np.int32([8, 8]), {}),
    ],
)  # fmt: skip
def test_what_moves_numbers_keeps_the_scale(
    kind: str, shape: tuple[int, ...], extra: np.ndarray | None, attrs: dict
) -> None:
    b = GraphBuilder(kind)
    x = b.input("x", (1, 4, 4, 3), "float32")
    y = b.op(kind, [x] if extra is None else [x, b.const(extra)], shape, "float32", **attrs)
    # the wrong quantization given for the output is overruled
    graph = lower(b.finish([y]), {x: per_tensor(0.3, 5), y: per_tensor(0.1)})
    assert graph.output.quant is not None
    assert graph.output.quant.same_as(graph.input.quant)


@pytest.mark.parametrize(
    ("kind", "dtype", "scale", "zero"),
    [
        ("softmax", "int8", 1 / 256, -128),
        ("logistic", "int8", 1 / 256, -128),
        ("tanh", "int8", 1 / 128, 0),
        ("softmax", "int16", 1 / 32768, 0),
        ("logistic", "int16", 1 / 32768, 0),
        ("tanh", "int16", 1 / 32768, 0),
    ],
)
def test_prescribed_outputs(kind: str, dtype: str, scale: float, zero: int) -> None:
    b = GraphBuilder(kind)
    x = b.input("x", (1, 4), "float32")
    y = b.op(kind, [x], (1, 4), "float32")
    graph = lower(b.finish([y]), {x: per_tensor(0.001), y: per_tensor(9)}, activation_dtype=dtype)
    assert graph.output.quant is not None
    assert (graph.output.quant.scale[0], graph.output.quant.zero_point[0]) == (scale, zero)


def test_concatenation_converts_what_has_another_scale() -> None:
    b = GraphBuilder("cat")
    x = b.input("x", (1, 4), "float32")
    s = b.op("logistic", [x], (1, 4), "float32")
    y = b.op("concatenation", [x, s, b.const(np.float32([[5, -1]]))], (1, 10), "float32", axis=1)
    graph = lower(b.finish([y]), {x: per_tensor(0.1), y: per_tensor(0.1)})
    assert [op.kind for op in graph.ops] == ["logistic", "quantize", "concatenation"]
    quants = [t.quant for t in graph.ins(graph.ops[-1]) if t]
    assert all(q is not None and q.same_as(graph.output.quant) for q in quants)
    got = graph.output.real(graph.run(graph.input.stored(np.float32([[1, -1, 0, 4]])))[0])
    want = [1, -1, 0, 4, *(1 / (1 + np.exp(-np.float64([1, -1, 0, 4])))), 5, -1]
    np.testing.assert_allclose(got[0], want, atol=0.06)


def test_calibration_gives_what_meets_one_range() -> None:
    b = GraphBuilder("cat")
    x = b.input("x", (1, 4), "float32")
    r = b.op("reshape", [x, b.const(np.int32([1, 4]))], (1, 4), "float32", new_shape=(1, 4))
    z = b.op("add", [x, b.const(np.float32([10]))], (1, 4), "float32")
    y = b.op("concatenation", [r, z], (1, 8), "float32", axis=1)
    graph = b.finish([y])
    ranges = calibrate(graph, [np.float32([[-1, 0, 1, 2]])])
    assert ranges[x].same_as(ranges[y])
    assert ranges[z].same_as(ranges[y])
    assert [op.kind for op in lower(graph, ranges).ops] == ["reshape", "add", "concatenation"]


def test_the_value_padv2_pads_with_is_counted_as_the_data() -> None:
    b = GraphBuilder("pad")
    x = b.input("x", (1, 2), "float32")
    ins = [x, b.const(np.int32([[0, 0], [1, 0]])), b.const(np.float32([-1e30]))]
    y = b.op("padv2", ins, (1, 3), "float32")
    graph = lower(b.finish([y]), {x: per_tensor(0.5, 4)})
    assert graph.run(np.int8([[1, 2]]))[0].tolist() == [[-128, 1, 2]]


def test_relu_is_fused_where_it_alone_reads() -> None:
    def chain(read_twice: bool) -> Graph:
        b = GraphBuilder("g")
        x = b.input("x", (1, 4), "float32")
        y = b.op("add", [x, b.const(np.float32([1]))], (1, 4), "float32")
        z = b.op("relu6", [y], (1, 4), "float32")
        return b.finish([z, y] if read_twice else [z])

    fused = fuse_activations(chain(False))
    assert [op.kind for op in fused.ops] == ["add"]
    assert fused.ops[0].attrs["fused_activation_function"] == "relu6"
    x = np.float32([[-3, 0, 2, 9]])
    assert np.array_equal(fused.run(x)[0], chain(False).run(x)[0])
    assert [op.kind for op in fuse_activations(chain(True)).ops] == ["add", "relu6"]


def test_missing_and_wrong_quantization_is_named() -> None:
    w = RNG.normal(size=(2, 1, 1, 3)).astype(np.float32)
    with pytest.raises(GraphError, match="no quantization was given for tensor '0:conv_2d'"):
        lower(conv(w), {0: per_tensor(0.1)})
    with pytest.raises(GraphError, match="one scale, not several"):
        lower(conv(w), {0: Quantization(np.ones(3), np.zeros(3), 3)})
    with pytest.raises(GraphError, match="int8 or int16"):
        lower(conv(w), {}, activation_dtype="uint8")


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.sampled_from(["int8", "int16"]))
def test_ranges_are_covered_and_zero_is_exact(a: float, b: float, dtype: str) -> None:
    low, high = min(a, b), max(a, b)
    quant = quantization(low, high, dtype)
    scale, zero = float(quant.scale[0]), int(quant.zero_point[0])
    bottom, top = (-128, 127) if dtype == "int8" else (-32768, 32767)
    assert bottom <= zero <= top
    assert dtype == "int8" or zero == 0
    # the range's ends are within one step of a level (half, plus what the zero point lost)
    for value in (low, high):
        stored = np.clip(np.round(value / scale) + zero, bottom, top)
        assert abs((stored - zero) * scale - value) <= scale * 1.01


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([None, 0, 1]),
    st.sampled_from([4, 8]),
    st.floats(1e-6, 1e3),
)
def test_weights_are_rounded_to_the_nearest_level(
    seed: int, axis: int | None, bits: int, size: float
) -> None:
    data = (np.random.default_rng(seed).normal(size=(3, 5)) * size).astype(np.float32)
    quant = weight_range(data, axis, bits)
    stored = quantize_weights(data, quant, bits)
    assert np.abs(stored).max() == 2 ** (bits - 1) - 1
    scale = quant.scale if axis is None else quant.scale.reshape([-1, 1] if axis == 0 else [1, -1])
    assert np.all(np.abs(stored * scale.astype(np.float64) - data) <= scale / 2 * 1.0001)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_ranges_have_to_be_finite(value: float) -> None:
    with pytest.raises(GraphError, match="not finite"):
        quantization(0, value)
