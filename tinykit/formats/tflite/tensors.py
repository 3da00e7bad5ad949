"""Tensors of a file: shape, type, quantization, and the constant in its buffer."""

from __future__ import annotations

import math

import numpy as np

from tinykit.formats.tflite.flatbuffer import Budget, Table
from tinykit.formats.tflite.schema import QUANTIZATION_DETAILS, TENSOR_TYPES, Slot
from tinykit.graph import int4
from tinykit.graph.errors import GraphError
from tinykit.graph.ir import DTYPES, Quantization, Tensor, integer_range

MAX_RANK = 8
#: stands for scale 0 on constants: every multiplier made from either is 0 in TFLite's arithmetic
SMALLEST_SCALE = np.finfo(np.float32).smallest_normal


class TensorReader:
    """Turns tensor tables into tensors; remembers what it found out on the way.

    Attributes
    ----------
    widened : indices of tensors that were float16 constants and are float32 now
    dynamic : indices of tensors whose shape the file leaves open
    """

    def __init__(self, buffers: list[Table], budget: Budget) -> None:
        self.buffers, self.budget = buffers, budget
        self.widened: set[int] = set()
        self.dynamic: set[int] = set()
        self._unpacked: dict[tuple[int, str, int], np.ndarray] = {}

    def tensor(self, table: Table, index: int, made: bool) -> Tensor:
        """The tensor at `index`; `made` says that it is an input or some op's output."""
        name = table.string(Slot.TENSOR_NAME, "its name")
        table.where = f"tensor {index} ({name!r})"
        number = table.scalar(Slot.TENSOR_TYPE, "b")
        if not 0 <= number < len(TENSOR_TYPES):
            raise table.error(f"type {number} is unknown")
        dtype = TENSOR_TYPES[number]
        if table.scalar(Slot.TENSOR_IS_VARIABLE, "?"):
            raise table.error("it is a variable (state kept between runs), which is not supported")
        if table.has(Slot.TENSOR_SPARSITY):
            raise table.error("its values are stored sparsely, which is not supported")
        if table.scalar(Slot.TENSOR_EXTERNAL_BUFFER, "I"):
            raise table.error("its values are in another file")
        shape = self._shape(table, index)
        raw = self._raw(table)
        if raw is None and not made and math.prod(shape) == 0:
            raw = np.empty(0, np.uint8)
        data = None
        if raw is not None:
            data, dtype = self._constant(table, index, raw, dtype, shape)
        if dtype not in DTYPES:
            raise table.error(f"type {dtype} is not supported")
        try:
            return Tensor(name, shape, dtype, self._quantization(table, dtype, shape, data), data)
        except GraphError as error:
            raise table.error(str(error).removeprefix(f"tensor {name!r}: ")) from None

    def _shape(self, table: Table, index: int) -> tuple[int, ...]:
        found = table.vector(Slot.TENSOR_SHAPE, "<i4", "its shape")
        shape = [] if found is None else found.tolist()
        if len(shape) > MAX_RANK:
            raise table.error(f"{len(shape)} dimensions; at most {MAX_RANK} are known")
        signature = table.vector(Slot.TENSOR_SHAPE_SIGNATURE, "<i4", "its shape signature")
        if -1 in shape or (signature is not None and -1 in signature):
            self.dynamic.add(index)
        shape = [1 if d == -1 else d for d in shape]
        if any(d < 0 for d in shape):
            raise table.error(f"negative dimension in its shape {tuple(shape)}")
        return tuple(shape)

    def _raw(self, table: Table) -> np.ndarray | None:
        """The bytes of the tensor's buffer; None when it has none."""
        index = table.scalar(Slot.TENSOR_BUFFER, "I")
        if index >= len(self.buffers):
            if index == 0:
                return None
            raise table.error(f"buffer {index}; there are {len(self.buffers)}")
        buffer = self.buffers[index]
        raw = buffer.vector(Slot.BUFFER_DATA, "u1", "its data")
        if raw is not None and raw.size:
            return raw
        # Files beyond FlatBuffers' 2 GB put weights behind the FlatBuffer; 0 and 1 mean "no".
        offset = buffer.scalar(Slot.BUFFER_OFFSET, "Q")
        if offset <= 1:
            return None
        size = buffer.scalar(Slot.BUFFER_SIZE, "Q")
        if offset + size > len(buffer.data):
            raise buffer.error(f"its data, {size} bytes at {offset}, lies outside the file")
        return np.frombuffer(buffer.data, np.uint8, size, offset)

    def _constant(
        self, table: Table, index: int, raw: np.ndarray, dtype: str, shape: tuple[int, ...]
    ) -> tuple[np.ndarray, str]:
        bits = 16 if dtype == "float16" else DTYPES[dtype][1] if dtype in DTYPES else 0
        if not bits:
            raise table.error(f"type {dtype} is not supported")
        count = math.prod(shape)
        need = (count * bits + 7) // 8
        if raw.size != need:
            buffer = table.scalar(Slot.TENSOR_BUFFER, "I")
            raise table.error(
                f"buffer {buffer} holds {raw.size} bytes, its shape {shape} of {dtype} needs {need}"
            )
        if dtype == "float16":
            self.widened.add(index)
        key = (raw.ctypes.data, dtype, raw.size)
        flat = self._unpacked.get(key)
        if flat is None:
            flat = self._unpack(table, raw, dtype)
            self._unpacked[key] = flat
        return flat[:count].reshape(shape), "float32" if dtype == "float16" else dtype

    def _unpack(self, table: Table, raw: np.ndarray, dtype: str) -> np.ndarray:
        """Values of a buffer, flat and read-only; a view of the file wherever it can be one."""
        if dtype == "int4":
            self.budget.allocate(4 * raw.size, table.where)
            flat = int4.unpack(raw)
        elif dtype == "bool":
            self.budget.allocate(raw.size, table.where)
            flat = raw != 0
        elif dtype == "float16":
            self.budget.allocate(2 * raw.size, table.where)
            with np.errstate(all="ignore"):
                flat = raw.view("<f2").astype(np.float32)
        else:
            native = np.dtype(DTYPES[dtype][0])
            stored = raw.view(native.newbyteorder("<"))
            if stored.dtype == native and stored.flags.aligned:
                return stored
            self.budget.allocate(raw.size, table.where)
            flat = stored.astype(native)
        flat.flags.writeable = False
        return flat

    def _quantization(
        self, table: Table, dtype: str, shape: tuple[int, ...], data: np.ndarray | None
    ) -> Quantization | None:
        if dtype in ("float32", "bool") or not table.has(Slot.TENSOR_QUANTIZATION):
            return None  # converters leave ranges on float tensors; they mean nothing there
        quant = table.table(Slot.TENSOR_QUANTIZATION, "quantization")
        assert quant is not None
        details = quant.scalar(Slot.QUANT_DETAILS_TYPE, "B")
        if details:
            known = details < len(QUANTIZATION_DETAILS)
            kind = QUANTIZATION_DETAILS[details] if known else str(details)
            raise quant.error(f"{kind} quantization is not supported")
        scale = quant.vector(Slot.QUANT_SCALE, "<f4", "the scales")
        if scale is None or scale.size == 0:
            return None
        self.budget.allocate(16 * scale.size, table.where)
        scale = scale.astype(np.float32)
        if data is not None:
            scale[scale == 0] = SMALLEST_SCALE
        zero = quant.vector(Slot.QUANT_ZERO_POINT, "<i8", "the zero points")
        zero = np.zeros(1, np.int64) if zero is None or zero.size == 0 else zero.astype(np.int64)
        lowest, highest = integer_range(dtype)
        if zero.min() < lowest or zero.max() > highest:
            raise quant.error(f"a zero point lies outside {dtype}, {lowest} to {highest}")
        axis = quant.scalar(Slot.QUANT_DIMENSION, "i")
        per_tensor = scale.size == 1 and (
            axis == 0 or not 0 <= axis < len(shape) or shape[axis] != 1
        )
        return Quantization(scale, zero, None if per_tensor else axis)
