"""Emulated runs: exact counts against single stepping, memory figures against other tools."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import unicorn

from tests.engine.nets import agree, floating, residual, samples_of
from tinykit.engine import CORES, HostLibrary, emulate, emulate_many
from tinykit.engine.build import compile_target
from tinykit.engine.codegen import generate
from tinykit.engine.elf import Elf
from tinykit.engine.io import write_inputs
from tinykit.engine.options import PLAIN
from tinykit.engine.unicorn_core import UnicornCore
from tinykit.graph import Graph, GraphBuilder, TinykitError

TOOLCHAINS = ["zig", *(["gcc"] if shutil.which("arm-none-eabi-gcc") else [])]
HAS_QEMU = shutil.which("qemu-system-arm") is not None
needs_qemu = pytest.mark.skipif(not HAS_QEMU, reason="qemu-system-arm not installed")


def machine(graph: Graph, core: str, native: bool = True) -> UnicornCore:
    """A core with `graph` compiled and the first sample in its arena."""
    source = generate(graph)
    elf = Elf(compile_target(source.files, CORES[core], source.entry))
    made = UnicornCore(
        elf, CORES[core], source.entry, source.symbols, source.plan.arena_bytes, native=native
    )
    made.paint()
    write_inputs(graph, source.plan, samples_of(graph, 1), made.write)
    return made


@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize(
    "core",
    [
        pytest.param(core.name, marks=() if core.emulator == "unicorn" else needs_qemu)
        for core in CORES.values()
    ],
)
@pytest.mark.parametrize("graph", [residual(), floating()], ids=lambda g: g.name)
def test_outputs_are_the_reference(graph: Graph, core: str, toolchain: str) -> None:
    samples = samples_of(graph, 3)
    library = HostLibrary(graph)
    run = emulate(graph, samples, core, toolchain)
    for sample, (got,) in zip(samples, run.outputs, strict=True):
        assert agree(graph.run(sample)[0], got)
        assert library.run(sample)[0].tobytes() == got.tobytes()


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4"])
def test_block_counts_are_what_single_stepping_counts(core: str) -> None:
    """Unicorn's own instruction hook as the oracle.

    It does not see instructions that an IT block predicates away; Armv6-M has no IT blocks, so
    there the two must be equal, and on the M4 ours can only be larger, by those instructions.
    """
    stepped = machine(residual(), core)
    steps = 0

    def step(*_: object) -> None:
        nonlocal steps
        steps += 1

    stepped.uc.hook_add(unicorn.UC_HOOK_CODE, step, begin=1, end=0x0F000000)
    counted = machine(residual(), core).run()
    stepped.run()
    if core == "cortex-m0plus":
        assert counted == steps
    else:
        assert steps <= counted <= steps * 1.05


def test_native_hook_and_python_hook_count_alike() -> None:
    native, python = machine(residual(), "cortex-m4"), machine(residual(), "cortex-m4", False)
    assert native.run() == python.run()
    assert native.per_op.tolist() == python.per_op.tolist()


def test_counts_belong_to_their_ops() -> None:
    graph = residual()
    samples = samples_of(graph, 2)
    run = emulate(graph, samples)
    assert run.instructions is not None
    assert run.per_op is not None
    assert sum(run.per_op) == run.instructions == (run.counts or [])[0]
    assert run == run
    again = emulate(graph, samples)
    assert (again.counts, again.per_op) == (run.counts, run.per_op)
    for position, op in enumerate(graph.ops):
        macs = graph.op_macs(position)
        if macs:  # callees are counted: no kernel does a multiply-accumulate in under 2
            assert 2 * macs < run.per_op[position] < 40 * macs, graph.op_name(position)
        if op.kind == "reshape":  # shares memory: a call and a return
            assert run.per_op[position] < 10
    # the first op's share is what a graph of that op alone costs, but for the call to the next op
    first = graph.replace(ops=graph.ops[:1], outputs=graph.ops[0].outputs)
    alone = emulate(first, samples).instructions
    assert alone is not None
    assert abs(alone - run.per_op[0]) <= 20


def test_more_work_costs_more() -> None:
    run = emulate_many([residual(), floating()], [samples_of(g(), 1) for g in (residual, floating)])
    assert run[0].instructions != run[1].instructions
    assert run[0].flash == run[1].flash  # one image


@pytest.mark.skipif(not shutil.which("arm-none-eabi-size"), reason="needs GNU binutils for Arm")
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
def test_flash_is_what_binutils_say(toolchain: str) -> None:
    run = emulate(residual(), samples_of(residual(), 1), "cortex-m4", toolchain)
    out = subprocess.run(
        ["arm-none-eabi-size", "-A", str(run.elf)], capture_output=True, text=True, check=True
    ).stdout
    rows = dict(line.split()[:2] for line in out.splitlines() if line.startswith("."))
    sizes = {name: int(size) for name, size in rows.items()}
    assert run.flash.code == sizes[".text"]
    assert run.flash.constants == sizes[".rodata"]
    assert run.flash.data == sizes.get(".data", 0)
    assert run.flash.total == run.flash.code + run.flash.constants + run.flash.data


def test_constants_are_the_weights_and_little_else() -> None:
    run = emulate(residual(), samples_of(residual(), 1), options=PLAIN)
    assert residual().weight_bytes <= run.flash.constants <= residual().weight_bytes + 1500
    assert run.ram.arena == 720
    assert 50 < run.ram.stack < 1000
    assert run.ram.static == 0


@needs_qemu
@pytest.mark.parametrize("toolchain", TOOLCHAINS)
@pytest.mark.parametrize("core", [c.name for c in CORES.values() if c.qemu and c.unicorn])
@pytest.mark.parametrize("graph", [residual(), floating()], ids=lambda g: g.name)
def test_qemu_agrees_with_unicorn(graph: Graph, core: str, toolchain: str) -> None:
    samples = samples_of(graph, 3)
    ours = emulate(graph, samples, core, toolchain, "unicorn")
    theirs = emulate(graph, samples, core, toolchain, "qemu")
    for a, b in zip(ours.outputs, theirs.outputs, strict=True):
        assert [x.tobytes() for x in a] == [x.tobytes() for x in b]
    assert abs(ours.ram.stack - theirs.ram.stack) <= 32
    assert theirs.flash == ours.flash
    if theirs.counts is not None:  # a QEMU with plugins: the two count alike, op by op
        assert theirs.counts == ours.counts
        assert theirs.per_op == ours.per_op
        assert theirs.instructions == ours.instructions


@needs_qemu
def test_the_emulator_is_chosen_by_core() -> None:
    """Helium runs on QEMU alone; there, too, instructions are counted by op."""
    samples = samples_of(residual(), 2)
    run = emulate(residual(), samples, "cortex-m55")
    for sample, (got,) in zip(samples, run.outputs, strict=True):
        assert np.array_equal(residual().run(sample)[0], got)
    if run.counts is not None and run.per_op is not None:
        assert sum(run.per_op) == run.instructions == run.counts[0]
        assert len(run.counts) == 2
        for position in range(len(residual().ops)):
            assert run.per_op[position] >= residual().op_macs(position) / 16
    with pytest.raises(TinykitError, match="take the emulator qemu"):
        emulate(residual(), samples, "cortex-m55", emulator="unicorn")
    with pytest.raises(TinykitError, match="for cortex-m0plus take unicorn"):
        emulate(residual(), samples, "cortex-m0plus", emulator="qemu")


@needs_qemu
def test_without_a_plugin_qemu_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinykit.engine.qemu._plugin", lambda: None)
    run = emulate(residual(), samples_of(residual(), 1), "cortex-m3", emulator="qemu")
    assert (run.instructions, run.per_op, run.counts) == (None, None, None)
    assert run.ram.stack > 0


@needs_qemu
def test_several_models_in_one_image_under_qemu() -> None:
    graphs = [residual(), floating(), residual()]
    samples = [samples_of(graph, 2) for graph in graphs]
    together = emulate_many(graphs, samples, "cortex-m3", emulator="qemu")
    apart = [
        emulate(g, s, "cortex-m3", emulator="qemu") for g, s in zip(graphs, samples, strict=True)
    ]
    for a, b in zip(together, apart, strict=True):
        assert [[x.tobytes() for x in sample] for sample in a.outputs] == [
            [x.tobytes() for x in sample] for sample in b.outputs
        ]
        # the linker may give the functions that models share another alignment, not other code
        assert (a.counts is None) == (b.counts is None)
        if a.counts is not None and b.counts is not None:
            assert a.counts == pytest.approx(b.counts, rel=0.02)


def test_a_missing_qemu_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(TinykitError, match="apt install qemu-system-arm"):
        emulate(residual(), samples_of(residual(), 1), "cortex-m3", emulator="qemu")


def test_graphs_with_several_inputs_and_constant_outputs() -> None:
    b = GraphBuilder()
    x, y = (b.input(n, (2, 3), "float32") for n in "xy")
    const = b.const(np.arange(4, dtype=np.float32))
    graph = b.finish([b.op("sub", [x, y], (2, 3), "float32"), const, x])
    p, q = np.float32([[1, 2, 3], [4, 5, 6]]), np.float32([[9, 8, 7], [0, 0, 1]])
    for outputs in (emulate(graph, [[p, q]]).outputs[0], HostLibrary(graph).run(p, q)):
        assert outputs[0].tolist() == (p - q).tolist()
        assert outputs[1].tolist() == [0, 1, 2, 3]
        assert outputs[2].tolist() == p.tolist()


def test_a_graph_without_ops_runs() -> None:
    b = GraphBuilder()
    x = b.input("x", (3,), "int16")
    graph = b.finish([x])
    sample = np.int16([1, -2, 3])
    run = emulate(graph, [sample])
    assert run.outputs[0][0].tolist() == [1, -2, 3]
    assert run.per_op == []


def test_a_network_beyond_any_microcontroller_is_refused() -> None:
    b = GraphBuilder()
    x = b.input("x", (1, 1 << 24), "float32")
    graph = b.finish([b.op("relu", [x], (1, 1 << 24), "float32")])
    with pytest.raises(TinykitError, match="134,217,728 bytes at once"):
        emulate(graph, [np.zeros((1, 1 << 24), np.float32)])


@pytest.mark.parametrize(
    "kwargs", [{"core": "cortex-z80"}, {"toolchain": "tcc"}, {"emulator": "simavr"}]
)
def test_unknown_names_are_said(kwargs: dict[str, str]) -> None:
    with pytest.raises(TinykitError, match="known are"):
        emulate(residual(), samples_of(residual(), 1), **kwargs)
