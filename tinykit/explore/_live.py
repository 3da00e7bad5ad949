"""A simulation drawn while it runs: `tinykit.explore.watch`."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import numpy as np

from tinykit.explore.explorer import Cancelled
from tinykit.explore.figure_view import FigureView, plain
from tinykit.graph.errors import TinykitError
from tinykit.plots.rounds import ByRound, by_round

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.federated import History, Simulation

#: figures are drawn this often at most, seconds
EVERY = 0.2


class Watch(widgets.VBox):
    """Figures of a simulation that runs beside the notebook, with a button that stops it.

    Parameters
    ----------
    simulation : goes on from where it is
    rounds : done in all at the end
    settings : of `Simulation.run`: ``until``, ``checkpoint`` …

    Attributes
    ----------
    figures : the `FigureView`
    drawn : how often figures were drawn
    """

    def __init__(self, simulation: Simulation, rounds: int, **settings: Any) -> None:
        self.simulation, self.rounds = simulation, rounds
        self.figures = FigureView()
        self.drawn = 0
        self._stop, self._last = threading.Event(), 0.0
        self._error: Exception | None = None
        self._settings = {"progress": False, **settings}
        self.button = widgets.Button(
            description="Stop", icon="stop", tooltip="Stop after the round that runs"
        )
        self.button.on_click(lambda _: self.stop())
        super().__init__([self.button, self.figures], layout={"width": "100%"})
        self.add_class("tinykit-explorer")
        self._show()
        # as ipywidgets' manual has it (Asynchronous widgets): only this thread touches the figures
        self._thread = threading.Thread(target=self._run, name="tinykit-watch", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop after the round that runs; `watch` again to go on."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> History:
        """Wait for the end; the rounds so far.

        Raises
        ------
        Exception
            What the simulation failed with.
        """
        self._thread.join(timeout)
        if self._error is not None:
            raise self._error
        return self.simulation.history

    # -- on the thread of the simulation ----------------------------------------------------------

    def _run(self) -> None:
        try:
            self.simulation.run(self.rounds, on_round=self._after, **self._settings)
        except Cancelled:
            pass
        except Exception as error:
            self._error = error
        self.button.layout.display = "none"
        self._show(last=True)

    def _after(self, simulation: Simulation, _: Any) -> None:
        if self._stop.is_set():
            raise Cancelled
        if time.monotonic() - self._last >= EVERY:
            self._show()

    def _show(self, last: bool = False) -> None:
        history = self.simulation.history
        status: dict[str, Any] = {}
        if not last:
            status = {
                "work": f"round {len(history)} of {self.rounds}",
                "fraction": len(history) / max(1, self.rounds),
                "live": True,
            }
        elif self._error is not None:
            told = isinstance(self._error, TinykitError)
            name = type(self._error).__name__
            status = {"error": str(self._error) if told else f"{name}: {self._error}"}
        with self.figures.hold_sync():
            self.figures.figures = plain(figures(history, self.rounds))
            self.figures.status = status
            if last:
                # words wait for the end: read aloud several times a second they would help nobody
                self.figures.readout = words(self.simulation)
                self.figures.turn += 1
        self.drawn += 1
        self._last = time.monotonic()


def figures(history: History, end: int) -> dict[str, go.Figure]:
    """Accuracy where it is evaluated, training loss, client drift, by round so far."""
    drawn: dict[str, go.Figure] = {}
    numbers = [r.number for r in history]
    shared = history.evaluated()
    curves = []
    if shared:
        curves.append(_one("shared model", *zip(*shared, strict=True)))
    devices = [r for r in history if r.device_accuracy]
    if devices:
        # the first so many devices are evaluated, in every round the same
        values = np.array([list(r.device_accuracy.values()) for r in devices], dtype=float).T
        curves.append(ByRound("devices, mean and range", [r.number for r in devices], values))
    if curves:
        drawn["accuracy"] = by_round(
            curves, title="Accuracy by round", scale=100, unit="accuracy in %", end=end,
            subtitle="measured; the devices' own models on their own test examples"
            if devices else "of the shared model on the test examples; measured",
            y_range=(0, 103),
        )  # fmt: skip
    drawn["loss"] = by_round(
        [_one("training loss", numbers, [r.loss for r in history])],
        title="Training loss on the devices", unit="loss in nats", end=end,
        subtitle="mean over the steps of those that answered; measured",
    )  # fmt: skip
    drawn["drift"] = by_round(
        [_one("client drift", numbers, [r.drift for r in history])],
        title="Client drift", unit="client drift", end=end, y_range=(0, 1.25),
        subtitle="0: all devices moved alike, 1: each its own way; measured",
    )  # fmt: skip
    return drawn


def _one(name: str, rounds: Any, values: Any) -> ByRound:
    return ByRound(name, list(rounds), np.array([list(values)], dtype=float))


def words(simulation: Simulation) -> str:
    """What happened, in a few lines."""
    history = simulation.history
    name = type(simulation.strategy).__name__
    lines = [f"{name} on {simulation.federation.name}: {len(history)} rounds done."]
    if shared := history.evaluated():
        lines.append(f"The shared model has {shared[-1][1]:.1%} accuracy (measured).")
    if own := history.personal():
        lines.append(f"The devices' own models have {own[-1][1]:.1%} on average (measured).")
    down = sum(r.bytes_down for r in history) / 1e6
    up = sum(r.bytes_up for r in history) / 1e6
    lines.append(
        f"{sum(r.answered for r in history):,} of {sum(r.asked for r in history):,} replies were "
        f"taken; {down:.3g} MB went down, {up:.3g} MB came up (counted)."
    )
    if history and history[-1].seconds is not None:
        took = sum(r.seconds or 0 for r in history)
        energy = sum(r.joules or 0 for r in history)
        lines.append(f"On the fleet: {took:.3g} s and {energy:.3g} J in all (modelled).")
    return "\n".join(lines)
