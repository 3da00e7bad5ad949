"""A model compiled for a board or core: a program within a limit of SRAM, ready to be written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING

from tinykit.graph.errors import TinykitError
from tinykit.targets.boards import Board, UnknownTargetError, load, names
from tinykit.targets.source import ModelLike, as_graph, model_name

if TYPE_CHECKING:
    from tinykit.engine import Options, Program
    from tinykit.engine.patches import Choice, Patched
    from tinykit.graph.ir import Graph

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKmM]?)(i?)[bB]?\s*")


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program for one core, and how much memory it takes.

    Attributes
    ----------
    name : of the model
    graph : the model as it came
    target : name of the board or core
    program : steps and memory plan; with patches, of a rewritten graph with the same outputs
    sram_limit : bytes that the arena may take; None where there is no limit. The limit is for the
        arena alone (activations and scratch memory): the stack, a few hundred bytes, is not in it
    flash_bytes : of the board; None for a core
    patched : the part of the network that is computed in strips; None where it is computed whole
    """

    name: str
    graph: Graph
    target: str
    program: Program
    sram_limit: int | None
    flash_bytes: int | None
    patched: Patched | None
    _choice: Choice

    @property
    def arena_bytes(self) -> int:
        """Size of the arena (counted)."""
        return self.program.plan.arena_bytes

    @property
    def lower_bound(self) -> int:
        """No layout of this program's memory can be smaller than this many bytes."""
        return self.program.plan.lower_bound

    @property
    def gap(self) -> float:
        """By how much the arena exceeds the lower bound: 0 where it is the smallest possible."""
        return self.program.plan.gap

    @property
    def recompute_macs(self) -> int:
        """Multiply-accumulates that patches compute a second time (counted)."""
        return 0 if self.patched is None else self.patched.recompute_macs

    @property
    def origin(self) -> tuple[int, ...]:
        """For each op of the program, the position of the op of `graph` that it belongs to."""
        return self._choice.origin

    def write(self, folder: str | Path, prefix: str = "model") -> Path:
        """Write the C, an example, a CMake file and a README into `folder`; the folder.

        Raises
        ------
        TinykitError
            `folder` is a file.
        """
        from tinykit.engine.export import export, write_folder

        files = export(self.program, prefix, self.name, self.graph.weight_bytes)
        return write_folder(files, folder)

    def __str__(self) -> str:
        plan, core = self.program.plan, self.program.core
        on = self.target
        if core is not None and core.name != on:
            on += f", {core.name}"
        limit = "no limit" if self.sram_limit is None else f"limit {self.sram_limit:,}"
        bound = (
            f"the smallest for these kernels{' and patches' if self.patched else ''}"
            if plan.arena_bytes == plan.lower_bound
            else f"{100 * plan.gap:.1f} % above the lower bound of {plan.lower_bound:,}"
        )
        rows = [("arena", f"{plan.arena_bytes:,} bytes ({limit}; the stack is not in it), {bound}")]
        if plan.peak_op is not None:
            rows.append(("needs most", self.graph.op_name(self.origin[plan.peak_op])))
        # as kernels lay them out, weights of small networks may take twice that
        weights = f"{self.graph.weight_bytes:,} bytes (counted; kernels' tables and code on top)"
        if self.flash_bytes is not None:
            fits = self.graph.weight_bytes < self.flash_bytes
            verb = "of" if fits else "DO NOT FIT"
            weights += f" {verb} the board's {self.flash_bytes:,} of flash"
        rows.append(("weights", weights))
        if self.patched is None:
            rows.append(("patches", "none: the network is computed whole"))
        else:
            share = 100 * self.recompute_macs / max(self.graph.macs, 1)
            rows.append(("patches", str(self.patched.patches)))
            twice = f"{self.recompute_macs:,} MACs (counted), {share:.1f} % of the network's"
            rows.append(("recompute", twice))
        return "\n".join([f"{self.name} for {on}", *(f"  {a:<11} {b}" for a, b in rows)])


class MissingOpsError(TinykitError, NotImplementedError):
    """The engine lacks ops of a model.

    Attributes
    ----------
    missing : by position of the op, why it cannot be computed
    """

    def __init__(self, graph: Graph, missing: dict[int, str]) -> None:
        self.missing = missing
        named = ", ".join(f"{graph.ops[i].kind} (op number {i})" for i in sorted(missing))
        super().__init__(
            f"the C generator lacks {len(missing)} of the model's {len(graph.ops)} ops: {named}; "
            f"the first: {missing[min(missing)]}"
        )


def compile_graph(
    graph: ModelLike,
    target: str | Board = "stm32f446",
    sram_limit: int | str | None = None,
    options: Options | None = None,
) -> Compiled:
    """C for `graph` on `target`, in patches where it would not fit otherwise.

    Parameters
    ----------
    graph : a Graph, or the path of a model file (``.tflite``)
    target : a board's name (see `tinykit.targets.names`), a Board, or a core's name ("cortex-m4")
    sram_limit : bytes that the arena may take, also as "32K" or "32KiB" (1024 bytes each); by
        default the SRAM of the board, and no limit for a core. Stack and static data are not in it.
    options : the engine's techniques; all by default

    Returns
    -------
    Compiled; without patches where the network fits whole, else with the cheapest that fit.

    Raises
    ------
    UnknownTargetError
        No board and no core of that name.
    MissingOpsError
        Ops that the engine lacks, all of them named.
    NoFit
        No arena within the limit; the text names the layer that needs most and the smallest arena
        that works.
    TinykitError
        `sram_limit` is no size.
    """
    from tinykit.engine.patches import Chooser, NoFit

    name, core, sram, flash = _target(target)
    limit = sram if sram_limit is None else parse_size(sram_limit)
    model, called = as_graph(graph), model_name(graph)
    _refuse_missing(model)
    try:
        choice = Chooser(model, core, options).fit(limit)
    except NoFit as error:
        raise NoFit(error.limit, error.best, model, called) from None
    return Compiled(called, model, name, choice.program, limit, flash, choice.patched, choice)


def schedules_of(path: str | Path, target: str | Board) -> Options:
    """The engine's techniques with the table of schedules at `path` before its own.

    Raises
    ------
    TinykitError
        No file is there, or no table, or one for another core than `target`'s.
    """
    from tinykit.engine import Options
    from tinykit.engine.arrange import read_table

    core = _target(target)[1]
    text = Path(path).read_text(encoding="utf-8")
    try:
        found = json.loads(text)
        made_for, _ = found["made_with"]["core"], found["schedules"].items()
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TinykitError(
            f"{path} is no table of schedules; `tinykit tune MODEL --out {path}` makes one"
        ) from None
    if made_for != core:
        raise TinykitError(f"{path} is a table of schedules for {made_for}, not {core}")
    return Options(schedules=read_table(text, str(path)))


def parse_size(size: int | str) -> int:
    """Bytes from a number or from text: "4096", "32K", "32 KiB", "1.5M"; K is 1024.

    Raises
    ------
    TinykitError
        It is no positive size.
    """
    count = int(size) if isinstance(size, Integral) and not isinstance(size, bool) else 0
    if isinstance(size, str) and (found := _SIZE.fullmatch(size)):
        number, unit, _ = found.groups()
        count = int(float(number) * {"": 1, "k": 1024, "m": 1024**2}[unit.lower()])
    if count <= 0:
        raise TinykitError(
            f"{size!r} is no size of memory; give bytes, or K or KiB (1024 bytes): 32768 or 32K"
        )
    return count


def _target(target: str | Board) -> tuple[str, str, int | None, int | None]:
    """Name, core, and bytes of SRAM and flash (None for a core)."""
    from tinykit.engine import CORES

    if isinstance(target, Board):
        return target.name, target.core.name, target.sram_bytes, target.flash_bytes
    if not isinstance(target, str):
        raise UnknownTargetError(
            f"a target is the name of a board or core, or a Board, not {target!r}; "
            f"boards: {', '.join(names())}"
        )
    if target.lower() in CORES:
        return target.lower(), target.lower(), None, None
    try:
        board = load(target)
    except UnknownTargetError as error:
        raise UnknownTargetError(f"{error}; cores: {', '.join(CORES)}") from None
    return board.name, board.core.name, board.sram_bytes, board.flash_bytes


def _refuse_missing(graph: Graph) -> None:
    from tinykit.engine import generate
    from tinykit.targets.partial import runnable_part

    if missing := runnable_part(graph, generate).missing:
        raise MissingOpsError(graph, missing)
