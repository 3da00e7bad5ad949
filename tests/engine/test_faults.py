"""Programs that a real core would not survive: caught, and the function is named."""

from __future__ import annotations

import pytest

from tests.engine.nets import residual
from tinykit.engine.build import compile_target
from tinykit.engine.codegen import generate
from tinykit.engine.cores import CORES
from tinykit.engine.elf import Elf
from tinykit.engine.errors import EmulationError
from tinykit.engine.unicorn_core import UnicornCore

CULPRIT = "model_op0_conv_2d"


def run_with(statements: str, core: str = "cortex-m4", native: bool = True) -> int:
    """Run the residual network with `statements` in place of its first op."""
    source = generate(residual())
    head = f"void {CULPRIT}(uint8_t *arena)\n{{\n"
    text = source.files["model.c"]
    start = text.index(head) + len(head)
    broken = text[:start] + statements + text[text.index("\n}\n", start) :]
    files = {**source.files, "model.c": broken}
    elf = Elf(compile_target(files, CORES[core], source.entry))
    machine = UnicornCore(
        elf, CORES[core], source.entry, source.symbols, source.plan.arena_bytes,
        limit=1_000_000, native=native,
    )  # fmt: skip
    machine.paint()
    return machine.run()


SIZE = generate(residual()).plan.arena_bytes


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (f"arena[{SIZE}] = 1;", "wrote 1 bytes at 0x[0-9a-f]+, 0 bytes past the end of the arena"),
        (f"arena[0] = arena[{SIZE} + 5];", "read 1 bytes at .*, 5 bytes past the end of the arena"),
        (f"for (int i = 0; i <= {SIZE}; i++) ((volatile uint8_t *)arena)[i] = 0;", "past the end"),
        ("arena[-20000] = 1;", "20000 bytes below the arena"),
        ("*(volatile int *)4 = (int)arena[0];", "a null pointer"),
        ("*(volatile int *)0x1100 = (int)arena[0];", "may not be written"),
        ("*(volatile int *)0x60000000 = (int)arena[0];", "where no memory is"),
        ("((void (*)(void))0x70000001)(); arena[0] = 1;", "0x70000000|fetched code"),
        (
            "volatile uint8_t big[70000];\n"
            "    for (int i = 70000; i > 0; i--) big[i - 1] = arena[0];",
            "stack overflow",
        ),
        ("(void)arena; __builtin_trap();", "exception|UC_ERR"),
    ],
)
def test_faults_name_the_function(statements: str, said: str, core: str) -> None:
    with pytest.raises(EmulationError, match=said) as caught:
        run_with("    " + statements, core)
    if "0x70000001" not in statements:
        assert CULPRIT in str(caught.value)


def test_a_write_just_below_the_arena_is_found_afterwards() -> None:
    """Memory is protected by pages; the part of a page below the arena is painted and checked."""
    with pytest.raises(EmulationError, match="just below the arena"):
        run_with("    arena[-1] = 7;")


@pytest.mark.parametrize("native", [True, False])
def test_a_runaway_is_stopped(native: bool) -> None:
    with pytest.raises(EmulationError, match=f"1,000,000 instructions in {CULPRIT}"):
        run_with("    while (1) *(volatile uint8_t *)arena = 1;", native=native)


def test_the_unbroken_program_passes() -> None:
    assert run_with("    arena[0] = 1;") > 0
