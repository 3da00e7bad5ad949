"""Writing a graph as a TFLite file that TFLite Micro and LiteRT open."""

from __future__ import annotations

import os
from typing import Any

import flatbuffers
import numpy as np

from tinykit.formats.tflite.options import OPTIONS, implied_fields
from tinykit.formats.tflite.schema import (
    BUILTIN_CODES,
    CUSTOM,
    FILE_IDENTIFIER,
    PLACEHOLDER_FOR_GREATER_OP_CODES,
    TENSOR_TYPES,
    VERSION,
    Slot,
)
from tinykit.formats.tflite.versions import op_version
from tinykit.graph import int4
from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.ir import Graph, Op, Quantization, Tensor

#: buffers are aligned for any vector unit that reads weights in place
BUFFER_ALIGNMENT = 16


def write(graph: Graph) -> bytes:
    """`graph` as the bytes of a ``.tflite`` file (schema version 3).

    Tensors that nothing refers to are left out; equal constants share a buffer; int4 constants
    are packed two to a byte, the first in the low half.

    Raises
    ------
    UnsupportedOpError
        An op whose options this writer does not know, by name and position.
    """
    return _Writer(graph).finish()


def write_file(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write `graph` to `path`; a failure leaves what was there before."""
    from tinykit.graph.errors import TinykitError

    data = write(graph)
    partial = f"{os.fspath(path)}.part"
    try:
        with open(partial, "wb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError as error:
        raise TinykitError(f"cannot write {os.fspath(path)}: {error.strerror}") from None
    finally:
        if os.path.exists(partial):
            os.remove(partial)


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = flatbuffers.Builder(1024 + graph.weight_bytes)
        self.codes: dict[tuple[str, int], int] = {}  # (kind, version) -> index
        self.buffers: list[bytes] = [b""]  # buffer 0 is empty: activations refer to it
        self.sharing: dict[bytes, int] = {}
        used = {*graph.inputs, *graph.outputs}
        for op in graph.ops:
            used.update(i for i in (*op.inputs, *op.outputs) if i is not None)
        self.place = {old: new for new, old in enumerate(sorted(used))}

    def finish(self) -> bytes:
        b, graph = self.builder, self.graph
        # FlatBuffers grow from the back, so what is pointed at is written before what points.
        ops = [self.operator(op, position) for position, op in enumerate(graph.ops)]
        tensors = [self.tensor(graph.tensors[i]) for i in self.place]
        operators, tensor_list = self.offsets(ops), self.offsets(tensors)
        inputs = self.ints([self.place[i] for i in graph.inputs])
        outputs = self.ints([self.place[i] for i in graph.outputs])
        name = b.CreateString(graph.name)
        b.StartObject(5)
        b.PrependUOffsetTRelativeSlot(Slot.SUBGRAPH_TENSORS, tensor_list, 0)
        b.PrependUOffsetTRelativeSlot(Slot.SUBGRAPH_INPUTS, inputs, 0)
        b.PrependUOffsetTRelativeSlot(Slot.SUBGRAPH_OUTPUTS, outputs, 0)
        b.PrependUOffsetTRelativeSlot(Slot.SUBGRAPH_OPERATORS, operators, 0)
        b.PrependUOffsetTRelativeSlot(Slot.SUBGRAPH_NAME, name, 0)
        subgraphs = self.offsets([b.EndObject()])
        codes = self.offsets([self.operator_code(*key) for key in self.codes])
        buffers = self.offsets([self.buffer(data) for data in self.buffers])
        description = b.CreateString("written by tinykit")
        b.StartObject(5)
        b.PrependUint32Slot(Slot.MODEL_VERSION, VERSION, 0)
        b.PrependUOffsetTRelativeSlot(Slot.MODEL_OPERATOR_CODES, codes, 0)
        b.PrependUOffsetTRelativeSlot(Slot.MODEL_SUBGRAPHS, subgraphs, 0)
        b.PrependUOffsetTRelativeSlot(Slot.MODEL_DESCRIPTION, description, 0)
        b.PrependUOffsetTRelativeSlot(Slot.MODEL_BUFFERS, buffers, 0)
        b.Finish(b.EndObject(), file_identifier=FILE_IDENTIFIER)
        return bytes(b.Output())

    # -- tables ---------------------------------------------------------------------------------

    def operator(self, op: Op, position: int) -> int:
        b, ins, outs = self.builder, self.graph.ins(op), self.graph.outs(op)
        custom = op.kind.startswith("custom:")
        options = None if custom else OPTIONS.get(op.kind)
        if not custom and (options is None or op.kind not in BUILTIN_CODES):
            raise UnsupportedOpError(op.kind, position, "the .tflite writer")
        version = 1 if custom else op_version(op.kind, ins, outs, op.attrs)
        code = self.codes.setdefault((op.kind, version), len(self.codes))
        inputs = self.ints([-1 if i is None else self.place[i] for i in op.inputs])
        outputs = self.ints([self.place[i] for i in op.outputs])
        table = raw = None
        if options is not None and options.union:
            table = self.options(op, position, ins, outs)
        elif custom and op.attrs.get("custom_options"):
            raw = self.bytes(op.attrs["custom_options"], 1)
        b.StartObject(6)
        b.PrependUint32Slot(Slot.OPERATOR_CODE, code, 0)
        b.PrependUOffsetTRelativeSlot(Slot.OPERATOR_INPUTS, inputs, 0)
        b.PrependUOffsetTRelativeSlot(Slot.OPERATOR_OUTPUTS, outputs, 0)
        if table is not None and options is not None:
            b.PrependUint8Slot(Slot.OPERATOR_OPTIONS_TYPE, options.union, 0)
            b.PrependUOffsetTRelativeSlot(Slot.OPERATOR_OPTIONS, table, 0)
        if raw is not None:
            b.PrependUOffsetTRelativeSlot(Slot.OPERATOR_CUSTOM_OPTIONS, raw, 0)
        return b.EndObject()

    def options(self, op: Op, position: int, ins: list[Tensor | None], outs: list[Tensor]) -> int:
        b, fields = self.builder, OPTIONS[op.kind].fields
        values: dict[str, Any] = {f.name: op.attrs.get(f.name, f.default) for f in fields}
        for field in fields:
            if field.form == "ints" and values[field.name] is not None:
                values[field.name] = self.ints(values[field.name])
        implied = implied_fields(op.kind, ins, outs)
        slots = [f.slot for f in fields] + [slot for slot, _ in implied]
        b.StartObject(max(slots, default=-1) + 1)
        try:
            for field in fields:
                field.write(b, values[field.name])
        except GraphError as error:
            raise GraphError(f"op number {position} ({op.kind}): {error}") from None
        for slot, value in implied:
            b.PrependInt8Slot(slot, value, 0)
        return b.EndObject()

    def operator_code(self, kind: str, version: int) -> int:
        b = self.builder
        custom, builtin = None, BUILTIN_CODES.get(kind, CUSTOM)
        if kind.startswith("custom:"):
            custom, builtin = b.CreateString(kind.removeprefix("custom:")), CUSTOM
        b.StartObject(4)
        b.PrependInt8Slot(Slot.CODE_DEPRECATED, min(builtin, PLACEHOLDER_FOR_GREATER_OP_CODES), 0)
        if custom is not None:
            b.PrependUOffsetTRelativeSlot(Slot.CODE_CUSTOM, custom, 0)
        b.PrependInt32Slot(Slot.CODE_VERSION, version, 1)
        b.PrependInt32Slot(Slot.CODE_BUILTIN, builtin, 0)
        return b.EndObject()

    def tensor(self, tensor: Tensor) -> int:
        b = self.builder
        shape = self.ints(tensor.shape)
        name = b.CreateString(tensor.name)
        quant = None if tensor.quant is None else self.quantization(tensor.quant)
        b.StartObject(9)
        b.PrependUOffsetTRelativeSlot(Slot.TENSOR_SHAPE, shape, 0)
        b.PrependInt8Slot(Slot.TENSOR_TYPE, TENSOR_TYPES.index(tensor.dtype), 0)
        b.PrependUint32Slot(Slot.TENSOR_BUFFER, self.buffer_of(tensor), 0)
        b.PrependUOffsetTRelativeSlot(Slot.TENSOR_NAME, name, 0)
        if quant is not None:
            b.PrependUOffsetTRelativeSlot(Slot.TENSOR_QUANTIZATION, quant, 0)
        b.PrependBoolSlot(Slot.TENSOR_HAS_RANK, True, False)
        return b.EndObject()

    def quantization(self, quant: Quantization) -> int:
        b = self.builder
        scale = self.bytes(quant.scale.astype("<f4").tobytes(), 4)
        zero = self.bytes(quant.zero_point.astype("<i8").tobytes(), 8)
        b.StartObject(7)
        b.PrependUOffsetTRelativeSlot(Slot.QUANT_SCALE, scale, 0)
        b.PrependUOffsetTRelativeSlot(Slot.QUANT_ZERO_POINT, zero, 0)
        b.PrependInt32Slot(Slot.QUANT_DIMENSION, quant.axis or 0, 0)
        return b.EndObject()

    def buffer_of(self, tensor: Tensor) -> int:
        if tensor.data is None or tensor.size == 0:
            return 0
        data = int4.pack(tensor.data) if tensor.dtype == "int4" else tensor.data
        raw = np.ascontiguousarray(data).astype(data.dtype.newbyteorder("<")).tobytes()
        if raw not in self.sharing:
            self.sharing[raw] = len(self.buffers)
            self.buffers.append(raw)
        return self.sharing[raw]

    def buffer(self, data: bytes) -> int:
        b = self.builder
        vector = self.bytes(data, 1, BUFFER_ALIGNMENT) if data else None
        b.StartObject(1)
        if vector is not None:
            b.PrependUOffsetTRelativeSlot(Slot.BUFFER_DATA, vector, 0)
        return b.EndObject()

    # -- vectors --------------------------------------------------------------------------------

    def ints(self, values: Any) -> int:
        return self.bytes(np.asarray(list(values), "<i4").tobytes(), 4)

    def bytes(self, data: bytes, width: int, alignment: int | None = None) -> int:
        """A vector of `width`-byte elements given as bytes; returns its offset."""
        b = self.builder
        b.StartVector(width, len(data) // width, alignment or width)
        b.head -= len(data)
        b.Bytes[b.head : b.head + len(data)] = data
        return b.EndVector()

    def offsets(self, tables: list[int]) -> int:
        b = self.builder
        b.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            b.PrependUOffsetTRelative(table)
        return b.EndVector()
