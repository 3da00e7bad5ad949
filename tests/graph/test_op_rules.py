"""What shape rules refuse, what kernels refuse, and what they count."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from tinykit.graph import GraphBuilder, GraphError, Quantization, UnsupportedOpError
from tinykit.graph.ir import Tensor
from tinykit.graph.registry import OPSET

Q = Quantization.per_tensor(0.1)
F32 = "float32"


def data(*shape: int, dtype: str = F32) -> Tensor:
    return Tensor("x", shape, dtype, None if dtype in (F32, "int32") else Q)


def const(values: Any, dtype: str = "int32") -> Tensor:
    array = np.array(values, dtype)
    return Tensor("c", array.shape, dtype, None, array)


def infer(kind: str, inputs: list[Tensor | None], **attrs: Any) -> list[Any]:
    return list(OPSET[kind].infer(inputs, {**OPSET[kind].attrs, **attrs}))


REFUSED = [
    ("conv_2d", [data(1, 4, 4, 3), data(8, 3, 3, 2)], {}, "3 input channels are no multiple"),
    ("conv_2d", [data(1, 4, 4, 4), data(3, 1, 1, 2)], {}, "3 filters cannot be shared by 2"),
    ("conv_2d", [data(1, 4, 4, 3), data(8, 5, 3, 3)], {}, "does not fit (4, 4) without padding"),
    ("conv_2d", [data(1, 4, 4, 3), data(8, 3, 3, 3), data(7)], {}, "7 biases for 8"),
    ("conv_2d", [data(4, 4, 3), data(8, 3, 3, 3)], {}, "should have 4 dimensions"),
    ("conv_2d", [data(1, 4, 4, 3), data(8, 3, 3, 3)], {"stride_w": 0}, "stride_w is 0"),
    ("conv_2d", [data(1, 4, 4, 3), data(8, 3, 3, 3)], {"padding": "full"}, "not 'full'"),
    ("conv_2d", [data(1, 4, 4, 3), data(8, 3, 3, 0)], {}, "no multiple of the filter's 0"),
    ("depthwise_conv_2d", [data(1, 4, 4, 3), data(1, 3, 3, 6)], {}, "depth multiplier 1"),
    ("transpose_conv", [const([1, 9, 9, 2]), data(2, 3, 3, 1), data(1, 4, 4, 3)], {}, "1 channels"),
    (
        "transpose_conv",
        [const([1, 9, 9, 2]), data(2, 3, 3, 3), data(1, 4, 4, 3)],
        {},
        "an output of 9 would come from 7 inputs along axis 1, there are 4",
    ),
    ("fully_connected", [data(1, 10), data(5, 4)], {}, "10 inputs cannot be cut into rows of 4"),
    ("fully_connected", [data(2, 6), data(5, 4)], {"keep_num_dims": True}, "the last axis of"),
    ("average_pool_2d", [data(1, 2, 2, 1)], {"filter_width": 3}, "a window of (1, 3)"),
    ("reshape", [data(2, 3), const([4, -1])], {}, "(2, 3) cannot be reshaped to (4, -1)"),
    ("reshape", [data(2, 3), const([-1, -1])], {}, "is no shape"),
    ("reshape", [data(2, 3)], {}, "reshape needs a shape"),
    ("squeeze", [data(2, 1)], {"squeeze_dims": (0,)}, "axis 0 of (2, 1) cannot be squeezed"),
    ("expand_dims", [data(2), const(3)], {}, "there is no axis 3 among 2"),
    ("transpose", [data(2, 3), const([0, 0])], {}, "no permutation"),
    ("transpose", [data(2, 3), const([0])], {}, "should hold 2 values, it holds 1"),
    ("transpose", [data(2, 3), const([0, 1], F32)], {}, "should hold int32 or int64"),
    ("strided_slice", [data(3), const([0]), const([3]), const([0])], {}, "a stride of 0"),
    (
        "strided_slice",
        [data(3), const([5]), const([6]), const([1])],
        {"shrink_axis_mask": 1},
        "element 5 of an axis of 3",
    ),
    ("strided_slice", [data(3), const([0, 0]), const([1, 1]), const([1, 1])], {}, "2 slices of 1"),
    ("split", [const(0), data(5)], {"num_splits": 2}, "5 elements cannot be split into 2"),
    ("pack", [data(2), data(3)], {"values_count": 2}, "2 equal shapes to pack"),
    ("concatenation", [data(2, 3), data(2, 4)], {"axis": 0}, "cannot be joined along axis 0"),
    (
        "concatenation",
        [data(2), data(2)],
        {"fused_activation_function": "relu"},
        "no fused activation",
    ),
    ("pad", [data(2), const([[-1, 0]])], {}, "negative paddings"),
    ("padv2", [data(2), const([[1, 0]]), data(2)], {}, "one value to pad with"),
    (
        "space_to_batch_nd",
        [data(1, 5, 4, 1), const([2, 2]), const([[0, 0], [0, 0]])],
        {},
        "no multiple of the blocks",
    ),
    (
        "batch_to_space_nd",
        [data(3, 2, 2, 1), const([2, 2]), const([[0, 0], [0, 0]])],
        {},
        "a batch of 3 is no multiple",
    ),
    (
        "batch_to_space_nd",
        [data(4, 1, 1, 1), const([2, 2]), const([[2, 1], [0, 0]])],
        {},
        "leave nothing",
    ),
    ("resize_bilinear", [data(1, 2, 2, 1), const([0, 3])], {}, "cannot be resized to [0, 3]"),
    (
        "resize_bilinear",
        [data(1, 2, 2, 1), const([3, 3])],
        {"align_corners": True, "half_pixel_centers": True},
        "exclude each other",
    ),
]


@pytest.mark.parametrize(("kind", "inputs", "attrs", "words"), REFUSED)
def test_what_makes_no_sense_is_refused(
    kind: str, inputs: list[Tensor | None], attrs: dict[str, Any], words: str
) -> None:
    with pytest.raises(GraphError, match=re.escape(words)):
        infer(kind, inputs, **attrs)


def test_a_missing_input_is_refused_with_its_place() -> None:
    b = GraphBuilder()
    b.input("x", (1, 2), F32)
    b.op("reshape", [None], (2,), F32, new_shape=(2,))
    with pytest.raises(GraphError, match=r"op number 0 \(reshape\): an input that is not optional"):
        b.finish([1])


UNKNOWN = Tensor("n", (2,), "int32")


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [
        ("reshape", [data(2, 3), UNKNOWN]),
        ("transpose", [data(2, 3), UNKNOWN]),
        ("expand_dims", [data(2), UNKNOWN]),
        ("strided_slice", [data(2, 3), UNKNOWN, const([1, 1]), const([1, 1])]),
        ("pad", [data(2), UNKNOWN]),
        ("space_to_batch_nd", [data(1, 4, 4, 1), UNKNOWN, UNKNOWN]),
        ("resize_bilinear", [data(1, 4, 4, 1), UNKNOWN]),
        ("transpose_conv", [UNKNOWN, data(2, 3, 3, 3), data(1, 4, 4, 3)]),
    ],
)
def test_a_computed_shape_is_unknown_and_may_stand_as_declared(
    kind: str, inputs: list[Tensor | None]
) -> None:
    assert infer(kind, inputs) == [None]
    b = GraphBuilder()
    indices = [
        b.tensor(t) if t is not None and t.is_const else b.input(f"i{n}", t.shape, t.dtype, t.quant)
        for n, t in enumerate(inputs)
        if t is not None
    ]
    graph = b.finish([b.op(kind, indices, (1, 6), F32)])
    assert graph.output.shape == (1, 6)


def quantized(dtype: str, weights: str, bias: str | None = None, kind: str = "conv_2d") -> Any:
    b = GraphBuilder()
    x = b.input("x", (1, 2, 2, 1), dtype, None if dtype == F32 else Q)
    x = b.op(
        "reshape", [x], (1, 2, 2, 1), dtype, None if dtype == F32 else Q, new_shape=(1, 2, 2, 1)
    )
    held = np.int8 if weights == "int4" else weights
    w = b.const(np.ones((1, 1, 1, 1), held), Q, dtype=weights)
    inputs = [x, w] if bias is None else [x, w, b.const(np.zeros(1, bias), Q)]
    y = b.op(kind, inputs, (1, 2, 2, 1), dtype, None if dtype == F32 else Q)
    graph = b.finish([y])
    return graph, np.zeros((1, 2, 2, 1), dtype)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((F32, "int8"), "float32 inputs with int8 weights"),
        (("uint8", "uint8"), "uint8 inputs with uint8 weights"),
        (("int16", "int4"), "int16 inputs with int4 weights"),
        (("int16", "int8", "int32", "depthwise_conv_2d"), "int32 biases, not int64"),
    ],
)
def test_a_variant_without_kernel_is_named_with_its_position(
    arguments: tuple[str, ...], why: str
) -> None:
    graph, x = quantized(*arguments)
    with pytest.raises(UnsupportedOpError, match=re.escape(why)) as caught:
        graph.run(x)
    assert (caught.value.kind, caught.value.position) == (graph.ops[1].kind, 1)
    assert "the reference interpreter does not support" in str(caught.value)


def test_an_integer_op_without_quantization_says_which_tensor() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 2), "int8", Q)
    w = b.const(np.ones((3, 2), np.int8), name="kernel")
    graph = b.finish([b.op("fully_connected", [x, w], (1, 3), "int8", Q)])
    with pytest.raises(GraphError, match="'kernel' is int8 and has no quantization"):
        graph.run(np.zeros((1, 2), np.int8))


def test_macs() -> None:
    def count(kind: str, ins: list[Tensor | None], out: tuple[int, ...], **attrs: Any) -> int:
        spec = OPSET[kind]
        assert infer(kind, ins, **attrs) == [out]
        return spec.macs(ins, [data(*out)], {**spec.attrs, **attrs})

    conv = count("conv_2d", [data(1, 5, 6, 4), data(8, 3, 3, 4)], (1, 5, 6, 8), padding="same")
    assert conv == 5 * 6 * 8 * 3 * 3 * 4
    grouped = count("conv_2d", [data(1, 5, 6, 4), data(8, 3, 3, 2)], (1, 3, 4, 8))
    assert grouped == 3 * 4 * 8 * 3 * 3 * 2
    depthwise = count("depthwise_conv_2d", [data(2, 5, 6, 4), data(1, 3, 3, 4)], (2, 3, 4, 4))
    assert depthwise == 2 * 3 * 4 * 4 * 3 * 3
    assert count("fully_connected", [data(1, 2, 2, 3), data(7, 12)], (1, 7)) == 12 * 7
    filters, size = data(2, 3, 3, 5), const([1, 9, 9, 2])
    transposed = count(
        "transpose_conv", [size, filters, data(1, 4, 4, 5)], (1, 9, 9, 2), stride_h=2, stride_w=2
    )
    assert transposed == 4 * 4 * 3 * 3 * 5 * 2


def test_strided_slice_masks_of_tensorflow() -> None:
    """new_axis and ellipsis, which converters emit and TFLite Micro lacks, for folding."""
    b = GraphBuilder()
    x = b.input("x", (2, 3, 4), "int32")
    tables = [b.const(np.array(v, np.int32)) for v in ([0, 0, 1], [0, 0, 3], [1, 1, 1])]
    y = b.op("strided_slice", [x, *tables], (1, 2, 3, 2), "int32", new_axis_mask=1, ellipsis_mask=2)
    values = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    made = b.finish([y]).run(values)[0]
    np.testing.assert_array_equal(made, values[None, ..., 1:3])


def test_space_to_batch_pads_with_the_zero_point() -> None:
    """TFLite Micro fills such paddings with whatever its arena holds; the format says zero."""
    quant = Quantization.per_tensor(0.1, 7)
    b = GraphBuilder()
    x = b.input("x", (1, 1, 2, 1), "int8", quant)
    tables = [b.const(np.array(v, np.int32)) for v in ([2, 2], [[0, 1], [0, 0]])]
    graph = b.finish([b.op("space_to_batch_nd", [x, *tables], (4, 1, 1, 1), "int8", quant)])
    made = graph.run(np.array([[[[1], [2]]]], np.int8))[0]
    assert made.ravel().tolist() == [1, 2, 7, 7]
