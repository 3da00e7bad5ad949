"""One op as a kernel generator sees it: shapes, window, weights, way out, as plain numbers."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinykit.graph.errors import GraphError
from tinykit.graph.fixedpoint import activation_range, conv_multipliers, pad_first
from tinykit.graph.ir import Graph, Op, Tensor


@dataclass(frozen=True, eq=False)
class Layer:
    """Op `position` of `graph`.

    The properties about windows are for ops on NHWC images (convolutions and pooling); those about
    weights for convolutions and fully connected ops on integers.
    """

    graph: Graph
    position: int

    @property
    def op(self) -> Op:
        return self.graph.ops[self.position]

    @property
    def kind(self) -> str:
        return self.op.kind

    @cached_property
    def ins(self) -> list[Tensor | None]:
        return self.graph.ins(self.op)

    @cached_property
    def outs(self) -> list[Tensor]:
        return self.graph.outs(self.op)

    @property
    def data(self) -> Tensor:
        """The first input."""
        tensor = self.ins[0]
        if tensor is None:
            raise GraphError(f"{self.graph.op_name(self.position)} has no first input")
        return tensor

    @property
    def out(self) -> Tensor:
        return self.outs[0]

    @property
    def activation(self) -> str:
        return str(self.op.attrs.get("fused_activation_function", "none"))

    # -- windows --------------------------------------------------------------------------------

    @property
    def batches(self) -> int:
        return self.data.shape[0]

    @property
    def in_hwc(self) -> tuple[int, int, int]:
        _, h, w, c = self.data.shape
        return h, w, c

    @property
    def out_hwc(self) -> tuple[int, int, int]:
        _, h, w, c = self.out.shape
        return h, w, c

    @property
    def window(self) -> tuple[int, int]:
        """Height and width of the filter or pooling window."""
        if "filter_height" in self.op.attrs:
            return self.op.attrs["filter_height"], self.op.attrs["filter_width"]
        weights = self.weights_tensor
        return weights.shape[1], weights.shape[2]

    @property
    def strides(self) -> tuple[int, int]:
        return self.op.attrs["stride_h"], self.op.attrs["stride_w"]

    @property
    def dilations(self) -> tuple[int, int]:
        attrs = self.op.attrs
        return attrs.get("dilation_h_factor", 1), attrs.get("dilation_w_factor", 1)

    @cached_property
    def pads(self) -> tuple[int, int, int, int]:
        """Rows and columns of padding that windows reach into: top, bottom, left, right."""
        made = []
        for axis in (0, 1):
            size, out = self.in_hwc[axis], self.out_hwc[axis]
            window, stride, dilation = self.window[axis], self.strides[axis], self.dilations[axis]
            padding = self.op.attrs["padding"]
            before = pad_first(padding, axis, size, window, stride, out, dilation)
            reach = (out - 1) * stride + (window - 1) * dilation + 1
            made += [before, max(reach - before - size, 0)]
        return made[0], made[1], made[2], made[3]

    # -- weights --------------------------------------------------------------------------------

    @property
    def weights_tensor(self) -> Tensor:
        tensor = self.ins[1]
        if tensor is None or tensor.data is None:
            raise GraphError(f"{self.graph.op_name(self.position)} has no constant weights")
        return tensor

    @property
    def weights(self) -> np.ndarray:
        """int8, in the op's own layout: OHWI, 1HWO for depthwise, OI for fully connected."""
        data = self.weights_tensor.data
        assert data is not None
        return data

    @property
    def constant_int8(self) -> bool:
        """Whether input and output are int8 activations with something in them, weights int8
        constants without zero points, and biases, if any, int32 constants."""
        data, weights, out = self.data, self.ins[1], self.out
        bias = self.ins[2] if len(self.ins) > 2 else None
        return (
            data.dtype == out.dtype == "int8"
            and not data.is_const
            and data.size > 0
            and out.size > 0
            and weights is not None
            and weights.is_const
            and weights.dtype == "int8"
            and weights.quant is not None
            and not np.any(weights.quant.zero_point)
            and (bias is None or (bias.is_const and bias.dtype == "int32"))
        )

    @property
    def channels(self) -> int:
        """Output channels."""
        return self.out.shape[-1]

    @cached_property
    def bias(self) -> np.ndarray:
        """int64 (channels,): the bias with the input's zero point folded in.

        ``sum((x - zero) * w) + b = sum(x * w) + (b - zero * sum(w))``, where padding counts as
        ``x = zero``.
        """
        tensor = self.ins[2] if len(self.ins) > 2 else None
        weights = self.weights.astype(np.int64)
        total = weights.sum(axis=tuple(i for i in range(weights.ndim) if i != self._channel_axis))
        own = 0 if tensor is None or tensor.data is None else tensor.data.astype(np.int64)
        return np.asarray(own - self.in_zero * total, np.int64)

    @cached_property
    def reach(self) -> np.ndarray:
        """int64 (channels,): no partial or complete sum ``|bias + sum(x * w)|`` goes beyond this,
        for stored inputs x in -128..127 and the folded bias."""
        weights = np.abs(self.weights.astype(np.int64))
        axes = tuple(i for i in range(weights.ndim) if i != self._channel_axis)
        return np.asarray(128 * weights.sum(axis=axes) + np.abs(self.bias), np.int64)

    @property
    def _channel_axis(self) -> int:
        return 3 if self.kind == "depthwise_conv_2d" else 0

    @cached_property
    def multipliers(self) -> tuple[np.ndarray, np.ndarray]:
        """int32 (channels,) mantissas and shifts (positive shifts left), see `fixedpoint`."""
        quants = [t.quant for t in (self.data, self.weights_tensor, self.out)]
        if any(q is None for q in quants):
            raise GraphError("integer tensors without quantization")
        mantissa, shift = conv_multipliers(*quants)  # type: ignore[arg-type]
        size = (self.channels,)
        return np.broadcast_to(mantissa, size), np.broadcast_to(shift, size)

    @property
    def in_zero(self) -> int:
        return 0 if self.data.quant is None else int(self.data.quant.zero_point[0])

    @property
    def out_zero(self) -> int:
        return 0 if self.out.quant is None else int(self.out.quant.zero_point[0])

    @cached_property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest stored output, the fused activation included."""
        low, high = activation_range(self.activation, self.out.dtype, self.out.quant)
        return int(low), int(high)

    @property
    def macs(self) -> int:
        return self.graph.op_macs(self.position)

    # -- names ----------------------------------------------------------------------------------

    @cached_property
    def key(self) -> str:
        """What a schedule depends on, as text: equal keys cost the same (weights' values aside)."""
        parts = [self.kind]
        parts += ["x".join(map(str, t.shape)) + f".{t.dtype}" for t in self.ins if t is not None]
        parts.append("to " + "x".join(map(str, self.out.shape)) + f".{self.out.dtype}")
        for name, value in sorted(self.op.attrs.items()):
            if name in ("fused_activation_function", "padding"):
                continue
            if value not in (None, 1, False, 0):
                parts.append(f"{name}={value}")
        if "stride_h" in self.op.attrs:
            parts.append("pad " + ",".join(map(str, self.pads)))
        if self.out.dtype == "int8" and self.out.quant is not None:
            low, high = self.limits
            parts.append(
                "clip" + ("" if low == -128 else " low") + ("" if high == 127 else " high")
            )
            parts.append("relu" if low >= self.out_zero else "signed")
        return " ".join(parts)


def key_of(layers: Sequence[Layer]) -> str:
    """The key of a chain of layers."""
    return " > ".join(layer.key for layer in layers)


#: constants of more bytes are told apart by identity
SHORT = 256


def alike(layers: Sequence[Layer]) -> Hashable:
    """Equal for chains that compute the same: kinds, attributes, shapes, quantizations, constants.

    Only among graphs that are alive at the same time, as large constants and quantizations are
    compared by identity.
    """
    return tuple(
        (
            layer.kind,
            repr(sorted(layer.op.attrs.items())),
            tuple(_traits(t) for t in (*layer.ins, *layer.outs)),
        )
        for layer in layers
    )


def _traits(tensor: Tensor | None) -> Hashable:
    if tensor is None:
        return None
    data = tensor.data
    values = None
    if data is not None:
        values = data.tobytes() if data.nbytes <= SHORT else id(data)
    return tensor.shape, tensor.dtype, id(tensor.quant), values
