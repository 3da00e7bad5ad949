"""Quantize: bits, scales, grid and range of each layer of a real network, and what each costs.

Nothing is looked up: each turn quantizes the network's numbers and runs it on the test images.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from tinykit.explore._quantize_figures import OBSERVERS, SHARES, draw
from tinykit.explore._quantize_words import words
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.data.types import DataSpec
    from tinykit.quant.study import Format, Levels, Study

OUT = files("tinykit.explore") / "models"
#: of a layer's bits: not quantized; the same as all
FLOAT, ALL = 32, 0
#: neighbouring inputs that share a scale, where scales are per group
GROUP = 8
_BITS = (*range(2, 9), FLOAT)


@dataclass(frozen=True)
class Network:
    """A network that ships for this explorer (``datasets/quantize``)."""

    title: str
    build: Callable[[DataSpec], Any]


def _ds_cnn(spec: DataSpec) -> Any:
    from tinykit.nn import zoo

    return zoo.ds_cnn(spec, 0.25, depth=2, seed=0)


def _lenet(spec: DataSpec) -> Any:
    from tinykit.nn import zoo

    return zoo.lenet(spec, 0.5, seed=0)


NETWORKS = {"ds_cnn": Network("DS-CNN", _ds_cnn), "lenet": Network("LeNet-5", _lenet)}


@dataclass(frozen=True)
class Quantized:
    """A turn of the knobs.

    Attributes
    ----------
    study : the network
    settings : what the knobs say
    layer : the one shown; the last where the network has fewer
    formats : of each layer's weights or activations, whichever are set; None stays float
    accuracies : in [0, 1]: with this layer's tensor alone quantized; with all as set
    """

    study: Study
    settings: Mapping[str, Any]
    layer: int
    formats: tuple[Format | None, ...]
    accuracies: tuple[float, float]

    @property
    def what(self) -> Any:
        return self.settings["what"]

    @property
    def shown(self) -> Format:
        """The format of the tensor shown; 8 bits' where it stays float."""
        return self.formats[self.layer] or _format(self.settings, 8)

    @property
    def levels(self) -> Levels:
        return self.study.levels(self.layer, self.what, self.shown)

    @property
    def is_float(self) -> bool:
        return self.formats[self.layer] is None

    def names(self) -> list[str]:
        return [f"{n} {layer.kind}" for n, layer in enumerate(self.study.layers)]

    def scales(self, layer: int) -> int:
        fmt = self.formats[layer]
        return 0 if fmt is None else len(self.study.levels(layer, self.what, fmt).scale)

    def bytes_of(self, layer: int, bits: int | None = None) -> float:
        """Packed at its bits (or at `bits`), scales and zero points included."""
        fmt = self.formats[layer]
        count = self.study.layers[layer].size
        if self.what == "activations":
            count = self.study.outputs[layer]
        if bits is not None:
            return count * bits / 8
        if fmt is None:
            return count * 4.0
        each = 4 if fmt.symmetric else 5
        return count * fmt.bits / 8 + each * self.scales(layer)


class Quantize(Explorer[Quantized]):
    """The explorer."""

    name = "quantize"
    title = "Quantize"
    summary = "Bits, scales and ranges of a network's numbers, their errors, and its accuracy"
    needs = ("torch",)

    def __init__(self) -> None:
        self.titles = {name: network.title for name, network in NETWORKS.items()}

    @property
    def controls(self) -> tuple[Control, ...]:
        bits = tuple((b, "float" if b == FLOAT else str(b)) for b in _BITS)
        own = ((ALL, "as all"), *bits)
        return (
            Choice(
                "network", "Network", tuple(self.titles.items()), "ds_cnn", "buttons",
                "Trained on the digits that ship; batch norm is folded into the weights",
            ),
            Choice(
                "what", "Quantize", (("weights", "weights"), ("activations", "activations")),
                "weights", "buttons", "All knobs but the last are about these",
            ),
            Choice(
                "layer", "Show layer", tuple((n, str(n)) for n in range(_most())), 3, "slider",
                "Whose numbers the first three figures show",
            ),
            Choice(
                "bits", "Bits of all", bits, 4, "slider", "Of every layer without bits of its own"
            ),
            Choice(
                "scales", "A scale for",
                (("tensor", "the tensor"), ("channel", "each channel"),
                 ("group", f"{GROUP} inputs of a channel")),
                "tensor", "buttons", "How many numbers share a scale; of weights",
            ),
            Choice(
                "symmetric", "Grid", ((True, "symmetric"), (False, "affine")), True, "buttons",
                "Symmetric: as far below 0 as above. Affine: from anywhere to anywhere around 0",
            ),
            Choice(
                "observer", "Range", (*OBSERVERS.items(), ("hand", "by hand")), "minmax",
                "menu", "What gets levels; all else is clipped",
            ),
            Choice(
                "share", "By hand", tuple((s, f"{s:.0%}") for s in SHARES), 0.6, "slider",
                "Share of the range from the smallest to the largest value that gets levels",
            ),
            *(
                Choice(
                    f"bits_{n}", f"Layer {n} bits", own, ALL, "slider", "Its own, or as all"
                )
                for n in range(_most())
            ),
            Choice(
                "others", "Others",
                ((FLOAT, "float"), (8, "8 bits, as TFLite")), 8, "buttons",
                "The activations where weights are quantized, the weights where activations are",
            ),
        )  # fmt: skip

    def labels(self, settings: Settings) -> Mapping[str, str | None]:
        weights = settings["what"] == "weights"
        known = _studies.get(settings["network"])
        count = len(known.layers) if known else _most()
        wanted: dict[str, str | None] = {"others": "Activations" if weights else "Weights"}
        # activations have one scale a layer
        wanted["scales"] = "A scale for" if weights else None
        wanted["share"] = "By hand" if settings["observer"] == "hand" else None
        for n in range(_most()):
            wanted[f"bits_{n}"] = f"Layer {n} bits" if n < count else None
        return wanted

    # -- compute --------------------------------------------------------------------------------

    def instant(self, settings: Settings) -> bool:
        return settings["network"] in _studies

    def compute(self, settings: Settings, tick: Tick = quiet) -> Quantized:
        settings = self.settings(settings)
        if settings["network"] not in _studies:
            tick(None, f"reading {self.titles[settings['network']]}")
        net = study(settings["network"])
        layer = min(settings["layer"], len(net.layers) - 1)
        what = settings["what"]
        formats: list[Format | None] = []
        for n in range(len(net.layers)):
            bits = settings[f"bits_{n}"] or settings["bits"]
            formats.append(None if bits == FLOAT else _format(settings, bits))
        ours = {n: fmt for n, fmt in enumerate(formats) if fmt is not None}
        alone = {layer: ours[layer]} if layer in ours else {}
        rest = _rest(what) if settings["others"] == 8 else None
        theirs = dict.fromkeys(range(len(formats)), rest) if rest is not None else {}
        if what == "weights":
            accuracies = net.accuracy(alone, {}), net.accuracy(ours, theirs, rest)
        else:
            accuracies = net.accuracy({}, alone), net.accuracy(theirs, ours, _rest("weights"))
        return Quantized(net, settings, layer, tuple(formats), accuracies)

    # -- figures and words ----------------------------------------------------------------------

    def figures(self, result: Quantized) -> dict[str, go.Figure]:
        return draw(result)

    def text(self, result: Quantized) -> str:
        return words(result)


_studies: dict[str, Study] = {}
_lock = threading.Lock()


def trained(name: str, spec: DataSpec) -> Any:
    """A network that ships, a torch module: "ds_cnn" or "lenet".

    Raises
    ------
    TinykitError
        No such network; the installation lacks its weights.
    """
    from tinykit.nn.weights import load_weights

    if name not in NETWORKS:
        raise TinykitError(f"no network {name!r} ships here; there are: {', '.join(NETWORKS)}")
    with as_file(OUT / f"quantize_{name}.npz") as path:
        return load_weights(NETWORKS[name].build(spec), path)


def study(name: str) -> Study:
    """A network that ships, ready to be quantized; made once."""
    from tinykit import data
    from tinykit.quant.study import Study

    with _lock:
        if name not in _studies:
            digits = data.load("digits")
            _studies[name] = Study(trained(name, digits.spec), digits)
        return _studies[name]


def _most() -> int:
    """Layers of the network that has most."""
    return 6


def _format(settings: Settings, bits: int) -> Format:
    """What the knobs say of a tensor, at so many bits."""
    from tinykit.quant.study import Format

    weights = settings["what"] == "weights"
    by_hand = settings["observer"] == "hand"
    observer = settings["observer"]
    if weights and observer == "ema":
        observer = "minmax"  # weights are seen once: there is nothing to average
    return Format(
        bits,
        settings["scales"] if weights else "tensor",
        settings["symmetric"],
        observer,
        settings["share"] if by_hand else 1.0,
        GROUP,
    )


def _rest(what: str) -> Format:
    """8 bits as TFLite has them: of "weights" a scale a channel, of activations affine."""
    from tinykit.quant.study import Format

    return Format(8, "channel" if what == "activations" else "tensor", what == "activations")
