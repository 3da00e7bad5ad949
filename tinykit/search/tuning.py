"""What a schedule search found: the best schedule of each layer, as a table for people and for the
engine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tinykit.engine.build import toolchain_version
from tinykit.engine.options import Options
from tinykit.engine.schedule import NONE, Schedule
from tinykit.graph.errors import TinykitError
from tinykit.search.trials import Trial

#: what a search can make small: counted instructions, or modelled cycles
OBJECTIVES = ("instructions", "cycles")


@dataclass(frozen=True)
class Choice:
    """What the search found for one layer or chain.

    Attributes
    ----------
    best : the schedule to use; `NONE` for the plain kernel, or for the ops of a chain apart
    instructions : with it; of a chain whose ops are better apart, their sum
    trials : everything that was counted, rejected schedules included; the plain kernel is the trial
        of `NONE`, for single layers
    default : what is taken without a table, `NONE` likewise
    cycles : as `instructions`, modelled; None on cores whose timings are not published
    offered : how many schedules kernels have for it; fewer are in `trials` when a budget was set
    """

    key: str
    best: Schedule
    instructions: int
    trials: tuple[Trial, ...]
    default: Schedule = NONE
    cycles: float | None = None
    offered: int = 0

    @property
    def rejected(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.ok]

    def default_cost(self, objective: str = "instructions") -> float | None:
        """With the schedule that is taken without a table; None where that was not counted."""
        found = [
            t.cost(objective)
            for t in self.trials
            if t.schedule == self.default and t.comparable(objective)
        ]
        return found[0] if found else None

    @property
    def default_instructions(self) -> int | None:
        cost = self.default_cost()
        return None if cost is None else int(cost)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; every trial included."""
        return {
            "key": self.key,
            "best": str(self.best),
            "instructions": self.instructions,
            "cycles": self.cycles,
            "default": str(self.default),
            "default_instructions": self.default_instructions,
            "offered": self.offered,
            "trials": [trial.to_dict() for trial in self.trials],
        }


@dataclass(frozen=True)
class Tuning:
    """What a search found, by key of layer or chain.

    Attributes
    ----------
    objective : what was made small, of `OBJECTIVES`
    counted : schedules that were counted for it; the others' counts were known before
    """

    core: str
    toolchain: str
    choices: Mapping[str, Choice] = field(default_factory=dict)
    objective: str = "instructions"
    counted: int = 0

    @property
    def schedules(self) -> dict[str, Schedule]:
        return {key: choice.best for key, choice in self.choices.items()}

    @property
    def trials(self) -> list[tuple[str, Trial]]:
        """Every trial with the key of its layer or chain: what a cost model learns from."""
        return [(key, trial) for key, choice in self.choices.items() for trial in choice.trials]

    @property
    def rejected(self) -> list[tuple[str, Trial]]:
        """Schedules that a kernel offers and that do not work: faults of the engine."""
        return [(key, trial) for key, trial in self.trials if not trial.ok]

    def options(self, base: Options | None = None) -> Options:
        """`base` with these schedules before its own."""
        base = base or Options()
        return replace(base, schedules={**base.schedules, **self.schedules})

    def to_dict(self) -> dict[str, Any]:
        """Plain values: a row for each layer and chain, with every trial."""
        return {
            "core": self.core,
            "toolchain": self.toolchain,
            "objective": self.objective,
            "counted": self.counted,
            "layers": [choice.to_dict() for choice in self.choices.values()],
            "rejected": [
                {"key": key, "schedule": str(trial.schedule), "error": trial.error}
                for key, trial in self.rejected
            ],
        }

    def __str__(self) -> str:
        """A row for each layer and chain: its best schedule, what it costs, and what it gains."""
        if not self.choices:
            return f"No layer has schedules to choose from on {self.core}."
        unit = "instructions" if self.objective == "instructions" else "cycles (modelled)"
        rows = [("layer or chain", "best schedule", unit, "default", "gain", "tried")]
        for choice in self.choices.values():
            cost = choice.instructions if self.objective == "instructions" else choice.cycles or 0
            default = choice.default_cost(self.objective)
            gain = "" if not default else f"{1 - cost / default:.1%}"
            best = str(choice.best)
            if choice.best == NONE:
                best = "apart" if " > " in choice.key else "plain kernel"
            tried = sum(trial.schedule != NONE for trial in choice.trials)
            shown = "–" if default is None else f"{default:,.0f}"
            rows.append(
                (_short(choice.key), best, f"{cost:,.0f}", shown, gain, f"{tried}/{choice.offered}")
            )
        widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if n < 2 else cell.rjust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        lines.append("")
        lines.append(
            f"{len(self.choices)} different layers and chains on {self.core} ({self.toolchain}); "
            f"{len(self.trials)} ways to compute them, plain kernels too, {self.counted} counted "
            "now."
        )
        for key, trial in self.rejected:
            lines.append(f"REJECTED {trial.schedule} of {_short(key)}: {trial.error}")
        return "\n".join(lines)

    def write(self, path: Path) -> None:
        """Write, or add to, the table that the engine reads (``schedules/CORE.json``).

        Rows of layers that this search did not meet are kept.

        Raises
        ------
        TinykitError
            See `rows_at`.
        """
        rows, counts = rows_at(path, self.core)
        for key, choice in self.choices.items():
            rows[key] = str(choice.best)
            counts[key] = choice.instructions
        made = {"core": self.core, "toolchain": self.toolchain, "objective": self.objective}
        if self.toolchain:
            made["version"] = toolchain_version(self.toolchain).split("\n")[0]
        table = {
            "made_with": made,
            "schedules": dict(sorted(rows.items())),
            "instructions": dict(sorted(counts.items())),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def rows_at(path: Path, core: str) -> tuple[dict[str, str], dict[str, int]]:
    """Schedules and instruction counts, by key, of the table at `path`; none where no file is.

    Raises
    ------
    TinykitError
        Something else is there, or a table for another core: it would be lost.
    """
    if path.is_dir():
        raise TinykitError(f"{path} is a folder; name a table of schedules in it (.json)")
    if not path.exists():
        return {}, {}
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        rows, counts, made_for = old["schedules"], old["instructions"], old["made_with"]["core"]
        rows, counts = dict(rows), dict(counts)
    except (ValueError, KeyError, TypeError):
        raise TinykitError(
            f"{path} is there and is no table of schedules; name another file, or remove it"
        ) from None
    if made_for != core:
        raise TinykitError(f"{path} is a table of schedules for {made_for}, not {core}")
    return rows, counts


def _short(key: str) -> str:
    """A key as a person reads it: kinds and shapes of inputs and output."""
    layers = []
    for layer in key.split(" > "):
        words = layer.split(" ")
        shapes = [word.partition(".")[0] for word in words[1:] if "x" in word.partition(".")[0]]
        ends = f"{shapes[0]} → {shapes[-1]}" if len(shapes) > 1 else "".join(shapes)
        strides = [w.partition("=")[2] for w in words if w.startswith("stride_h=")]
        layers.append(f"{words[0]} {ends}" + (f" /{strides[0]}" if strides else ""))
    return " > ".join(layers)
