"""Which patches: the cheapest that keep within a limit, or those of the smallest arena."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

from tinykit.engine.arrange import Memo, Program, Step, arrange, choose_steps
from tinykit.engine.cores import Core, find_core
from tinykit.engine.options import Options
from tinykit.engine.patches.configuration import HALOS, Patched, configurations, rewrite
from tinykit.engine.patches.strips import alike_strips
from tinykit.engine.plan import least, plan
from tinykit.graph.errors import TinykitError
from tinykit.graph.ir import Graph


@dataclass(frozen=True, eq=False)
class Choice:
    """A program, and the patches in it; None where the graph is computed whole."""

    program: Program
    patched: Patched | None = None

    @property
    def arena_bytes(self) -> int:
        return self.program.plan.arena_bytes

    @property
    def origin(self) -> tuple[int, ...]:
        """For each op of the program's graph, the position of the op that it belongs to."""
        if self.patched is None:
            return tuple(range(len(self.program.graph.ops)))
        return self.patched.origin


class NoFit(TinykitError):
    """No arena within the limit; `best` is the smallest that was found."""

    def __init__(self, limit: int, best: Choice, whole: Graph, name: str = "") -> None:
        self.limit, self.best = limit, best
        peak = best.program.plan.peak_op
        layer = "" if peak is None else f"; {whole.op_name(best.origin[peak])} needs most"
        how = "without patches" if best.patched is None else f"with {best.patched.patches}"
        called = name or whole.name or "the graph"
        super().__init__(
            f"{called} does not fit an arena of {limit:,} bytes{layer}. The "
            f"smallest arena that works is {best.arena_bytes:,} bytes, {how}"
        )


class Chooser:
    """The programs of one graph on one core, whole and in patches; each is planned once.

    Parameters
    ----------
    core : name of a Cortex-M core, None for this machine
    """

    def __init__(
        self, graph: Graph, core: str | Core | None = None, options: Options | None = None
    ) -> None:
        self.graph = graph
        self.core = find_core(core) if isinstance(core, str) else core
        self.options = options or Options()
        self.memo: Memo = {}

    @cached_property
    def whole(self) -> Choice:
        return _Candidate(self, self.graph).choice

    @cached_property
    def _patched(self) -> list[_Candidate]:
        live = self.whole.program.plan.live_bytes
        return self._candidates(map(rewrite, configurations(self.graph, live=live)))

    def _candidates(self, patched: Iterable[Patched]) -> list[_Candidate]:
        return [_Candidate(self, p.graph, p) for p in patched]

    def fit(self, limit: int | None = None) -> Choice:
        """The cheapest program whose arena takes at most `limit` bytes: without patches where that
        fits (or without limit), else the patches of least `Patched.work`.

        Raises
        ------
        NoFit
            There is none; the error says what the smallest would be.
        """
        if limit is None or self.whole.arena_bytes <= limit:
            return self.whole
        for candidate in sorted(self._patched, key=lambda c: c.cost):
            if candidate.bound <= limit and candidate.choice.arena_bytes <= limit:
                return candidate.choice
        raise NoFit(limit, self.smallest(), self.graph)

    def smallest(self) -> Choice:
        """The program of the smallest arena; of equal ones the cheapest."""
        return _smallest([_Candidate(self, self.graph), *self._patched])

    def apply(self, strips: int = 4, halo: str = "keep") -> Choice:
        """The region that gains most from so many strips, whatever they cost.

        With rows kept there may be some strips more or fewer, as what a strip can make depends on
        the rows that it has.

        Raises
        ------
        TinykitError
            `strips` or `halo` make no sense, or no part of the graph works row by row.
        """
        if halo not in HALOS:
            raise TinykitError(f"halo is one of {', '.join(HALOS)}, not {halo!r}")
        if strips < 2:
            raise TinykitError(f"patches need two strips at least, not {strips}")
        live = self.whole.program.plan.live_bytes
        found = self._candidates(map(rewrite, configurations(self.graph, (strips,), (halo,), live)))
        if not found:
            raise TinykitError(
                f"no part of {self.graph.name or 'the graph'} can be computed in {strips} strips: "
                "two or more ops in a row on images of at least as many rows are needed"
            )
        return _smallest(found)


class _Candidate:
    """A graph with its steps, of which the arena is planned when asked for."""

    def __init__(self, chooser: Chooser, graph: Graph, patched: Patched | None = None) -> None:
        self.chooser, self.graph, self.patched = chooser, graph, patched

    @cached_property
    def cost(self) -> tuple[int, int]:
        if self.patched is None:
            return self.graph.macs, 1
        return self.patched.work, self.patched.patches.strips

    @cached_property
    def ways(self) -> list[tuple[Step, ...]]:
        """The steps; where there are chains, which may take more memory, also without them."""
        fused = self._steps(self.chooser.options)
        if all(len(step.positions) == 1 for step in fused):
            return [fused]
        return [fused, self._steps(replace(self.chooser.options, fuse=False))]

    def _steps(self, options: Options) -> tuple[Step, ...]:
        chooser = self.chooser
        steps = choose_steps(self.graph, chooser.core, options, chooser.memo)
        if self.patched is None:
            return steps
        return alike_strips(self.patched, steps, chooser.core, options)

    @cached_property
    def bound(self) -> int:
        """No arena of this graph is smaller."""
        in_place = self.chooser.options.in_place
        return min(least(self.graph, steps, in_place) for steps in self.ways)

    @cached_property
    def choice(self) -> Choice:
        chooser, options = self.chooser, self.chooser.options
        if self.patched is None:
            return Choice(arrange(self.graph, chooser.core, options))
        plans = [plan(self.graph, steps, options.in_place) for steps in self.ways]
        n = min(range(len(plans)), key=lambda n: plans[n].arena_bytes)
        program = Program(self.graph, chooser.core, options, self.ways[n], plans[n])
        return Choice(program, self.patched)


def _smallest(candidates: list[_Candidate]) -> Choice:
    """Of most candidates only the lower bound is looked at."""
    best: _Candidate | None = None
    for candidate in sorted(candidates, key=lambda c: (c.bound, c.cost)):
        if best is not None and candidate.bound > best.choice.arena_bytes:
            break
        if best is None or _size(candidate) < _size(best):
            best = candidate
    assert best is not None
    return best.choice


def _size(candidate: _Candidate) -> tuple[int, tuple[int, int]]:
    return candidate.choice.arena_bytes, candidate.cost
