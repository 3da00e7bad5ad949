"""A small explorer for lessons: where a range should end, at how many bits, trained or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinykit.explore._shipped import stored
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.plots.ranges import Errors, accuracy_lines, range_errors

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: method in the table → what people read
NAMES = {
    "ptq": "not trained",
    "clipped": "trained, clipped STE",
    "identity": "trained, identity STE",
    "norm": "trained, identity STE, gradient norms clipped",
    "lsq": "trained, range learned from here",
}
OBSERVERS = {
    "minmax": "min-max",
    "ema": "EMA",
    "percentile": "percentile",
    "mse": "MSE",
    "kl": "KL",
}


class RangeTable:
    """The table of `tinykit.explore.sweep.range_precision`, by what people ask of it.

    Attributes
    ----------
    about : data, seeds, training, versions
    rows : as stored
    """

    def __init__(self) -> None:
        raw = stored("range_precision")
        self.about: dict[str, Any] = raw["about"]
        self.rows: list[dict[str, Any]] = raw["rows"]

    def accuracies(self, what: str, bits: int, method: str) -> dict[float, list[float]]:
        """End of the range (a share) → accuracy of each seed; empty where nothing was trained."""
        found: dict[float, list[float]] = {}
        for row in self._rows(what, bits, method):
            found.setdefault(row["share"], []).append(row["accuracy"])
        return found

    def errors(self, what: str, bits: int) -> Errors:
        """Clipping and rounding by the end of the range; the mean of all seeds and tensors."""
        by_share: dict[float, list[dict[str, Any]]] = {}
        for row in self._rows(what, bits, "ptq"):
            by_share.setdefault(row["share"], []).append(row)
        return Errors(
            list(by_share),
            [_mean([r["clipping"] for r in rows]) for rows in by_share.values()],
            [_mean([r["rounding"] for r in rows]) for rows in by_share.values()],
        )

    def observed(self, what: str, bits: int) -> dict[str, tuple[float, float, float]]:
        """Observer → (end of the range, error, accuracy), each the mean of all seeds and tensors.

        Observers that chose the same ranges stand together.
        """
        found: dict[tuple[float, float, float], list[str]] = {}
        for method, name in OBSERVERS.items():
            rows = self._rows(what, bits, method)
            end = _mean([share for row in rows for share in row["shares"]])
            error = _mean([row["clipping"] + row["rounding"] for row in rows])
            key = round(end, 4), round(error, 8), _mean([row["accuracy"] for row in rows])
            found.setdefault(key, []).append(name)
        return {", ".join(names): key for key, names in found.items()}

    def float_accuracies(self, trained_on: bool = False) -> list[float]:
        """Accuracy of each seed without quantization; after further training, where asked."""
        method = "float, trained on" if trained_on else "float"
        return [row["accuracy"] for row in self._rows("none", 32, method)]

    def learned_ends(self, what: str, bits: int) -> dict[float, float]:
        """Where learned ranges started → where they ended; the mean of all seeds and tensors."""
        found: dict[float, list[float]] = {}
        for row in self._rows(what, bits, "lsq"):
            found.setdefault(row["share"], []).extend(row["shares"])
        return {start: _mean(ends) for start, ends in found.items()}

    def values(self, knob: str) -> tuple[Any, ...]:
        """What a column of the table holds, ascending, of the rows without training."""
        return tuple(sorted({row[knob] for row in self.rows if row["method"] == "ptq"}))

    def _rows(self, what: str, bits: int, method: str) -> list[dict[str, Any]]:
        key = what, bits, method
        return [row for row in self.rows if (row["what"], row["bits"], row["method"]) == key]


@dataclass(frozen=True)
class RangeShown:
    """What the knobs chose, and what the table has of it."""

    what: str
    bits: int
    share: float
    errors: Errors
    observed: Mapping[str, tuple[float, float, float]]
    accuracies: Mapping[str, Mapping[float, Sequence[float]]]

    @property
    def at(self) -> int:
        """Position of the chosen end."""
        return list(self.errors.shares).index(self.share)


class RangeExplorer(Explorer[RangeShown]):
    """Where the range ends, at how many bits: errors, observers, accuracy; all from the table."""

    name = "range-and-precision"
    title = "Range and precision"
    summary = "What it costs to clip, and to round, before and after training"

    def __init__(self) -> None:
        self.table = RangeTable()

    @property
    def controls(self) -> tuple[Control, ...]:
        def options(knob: str) -> tuple[tuple[Any, str], ...]:
            return tuple((v, f"{v:g}") for v in self.table.values(knob))

        what = (("weights", "weights"), ("activations", "hidden activations"))
        return (
            Choice("what", "Quantized", what, "weights", "buttons"),
            Choice("bits", "Bits", options("bits"), 4, "slider"),
            Choice(
                "share",
                "Range end",
                options("share"),
                1.0,
                "slider",
                "as a share of the largest magnitude in each tensor",
            ),
        )

    def compute(self, settings: Settings, tick: Tick = quiet) -> RangeShown:
        chosen = self.settings(settings)
        what, bits = chosen["what"], chosen["bits"]
        found = {NAMES[m]: self.table.accuracies(what, bits, m) for m in NAMES if m != "norm"}
        return RangeShown(
            what,
            bits,
            chosen["share"],
            self.table.errors(what, bits),
            self.table.observed(what, bits),
            {name: points for name, points in found.items() if points},
        )

    def figures(self, result: RangeShown) -> dict[str, go.Figure]:
        seeds = len(self.table.about["seeds"])
        what = "weights" if result.what == "weights" else "hidden activations"
        return {
            "errors": range_errors(
                {result.bits: result.errors},
                marks={name: (end, error) for name, (end, error, _) in result.observed.items()},
                title=f"Error of {what} at {result.bits} bits",
                subtitle=f"measured; mean of all tensors, {seeds} seeds",
                at=result.share,
            ),
            "accuracy": accuracy_lines(
                result.accuracies,
                title=f"Accuracy, {what} at {result.bits} bits",
                subtitle=f"measured; lines: mean of {seeds} seeds, points: each of them",
                references={"float": _mean(self.table.float_accuracies())},
                at=result.share,
            ),
        }

    def text(self, result: RangeShown) -> str:
        i, errors = result.at, result.errors
        clipping, rounding = errors.clipping[i], errors.rounding[i]
        worse = "clipping" if clipping > rounding else "rounding"
        parts = [
            f"{result.bits} bits, range up to {result.share:g} of the largest magnitude: the "
            f"squared error is {_percent(clipping + rounding)} of the mean square "
            f"({_percent(clipping)} clipping, {_percent(rounding)} rounding; {worse} costs more). "
            f"It is least at {errors.best:g}."
        ]
        said = [
            f"{name}: {100 * _mean(points[result.share]):.1f} %"
            for name, points in result.accuracies.items()
            if result.share in points
        ]
        float_ = _mean(self.table.float_accuracies())
        parts.append(f"Accuracy here: {'; '.join(said)}; float: {100 * float_:.1f} %.")
        trained = [p for n, p in result.accuracies.items() if n != NAMES["ptq"]]
        if not trained:
            parts.append("Nothing was trained at this number of bits.")
        elif result.share not in trained[0]:
            ends = ", ".join(f"{end:g}" for end in trained[0])
            parts.append(f"Trained were networks whose range ends at {ends}.")
        return " ".join(parts[:2]) + "\n" + " ".join(parts[2:])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _percent(value: float) -> str:
    return f"{100 * value:.2g} %"
