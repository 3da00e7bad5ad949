"""A small explorer for lessons: a budget of bytes, and which layers get the bits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinykit.explore._shipped import stored
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.graph.errors import TinykitError
from tinykit.plots.bits import layer_bits, sensitivities

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: layer → bits → what these bits cost, or the bytes that they take
Costs = Mapping[str, Mapping[int, float]]
Sizes = Mapping[str, Mapping[int, int]]


class MixedTable:
    """The table of `tinykit.explore.sweep.mixed_precision`, by what people ask of it.

    Attributes
    ----------
    about : data, seeds, training, versions
    weights : layer → number of weights
    rows : as stored
    """

    def __init__(self) -> None:
        raw = stored("mixed_precision")
        self.about: dict[str, Any] = raw["about"]
        self.weights: dict[str, int] = dict(raw["weights"])
        self.rows: list[dict[str, Any]] = raw["rows"]
        self.float_accuracies = [network["accuracy"] for network in raw["networks"]]
        self._sensitivity = {
            network["seed"]: {
                name: {int(b): cost for b, cost in sorted(network["sensitivity"][name].items())}
                for name in self.weights
            }
            for network in raw["networks"]
        }

    def sensitivity(self, seed: int = 0) -> dict[str, dict[int, float]]:
        """Layer → bits → rise of the loss with this layer alone at these bits."""
        return self._sensitivity[seed]

    def found(self, average: float, method: str, column: str) -> list[float]:
        """A column ("ptq", "qat", "sum", "joint", "bytes") of all seeds; "random" means all draws.

        Empty where that was not measured.
        """
        return [
            row[column]
            for row in self.rows
            if row.get("average") == average
            and row["method"].split()[0] == method
            and column in row
        ]

    def stored(self, share: float) -> list[dict[str, Any]]:
        """The rows of TFLite's storage, int4 (0) to int8 (1) everywhere; one a seed."""
        return [row for row in self.rows if row.get("share") == share]


@dataclass(frozen=True)
class Allocated:
    """Bits for a budget.

    Parameters
    ----------
    average : bits of a weight that the budget allows
    bits : layer → bits
    cost : sum of the sensitivities
    uniform_cost : the same sum with the same whole bits everywhere, rounded down
    spent, budget : bytes
    """

    average: float
    bits: Mapping[str, int]
    cost: float
    uniform_cost: float
    spent: int
    budget: int


class BitsExplorer(Explorer[Allocated]):
    """The exact choice of bits for a budget, as the budget moves.

    Parameters
    ----------
    costs : layer → bits → rise of the loss
    sizes : layer → bits → bytes of weights and biases, proportional to bits ("packed")
    weights : layer → number of weights
    """

    name = "bits-by-layer"
    title = "Bits by layer"
    summary = "Which layers deserve the bits of a budget"

    def __init__(self, costs: Costs, sizes: Sizes, weights: Mapping[str, int]) -> None:
        if not set(costs) == set(sizes) == set(weights):
            raise TinykitError("costs, sizes and weights have to speak of the same layers")
        self.costs, self.sizes, self.weights = costs, sizes, dict(weights)

    @property
    def controls(self) -> tuple[Control, ...]:
        steps = [2 + 0.25 * k for k in range(25)]
        return (
            Choice(
                "average",
                "Average bits",
                tuple((v, f"{v:g}") for v in steps),
                3.0,
                "slider",
                "the budget for all weights, said as the average bits of one; biases come on top",
            ),
        )

    def compute(self, settings: Settings, tick: Tick = quiet) -> Allocated:
        from tinykit.quant.mixed import allocate

        average = self.settings(settings)["average"]
        biases = sum(by[8] - self.weights[name] for name, by in self.sizes.items())
        budget = int(sum(self.weights.values()) * average / 8) + biases
        bits = allocate(self.costs, self.sizes, budget)
        return Allocated(
            average,
            bits,
            sum(self.costs[name][b] for name, b in bits.items()),
            sum(by[int(average)] for by in self.costs.values()),
            sum(self.sizes[name][b] for name, b in bits.items()),
            budget,
        )

    def figures(self, result: Allocated) -> dict[str, go.Figure]:
        return {
            "bits": layer_bits(
                result.bits,
                self.weights,
                title="Bits that each layer gets",
                subtitle="counted: bytes of the weights on each bar; dashed: the average",
                uniform=result.average,
            ),
            "sensitivity": sensitivities(
                self.costs,
                self.weights,
                title="What each layer costs alone",
                subtitle="measured, one layer rounded at a time; rings: chosen",
                chosen=result.bits,
            ),
        }

    def text(self, result: Allocated) -> str:
        said = "; ".join(
            f"{bits} bits: {', '.join(n for n, b in result.bits.items() if b == bits)}"
            for bits in sorted(set(result.bits.values()), reverse=True)
        )
        return (
            f"{result.spent:,} of {result.budget:,} bytes (counted). {said}.\nThe sensitivities of "
            f"this choice add up to {_nats(result.cost)}; with {int(result.average)} bits "
            f"everywhere it would be {_nats(result.uniform_cost)}."
        )


def _nats(value: float) -> str:
    return f"{value:.4f} nats"
