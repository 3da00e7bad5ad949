"""Each op's option table in the file, and the attributes it becomes: one row an op, both ways."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinykit.formats.tflite.flatbuffer import Table
from tinykit.formats.tflite.schema import ACTIVATIONS, PADDINGS, TENSOR_TYPES
from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Tensor


@dataclass(frozen=True)
class Field:
    """One field of an option table.

    Parameters
    ----------
    name : the attribute
    slot : its place in the table
    form : "i32", "f32", "bool", "padding", "activation" or "ints"
    default : what the schema says an absent field means
    """

    name: str
    slot: int
    form: str
    default: Any = 0

    def read(self, table: Table | None) -> Any:
        if table is None:
            value: Any = self.default
        elif self.form == "f32":
            return table.real(self.slot, self.default)
        elif self.form == "ints":
            found = table.vector(self.slot, "<i4", self.name)
            return None if found is None else tuple(found.tolist())
        else:
            code = "i" if self.form == "i32" else "?" if self.form == "bool" else "b"
            value = table.scalar(self.slot, code, self.default)
        names = {"padding": PADDINGS, "activation": ACTIVATIONS}.get(self.form)
        if names is None:
            return bool(value) if self.form == "bool" else value
        if table is not None and not 0 <= value < len(names):
            raise table.error(f"{self.name} is {value}; known are 0 to {len(names) - 1}")
        return names[value]

    def write(self, builder: Any, value: Any) -> None:
        """Add the field to the table that `builder` has open; a vector's offset is `value`."""
        if self.form == "i32":
            builder.PrependInt32Slot(self.slot, int(value), self.default)
        elif self.form == "f32":
            builder.PrependFloat32Slot(self.slot, float(value), self.default)
        elif self.form == "bool":
            builder.PrependBoolSlot(self.slot, bool(value), self.default)
        elif self.form == "ints":
            if value is not None:
                builder.PrependUOffsetTRelativeSlot(self.slot, value, 0)
        else:
            names = PADDINGS if self.form == "padding" else ACTIVATIONS
            if value not in names:
                raise GraphError(f"{self.name} is {value!r}; known: {', '.join(names)}")
            builder.PrependInt8Slot(self.slot, names.index(value), self.default)


@dataclass(frozen=True)
class Options:
    """An op's option table: its number in the BuiltinOptions union, and its fields."""

    union: int
    fields: tuple[Field, ...] = ()


def _pool(union: int) -> Options:
    return Options(
        union,
        (
            Field("padding", 0, "padding"),
            Field("stride_w", 1, "i32"),
            Field("stride_h", 2, "i32"),
            Field("filter_width", 3, "i32"),
            Field("filter_height", 4, "i32"),
            Field("fused_activation_function", 5, "activation"),
        ),
    )


_REDUCER = Options(27, (Field("keep_dims", 0, "bool", False),))
_MAXIMUM_MINIMUM = Options(39)


def _sum(union: int) -> Options:
    return Options(
        union,
        (
            Field("fused_activation_function", 0, "activation"),
            Field("pot_scale_int16", 1, "bool", True),
        ),
    )


def _activated(union: int) -> Options:
    return Options(union, (Field("fused_activation_function", 0, "activation"),))


#: op kind -> its option table; 0 in the union means that the op has none
OPTIONS: Mapping[str, Options] = {
    "conv_2d": Options(
        1,
        (
            Field("padding", 0, "padding"),
            Field("stride_w", 1, "i32"),
            Field("stride_h", 2, "i32"),
            Field("fused_activation_function", 3, "activation"),
            Field("dilation_w_factor", 4, "i32", 1),
            Field("dilation_h_factor", 5, "i32", 1),
        ),
    ),
    "depthwise_conv_2d": Options(
        2,
        (
            Field("padding", 0, "padding"),
            Field("stride_w", 1, "i32"),
            Field("stride_h", 2, "i32"),
            Field("depth_multiplier", 3, "i32"),
            Field("fused_activation_function", 4, "activation"),
            Field("dilation_w_factor", 5, "i32", 1),
            Field("dilation_h_factor", 6, "i32", 1),
        ),
    ),
    "transpose_conv": Options(
        49,
        (
            Field("padding", 0, "padding"),
            Field("stride_w", 1, "i32"),
            Field("stride_h", 2, "i32"),
            Field("fused_activation_function", 3, "activation"),
        ),
    ),
    "average_pool_2d": _pool(5),
    "max_pool_2d": _pool(5),
    "fully_connected": Options(
        8,
        (
            Field("fused_activation_function", 0, "activation"),
            Field("keep_num_dims", 2, "bool", False),
        ),
    ),
    "add": _sum(11),
    "sub": _sum(28),
    "mul": _activated(21),
    "div": _activated(29),
    "softmax": Options(9, (Field("beta", 0, "f32", 0.0),)),
    "concatenation": Options(
        10, (Field("axis", 0, "i32"), Field("fused_activation_function", 1, "activation"))
    ),
    "mean": _REDUCER,
    "sum": _REDUCER,
    "reduce_max": _REDUCER,
    "reduce_min": _REDUCER,
    "reduce_prod": _REDUCER,
    "reshape": Options(17, (Field("new_shape", 0, "ints", None),)),
    "squeeze": Options(30, (Field("squeeze_dims", 0, "ints", ()),)),
    "resize_bilinear": Options(
        15,
        (Field("align_corners", 2, "bool", False), Field("half_pixel_centers", 3, "bool", False)),
    ),
    "resize_nearest_neighbor": Options(
        74,
        (Field("align_corners", 0, "bool", False), Field("half_pixel_centers", 1, "bool", False)),
    ),
    "leaky_relu": Options(75, (Field("alpha", 0, "f32", 0.0),)),
    "strided_slice": Options(
        32,
        (
            Field("begin_mask", 0, "i32"),
            Field("end_mask", 1, "i32"),
            Field("ellipsis_mask", 2, "i32"),
            Field("new_axis_mask", 3, "i32"),
            Field("shrink_axis_mask", 4, "i32"),
            Field("offset", 5, "bool", False),
        ),
    ),
    "split": Options(35, (Field("num_splits", 0, "i32"),)),
    "split_v": Options(79, (Field("num_splits", 0, "i32"),)),
    "pack": Options(59, (Field("values_count", 0, "i32"), Field("axis", 1, "i32"))),
    "unpack": Options(64, (Field("num", 0, "i32"), Field("axis", 1, "i32"))),
    "gather": Options(23, (Field("axis", 0, "i32"), Field("batch_dims", 1, "i32"))),
    "depth_to_space": Options(94, (Field("block_size", 0, "i32"),)),
    "space_to_depth": Options(19, (Field("block_size", 0, "i32"),)),
    "pad": Options(22),
    "padv2": Options(43),
    "expand_dims": Options(52),
    "transpose": Options(26),
    "space_to_batch_nd": Options(25),
    "batch_to_space_nd": Options(24),
    "hard_swish": Options(91),
    "quantize": Options(89),
    "dequantize": Options(38),
    "shape": Options(55),
    "slice": Options(48),
    "cast": Options(37),
    "tile": Options(51),
    "fill": Options(68),
    "exp": Options(33),
    "abs": Options(78),
    "neg": Options(42),
    "square": Options(66),
    "squared_difference": Options(76),
    "pow": Options(56),
    "maximum": _MAXIMUM_MINIMUM,
    "minimum": _MAXIMUM_MINIMUM,
    "relu": Options(0),
    "relu6": Options(0),
    "relu_n1_to_1": Options(0),
    "relu_0_to_1": Options(0),
    "logistic": Options(0),
    "tanh": Options(0),
    "elu": Options(0),
    "prelu": Options(0),
    "sqrt": Options(0),
    "rsqrt": Options(0),
    "log": Options(0),
    "floor": Options(0),
    "ceil": Options(0),
    "round": Options(0),
}


def read_options(kind: str, table: Table | None) -> dict[str, Any]:
    """The attributes of an op of `kind` from its option table (None: all defaults)."""
    options = OPTIONS.get(kind)
    return {} if options is None else {f.name: f.read(table) for f in options.fields}


def implied_fields(
    kind: str, ins: Sequence[Tensor | None], outs: Sequence[Tensor]
) -> list[tuple[int, int]]:
    """Fields that say again what the tensors' types say: (slot, TensorType), all one byte wide."""
    if kind == "shape":
        return [(0, TENSOR_TYPES.index(outs[0].dtype))]
    if kind == "cast" and ins[0] is not None:
        return [(0, TENSOR_TYPES.index(ins[0].dtype)), (1, TENSOR_TYPES.index(outs[0].dtype))]
    # LiteRT takes the bias of an int16 layer as int64 unless the options say otherwise.
    place = {"conv_2d": (2, 6), "transpose_conv": (3, 4), "fully_connected": (2, 4)}.get(kind)
    if place is not None and outs[0].dtype == "int16" and len(ins) > place[0]:
        bias = ins[place[0]]
        if bias is not None and bias.dtype == "int32":
            return [(place[1], TENSOR_TYPES.index("int32"))]
    return []
