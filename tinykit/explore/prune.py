"""Prune: what a network loses when weights go, layer by layer, and what gets smaller by it.

Nothing is looked up: the network is there, its weights are set to zero, and the test images go
through it at every turn of a knob. Only the sensitivity scan (once for each network, structure and
criterion) and training take longer, and run beside the main thread.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tinykit.explore._prune_figures import figures
from tinykit.explore._prune_networks import Network, group_title, shipped, titles
from tinykit.explore._prune_words import HOWS, STRUCTURES, python, words
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.compress.pruning import Sensitivity
    from tinykit.compress.workbench import Trial, Workbench
    from tinykit.data.types import Dataset

#: what the sensitivity scan tries, and what the sliders offer
SCAN = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
RATIOS = tuple(round(0.05 * step, 2) for step in range(20))
DROPS = (0.0, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5)
EPOCHS = 10
#: no network that ships has more convolutions and linear layers
LAYERS = 10
#: trainings that are remembered
_KEPT = 256
_CRITERIA = (
    ("magnitude", "magnitude"),
    ("taylor", "Taylor"),
    ("lamp", "LAMP"),
    ("fpgm", "FPGM"),
    ("random", "random"),
)


@dataclass
class _Bench:
    """A network, a way to prune it, and what is known of it so far."""

    bench: Workbench
    scan: Sensitivity
    dense: float
    trained: OrderedDict[Any, float] = field(default_factory=OrderedDict)


@dataclass(frozen=True)
class Pruned:
    """A turn of the knobs.

    Attributes
    ----------
    network, structure, criterion, how : what the knobs say
    bench : the network and its way of being pruned
    amount : the share that goes: by layer, or one of all layers ranked together
    scan : accuracy (validation split) when one layer alone is pruned
    trial : what the cut removes, and what it leaves of the accuracy (test split)
    dense : accuracy of the whole network (test split)
    trained : accuracy after training what is left (test split), if that is asked for
    parts : titles of what can lose a share of its own, by name
    layers : titles of all layers, by name
    shown : name of the layer whose weights are shown
    """

    network: Network
    structure: str
    criterion: str
    how: str
    bench: Workbench
    amount: dict[str, float] | float
    scan: Sensitivity
    trial: Trial
    dense: float
    trained: float | None
    parts: dict[str, str]
    layers: dict[str, str]
    shown: str
    examples: int


class Prune(Explorer[Pruned]):
    """The explorer."""

    name = "prune"
    title = "Prune"
    summary = "Which weights a network can lose, and what gets smaller when they go"
    needs = ("torch", "torch_pruning")

    def __init__(self) -> None:
        self.networks = shipped()
        self._benches: dict[tuple[str, str, str], _Bench] = {}
        self._data: Dataset | None = None
        self._lock = threading.Lock()

    @property
    def data(self) -> Dataset:
        if self._data is None:
            from tinykit import data

            self._data = data.load("digits")
        return self._data

    @property
    def controls(self) -> tuple[Control, ...]:
        percent = tuple((r, f"{r:.0%}") for r in RATIOS)
        by_hand = tuple(
            Choice(
                f"ratio{number}", f"Layer {number + 1}", percent, 0.5, "slider",
                "Share of this layer that goes",
            )
            for number in range(LAYERS)
        )  # fmt: skip
        return (
            Choice(
                "network", "Network", tuple((n, net.title) for n, net in self.networks.items()),
                next(iter(self.networks)), "buttons", "Trained on the digits, 8×8 pixels",
            ),
            Choice(
                "structure", "What goes", tuple(STRUCTURES.items()), "unstructured", "buttons",
                "Which weights go together",
            ),
            Choice(
                "criterion", "Criterion", _CRITERIA, "magnitude", "buttons",
                "What marks weights as dispensable",
            ),
            Choice(
                "how", "How much", tuple(HOWS.items()), "uniform", "buttons",
                "How the share of each layer is set",
            ),
            Choice(
                "ratio", "Remove", percent, 0.5, "slider",
                "Of each layer, or of all that can go",
            ),
            Choice(
                "drop", "Allowed drop", tuple((d, f"{100 * d:g} points") for d in DROPS), 0.02,
                "slider",
                "Accuracy that a layer may cost when it alone is pruned (validation split)",
            ),
            *by_hand,
            Choice(
                "train", "Then train", ((0, "no"), (EPOCHS, f"{EPOCHS} epochs")), 0, "buttons",
                "Training of the weights that are left; the others stay zero",
            ),
            Choice(
                "layer", "Show layer", tuple((i, str(i + 1)) for i in range(LAYERS)), 0,
                "slider", "Whose weights the histogram shows",
            ),
        )  # fmt: skip

    def labels(self, settings: Settings) -> dict[str, str | None]:
        how = settings["how"]
        known = self._benches.get(self._key(settings))
        parts = list(known.bench.together) if known else []
        kinds = known.bench.kinds if known else {}
        fixed = known is not None and known.bench.fixed is not None
        wanted: dict[str, str | None] = {
            "ratio": None if how not in ("uniform", "ranked") or fixed else "Remove",
            "drop": None if how != "scan" else "Allowed drop",
        }
        for number in range(LAYERS):
            wanted[f"ratio{number}"] = None
            if how == "hand" and known and number < len(parts):
                makers = known.bench.together[parts[number]]
                which = group_title(makers, kinds).split(" ")[0]
                wanted[f"ratio{number}"] = f"Layer{'s' * (len(makers) > 1)} {which}"
        return wanted

    # -- compute --------------------------------------------------------------------------------

    @staticmethod
    def _key(settings: Settings) -> tuple[str, str, str]:
        return settings["network"], settings["structure"], settings["criterion"]

    def instant(self, settings: Settings) -> bool:
        known = self._benches.get(self._key(settings))
        if known is None:
            return False
        if not settings["train"]:
            return True
        return _hashable(self._amount(known, settings), settings["train"]) in known.trained

    def compute(self, settings: Settings, tick: Tick = quiet) -> Pruned:
        settings = self.settings(settings)
        if settings["criterion"] == "fpgm" and settings["structure"] != "channel":
            raise TinykitError(
                "FPGM compares whole filters: let channels go, or choose another criterion"
            )
        known = self._bench(settings, tick)
        bench = known.bench
        amount = self._amount(known, settings)
        trial = bench.try_out(amount)
        trained = None
        if epochs := settings["train"]:
            trained = self._train(known, trial, _hashable(amount, epochs), epochs, tick)
        names = titles(bench.kinds)
        return Pruned(
            network=self.networks[settings["network"]],
            structure=settings["structure"],
            criterion=settings["criterion"],
            how=settings["how"],
            bench=bench,
            amount=amount,
            scan=known.scan,
            trial=trial,
            dense=known.dense,
            trained=trained,
            parts={n: group_title(makers, bench.kinds) for n, makers in bench.together.items()},
            layers=names,
            shown=list(names)[min(settings["layer"], len(names) - 1)],
            examples=len(self.data.test),
        )

    def _bench(self, settings: Settings, tick: Tick) -> _Bench:
        key = self._key(settings)
        with self._lock:
            known = self._benches.get(key)
        if known is not None:
            return known
        from tinykit.compress.workbench import Workbench

        name, structure, criterion = key
        tick(0.0, "starting")
        model = self.networks[name].build(self.data)
        bench = Workbench(model, self.data, structure, criterion)
        known = _Bench(bench, bench.scan(SCAN, tick=tick), bench.measure())
        with self._lock:
            self._benches[key] = known
        return known

    @staticmethod
    def _amount(known: _Bench, settings: Settings) -> dict[str, float] | float:
        bench, how = known.bench, settings["how"]
        if how == "scan":
            return known.scan.ratios_for(max_drop=settings["drop"])
        if how == "hand":
            ratios = {n: settings[f"ratio{i}"] for i, n in enumerate(bench.layers)}
        elif how == "ranked" and bench.fixed is None:
            return float(settings["ratio"])
        else:
            ratios = dict.fromkeys(bench.layers, settings["ratio"] if bench.fixed is None else 1.0)
        if bench.fixed is None:
            return ratios
        return {name: bench.fixed if ratio else 0.0 for name, ratio in ratios.items()}

    def _train(self, known: _Bench, trial: Trial, key: Any, epochs: int, tick: Tick) -> float:
        with self._lock:
            done = known.trained.get(key)
        if done is None:
            done = known.bench.finetuned(trial, epochs, tick=tick)
            with self._lock:
                known.trained[key] = done
                while len(known.trained) > _KEPT:
                    known.trained.popitem(last=False)
        return done

    # -- figures and words ----------------------------------------------------------------------

    def figures(self, result: Pruned) -> dict[str, go.Figure]:
        return figures(result)

    def panels(self, result: Pruned) -> dict[str, str]:
        return {"The same in Python": python(result)}

    def text(self, result: Pruned) -> str:
        return words(result)


def _hashable(amount: dict[str, float] | float, epochs: int) -> Any:
    return (tuple(amount.items()) if isinstance(amount, dict) else amount), epochs
