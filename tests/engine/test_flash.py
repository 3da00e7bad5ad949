"""Waits for flash: the compiled hooks against a cache in Python, and limits that are known."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from unicorn import unicorn_const as const

from tests.engine.nets import residual
from tinykit.engine import PLAIN, emulate, generate
from tinykit.engine.build import compile_target
from tinykit.engine.cores import find_core
from tinykit.engine.cycles import NOTHING
from tinykit.engine.elf import Elf
from tinykit.engine.flash import FlashTiming
from tinykit.engine.flash_trace import FlashRecorder
from tinykit.engine.io import write_inputs
from tinykit.engine.unicorn_core import UnicornCore
from tinykit.graph import GraphBuilder, Quantization

SAMPLE = np.random.default_rng(0).integers(-128, 128, residual().input.shape).astype(np.int8)


class Lru:
    """The units of memory that were used last."""

    def __init__(self, size: int) -> None:
        self.size, self.kept = size, OrderedDict[int, None]()

    def misses(self, unit: int) -> bool:
        missed = unit not in self.kept
        self.kept[unit] = None
        self.kept.move_to_end(unit)
        if len(self.kept) > self.size:
            self.kept.popitem(last=False)
        return missed


class Simulation:
    """What `FlashRecorder` does, in Python, over the whole run."""

    def __init__(self, machine: UnicornCore, flash: FlashTiming) -> None:
        self.flash, self.last = flash, -1
        self.code = Lru(flash.code_bytes // flash.read_bytes)
        self.data = Lru(flash.data_bytes // flash.read_bytes)
        self.missed = np.zeros(3, int)
        end = machine._counter.base + machine._counter.bytes
        self.code_end = end
        machine.uc.hook_add(const.UC_HOOK_BLOCK, self.block)
        machine.uc.hook_add(const.UC_HOOK_MEM_READ, self.load, begin=1, end=0x1FFFFFF)

    def block(self, uc, address, size, _):  # type: ignore[no-untyped-def]
        if address >= self.code_end:
            return
        for unit in range(
            address // self.flash.read_bytes, (address + size - 1) // self.flash.read_bytes + 1
        ):
            if unit != self.last and self.code.misses(unit):
                self.missed[0 if unit == self.last + 1 else 1] += 1
            self.last = unit

    def load(self, uc, access, address, size, value, _):  # type: ignore[no-untyped-def]
        self.missed[2] += self.data.misses(address // self.flash.read_bytes)


def machine() -> UnicornCore:
    core = find_core("cortex-m4")
    sources = generate(residual(), "model", core)
    elf = Elf(compile_target(sources.files, core, sources.entry))
    made = UnicornCore(elf, core, sources.entry, sources.marks[1], sources.plan.arena_bytes)
    made.paint()
    write_inputs(residual(), sources.plan, [SAMPLE], made.write)
    return made


@pytest.mark.parametrize(
    "flash",
    [FlashTiming(5, 8, 1024, 256), FlashTiming(3, 16, 64, 32), FlashTiming(1, 4, 16, 4)],
)
def test_what_misses_is_what_a_plain_cache_misses(flash: FlashTiming) -> None:
    simulated = machine()
    simulation = Simulation(simulated, flash)
    simulated.run()
    counted = machine()
    recorder = FlashRecorder(counted, 20, flash)
    counted.run()
    assert recorder.finish().sum(axis=0).tolist() == simulation.missed.tolist()
    assert (simulation.missed > 0).all()


def test_large_caches_miss_each_unit_once() -> None:
    made = machine()
    image = sum(s.size for s in made.elf.sections)
    recorder = FlashRecorder(made, 20, FlashTiming(5, 16, 1 << 20, 1 << 20))
    instructions = made.run()
    again = recorder.finish().sum()
    assert 0 < again <= image / 16 + 3
    assert again < instructions / 20


def test_waits_by_op() -> None:
    flash = FlashTiming(5, 8, 1024, 256)
    run = emulate(residual(), [SAMPLE, SAMPLE], timing=True, board_flash=flash)
    assert run.waits is not None
    assert run.cycles is not None
    assert len(run.waits) == len(residual().ops)
    total, own = sum(run.waits, NOTHING), sum(run.cycles, NOTHING)
    assert 0 < total.low <= total.middle <= total.high < own.middle
    assert run.counts is not None
    assert run.counts[0] == run.counts[1]
    # watching loads changes no count, nor the stack
    plain = emulate(residual(), [SAMPLE, SAMPLE], options=PLAIN)
    watched = emulate(residual(), [SAMPLE], options=PLAIN, timing=True, board_flash=flash)
    assert plain.counts is not None
    assert watched.instructions == plain.counts[0] == plain.counts[1]
    assert (watched.per_op, watched.ram) == (plain.per_op, plain.ram)
    none = emulate(residual(), [SAMPLE], timing=True, board_flash=FlashTiming(0, 8, 1024, 256))
    assert none.waits is not None
    assert sum(none.waits, NOTHING).high == 0
    assert emulate(residual(), [SAMPLE], timing=True).waits is None
    other = emulate(residual(), [SAMPLE], "cortex-m7", timing=True, board_flash=flash)
    assert other.waits is None


def test_what_a_miss_costs() -> None:
    wide, narrow = FlashTiming(5, 16, 1024, 128), FlashTiming(5, 8, 1024, 256)
    assert narrow.waits(0, 3, 4).middle == 35
    # read ahead while the core works through the unit before, at 4 or 2 bytes a cycle
    for flash, middle, low in ((wide, 2, 0), (narrow, 4, 2), (FlashTiming(1, 16, 64, 64), 0, 0)):
        waits = flash.waits(10, 0, 0)
        assert (waits.middle, waits.low) == (10 * middle, 10 * low)
        assert waits.high == 10 * flash.wait_states


@pytest.mark.parametrize("wrong", [(5, 12, 64, 64), (5, 2, 64, 64), (-1, 8, 64, 64), (5, 8, 64, 4)])
def test_flash_that_cannot_be_is_refused(wrong: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match=r"flash|power of two"):
        FlashTiming(*wrong)


def test_code_whose_loads_cannot_be_watched_has_no_waits() -> None:
    """Plain kernels of int4 weights, by zig: a load in an IT block leads a watched run astray."""
    rng = np.random.default_rng(0)
    b = GraphBuilder("int4")
    x = b.input("x", (1, 6, 6, 8), "int8", Quantization.per_tensor(0.05, 3))
    values = rng.integers(-7, 8, (8, 3, 3, 8)).astype(np.int8)
    w = b.const(values, Quantization.per_tensor(0.1), dtype="int4")
    bias = b.const(rng.integers(-99, 99, 8).astype(np.int32))
    y = b.op(
        "conv_2d",
        [x, w, bias],
        (1, 6, 6, 8),
        "int8",
        Quantization.per_tensor(0.4, 1),
        padding="same",
    )
    graph = b.finish([y])
    sample = rng.integers(-128, 128, graph.input.shape).astype(np.int8)
    run = emulate(graph, [sample], timing=True, board_flash=FlashTiming(5, 32, 1024, 256))
    usual = emulate(graph, [sample])
    assert run.instructions == usual.instructions
    assert np.array_equal(run.outputs[0][0], graph.run(sample)[0])
    assert run.cycles is not None
    assert run.waits is None or sum(run.waits, NOTHING).middle > 0
