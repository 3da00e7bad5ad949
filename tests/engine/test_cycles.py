"""Modelled cycles against sums by hand, after Arm's table (DDI 0439, 3.3.1 and 3.3.3)."""

import numpy as np
import pytest

from tests.benchmarks._models import load
from tests.engine.nets import residual
from tinykit.engine import emulate
from tinykit.engine.cycles import NOTHING, Cycles, cycles
from tinykit.engine.emulator import Emulation
from tinykit.engine.trace import Trace


def code_of(text: str) -> bytes:
    """Machine code from halfwords as a disassembler prints them."""
    flat = text.replace(" ", "")
    return b"".join(bytes.fromhex(flat[i : i + 4])[::-1] for i in range(0, len(flat), 4))


def straight(text: str, left: int = 0) -> Cycles:
    """What a straight run of code takes once, if the last instruction jumps `left` times."""
    code = code_of(text)
    columns = len(code) // 2 + 1
    begun, ended, jumps = (np.zeros((1, columns), np.uint32) for _ in range(3))
    begun[0, 0] = ended[0, -1] = 1
    jumps[0, -1] = left
    (only,) = cycles(Trace(0x1000, code, begun, ended, jumps))
    return only


@pytest.mark.parametrize(
    ("text", "middle"),
    [
        ("6808", 2),  # ldr
        ("6808 681a", 3),  # two loads, pipelined
        ("6808 681a 6808", 4),  # the manual's example of three
        ("6808 681a fb204402", 4),  # and smlad
        ("6808 6802", 4),  # ldr r0,[r1]; ldr r2,[r0]: needs the first's result
        ("6808 6158", 3),  # ldr; str [r3, #20]
        ("6808 5098", 3),  # ldr; str [r3, r2]: pipelined after the load
        ("5098", 2),  # str [r3, r2]
        ("6158 681a", 3),  # str #; ldr: nothing is pipelined after a store
        ("3104 6808", 4),  # adds r1; ldr [r1]: no forwarding
        ("3104 681a", 3),  # adds r1; ldr [r3]
        ("6808 c90d", 6),  # ldr; ldm of three: 2 + 4, never pipelined
        ("e9d10200 6808", 5),  # ldrd 3, ldr 2
        ("b530", 4),  # push of three
        ("ecb00a04", 5),  # vldmia of four singles
        ("ecb00b04", 5),  # vldmia of two doubles
        ("ed2d0a02", 3),  # vpush of two
        ("ee000a81", 3),  # vmla.f32
        ("ee800a81", 14),  # vdiv.f32
        ("ec510a11", 2),  # vmov r0, r1, s2, s3
        ("f8510b04 f8512b04", 4),  # ldr [r1], #4 twice: the address is the first's result
        ("f8510b04 f8532b04", 3),  # with another base
        ("fb513012 fba20103", 2),  # smmlar, umull
        ("f8430022", 2),  # str [r3, r2, lsl #2]
        ("f8210b02", 1),  # strh [r1], #2
    ],
)
def test_by_hand(text: str, middle: float) -> None:
    found = straight(text)
    assert found == Cycles(middle, middle, middle)


def test_what_the_manual_leaves_open() -> None:
    assert straight("fb91f0f2") == Cycles(7, 2, 12)  # sdiv
    assert straight("4802") == Cycles(2, 2, 3)  # ldr [pc, #8]
    assert straight("bf08 4608") == Cycles(2, 1, 2)  # it; moveq
    assert straight("4770", left=1) == Cycles(3, 2, 4)  # bx lr


def test_loop() -> None:
    """movs; then ten times ldr, subs, bne (nine times taken); nop."""
    code = code_of("200a 680a 3801 d1fc bf00")
    begun, ended, left = (np.zeros((1, 6), np.uint32) for _ in range(3))
    begun[0, [0, 1, 4]] = 1, 9, 1  # the first turn runs in the block of the movs
    ended[0, [4, 5]] = 10, 1
    left[0, 4] = 9
    assert cycles(Trace(0, code, begun, ended, left)) == [
        Cycles(1 + 10 * 4 + 9 * 2 + 1, 1 + 10 * 4 + 9 * 1 + 1, 1 + 10 * 4 + 9 * 3 + 1)
    ]


def test_flow_decides_about_pairs() -> None:
    """A load that is also jumped to is pipelined only where it comes from the load before."""
    code = code_of("6808 681a")
    begun, ended, left = (np.zeros((1, 3), np.uint32) for _ in range(3))
    begun[0, [0, 1]] = 1, 4
    ended[0, 2] = 5
    (found,) = cycles(Trace(0, code, begun, ended, left))
    assert found.middle == 2 + 1 + 4 * 2


def test_unknown_instructions_count_one() -> None:
    assert straight("ffffffff 6808").middle == 3


@pytest.fixture(scope="module")
def run() -> Emulation:
    graph = load("anomaly shape")
    assert graph is not None
    rng = np.random.default_rng(0)
    sample = rng.integers(-128, 128, graph.input.shape).astype(np.int8)
    return emulate(graph, [sample, sample], timing=True)


def test_a_whole_network(run: Emulation) -> None:
    assert run.cycles is not None
    assert run.per_op is not None
    assert run.instructions is not None
    total = sum(run.cycles, NOTHING)
    assert total.low < total.middle < total.high
    # between one cycle each (an IT folded away here and there) and what MLPerf's boards took
    assert run.instructions < total.middle < 1.77 * run.instructions
    for count, modelled in zip(run.per_op, run.cycles, strict=True):
        assert count < modelled.middle
    assert run.counts is not None
    assert run.counts[0] == run.counts[1]  # recording the first changes no count


def test_python_records_what_the_compiled_hook_does(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = residual()
    sample = np.random.default_rng(1).integers(-128, 128, graph.input.shape).astype(np.int8)
    fast = emulate(graph, [sample], timing=True)
    monkeypatch.setattr("tinykit.engine.trace._native_hook", lambda: None)
    assert emulate(graph, [sample], timing=True).cycles == fast.cycles


def test_cores_without_published_timings_have_no_cycles() -> None:
    graph = load("anomaly shape")
    assert graph is not None
    sample = np.zeros(graph.input.shape, np.int8)
    assert emulate(graph, [sample], core="cortex-m0plus", timing=True).cycles is None
    assert emulate(graph, [sample]).cycles is None
