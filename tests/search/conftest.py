"""Toy kernels whose best schedule is known, in place of the engine's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinykit.engine.kernel import KERNELS, Kernel, Needs
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.graph import Graph, GraphBuilder, Quantization

RELU = frozenset({"relu"})


def relus(*sizes: int, ops: int = 1) -> Graph:
    """One branch of `ops` relus in a row for each size; scales never change."""
    quant = Quantization.per_tensor(0.5, -5)
    b = GraphBuilder("relus")
    outputs = []
    for n, size in enumerate(sizes):
        x = b.input(f"x{n}", (1, size), "int8", quant)
        for _ in range(ops):
            x = b.op("relu", [x], (1, size), "int8", quant)
        outputs.append(x)
    return b.finish(outputs)


class Toy(Kernel):
    """A relu with as many elements a turn as the knob `step` says, and ways to fail.

    `fault` 1 is wrong in one element, 2 writes outside its memory, 3 does not compile. `extra` is
    scratch memory for nothing.
    """

    name = "toy"
    kinds: tuple[frozenset[str], ...] = (RELU,)
    knobs: list[dict[str, int]] = []

    def schedules(self, layers, core, options: Options) -> list[Schedule]:  # type: ignore[no-untyped-def]
        return [Schedule.of(self.name, **knobs) for knobs in self.knobs]

    def needs(self, layers, schedule: Schedule) -> Needs:  # type: ignore[no-untyped-def]
        return Needs(scratch=schedule.get("extra", 0), lead={0: 0})

    def write(self, layers, schedule: Schedule, ctx) -> str:  # type: ignore[no-untyped-def]
        size, zero = layers[-1].out.size, layers[-1].in_zero
        step, fault = schedule["step"], schedule.get("fault", 0)
        body = "".join(
            f"    out[i + {n}] = in[i + {n}] < {zero} ? {zero} : in[i + {n}];\n"
            for n in range(step)
        )
        text = f"for (int i = 0; i < {size - size % step}; i += {step}) {{\n{body}}}\n"
        text += "".join(
            f"out[{i}] = in[{i}] < {zero} ? {zero} : in[{i}];\n"
            for i in range(size - size % step, size)
        )
        if schedule.get("waste", 0):
            text += f"for (volatile int i = 0; i < {schedule['waste']}; i++) {{\n}}\n"
        if schedule.get("extra", 0):
            text += "(void)scratch;\n"
        return text + {0: "", 1: "out[1]++;", 2: "out[1 << 24] = 1;", 3: "this is no C;"}[fault]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The only kernel there is; its `knobs` are for the test to fill."""
    for name in list(KERNELS):
        monkeypatch.delitem(KERNELS, name)
    kernel = Toy()
    kernel.knobs = []
    monkeypatch.setitem(KERNELS, "toy", kernel)
    return kernel


@pytest.fixture
def fused(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> Toy:
    """The same over two relus in a row."""
    kernel = Toy()
    kernel.name, kernel.kinds, kernel.knobs = "fused", (RELU, RELU), []
    monkeypatch.setitem(KERNELS, "fused", kernel)
    return kernel


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty store of trials; what was compiled may be found again."""
    monkeypatch.setattr("tinykit.search.store.cache_dir", lambda: tmp_path)
    return tmp_path / "schedules"
