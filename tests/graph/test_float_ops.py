"""Float32 kernels against torch in float64, and shape rules against LiteRT's own inference."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests import growers
from tests.strategies import graphs, inputs_for
from tinykit.formats.tflite import write
from tinykit.graph import GraphBuilder
from tinykit.graph.ir import Graph
from tinykit.graph.registry import OPSET
from tinykit.targets.litert import LitertError, run

torch.set_num_threads(1)
some = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
sizes = st.integers(1, 9)
small = st.integers(1, 3)


def evaluate(kind: str, inputs: list[np.ndarray], **attrs: Any) -> np.ndarray:
    """One op on `inputs`; all but the float data in first place are constants."""
    b = GraphBuilder()
    fed = {"transpose_conv": 2}.get(kind, 0)
    indices = [
        b.input("x", x.shape, "float32") if i == fed else b.const(x) for i, x in enumerate(inputs)
    ]
    full = {**OPSET[kind].attrs, **attrs}
    (shape,) = OPSET[kind].infer([b.tensors[i] for i in indices], full)
    assert shape is not None
    graph = b.finish([b.op(kind, indices, shape, "float32", **attrs)])
    return graph.run(inputs[fed])[0]


def normal(*shape: int) -> np.ndarray:
    seed = zlib.crc32(repr(shape).encode())
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def nchw(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x.astype(np.float64)).permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> np.ndarray:
    return x.permute(0, 2, 3, 1).numpy()


def same(size: int, window: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """TensorFlow's SAME padding, from its definition."""
    total = max((-(-size // stride) - 1) * stride + (window - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def padded(x: np.ndarray, pads: list[tuple[int, int]], value: float = 0.0) -> torch.Tensor:
    (top, bottom), (left, right) = pads
    return F.pad(nchw(x), (left, right, top, bottom), value=value)


def close(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@some
@given(
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    dilation=st.tuples(small, small),
    groups=small,
    padding=st.sampled_from(["same", "valid"]),
    activation=st.sampled_from(["none", "relu", "relu6", "relu_n1_to_1"]),
)
def test_conv_2d(size, kernel, stride, dilation, groups, padding, activation) -> None:  # type: ignore[no-untyped-def]
    if padding == "valid":
        assume(all((k - 1) * d < s for k, d, s in zip(kernel, dilation, size, strict=True)))
    x, w, b = normal(2, *size, 2 * groups), normal(3 * groups, *kernel, 2), normal(3 * groups)
    ours = evaluate(
        "conv_2d",
        [x, w, b],
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
        dilation_h_factor=dilation[0],
        dilation_w_factor=dilation[1],
        fused_activation_function=activation,
    )
    pads = [
        same(s, k, t, d) if padding == "same" else (0, 0)
        for s, k, t, d in zip(size, kernel, stride, dilation, strict=True)
    ]
    theirs = F.conv2d(
        padded(x, pads), nchw(w), torch.from_numpy(b).double(), stride, 0, dilation, groups
    )
    clip = {"none": None, "relu": (0, None), "relu6": (0, 6), "relu_n1_to_1": (-1, 1)}[activation]
    close(ours, nhwc(theirs if clip is None else theirs.clamp(*clip)))


@some
@given(
    size=st.tuples(sizes, sizes),
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    multiplier=small,
    padding=st.sampled_from(["same", "valid"]),
)
def test_depthwise_conv_2d(size, kernel, stride, multiplier, padding) -> None:  # type: ignore[no-untyped-def]
    if padding == "valid":
        assume(all(k <= s for k, s in zip(kernel, size, strict=True)))
    x, w = normal(1, *size, 3), normal(1, *kernel, 3 * multiplier)
    ours = evaluate(
        "depthwise_conv_2d",
        [x, w],
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
        depth_multiplier=multiplier,
    )
    pads = [
        same(s, k, t) if padding == "same" else (0, 0)
        for s, k, t in zip(size, kernel, stride, strict=True)
    ]
    weights = torch.from_numpy(w.astype(np.float64)).permute(3, 0, 1, 2)
    close(ours, nhwc(F.conv2d(padded(x, pads), weights, None, stride, 0, 1, 3)))


@some
@given(
    size=st.tuples(small, small),
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    data=st.data(),
)
def test_transpose_conv(size, kernel, stride, data) -> None:  # type: ignore[no-untyped-def]
    extra = [data.draw(st.integers(0, s - 1)) for s in stride]
    full = [(n - 1) * s + k + e for n, s, k, e in zip(size, stride, kernel, extra, strict=True)]
    x, w, b = normal(2, *size, 3), normal(4, *kernel, 3), normal(4)
    ours = evaluate(
        "transpose_conv",
        [np.int32([2, *full, 4]), w, x, b],  # type: ignore[list-item]
        stride_h=stride[0],
        stride_w=stride[1],
    )
    weights = torch.from_numpy(w.astype(np.float64)).permute(3, 0, 1, 2)
    theirs = F.conv_transpose2d(
        nchw(x), weights, torch.from_numpy(b).double(), stride, 0, tuple(extra)
    )
    close(ours, nhwc(theirs))


@some
@given(
    size=st.tuples(sizes, sizes),
    window=st.tuples(small, small),
    stride=st.tuples(small, small),
    padding=st.sampled_from(["same", "valid"]),
    kind=st.sampled_from(["average_pool_2d", "max_pool_2d"]),
)
def test_pools(size, window, stride, padding, kind) -> None:  # type: ignore[no-untyped-def]
    if padding == "valid":
        assume(all(k <= s for k, s in zip(window, size, strict=True)))
    x = normal(2, *size, 3)
    ours = evaluate(
        kind,
        [x],
        padding=padding,
        stride_h=stride[0],
        stride_w=stride[1],
        filter_height=window[0],
        filter_width=window[1],
    )
    pads = [
        same(s, k, t) if padding == "same" else (0, 0)
        for s, k, t in zip(size, window, stride, strict=True)
    ]
    if kind == "max_pool_2d":
        theirs = F.max_pool2d(padded(x, pads, -np.inf), window, stride)
    else:
        ones = padded(np.ones_like(x), pads)
        theirs = F.avg_pool2d(padded(x, pads), window, stride) / F.avg_pool2d(ones, window, stride)
    close(ours, nhwc(theirs))


@some
@given(size=st.tuples(sizes, sizes), out=st.tuples(sizes, sizes), corners=st.booleans())
def test_resize_bilinear(size, out, corners) -> None:  # type: ignore[no-untyped-def]
    x = normal(1, *size, 2)
    ours = evaluate(
        "resize_bilinear",
        [x, np.array(out, np.int32)],
        align_corners=corners,
        half_pixel_centers=not corners,
    )
    if corners:  # torch takes a single output row from the first, as TFLite does
        assume(all(o > 1 for o in out))
    theirs = F.interpolate(nchw(x), out, mode="bilinear", align_corners=corners)
    close(ours, nhwc(theirs))


@some
@given(size=st.tuples(sizes, sizes), out=st.tuples(sizes, sizes), centres=st.booleans())
def test_resize_nearest_neighbor(size, out, centres) -> None:  # type: ignore[no-untyped-def]
    x = normal(1, *size, 2)
    ours = evaluate(
        "resize_nearest_neighbor", [x, np.array(out, np.int32)], half_pixel_centers=centres
    )
    # float32 coordinates may fall on the other side of a pixel's edge: integer ratios do not
    assume(all(o % s == 0 or s % o == 0 for s, o in zip(size, out, strict=True)))
    mode = "nearest-exact" if centres else "nearest"
    close(ours, nhwc(F.interpolate(nchw(x), out, mode=mode)))


@some
@given(batch=small, depth=sizes, channels=sizes)
def test_fully_connected(batch: int, depth: int, channels: int) -> None:
    x, w, b = normal(batch, depth), normal(channels, depth), normal(channels)
    theirs = F.linear(*(torch.from_numpy(a.astype(np.float64)) for a in (x, w, b)))
    close(evaluate("fully_connected", [x, w, b]), theirs.numpy())


POINTWISE: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], dict[str, Any]]] = {
    "relu": (F.relu, {}),
    "relu6": (F.relu6, {}),
    "leaky_relu": (lambda x: F.leaky_relu(x, 0.2), {"alpha": 0.2}),
    "hard_swish": (F.hardswish, {}),
    "logistic": (torch.sigmoid, {}),
    "tanh": (torch.tanh, {}),
    "softmax": (lambda x: F.softmax(0.5 * x, -1), {"beta": 0.5}),
}


@pytest.mark.parametrize("kind", POINTWISE)
def test_pointwise(kind: str) -> None:
    function, attrs = POINTWISE[kind]
    x = 5 * normal(4, 50)
    close(evaluate(kind, [x], **attrs), function(torch.from_numpy(x).double()).numpy())


@pytest.mark.parametrize("kind", [k for k, d in growers.SUPPORTED.items() if "float32" in d])
def test_shape_rules_and_values_against_litert(kind: str) -> None:
    """LiteRT infers every shape itself, where TFLite Micro believes the file."""
    compared = 0

    @settings(some, max_examples=6)
    @given(graphs(dtype="float32", max_ops=3, must=kind))
    def check(graph: Graph) -> None:
        nonlocal compared
        sample = inputs_for(graph, np.random.default_rng(0))[-1]
        try:
            theirs = run(write(graph), sample, resolver="builtin_ref").outputs
        except LitertError as error:
            # LiteRT insists on a convolution's bias, which TFLite Micro does not
            assert "has_bias was not true" in str(error)  # noqa: PT017
            return
        for index, ours, wanted in zip(graph.outputs, graph.run(*sample), theirs, strict=True):
            assert wanted.shape == graph.tensors[index].shape
            if ours.dtype == np.float32:
                slack = 2e-5 * max(1e-6, float(np.abs(wanted).max()))
                np.testing.assert_allclose(ours, wanted, rtol=0, atol=slack)
        compared += 1

    check()
    assert compared
