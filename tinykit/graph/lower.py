"""Float graph + quantization of its tensors → integer graph by TFLite's rules.

The rules are those of TFLite's 8-bit quantization specification: weights symmetric, one scale per
output channel; biases int32 at scale input·weight; softmax, logistic and tanh with fixed outputs;
ops that only move or select numbers (max pooling, reshape, pad, ...) keep their input's scale.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.ir import Graph, Op, Quantization, Tensor
from tinykit.graph.ranges import (
    FIXED_OUTPUT,
    fixed_output,
    quantize_weights,
    range_of,
    room_for_bias,
    weight_range,
)

#: output has the scale and zero point of input 0
KEEPS_SCALE = frozenset(
    (
        *("average_pool_2d", "max_pool_2d", "reduce_max", "resize_bilinear"),
        *("resize_nearest_neighbor", "pad", "padv2", "batch_to_space_nd", "space_to_batch_nd"),
        *("expand_dims", "squeeze", "reshape", "transpose", "split", "strided_slice"),
    )
)
#: kind -> where its data input is, when not 0
DATA_INPUT = {"split": 1, "transpose_conv": 2}
#: kind -> axis of the weights' output channels
CHANNEL_AXIS = {"conv_2d": 0, "depthwise_conv_2d": 3, "fully_connected": 0, "transpose_conv": 0}
#: kinds that can have an activation fused into them
FUSES = frozenset(("conv_2d", "depthwise_conv_2d", "fully_connected", "add", "sub", "mul"))
_ACTIVATIONS = ("relu", "relu6", "relu_n1_to_1")


def lower(
    graph: Graph,
    activations: Mapping[int, Quantization],
    weights: Mapping[int, Quantization] | None = None,
    activation_dtype: str = "int8",
    weight_bits: Mapping[int, int] | int = 8,
    full_range: Collection[int] = (),
) -> Graph:
    """The integer graph that computes what `graph` does, to the precision of its quantization.

    Parameters
    ----------
    graph : float32; its tensors keep their indices' names in the result
    activations : tensor index → quantization of the inputs and of everything computed. Where it
        follows from TFLite's rules (outputs of `KEEPS_SCALE` and `FIXED_OUTPUT`) it may be left
        out; where given all the same, the rule wins.
    weights : tensor index → quantization of weights; those left out get min-max scales, one per
        output channel (one in all for int4 fully connected, as TFLite Micro demands)
    activation_dtype : "int8", or "int16" (symmetric; biases then int64)
    weight_bits : 2 to 8, for all weights or by tensor index; up to 4 are stored as int4, more as
        int8, which then hold fewer levels than they could
    full_range : weights whose integers may go down to -2^(bits-1), not only to one above

    Returns
    -------
    integer : its inputs and outputs are integers, too

    Raises
    ------
    GraphError
        A tensor that needs a quantization and has none; an int16 zero point other than 0.
    UnsupportedOpError
        4-bit weights under int16 activations, an int8 weight of -128, weights that are computed.
    """
    if activation_dtype not in ("int8", "int16"):
        raise GraphError(f"activations are int8 or int16, not {activation_dtype!r}")
    return _Lowering(
        fuse_activations(graph),
        activations,
        weights or {},
        activation_dtype,
        weight_bits,
        full_range,
    ).run()


class _Lowering:
    def __init__(
        self,
        graph: Graph,
        activations: Mapping[int, Quantization],
        weights: Mapping[int, Quantization],
        dtype: str,
        bits: Mapping[int, int] | int,
        full: Collection[int],
    ) -> None:
        self.graph, self.given, self.weights, self.dtype = graph, activations, weights, dtype
        self.bits, self.full = bits, full
        self.tensors: list[Tensor] = []
        self.ops: list[Op] = []
        self.new: dict[int, int] = {}  # activation (or integer constant) -> its new index
        self.known: dict[int, Quantization] = {}

    def run(self) -> Graph:
        for i in self.graph.inputs:
            self._activation(i, self._asked(i))
        inputs = [self.new[i] for i in self.graph.inputs]
        for position, op in enumerate(self.graph.ops):
            self._op(position, op)
        outputs = [self.new[i] for i in self.graph.outputs]
        return Graph(
            tuple(self.tensors), tuple(self.ops), tuple(inputs), tuple(outputs), self.graph.name
        )

    # -- tensors --------------------------------------------------------------------------------

    def _add(self, tensor: Tensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _asked(self, index: int) -> Quantization:
        tensor = self.graph.tensors[index]
        quant = self.given.get(index)
        if quant is None:
            raise GraphError(f"no quantization was given for tensor {tensor.name!r}")
        if quant.scale.size != 1:
            raise GraphError(f"tensor {tensor.name!r}: activations take one scale, not several")
        if self.dtype == "int16" and quant.zero_point[0]:
            raise GraphError(f"tensor {tensor.name!r}: int16 is symmetric, its zero point is 0")
        return quant

    def _activation(self, index: int, quant: Quantization) -> None:
        tensor = self.graph.tensors[index]
        if tensor.dtype == "float32":
            tensor = replace(tensor, dtype=self.dtype, quant=quant)
            self.known[index] = quant
        self.new[index] = self._add(tensor)

    def _constant(self, index: int, quant: Quantization | None = None) -> int:
        """A constant as it is, or a float one quantized like an activation."""
        tensor = self.graph.tensors[index]
        if tensor.dtype != "float32":
            if index not in self.new:
                self.new[index] = self._add(tensor)
            return self.new[index]
        assert tensor.data is not None
        quant = quant or self.given.get(index) or range_of(tensor.data, self.dtype)
        shell = Tensor(tensor.name, tensor.shape, self.dtype, quant)
        return self._add(replace(shell, data=shell.stored(tensor.data)))

    # -- ops ------------------------------------------------------------------------------------

    def _op(self, position: int, op: Op) -> None:
        if op.kind in CHANNEL_AXIS:
            ins = self._weighted(position, op)
        elif op.kind in ("concatenation", "pack"):
            ins = self._concatenated(op)
        else:
            ins = [self._input(op, k) for k in range(len(op.inputs))]
        for index in op.outputs:
            if self.graph.tensors[index].dtype != "float32":
                self.new[index] = self._add(self.graph.tensors[index])
            else:
                self._activation(index, self._output_quant(op, index))
        outs = [self.new[i] for i in op.outputs]
        self.ops.append(replace(op, inputs=tuple(ins), outputs=tuple(outs)))

    def _source(self, op: Op) -> int:
        index = op.inputs[DATA_INPUT.get(op.kind, 0)]
        assert index is not None
        return index

    def _output_quant(self, op: Op, index: int) -> Quantization:
        if op.kind in KEEPS_SCALE:
            return self.known[self._source(op)]
        if op.kind in FIXED_OUTPUT:
            return fixed_output(op.kind, self.dtype)
        return self._asked(index)

    def _input(self, op: Op, k: int) -> int | None:
        index = op.inputs[k]
        if index is None:
            return None
        if not self.graph.tensors[index].is_const:
            return self.new[index]
        # the value that padv2 pads with is counted as its data are
        like = self.known[self._source(op)] if op.kind == "padv2" and k == 2 else None
        return self._constant(index, like)

    def _concatenated(self, op: Op) -> list[int | None]:
        """Inputs at the output's scale, by a quantize op where they have another."""
        (out,) = op.outputs
        quant = self._asked(out)
        ins: list[int | None] = []
        for index in op.inputs:
            assert index is not None
            tensor = self.graph.tensors[index]
            if tensor.is_const:
                ins.append(self._constant(index, quant))
            elif self.known[index].same_as(quant):
                ins.append(self.new[index])
            else:
                name = f"{tensor.name}/requantized"
                made = self._add(Tensor(name, tensor.shape, self.dtype, quant))
                ins.append(made)
                self.ops.append(Op("quantize", (self.new[index],), (made,), {}, name))
        return ins

    def _weighted(self, position: int, op: Op) -> list[int | None]:
        """Inputs of a convolution or matrix product: data, weights, bias."""
        source, at, last = self._source(op), op.inputs[1], op.inputs[-1]
        weight = self.graph.tensors[at] if at is not None else None
        if at is None or weight is None or weight.data is None:
            raise UnsupportedOpError(op.kind, position, "quantization", "its weights are computed")
        bits = self.bits if isinstance(self.bits, int) else self.bits.get(at, 8)
        full = at in self.full
        if not 2 <= bits <= 8 or (bits <= 4 and self.dtype == "int16"):
            why = f"{bits}-bit weights under {self.dtype} activations"
            raise UnsupportedOpError(op.kind, position, "quantization", why)
        scale_in = float(self.known[source].scale[0])
        has_bias = len(op.inputs) > (3 if op.kind == "transpose_conv" else 2) and last is not None
        bias = self.graph.tensors[last].data if has_bias and last is not None else None
        if has_bias and bias is None:
            raise UnsupportedOpError(op.kind, position, "quantization", "its bias is computed")
        quant = self.weights.get(at)
        if quant is None:
            axis = None if bits <= 4 and op.kind == "fully_connected" else CHANNEL_AXIS[op.kind]
            quant = weight_range(weight.data, axis, bits)
        if bias is not None:
            quant = room_for_bias(quant, bias, scale_in)
        stored = quantize_weights(weight.data, quant, bits, full)
        if stored.min(initial=0) < -127:
            why = "a weight of -128 (TFLite's int8 weights go from -127 to 127)"
            raise UnsupportedOpError(op.kind, position, "quantization", why)
        dtype = "int4" if bits <= 4 else "int8"
        made = [self._add(Tensor(weight.name, weight.shape, dtype, quant, stored))]
        if bias is not None and last is not None:
            made.append(self._add(self._bias(self.graph.tensors[last], bias, quant, scale_in)))
        if op.kind == "transpose_conv":  # (output shape, weights, data, bias)
            return [self._input(op, 0), made[0], self.new[source], *made[1:]]
        return [self.new[source], *made]

    def _bias(self, tensor: Tensor, bias: np.ndarray, quant: Quantization, scale: float) -> Tensor:
        dtype = "int64" if self.dtype == "int16" else "int32"
        # TFLite's scale is the float32 product; the number is rounded at that scale
        scales = (np.float32(scale) * quant.scale).astype(np.float32)
        whole = np.round(bias.astype(np.float64) / scales.astype(np.float64))
        axis = 0 if scales.size > 1 else None
        stored = whole.astype(np.int64 if dtype == "int64" else np.int32)
        return Tensor(
            tensor.name, bias.shape, dtype, Quantization(scales, 0 * scales, axis), stored
        )


def fuse_activations(graph: Graph) -> Graph:
    """relu, relu6 and relu_n1_to_1 merged into the op before, where they alone read its result."""
    readers: dict[int, int] = {}
    for op in graph.ops:
        for i in op.inputs:
            if i is not None:
                readers[i] = readers.get(i, 0) + 1
    made = {op.outputs[0]: k for k, op in enumerate(graph.ops) if len(op.outputs) == 1}
    ops: list[Op | None] = list(graph.ops)
    for k, op in enumerate(graph.ops):
        if op.kind not in _ACTIVATIONS:
            continue
        source = op.inputs[0]
        assert source is not None
        before = ops[made[source]] if source in made else None
        if (
            before is None
            or before.kind not in FUSES
            or before.attrs["fused_activation_function"] != "none"
            or readers[source] != 1
            or source in graph.outputs
        ):
            continue
        attrs = {**before.attrs, "fused_activation_function": op.kind}
        ops[made[source]] = replace(before, attrs=attrs, outputs=op.outputs)
        ops[k] = None
        made[op.outputs[0]] = made[source]
    return graph.replace(ops=tuple(op for op in ops if op is not None))
