"""Arithmetic and activations, one number at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinykit.formats.torch_ops.tracer import (
    HANDLERS,
    NHWC,
    Call,
    Const,
    Tracer,
    Value,
    handles,
    stored_shape,
)

Operand = Value | Const | float | int


def _align(t: Tracer, call: Call, a: Operand, b: Operand) -> tuple[int, int, str, Value | None]:
    """Tensors of both operands in one layout, that layout, and a Value that has it."""
    values = [v for v in (a, b) if isinstance(v, Value)]
    consts = [np.asarray(v.data if isinstance(v, Const) else v) for v in (a, b) if v not in values]
    small = all(c.size == 1 for c in consts)
    nhwc = any(v.layout == "nhwc" for v in values)
    if nhwc and all(len(v.shape) == 4 for v in values) and all(c.ndim <= 4 for c in consts):
        layout = "nhwc"
    elif values[0].layout == "hwc" and small and all(v.chw == values[0].chw for v in values):
        layout = "hwc"
    else:
        layout = "plain"

    def tensor(operand: Operand) -> int:
        if isinstance(operand, Value):
            if layout == "nhwc":
                return t.nhwc(operand, call)
            return operand.index if layout == "hwc" else t.plain(operand, call)
        const = operand if isinstance(operand, Const) else Const(np.asarray(operand))
        data = const.data.astype(np.float32)
        if data.size == 1:
            data = data.reshape(1)
        elif layout == "nhwc":
            data = data.reshape((1,) * (4 - data.ndim) + data.shape).transpose(NHWC)
        return t.const(data)

    like = values[0] if layout == "hwc" else None
    return tensor(a), tensor(b), layout, like


def _binary(t: Tracer, call: Call, kind: str, a: Operand, b: Operand) -> Value:
    left, right, layout, like = _align(t, call, a, b)
    made = t.op(
        kind,
        [left, right],
        stored_shape(call.shape, layout),
        call,
        fused_activation_function=call.act,
    )
    return t.like(made, like) if like else Value(made, call.shape, layout)


def _scaled(call: Call, b: Operand, alpha: float) -> Operand:
    if alpha == 1:
        return b
    if isinstance(b, Value):
        raise call.unsupported(f"alpha={alpha}: multiply first")
    return Const(np.asarray(b.data if isinstance(b, Const) else b) * alpha)


@handles("add.Tensor", "add_.Tensor", "add.Scalar")
def add(t: Tracer, call: Call, a: Operand, b: Operand, alpha: float = 1) -> Value:
    return _binary(t, call, "add", a, _scaled(call, b, alpha))


@handles("sub.Tensor", "sub_.Tensor", "sub.Scalar")
def sub(t: Tracer, call: Call, a: Operand, b: Operand, alpha: float = 1) -> Value:
    return _binary(t, call, "sub", a, _scaled(call, b, alpha))


@handles("rsub.Scalar", "rsub.Tensor")
def rsub(t: Tracer, call: Call, a: Operand, b: Operand, alpha: float = 1) -> Value:
    return _binary(t, call, "sub", b, _scaled(call, a, alpha))


@handles("mul.Tensor", "mul_.Tensor", "mul.Scalar")
def mul(t: Tracer, call: Call, a: Operand, b: Operand) -> Value:
    return _binary(t, call, "mul", a, b)


@handles("div.Tensor", "div_.Tensor", "div.Scalar")
def div(t: Tracer, call: Call, a: Operand, b: Operand) -> Value:
    if isinstance(b, Value):
        raise call.unsupported("division by something computed")
    divisor = np.asarray(b.data if isinstance(b, Const) else b, np.float64)
    return _binary(t, call, "mul", a, Const(1 / divisor))


@handles("neg.default")
def neg(t: Tracer, call: Call, x: Value) -> Value:
    return _binary(t, call, "mul", x, -1.0)


@handles("batch_norm.default", "_native_batch_norm_legit_no_training.default")
def batch_norm(t: Tracer, call: Call, x: Value, *rest: Any) -> Value:
    """One that follows no convolution: times a scale, plus an offset, per channel."""
    assert call.norm is not None
    scale, offset = (v.astype(np.float32).reshape(-1, *[1] * (len(x.shape) - 2)) for v in call.norm)
    plain = Call(call.name, call.target, call.position, call.shape)
    return _binary(t, call, "add", _binary(t, plain, "mul", x, Const(scale)), Const(offset))


def _unary(kind: str, **attrs: Any) -> Callable[..., Value]:
    def handler(t: Tracer, call: Call, x: Value, *_: Any, **__: Any) -> Value:
        return t.like(t.op(kind, [x.index], t.stored(x), call, **attrs), x)

    return handler


for _kind, _names in {
    "relu": ("relu.default", "relu_.default"),
    "relu6": ("relu6.default", "relu6_.default"),
    "logistic": ("sigmoid.default", "sigmoid_.default"),
    "tanh": ("tanh.default", "tanh_.default"),
    "hard_swish": ("hardswish.default", "hardswish_.default"),
}.items():
    handles(*_names)(_unary(_kind))


#: (low, high) -> TFLite's activation
CLAMPS: dict[tuple[float | None, float | None], str] = {
    (0.0, 6.0): "relu6",
    (-1.0, 1.0): "relu_n1_to_1",
    (0.0, None): "relu",
}


@handles("hardtanh.default", "hardtanh_.default")
def hardtanh(
    t: Tracer, call: Call, x: Value, low: float | None = -1.0, high: float | None = 1.0
) -> Value:
    bounds = (None if low is None else float(low), None if high is None else float(high))
    kind = CLAMPS.get(bounds)
    if kind is None:
        raise call.unsupported(f"clamping to [{low}, {high}]; TFLite has 0..6, -1..1 and 0..")
    return _unary(kind)(t, call, x)


@handles("clamp.default", "clamp_.default")
def clamp(
    t: Tracer, call: Call, x: Value, low: float | None = None, high: float | None = None
) -> Value:
    return hardtanh(t, call, x, low, high)


@handles("clamp_min.default")
def clamp_min(t: Tracer, call: Call, x: Value, low: float) -> Value:
    return hardtanh(t, call, x, low, None)


@handles("leaky_relu.default", "leaky_relu_.default")
def leaky_relu(t: Tracer, call: Call, x: Value, slope: float = 0.01) -> Value:
    return _unary("leaky_relu", alpha=float(slope))(t, call, x)


@handles("silu.default", "silu_.default")
def silu(t: Tracer, call: Call, x: Value) -> Value:
    return _binary(t, call, "mul", x, _unary("logistic")(t, call, x))


@handles("hardsigmoid.default", "hardsigmoid_.default")
def hardsigmoid(t: Tracer, call: Call, x: Value) -> Value:
    clamped = Call(call.name, call.target, call.position, call.shape, act="relu6")
    return _binary(t, call, "mul", _binary(t, clamped, "add", x, 3.0), 1 / 6)


@handles("softmax.int", "_softmax.default")
def softmax(t: Tracer, call: Call, x: Value, dim: int, dtype: Any = None) -> Value:
    if dim % len(x.shape) != len(x.shape) - 1 or x.layout == "hwc":
        # TFLite's softmax runs along the last axis
        if len(x.shape) == 4 and dim % 4 == 1:
            index = t.nhwc(x, call)
            return t.image(t.op("softmax", [index], t.build.tensors[index].shape, call), call.shape)
        raise call.unsupported(f"softmax along axis {dim} of {x.shape}")
    index = t.plain(x, call)
    return Value(t.op("softmax", [index], call.shape, call), call.shape)


def _same(t: Tracer, call: Call, x: Value, *_: Any, **__: Any) -> Value:
    return x


for _name in (
    "dropout.default",
    "dropout_.default",
    "feature_dropout.default",
    "contiguous.default",
    "clone.default",
    "alias.default",
    "detach.default",
    "detach_.default",
    "lift_fresh_copy.default",
    "_to_copy.default",
    "to.dtype",
    "to.dtype_layout",
):
    HANDLERS[f"aten.{_name}"] = _same
