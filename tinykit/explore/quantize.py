"""Quantize: bits, scales, grid and range of each layer of a real network, and what each costs.

Nothing is looked up: each turn quantizes the network's numbers and runs it on the test images.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from tinykit.explore._quantize_words import percent, words
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.graph.errors import TinykitError
from tinykit.plots import accuracy_bars, channel_ranges, error_curve, layer_bars, level_histogram

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
_SHARES = tuple(n / 100 for n in range(5, 101, 5))
#: observers that find a range, as people read them
OBSERVERS = {
    "minmax": "min-max",
    "ema": "moving average",
    "percentile": "percentile 99",
    "mse": "least squares",
}


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
                "weights", "buttons", "All knobs but Others are about these",
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
                "share", "By hand", tuple((s, f"{s:.0%}") for s in _SHARES), 0.6, "slider",
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
        return {
            "values": _values(result),
            "channels": _channels(result),
            "error": _error(result),
            "accuracy": _accuracy(result),
            "bytes": _bytes(result),
        }

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


def share_of(study: Study, layer: int, what: Any, fmt: Format) -> float:
    """How much of min-max's range `fmt` gives levels, averaged over its scales."""
    whole = study.levels(layer, what, replace(fmt, observer="minmax", share=1.0)).scale
    return float((study.levels(layer, what, fmt).scale / whole).mean())


# -- figures ---------------------------------------------------------------------------------------


def _whose(result: Quantized) -> str:
    return f"{'Weights' if result.what == 'weights' else 'Outputs'} of layer {result.layer}"


def _origin(result: Quantized) -> str:
    layer = result.study.layers[result.layer]
    if result.what == "weights":
        return f"{layer.kind}, {layer.size:,} weights"
    return f"{layer.kind}, on 200 training images"


def _values(result: Quantized) -> go.Figure:
    fmt, levels = result.shown, result.levels
    rows = result.study.values(result.layer, result.what, levels.per, fmt.group)
    clipped = result.study.clipped(result.layer, result.what, fmt)
    low, high = levels.ends
    widest = int((high - low).argmax())
    many = len(levels.scale) > 1
    subtitle = f"{_origin(result)}; measured"
    if result.what == "activations":
        zero = rows == 0
        subtitle += f"; the {zero.mean():.0%} that are exactly 0 are not drawn"
        rows, clipped = rows[~zero], clipped[~zero]
    elif many:
        subtitle += f"; levels drawn: those of the widest of {len(levels.scale)} scales"
    count = levels.high - levels.low + 1
    kept = "float; 8 bits would be" if result.is_float else f"{fmt.bits} bits,"
    return level_histogram(
        rows.ravel(), clipped.ravel(), levels.of(widest),
        title=f"{_whose(result)}: {kept} {count} levels",
        subtitle=subtitle,
        x_title="value (real numbers)",
    )  # fmt: skip


def _channels(result: Quantized) -> go.Figure:
    levels = result.levels
    low, high = result.study.channels(result.layer, result.what)
    span = high - low
    ratio = float(span.max() / span[span > 0].min()) if (span > 0).any() else 1.0
    which = {
        "tensor": "one scale for all",
        "channel": "a scale each",
        "group": f"a scale for {GROUP} inputs each",
    }[levels.per]
    return channel_ranges(
        low, high, [levels.of(row) for row in range(len(levels.scale))],
        title=f"Channels of layer {result.layer}: {which}",
        subtitle=f"the widest range is {ratio:.1f} times the narrowest; measured",
        y_title="value (real numbers)",
    )  # fmt: skip


def marks(result: Quantized) -> dict[str, tuple[float, float]]:
    """Where each observer lands: share of min-max's range, whole error."""
    found = {}
    for name, title in OBSERVERS.items():
        if name == "ema" and result.what == "weights":
            continue
        fmt = replace(result.shown, observer=name, share=1.0)
        error = sum(result.study.errors(result.layer, result.what, fmt))
        found[title] = share_of(result.study, result.layer, result.what, fmt), error
    return found


def _error(result: Quantized) -> go.Figure:
    study, layer, what = result.study, result.layer, result.what
    curve = [
        study.errors(layer, what, replace(result.shown, observer="hand", share=s)) for s in _SHARES
    ]
    clipping, rounding = study.errors(layer, what, result.shown)
    here = share_of(study, layer, what, result.shown)
    return error_curve(
        _SHARES, [c for c, _ in curve], [r for _, r in curve], marks(result),
        (here, clipping + rounding),
        title=f"Error: clipping {percent(clipping)} + rounding {percent(rounding)}",
        subtitle=f"{_whose(result)}, {result.shown.bits} bits, all ranges cut alike; measured",
    )  # fmt: skip


def _accuracy(result: Quantized) -> go.Figure:
    alone, everything = result.accuracies
    return accuracy_bars(
        [
            "nothing",
            f"layer {result.layer} alone",
            "all as set",
        ],
        [result.study.float_accuracy, alone, everything],
        y_title="what is quantized",
        title=f"Accuracy: {everything:.1%}, float {result.study.float_accuracy:.1%}",
        subtitle=f"measured now on {result.study.tested} test images, fake-quantized in torch",
        chance=0.1,
    )


def _bytes(result: Quantized) -> go.Figure:
    count = range(len(result.study.layers))
    sizes = [result.bytes_of(n) for n in count]
    what = "weights" if result.what == "weights" else "outputs of one image"
    return layer_bars(
        result.names(),
        sizes,
        title=f"Bytes of the {what}: {sum(sizes):,.0f} in all",
        subtitle="counted, packed; scales and zero points included",
        unit="bytes",
        reference=[result.bytes_of(n, 8) for n in count],
        reference_name=f"8 bits, {sum(result.bytes_of(n, 8) for n in count):,.0f} B without scales",
        notes=["float" if f is None else f"{f.bits} bits" for f in result.formats],
    )
