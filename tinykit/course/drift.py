"""A small explorer for lessons: two devices with two parameters, and where algorithms lead them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tinykit.course.bowls import ALGORITHMS, Bowls, Path, follow
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.plots.drift import local_paths
from tinykit.plots.rounds import ByRound, by_round

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: device 0 cares for w₁, device 1 for w₂, and each only a little for the other
TWO = Bowls(
    np.array([[[2.0, 0.0], [0.0, 0.2]], [[0.2, 0.0], [0.0, 2.0]]]),
    np.array([[0.0, 0.0], [2.0, 2.0]]),
)
START = np.array([2.5, -1.0])
LR, ROUNDS, DRAWN, STRENGTH = 0.1, 60, 3, 0.5
#: of who takes part when one does; with this one the rounds that are drawn show both
SEED = 1
STEPS = (1, 2, 5, 10, 20, 50)
#: a distance that float32 would call nothing; less is not drawn
NOTHING = 1e-7


@dataclass(frozen=True, eq=False)
class Drift:
    """A run.

    Parameters
    ----------
    fixed : where this algorithm stays when all take part; the optimum for those that correct drift
    """

    algorithm: str
    steps: int
    both: bool
    path: Path
    fixed: np.ndarray

    @property
    def distances(self) -> np.ndarray:
        """Of the shared model from the optimum, after 0, 1 … rounds."""
        return self.path.distances(TWO.optimum)


class DriftExplorer(Explorer[Drift]):
    """Each local step of each device; algorithm, steps and who takes part are to be chosen."""

    name = "client-drift"
    title = "Client drift"
    summary = "Where two devices walk in a round, and where their average ends"

    @property
    def controls(self) -> tuple[Control, ...]:
        return (
            Choice("algorithm", "Algorithm", tuple(ALGORITHMS.items()), "fedavg", "buttons"),
            Choice(
                "steps", "Local steps", tuple((k, str(k)) for k in STEPS), 20, "slider",
                f"steps of gradient descent on a device in a round, each of size {LR:g}",
            ),
            Choice(
                "both", "Take part", ((True, "both devices"), (False, "one, drawn each round")),
                True, "buttons",
            ),
        )  # fmt: skip

    def compute(self, settings: Settings, tick: Tick = quiet) -> Drift:
        chosen = self.settings(settings)
        name, steps, both = chosen["algorithm"], chosen["steps"], chosen["both"]
        rng = np.random.default_rng(SEED)
        cohorts = [[0, 1] if both else [int(rng.integers(2))] for _ in range(ROUNDS)]
        path = follow(TWO, name, cohorts, start=START, steps=steps, lr=LR, strength=STRENGTH)
        drifts = {"fedavg": 0.0, "fedprox": STRENGTH}
        fixed = TWO.fixed_point(steps, LR, drifts[name]) if name in drifts else TWO.optimum
        return Drift(name, steps, both, path, fixed)

    def figures(self, result: Drift) -> dict[str, go.Figure]:
        title = ALGORITHMS[result.algorithm]
        points = {"optimum": TWO.optimum, "a₀": TWO.optima[0], "a₁": TWO.optima[1]}
        if result.both and np.linalg.norm(result.fixed - TWO.optimum) > 0.01:
            points = {**points, "end": result.fixed}
        distances = np.where(result.distances > NOTHING, result.distances, np.nan)
        return {
            "paths": local_paths(
                result.path.local[:DRAWN],
                result.path.shared[: DRAWN + 1],
                hessian=TWO.hessians.mean(0),
                optimum=TWO.optimum,
                points=points,
                losses=(0.05, 0.3, 1.0, 2.5),
                window=((-0.5, 3.0), (-1.3, 2.8)),
                title=f"{title}: the first {DRAWN} rounds",
                subtitle=f"computed exactly; {result.steps} local steps of size {LR:g} a round",
            ),
            "distance": by_round(
                [ByRound(title, range(ROUNDS + 1), distances[None])],
                title="Distance from the optimum",
                subtitle=f"computed exactly; {'both devices' if result.both else 'one device'} "
                "a round",
                unit="distance (no unit)",
                log=True,
                y_range=(-7, 1),
            ),
        }

    def text(self, result: Drift) -> str:
        distances = result.distances
        reach = float(np.linalg.norm(TWO.optima.mean(0) - TWO.optimum))
        parts = [
            f"{ALGORITHMS[result.algorithm]}, {result.steps} local steps: {_near(distances[5])} "
            f"from the optimum after 5 rounds, {_near(distances[20])} after 20, "
            f"{_near(distances[-1])} after {ROUNDS}."
        ]
        off = float(np.linalg.norm(result.fixed - TWO.optimum))
        if result.algorithm in ("fedavg", "fedprox"):
            where = (
                "the optimum itself"
                if off < 1e-9
                else f"{off:.3f} from it, {100 * off / reach:.0f} % of the way to the mean of a₀ "
                "and a₁"
            )
            parts.append(f"The point it would stay at with both devices is {where}.")
        else:
            parts.append("The only point it stays at is the optimum.")
        return "\n".join(parts)


def _near(distance: float) -> str:
    return f"{distance:.3f}" if distance >= 5e-4 else f"{distance:.0e}"
