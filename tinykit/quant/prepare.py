"""A plain module → one that computes as its integer graph will: rounding where TFLite rounds.

Batch norm is folded into the layer before it first, so the weights that are trained are the weights
that are exported. Rounding happens at the input and after every op that computes; what only moves
or selects numbers keeps its input's scale; what meets in a concatenation shares one.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.quant.fold import LAYERS, folded, kind_of, plain_layers, put
from tinykit.quant.layers import COUNTERPARTS, activation_quantizers, weighted
from tinykit.quant.quantizer import Grid, Kind, Mode, Quantizer, kind_class, quantizer
from tinykit.quant.quantizers.uniform import Fixed, Uniform
from tinykit.quant.refuse import refuse_unroundable

#: what only moves or selects numbers
MOVES: set[type[nn.Module] | Callable | str] = {
    *(nn.MaxPool2d, nn.AvgPool2d, nn.Flatten, nn.Unflatten, nn.Dropout, nn.Dropout2d, nn.Identity),
    *(nn.ZeroPad2d, nn.ConstantPad2d, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d),
    *(F.max_pool2d, F.avg_pool2d, F.pad, F.interpolate, F.dropout, torch.flatten, torch.reshape),
    *(torch.squeeze, torch.unsqueeze, torch.permute, torch.transpose, torch.chunk, torch.split),
    *("view", "reshape", "flatten", "squeeze", "unsqueeze", "permute", "transpose", "contiguous"),
    *("chunk", "split", operator.getitem),
}
FIXED: dict[type[nn.Module] | Callable | str, str] = {
    **dict.fromkeys((nn.Sigmoid, torch.sigmoid, F.sigmoid, "sigmoid"), "logistic"),
    **dict.fromkeys((nn.Tanh, torch.tanh, F.tanh, "tanh"), "tanh"),
    **dict.fromkeys((nn.Softmax, torch.softmax, F.softmax, "softmax"), "softmax"),
}
#: activations that fuse into the op before, which is then rounded once, after them
CLAMPS = {nn.ReLU, nn.ReLU6, nn.Hardtanh, F.relu, F.relu6, torch.relu, "relu", F.hardtanh}
RELUS = {nn.ReLU, nn.ReLU6, F.relu, F.relu6, torch.relu, "relu"}
FUSES = {*LAYERS, nn.BatchNorm2d, nn.BatchNorm1d, operator.add, operator.sub}
FUSES |= {operator.mul, operator.iadd, torch.add, torch.sub, torch.mul, "add", "sub", "mul"}
CONCATENATES = {torch.cat, torch.concat}
#: answers that are no tensors
NUMBERS = {"size", "dim", getattr}


def prepare(
    model: nn.Module,
    bits: int = 8,
    *,
    weights: Kind = "lsq",
    activations: Kind = "clipped",
    activation_bits: int = 8,
    bits_of: Mapping[str, int] | None = None,
    weights_of: Mapping[str, Kind] | None = None,
    narrow: bool = True,
) -> fx.GraphModule:
    """A copy of `model` that rounds weights and activations as its integer graph will.

    Parameters
    ----------
    bits : of weights, 2 to 8. Below 8, depthwise filters stay at 8 unless `bits_of` names them:
        they are few, and each has but nine numbers to a scale. Transposed convolutions stay at 8,
        too: their kernel takes int8 weights alone, so `bits_of` may give them 5 to 8.
    weights, activations : the kind of quantizer: its name (`tinykit.quant.quantizers()`), its
        class, or a function that makes one of a `Grid`. A kind of activation quantizer for values
        from 0 on (pact) serves behind ReLUs; elsewhere "clipped" does.
    activation_bits : 2 to 8, or 16 (symmetric). Graphs hold 8 and 16.
    bits_of : layer → bits of its weights, where they differ from `bits`
    weights_of : layer → kind, where it differs from `weights`
    narrow : weights from -7 to 7 instead of from -8 (at 4 bits); at 8 bits TFLite takes no -128

    Returns
    -------
    module : its activation ranges are still open: run `calibrated` on it, then train it if wanted

    Raises
    ------
    TinykitError
        `model` is prepared already, its forward cannot be traced by torch.fx, bits out of range,
        a name that does not exist, a layer without weights, a layer whose weights a graph cannot
        hold as integers (its name and a way out are told).
    """
    bits_of, weights_of = dict(bits_of or {}), dict(weights_of or {})
    for what, number in (("bits", bits), *((f"bits_of[{n!r}]", b) for n, b in bits_of.items())):
        if not isinstance(number, int) or not 2 <= number <= 8:
            raise TinykitError(f"{what} is {number!r}: weights take 2 to 8 bits")
    if activation_bits not in (*range(2, 9), 16):
        raise TinykitError(f"activation_bits is {activation_bits}: activations take 2 to 8, or 16")
    traced = folded(model)
    refuse_unroundable(traced)
    layers = plain_layers(traced)
    for name in {**bits_of, **weights_of}:
        if name not in layers:
            raise TinykitError(f"no layer {name!r} to quantize; there are: {', '.join(layers)}")
    for name, layer in layers.items():
        kind = weights_of.get(name, weights)
        wide = default_bits(layer, bits) if name not in bits_of else bits_of[name]
        if wide not in widths_of(layer, range(2, 9)):
            raise TinykitError(
                f"bits_of[{name!r}] is {wide}: transposed convolutions take 5 to 8 bits, because "
                f"their kernel has no int4 weights"
            )
        try:
            made = quantizer(kind, weight_grid(layer, wide, kind, narrow))
            put(traced, name, COUNTERPARTS[type(layer)](layer, made))
        except TinykitError as error:
            raise TinykitError(f"layer {name!r}: {error}") from error
    symmetric = activation_bits == 16
    _insert(traced, activations, Grid(activation_bits, symmetric, narrow=False))
    traced.recompile()
    return traced.eval()


def default_bits(layer: nn.Module, bits: int) -> int:
    """What `bits` for a whole network means for this layer: depthwise and transposed stay at 8."""
    depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
    return 8 if depthwise or isinstance(layer, nn.ConvTranspose2d) else bits


def widths_of(layer: nn.Module, widths: Sequence[int]) -> tuple[int, ...]:
    """Those of `widths` that this layer's weights can have in a graph; 8 where there are none."""
    if isinstance(layer, nn.ConvTranspose2d):
        return tuple(b for b in widths if b > 4) or (8,)
    return tuple(widths)


def weight_grid(layer: nn.Module, bits: int, kind: Kind = "lsq", narrow: bool = True) -> Grid:
    """The integers and scales that TFLite has for this layer's weights.

    One scale per output channel; linear layers of up to 4 bits have one in all, as TFLite Micro's
    kernel demands.
    """
    cls = kind_class(kind)
    stored = bits if cls is None or cls.own_bits is None else cls.own_bits
    one = isinstance(layer, nn.Linear) and stored <= 4
    outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    return Grid(bits, symmetric=True, narrow=narrow or bits == 8, axis=None if one else outputs)


def calibrated(
    model: nn.Module, data: Dataset, examples: int = 256, observer: str | None = None
) -> nn.Module:
    """`model`, its activation ranges set by `examples` images of the training split.

    The ranges are those of the network without activation rounding. In training they then follow
    what passes, until `freeze`.

    Parameters
    ----------
    observer : how ranges are found, where quantizers leave a choice; None keeps what they have
        (min-max)
    """
    from tinykit.nn.train import tensors

    part = data.train.take(examples)
    x, _ = tensors(part.x, part.y)
    quants = list(activation_quantizers(model).values())
    if not quants:
        raise TinykitError("the model has no fake quantizers to calibrate: prepare it first")
    was = model.training
    model.eval()
    try:
        for q in quants:
            if observer is not None and isinstance(q, Uniform):
                q.observer = observer
            q.mode = Mode.OBSERVE
        with torch.no_grad():
            for batch in x.split(64):
                model(batch)
    finally:
        for q in quants:
            q.mode = Mode.FOLLOW if q.seen or q.ready else Mode.OBSERVE
        model.train(was)
    return model


def freeze(model: nn.Module) -> None:
    """Fix the activation ranges where they are."""
    for q in activation_quantizers(model).values():
        if q.mode == Mode.FOLLOW:
            q.mode = Mode.QUANTIZE


# -- passes over the traced graph ----------------------------------------------------------------


def _insert(traced: fx.GraphModule, kind: Kind, grid: Grid) -> None:
    """Put the quantizers of activations in."""
    nodes = list(traced.graph.nodes)
    wanted: dict[fx.Node, Quantizer] = {}
    cls = kind_class(kind)
    plain: Kind = "clipped" if cls is not None and cls.one_sided else kind
    for node in nodes:
        does = kind_of(traced, node)
        if node.op == "placeholder":
            wanted[node] = quantizer(plain, grid)
        elif does is None or does in NUMBERS or does in MOVES or _averages(traced, node):
            continue
        elif does in FIXED:
            wanted[node] = Fixed(FIXED[does], grid)
        elif not _clamped_next(traced, node):
            wanted[node] = quantizer(kind if does in RELUS else plain, grid)
    observed_elsewhere = _share(traced, nodes, wanted)
    names: dict[Quantizer, str] = {}
    for node, quant in wanted.items():
        if quant not in names:
            names[quant] = f"quant_{len(names)}"
            traced.add_submodule(names[quant], quant)
        with traced.graph.inserting_after(node):
            kwargs: dict[str, Any] = {"observe": False} if node in observed_elsewhere else {}
            made = traced.graph.call_module(names[quant], (node,), kwargs)
        node.replace_all_uses_with(made, delete_user_cb=functools.partial(operator.is_not, made))
    traced.graph.lint()


def _averages(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Adaptive pooling to more than one pixel is an average pool, which keeps its input's scale."""
    if kind_of(traced, node) is nn.AdaptiveAvgPool2d:
        size = traced.get_submodule(str(node.target)).output_size
        return size not in (1, (1, 1), [1, 1])
    return False


def _clamped_next(traced: fx.GraphModule, node: fx.Node) -> bool:
    kind = kind_of(traced, node)
    fuses = kind in FUSES or str(node.target) in weighted(traced)
    if not fuses or len(node.users) != 1:
        return False
    return kind_of(traced, next(iter(node.users))) in CLAMPS


def _share(
    traced: fx.GraphModule, nodes: list[fx.Node], wanted: dict[fx.Node, Quantizer]
) -> set[fx.Node]:
    """One quantizer for all that meets in a concatenation; returns who leaves watching to it."""

    def root(node: fx.Node) -> fx.Node:
        while node not in wanted and kind_of(traced, node) in MOVES:
            node = node.args[0]  # type: ignore[assignment]
        return node

    quiet: set[fx.Node] = set()
    for node in nodes:
        if kind_of(traced, node) not in CONCATENATES:
            continue
        for part in node.args[0]:  # type: ignore[union-attr]
            source = root(part)  # type: ignore[arg-type]
            if source not in wanted or isinstance(wanted[source], Fixed):
                continue
            old = wanted[source]
            for other in [n for n, q in wanted.items() if q is old]:
                wanted[other] = wanted[node]
                quiet.add(other)
    return quiet
