"""Programs that a real core would not survive: caught on each emulator, the function named."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from tests.engine.nets import residual, samples_of
from tinykit.engine import emulate
from tinykit.engine.build import compile_target
from tinykit.engine.codegen import Sources, generate
from tinykit.engine.cores import CORES
from tinykit.engine.elf import Elf
from tinykit.engine.errors import EmulationError
from tinykit.engine.io import write_inputs
from tinykit.engine.options import PLAIN
from tinykit.engine.overrun import STACK_BYTES
from tinykit.engine.qemu import run_qemu
from tinykit.engine.unicorn_core import UnicornCore
from tinykit.graph import TinykitError

CULPRIT = "model_op0_conv_2d"
HAS_QEMU = shutil.which("qemu-system-arm") is not None
needs_qemu = pytest.mark.skipif(not HAS_QEMU, reason="qemu-system-arm not installed")
#: each emulator, with its different kinds of memory protection (none; Armv7-M; Armv8-M)
MACHINES = [
    pytest.param("unicorn", "cortex-m0plus"),
    pytest.param("unicorn", "cortex-m4"),
    pytest.param("qemu", "cortex-m3", marks=needs_qemu),
    pytest.param("qemu", "cortex-m55", marks=needs_qemu),
]


def with_first_op(statements: str, before: str = "") -> Sources:
    """The residual network with `statements` in place of its first op, after functions `before`."""
    source = generate(residual(), options=PLAIN)
    head = f"void {CULPRIT}(uint8_t *arena)\n{{\n"
    text = source.files["model.c"]
    start = text.index(head) + len(head)
    broken = text[:start] + statements + text[text.index("\n}\n", start) :]
    begin = broken.rindex("/* ", 0, start)  # the comment and attributes of the op's function
    broken = broken[:begin] + before + broken[begin:]
    return replace(source, files={**source.files, "model.c": broken})


def run(
    source: Sources,
    core: str = "cortex-m4",
    emulator: str = "unicorn",
    native: bool = True,
    stack_bytes: int = STACK_BYTES,
    limit: int = 2_000_000,
) -> int:
    """Run the network on one sample; instructions."""
    graph, (sample,) = source.program.graph, samples_of(source.program.graph, 1)
    if emulator == "qemu":
        (made,) = run_qemu(
            [source], source.files, [[[sample]]], CORES[core], "zig", stack_bytes=stack_bytes
        )
        return made.counts[0] if made.counts else 1
    elf = Elf(compile_target(source.files, CORES[core], source.entry))
    machine = UnicornCore(
        elf, CORES[core], source.entry, source.symbols, source.plan.arena_bytes,
        limit=limit, native=native, stack_bytes=stack_bytes,
    )  # fmt: skip
    machine.paint()
    write_inputs(graph, source.plan, [sample], machine.write)
    return machine.run()


SIZE = generate(residual(), options=PLAIN).plan.arena_bytes
ARENA = "What to do: the kernel writes more than the memory plan gave it"
STACK = "What to do: raise stack_bytes"
#: written from the top down, as a stack grows
BIG = "volatile uint8_t big[70000];\n    for (int i = 70000; i > 0; i--) big[i - 1] = arena[0];"


@pytest.mark.parametrize(("emulator", "core"), MACHINES)
@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (f"arena[{SIZE}] = 1;", rf"0 bytes past the end of the arena of {SIZE:,} bytes.*{ARENA}"),
        (f"arena[0] = arena[{SIZE} + 5];", "5 bytes past the end of the arena"),
        (f"for (int i = 0; i <= {SIZE}; i++) ((volatile uint8_t *)arena)[i] = 0;", "past the end"),
        ("arena[-1] = 7;", rf"just below the arena was written, 1 bytes before .*{ARENA}"),
        ("arena[-20000] = 1;", "20000 bytes below the arena"),
        ("*(volatile int *)4 = (int)arena[0];", "a null pointer"),
        ("*(volatile int *)CODE = (int)arena[0];", "may not be written"),
        ("*(volatile int *)0x61000000 = (int)arena[0];", "where no memory is"),
        (BIG, f"stack overflow.*{STACK}"),
        ("(void)arena; __builtin_trap();", "exception|UC_ERR|undefined instruction"),
    ],
)
def test_faults_name_the_function(statements: str, said: str, core: str, emulator: str) -> None:
    statements = statements.replace("CODE", hex(CORES[core].flash + 0x1100))
    with pytest.raises(EmulationError, match=said) as caught:
        run(with_first_op("    " + statements), core, emulator)
    assert CULPRIT in str(caught.value)


@pytest.mark.parametrize(("emulator", "core"), MACHINES)
def test_code_where_no_code_is(emulator: str, core: str) -> None:
    jump = with_first_op("    ((void (*)(void))0x70000001)(); arena[0] = 1;")
    with pytest.raises(EmulationError, match=r"0x70000000|fetched code"):
        run(jump, core, emulator)


@pytest.mark.parametrize(("emulator", "core"), MACHINES)
def test_recursion_is_found_and_the_function_that_recurs_named(emulator: str, core: str) -> None:
    deep = (
        "__attribute__((noinline)) static int deeper(volatile uint8_t *arena, int n)\n"
        "{\n    volatile int kept[32];\n    kept[n & 31] = *arena;\n"
        "    return n ? deeper(arena, n - 1) + kept[n & 31] : 0;\n}\n"
    )
    few, many = (
        with_first_op(f"    arena[0] = (uint8_t)deeper(arena, {n});", deep) for n in (20, 5000)
    )
    assert run(few, core, emulator) > 0
    with pytest.raises(EmulationError, match=f"stack overflow.*in (deeper|{CULPRIT}).*{STACK}"):
        run(many, core, emulator)


@pytest.mark.parametrize(("emulator", "core"), MACHINES)
def test_a_stack_a_little_deeper_than_allowed(emulator: str, core: str) -> None:
    """Less than the grain of the memory protection: seen in the paint afterwards."""
    source = with_first_op(
        "    volatile uint8_t big[300];\n    for (int i = 0; i < 300; i++) big[i] = arena[i];"
    )
    assert run(source, core, emulator, stack_bytes=1024) > 0
    with pytest.raises(EmulationError, match=f"limit of 288 bytes.*{STACK}"):
        run(source, core, emulator, stack_bytes=288)


@pytest.mark.parametrize(("emulator", "core"), MACHINES)
def test_a_plan_that_is_too_small(emulator: str, core: str) -> None:
    """An arena without room for what its tensors take: the op that writes beyond it is named."""
    source = generate(residual(), options=PLAIN)
    assert run(source, core, emulator) > 0
    small = replace(source.program.plan, arena_bytes=SIZE - 16)
    cut = replace(source, program=replace(source.program, plan=small))
    with pytest.raises(EmulationError, match=f"past the end of the arena of {SIZE - 16:,}|outside"):
        run(cut, core, emulator)


def test_inputs_outside_the_arena_are_refused() -> None:
    source = generate(residual(), options=PLAIN)
    tiny = replace(source.program.plan, arena_bytes=64)
    cut = replace(source, program=replace(source.program, plan=tiny))
    with pytest.raises(EmulationError, match="the memory plan is too small for its own tensors"):
        run(cut)


@pytest.mark.parametrize("native", [True, False])
def test_a_runaway_is_stopped(native: bool) -> None:
    endless = with_first_op("    while (1) *(volatile uint8_t *)arena = 1;")
    with pytest.raises(EmulationError, match=f"1,000,000 instructions in {CULPRIT}"):
        run(endless, native=native, limit=1_000_000)


@needs_qemu
def test_a_runaway_under_qemu_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinykit.engine.qemu.TIMEOUT", 2)
    endless = with_first_op("    while (1) *(volatile uint8_t *)arena = 1;")
    with pytest.raises(EmulationError, match="did not finish within 2 s"):
        run(endless, "cortex-m3", "qemu")


@pytest.mark.parametrize(("emulator", "core"), MACHINES)
def test_the_unbroken_program_passes(emulator: str, core: str) -> None:
    assert run(with_first_op("    arena[0] = 1;"), core, emulator) > 0


@pytest.mark.parametrize(("emulator", "core"), MACHINES)
def test_emulate_heeds_the_stack_limit(emulator: str, core: str) -> None:
    samples = samples_of(residual(), 1)
    used = emulate(residual(), samples, core, emulator=emulator).ram.stack
    limit = -(-used // 8) * 8
    # an Armv8-M limits the stack pointer, which may go further down than what is written there
    room = limit + 128 * CORES[core].v8m
    again = emulate(residual(), samples, core, emulator=emulator, stack_bytes=room)
    assert again.ram.stack == used
    with pytest.raises(EmulationError, match=rf"stack overflow\) in \w+.*{STACK}"):
        emulate(residual(), samples, core, emulator=emulator, stack_bytes=limit - 64)


@needs_qemu
def test_a_stack_beyond_what_qemu_watches_is_refused() -> None:
    with pytest.raises(TinykitError, match="at most 131,072"):
        run(with_first_op("    arena[0] = 1;"), "cortex-m3", "qemu", stack_bytes=1 << 20)
