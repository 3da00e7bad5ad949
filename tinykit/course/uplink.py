"""A small explorer for lessons: what devices leave out of an update, and what noise hides in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any

from tinykit.explore._shipped import stored
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.plots.uplink import accuracy_by_bytes, accuracy_by_epsilon

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.federated.history import History

#: (bits, share of the entries, error feedback), as in the table
Method = tuple[int, float, bool]
WHOLE: Method = (32, 1.0, False)


class UplinkTable:
    """The table of `tinykit.explore.sweep.uplink`, by what people ask of it.

    Attributes
    ----------
    about : data, seeds, training, versions
    less : rows of compressed runs
    noisy : rows of private runs
    """

    def __init__(self) -> None:
        raw = stored("uplink")
        self.about: dict[str, Any] = raw["about"]
        self.less: list[dict[str, Any]] = raw["less"]
        self.noisy: list[dict[str, Any]] = raw["noisy"]

    def rows(self, method: Method, asked: float) -> list[dict[str, Any]]:
        """Runs of a method with a share `asked` of the devices a round; one a seed."""
        key = (*method, asked)
        return [r for r in self.less if (r["bits"], r["kept"], r["feedback"], r["asked"]) == key]

    def accuracies(self, method: Method, asked: float) -> list[float]:
        """After the last round, of each seed."""
        return [row["accuracy"][-1] for row in self.rows(method, asked)]

    def bytes_each(self, method: Method) -> int:
        """What a device sends in a round (counted)."""
        return int(next(r["bytes_each"] for r in self.less if _method(r) == method))

    def methods(self) -> list[Method]:
        """Those that were run, the largest messages first."""
        there = dict.fromkeys(_method(row) for row in self.less)
        return sorted(there, key=lambda m: (-self.bytes_each(m), not m[2]))

    def histories(self, method: Method, asked: float) -> list[History]:
        """The same runs as a simulation reports them: rounds, bytes, accuracies."""
        from tinykit.federated.history import History, Round

        made = []
        for row in self.rows(method, asked):
            n, seen = row["cohort"], dict(zip(row["rounds"], row["accuracy"], strict=True))
            made.append(
                History(
                    [
                        Round(k, n, n, bytes_up=n * row["bytes_each"], accuracy=seen.get(k))
                        for k in range(1, row["rounds"][-1] + 1)
                    ]
                )
            )
        return made

    def private(self, devices: int) -> dict[float, list[float]]:
        """ε → accuracy of each seed, by ascending ε; ∞ is clipped, without noise."""
        found: dict[float, list[float]] = {}
        for row in sorted(self.noisy, key=_epsilon):
            if row["devices"] == devices:
                found.setdefault(_epsilon(row), []).append(row["accuracy"])
        return found

    def noise(self, devices: int, epsilon: float) -> float:
        """z, the noise on the sum over the clip, that gives this ε after all rounds."""
        found = (r for r in self.noisy if (r["devices"], _epsilon(r)) == (devices, epsilon))
        return float(next(found)["noise"])

    def populations(self) -> list[int]:
        """Numbers of devices, ascending."""
        return sorted({row["devices"] for row in self.noisy})

    def cost(self, devices: int, epsilon: float) -> float:
        """Points of accuracy that the noise costs; the mean of all seeds."""
        by = self.private(devices)
        return 100 * (mean(by[math.inf]) - mean(by[epsilon]))


def _method(row: Mapping[str, Any]) -> Method:
    return row["bits"], row["kept"], row["feedback"]


def _epsilon(row: Mapping[str, Any]) -> float:
    return math.inf if row["epsilon"] is None else float(row["epsilon"])


def called(method: Method) -> str:
    """A method in words; the same up to the comma with and without error feedback."""
    bits, kept, feedback = method
    number = {32: "32 bits", 1: "signs"}.get(bits, f"{bits} bits")
    what = number if kept == 1 else f"top {100 * kept:g} % in {number}"
    return what if feedback or method == WHOLE else f"{what}, no error feedback"


@dataclass(frozen=True)
class Sent:
    """What the knobs chose."""

    method: Method
    asked: float
    devices: int
    epsilon: float


class UplinkExplorer(Explorer[Sent]):
    """Bits, entries and error feedback; devices and ε. All from the table."""

    name = "uplink"
    title = "What devices send"
    summary = "Accuracy with less of an update, and with noise in it"

    def __init__(self) -> None:
        self.table = UplinkTable()

    @property
    def controls(self) -> tuple[Control, ...]:
        less, noisy = self.table.less, self.table.noisy
        bits = sorted({r["bits"] for r in less}, reverse=True)
        kept = sorted({r["kept"] for r in less}, reverse=True)
        asked = sorted({r["asked"] for r in less})
        budgets = sorted({_epsilon(r) for r in noisy})
        return (
            Choice("bits", "Bits", _texts(bits), 32, "slider", "of each number that is sent"),
            Choice(
                "kept",
                "Entries",
                tuple((k, "all" if k == 1 else f"largest {100 * k:g} %") for k in kept),
                1.0,
                "buttons",
            ),
            Choice(
                "feedback",
                "Feedback",
                ((True, "on"), (False, "off")),
                True,
                "buttons",
                "error feedback: what a message lacked is added to the device's next update",
            ),
            Choice(
                "asked",
                "Asked",
                tuple((a, f"{100 * a:g} %") for a in asked),
                asked[0],
                "buttons",
                "share of the devices in a round; of the left figure",
            ),
            Choice(
                "devices",
                "Devices",
                tuple((n, f"{n:,}") for n in self.table.populations()),
                self.table.populations()[0],
                "slider",
                "of the right figure",
            ),
            Choice(
                "epsilon",
                "ε",
                tuple((e, "∞" if math.isinf(e) else f"{e:g}") for e in budgets),
                2.0,
                "slider",
                "after all rounds; of the right figure",
            ),
        )

    def labels(self, settings: Settings) -> Mapping[str, str | None]:
        """Nothing is left out of whole updates, so that nothing can be fed back."""
        whole = settings["bits"] == 32 and settings["kept"] == 1
        return {"feedback": None if whole else "Feedback"}

    def compute(self, settings: Settings, tick: Tick = quiet) -> Sent:
        chosen = self.settings(settings)
        method = chosen["bits"], chosen["kept"], chosen["feedback"]
        return Sent(
            WHOLE if method[:2] == WHOLE[:2] else method,
            chosen["asked"],
            chosen["devices"],
            chosen["epsilon"],
        )

    def figures(self, result: Sent) -> dict[str, go.Figure]:
        bits, kept, _ = result.method
        shown = [WHOLE]
        if result.method != WHOLE:
            shown += [(bits, kept, True), (bits, kept, False)]
        seeds = len(self.table.about["seeds"])
        few, many = self.table.populations()[0], result.devices
        budgets = list(self.table.private(few))
        place = budgets.index(result.epsilon)
        return {
            "bytes": accuracy_by_bytes(
                {called(m): self.table.histories(m, result.asked) for m in shown},
                title=f"Less of an update: {called(result.method)}",
                subtitle=f"measured, mean of {seeds} seeds; bytes counted",
                legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom"},
            ),
            "epsilon": accuracy_by_epsilon(
                {f"{n:,} devices": self.table.private(n) for n in sorted({few, many})},
                title=f"Noise in it: {many:,} devices",
                subtitle=f"measured; lines: mean of {seeds} seeds, marks: each of them",
                shapes=[
                    {
                        "type": "line",
                        "x0": place,
                        "x1": place,
                        "yref": "paper",
                        "y0": 0,
                        "y1": 1,
                        "line": {"color": "#8A8A8A", "dash": "dot", "width": 1},
                    }
                ],
            ),
        }

    def text(self, result: Sent) -> str:
        bits, kept, feedback = result.method
        whole = self.table.bytes_each(WHOLE)
        each = self.table.bytes_each(result.method)
        accuracy = mean(self.table.accuracies(result.method, result.asked))
        plain = mean(self.table.accuracies(WHOLE, result.asked))
        sent = f"{called(result.method)}: {each:,} bytes a device and round (counted)"
        if result.method == WHOLE:
            sent += f"; {100 * plain:.1f} % of the digits are recognised"
        else:
            sent += (
                f", {whole / each:.1f} times less than 32 bits; {100 * accuracy:.1f} % of the "
                f"digits are recognised, {100 * plain:.1f} % with 32 bits"
            )
            other = mean(self.table.accuracies((bits, kept, not feedback), result.asked))
            sent += f", {100 * other:.1f} % with error feedback {'off' if feedback else 'on'}"
        by = self.table.private(result.devices)
        z = self.table.noise(result.devices, result.epsilon)
        expected = self.table.about["share"] * result.devices
        noise = z * self.table.about["clip"] / expected
        budget = "∞" if math.isinf(result.epsilon) else f"{result.epsilon:g}"
        return (
            f"{sent}.\n{result.devices:,} devices, ε = {budget}: noise of {z:.2f} times the clip "
            f"on the sum, {noise:.4f} on each entry of the mean; "
            f"{100 * mean(by[result.epsilon]):.1f} % are recognised, "
            f"{100 * mean(by[math.inf]):.1f} % without noise."
        )


def _texts(bits: list[int]) -> tuple[tuple[int, str], ...]:
    return tuple((b, "1 (signs)" if b == 1 else str(b)) for b in bits)
