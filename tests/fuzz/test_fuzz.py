"""A fixed part of the fuzz run, and files built to exhaust a reader."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Sequence

import flatbuffers
import pytest

from tests.fuzz.fuzz_tflite import fuzz
from tinykit.formats.tflite import read
from tinykit.formats.tflite.reader import ALLOCATION_BASE, ALLOCATION_FACTOR
from tinykit.graph import ModelFormatError


def test_damaged_files_give_a_graph_or_an_error_that_says_why() -> None:
    report = fuzz(1500, seed=7, outside=False)
    assert not report.failures, report
    # The damage is neither all fatal nor all harmless, or this would test little.
    assert report.outcomes["read: a graph"] > 150
    assert report.outcomes["read: ModelFormatError"] > 500
    assert report.outcomes["used: run"] > 20


class Hostile:
    """A model in which many table entries point to the same table."""

    def __init__(
        self,
        tensors: int = 3,
        ops: int = 1,
        constant: int = 0,
        dtype: int = 9,
        shape: Sequence[int] = (1, 4),
        name: int = 20,
    ) -> None:
        self.b = flatbuffers.Builder(1024)
        b = self.b
        dims, text = self.ints(shape), b.CreateString("t" * name)

        def tensor(buffer: int) -> int:
            b.StartObject(4)
            b.PrependUOffsetTRelativeSlot(0, dims, 0)
            b.PrependInt8Slot(1, dtype, 0)
            b.PrependUint32Slot(2, buffer, 0)
            b.PrependUOffsetTRelativeSlot(3, text, 0)
            return b.EndObject()

        moving = tensor(0)
        fixed = tensor(1) if constant else moving
        tensor_list = self.offsets([moving, moving] + [fixed] * (tensors - 2))
        first, second = self.ints([0]), self.ints([1])
        inputs = self.ints(range(2, tensors))
        op = self.table({1: inputs, 2: second})
        op_list = self.offsets([op] * ops)
        subgraph = self.table({0: tensor_list, 1: first, 2: second, 3: op_list})
        subgraphs = self.offsets([subgraph])
        b.StartObject(4)
        b.PrependInt8Slot(0, 47, 0)
        b.PrependInt32Slot(3, 47, 0)
        codes = self.offsets([b.EndObject()])
        buffers = [self.table({})]
        if constant:
            b.StartVector(1, constant, 16)
            b.head -= constant
            buffers.append(self.table({0: b.EndVector()}))
        buffer_list = self.offsets(buffers)
        b.StartObject(5)
        b.PrependUint32Slot(0, 3, 0)
        for slot, value in ((1, codes), (2, subgraphs), (4, buffer_list)):
            b.PrependUOffsetTRelativeSlot(slot, value, 0)
        b.Finish(b.EndObject(), file_identifier=b"TFL3")
        self.data = bytes(b.Output())

    def table(self, fields: dict[int, int]) -> int:
        self.b.StartObject(5)
        for slot, value in fields.items():
            self.b.PrependUOffsetTRelativeSlot(slot, value, 0)
        return self.b.EndObject()

    def ints(self, values: Sequence[int]) -> int:
        self.b.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.b.PrependInt32(value)
        return self.b.EndVector()

    def offsets(self, tables: Sequence[int]) -> int:
        self.b.StartVector(4, len(tables), 4)
        for table in reversed(tables):
            self.b.PrependUOffsetTRelative(table)
        return self.b.EndVector()


@pytest.mark.parametrize("padding", [0, 20], ids=["tight", "padded"])
@pytest.mark.parametrize(
    "parts",
    [
        {"tensors": 200_000},
        {"tensors": 19_000},
        {"tensors": 900, "ops": 1000},
        {"ops": 200_000},
        {"tensors": 9000, "name": 100_000},
        # one buffer of packed int4, unpacked for each tensor anew it would be 1.8 GB
        {"tensors": 900, "constant": 1 << 20, "dtype": 17, "shape": (1 << 21,)},
        {"tensors": 900, "constant": 1 << 20, "dtype": 1, "shape": (1 << 19,)},
        {"shape": (2**31 - 1,) * 8},
        {"shape": (1 << 15, 1 << 15, 2)},
    ],
    ids=str,
)
def test_bombs_stay_within_the_stated_bounds(parts: dict[str, object], padding: int) -> None:
    data = Hostile(**parts).data  # type: ignore[arg-type]
    data += bytes(min(padding * len(data), 30 << 20))
    tracemalloc.start()
    start = time.perf_counter()
    try:
        read(data)
    except ModelFormatError as error:
        assert len(str(error)) > 20  # noqa: PT017 (a Graph is as good an outcome)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= ALLOCATION_FACTOR * len(data) + ALLOCATION_BASE
    assert time.perf_counter() - start < 30


def test_huge_activations_are_refused_with_their_size() -> None:
    with pytest.raises(ModelFormatError, match=r"activations take 6442450944 bytes"):
        read(Hostile(tensors=3, shape=(1 << 15, 1 << 15, 2)).data)


def test_offsets_that_lead_in_circles() -> None:
    """Every offset of a model aimed at the model's own root table."""
    data = bytearray(Hostile().data)
    root = struct.unpack_from("<I", data, 0)[0]
    for at in range(root + 4, root + 20, 4):
        struct.pack_into("<I", data, at, (root - at) % (1 << 32))
    with pytest.raises(ModelFormatError):
        read(bytes(data))
