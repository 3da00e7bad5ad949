"""The figures of "Federate": accuracy and drift by round, devices, who holds what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinykit.explore._federate_table import TITLES, reached
from tinykit.plots.rounds import ByRound, by_round, holdings, sorted_devices

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.explore._federate_table import Run
    from tinykit.explore.federate import Federated


def figures(result: Federated, goal: float) -> dict[str, go.Figure]:
    runs = dict(zip(map(TITLES.__getitem__, result.algorithms), result.runs, strict=True))
    which = seeds_of(result)
    end = result.rounds
    tests = result.table.tests
    right = {n: np.stack([100 * run.right / tests for run in of]) for n, of in runs.items()}
    drift = {n: np.stack([run.drift for run in of]) for n, of in runs.items()}
    devices = [(name, result.devices(of)) for name, of in runs.items()]
    held = result.holdings[0]
    main = (held.counts.max(axis=1) / held.counts.sum(axis=1)).mean()
    return {
        "accuracy": by_round(
            [ByRound(n, range(1, v.shape[1] + 1), v) for n, v in right.items()],
            title=_headline(runs, tests, goal, end),
            subtitle=f"shared model on {tests} test images, measured; {which}; dotted: {goal:.0%}",
            unit="accuracy in %",
            end=end,
            goal=100 * goal,
            y_range=(0, 103),
            height=380,
        ),
        "drift": by_round(
            [ByRound(n, range(1, v.shape[1] + 1), v) for n, v in drift.items()],
            title=_drift_title(drift),
            subtitle=f"0: all devices moved alike, 1: each its own way; measured; {which}",
            unit="spread / length of an update",
            end=end,
            y_range=(0, max(1.25, 1.05 * _largest(drift))),
            height=380,
        ),
        "devices": sorted_devices(
            devices,
            title=_devices_title(devices),
            subtitle=f"after round {len(result.runs[0][0])}: right answers by class, measured, "
            "weighted by each device's classes",
            unit="accuracy for the device in %",
            scale=100,
            height=360,
        ),
        "holdings": holdings(
            held.counts,
            [str(c) for c in range(held.counts.shape[1])],
            title=f"Who holds what: a device's main class is {main:.0%} of its images",
            subtitle=f"seed {held.seed}; counted; {held.counts.sum(axis=1)[0]} images on each of "
            f"{len(held.counts)} devices",
            height=360,
        ),
    }


def seeds_of(result: Federated) -> str:
    """Which runs are shown."""
    seeds = [run.seed for run in result.runs[0]]
    if len(seeds) > 1:
        return f"mean and range of {len(seeds)} seeds"
    return f"seed {seeds[0]}" + (", run here" if result.here else "")


def _headline(runs: dict[str, tuple[Run, ...]], tests: int, goal: float, end: int) -> str:
    found = []
    for name, of in runs.items():
        at = [reached(run, tests, goal) for run in of]
        there = [n for n in at if n is not None]
        if len(there) == len(at):
            found.append(f"{name} {np.mean(there):.0f}")
        elif there:
            found.append(f"{name} not with {len(at) - len(there)} of {len(at)} seeds")
        else:
            found.append(f"{name} not {'reached' if len(of[0]) >= end else 'yet'}")
    return f"Rounds to {goal:.0%}: " + ", ".join(found)


def _drift_title(drift: dict[str, np.ndarray]) -> str:
    parts = [f"{name} {_mean(values):.2f}" for name, values in drift.items()]
    return "How far devices drift apart, on average: " + ", ".join(parts)


def _devices_title(devices: list[tuple[str, np.ndarray]]) -> str:
    parts = [f"{name} {100 * worst(of):.0f} %" for name, of in devices]
    return "What the worst-off tenth of devices gets: " + ", ".join(parts)


def worst(accuracies: np.ndarray) -> float:
    """Mean over the worst-off tenth of the devices of each run, over runs."""
    tenth = max(1, accuracies.shape[1] // 10)
    return float(np.sort(accuracies, axis=1)[:, :tenth].mean())


def _largest(drift: dict[str, np.ndarray]) -> float:
    """Over 1 where some devices went much further than others; 0 without any value."""
    there = np.concatenate([values[~np.isnan(values)] for values in drift.values()])
    return float(there.max(initial=0.0))


def _mean(values: np.ndarray) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else float("nan")
