"""A plain module → one that computes as its integer graph will: rounding where TFLite rounds.

Batch norm is folded into the layer before it first, so the weights that are trained are the weights
that are exported. Rounding happens at the input and after every op that computes; what only moves
or selects numbers keeps its input's scale; what meets in a concatenation shares one.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.quant.fake import FakeQuant, FixedQuant, QuantConv2d, QuantLinear

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
FUSES = {nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.BatchNorm1d, operator.add, operator.sub}
FUSES |= {operator.mul, operator.iadd, torch.add, torch.sub, torch.mul, "add", "sub", "mul"}
CONCATENATES = {torch.cat, torch.concat}
#: answers that are no tensors
NUMBERS = {"size", "dim", getattr}


def prepare(model: nn.Module, bits: int = 8) -> fx.GraphModule:
    """A copy of `model` that rounds weights and activations as its integer graph will.

    Parameters
    ----------
    bits : of weights, 8 or 4 (depthwise filters stay at 8); activations have 8

    Returns
    -------
    module : its activation ranges are still open: run `calibrated` on it, then train it if wanted

    Raises
    ------
    TinykitError
        `model` is prepared already, or its forward cannot be traced by torch.fx.
    """
    if bits not in (8, 4):
        raise TinykitError(f"weights take 8 or 4 bits, not {bits}")
    if any(isinstance(m, FakeQuant) for m in model.modules()):
        raise TinykitError("the model is quantized already; start from the float model")
    model = copy.deepcopy(model).eval()
    try:
        traced = fx.symbolic_trace(model)
    except Exception as error:  # torch.fx raises many kinds
        raise TinykitError(
            f"{type(model).__name__}.forward cannot be traced ({error}): keep Python control flow "
            f"that depends on values out of it, or use tk.to_graph(model, calibrate=data)"
        ) from error
    if hasattr(model, "input_shape"):
        traced.input_shape = model.input_shape
    _fold(traced)
    _quantize_weights(traced, bits)
    _insert(traced)
    traced.recompile()
    return traced.eval()


def calibrated(model: nn.Module, data: Dataset, examples: int = 256) -> nn.Module:
    """`model`, its open activation ranges set to cover `examples` images of the training split.

    The ranges are those of the network without activation rounding.
    """
    from tinykit.nn.train import tensors

    part = data.train.take(examples)
    x, _ = tensors(part.x, part.y)
    quants = [m for m in model.modules() if isinstance(m, FakeQuant)]
    if not quants:
        raise TinykitError("the model has no fake quantizers to calibrate: prepare it first")
    was = model.training
    model.eval()
    try:
        for q in quants:
            q.calibrating = True
        with torch.no_grad():
            for batch in x.split(64):
                model(batch)
    finally:
        for q in quants:
            q.calibrating = False
        model.train(was)
    return model


def freeze(model: nn.Module) -> None:
    """Fix the activation ranges where they are."""
    for m in model.modules():
        if isinstance(m, FakeQuant):
            m.observing = False


# -- passes over the traced graph ----------------------------------------------------------------


def _kind(traced: fx.GraphModule, node: fx.Node) -> type[nn.Module] | Callable | str | None:
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target)))
    if node.op in ("call_function", "call_method"):
        return node.target
    return None


def _fold(traced: fx.GraphModule) -> None:
    """Batch norm into the convolution or linear layer before it, exactly (in eval mode)."""
    uses: dict[str, int] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            uses[str(node.target)] = uses.get(str(node.target), 0) + 1
    for node in list(traced.graph.nodes):
        if _kind(traced, node) not in (nn.BatchNorm2d, nn.BatchNorm1d):
            continue
        before = node.args[0]
        kind = _kind(traced, before)
        if kind not in (nn.Conv2d, nn.Linear) or len(before.users) > 1:
            continue
        if uses[str(before.target)] > 1:
            continue
        layer = traced.get_submodule(str(before.target))
        norm = traced.get_submodule(str(node.target))
        fuse = fuse_conv_bn_eval if kind is nn.Conv2d else fuse_linear_bn_eval
        _set(traced, str(before.target), fuse(layer.eval(), norm.eval()))  # type: ignore[arg-type,type-var]
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.graph.lint()


def _quantize_weights(traced: fx.GraphModule, bits: int) -> None:
    for name, module in list(traced.named_modules()):
        if type(module) is nn.Conv2d:
            _set(traced, name, QuantConv2d.of(module, bits))
        elif type(module) is nn.Linear:
            _set(traced, name, QuantLinear.of(module, bits))


def _set(traced: fx.GraphModule, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(traced.get_submodule(parent), own, module)


def _insert(traced: fx.GraphModule) -> None:
    """Put the fake quantizers in."""
    nodes = list(traced.graph.nodes)
    wanted: dict[fx.Node, FakeQuant] = {}
    for node in nodes:
        kind = _kind(traced, node)
        if node.op == "placeholder":
            wanted[node] = FakeQuant()
        elif kind is None or kind in NUMBERS or kind in MOVES or _averages(traced, node):
            continue
        elif kind in FIXED:
            wanted[node] = FixedQuant(FIXED[kind])
        elif not _clamped_next(traced, node):
            wanted[node] = FakeQuant()
    observed_elsewhere = _share(traced, nodes, wanted)
    names: dict[FakeQuant, str] = {}
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
    if _kind(traced, node) is nn.AdaptiveAvgPool2d:
        size = traced.get_submodule(str(node.target)).output_size
        return size not in (1, (1, 1), [1, 1])
    return False


def _clamped_next(traced: fx.GraphModule, node: fx.Node) -> bool:
    kind = _kind(traced, node)
    kind = {QuantConv2d: nn.Conv2d, QuantLinear: nn.Linear}.get(kind, kind)  # type: ignore[arg-type,call-overload]
    if kind not in FUSES or len(node.users) != 1:
        return False
    return _kind(traced, next(iter(node.users))) in CLAMPS


def _share(
    traced: fx.GraphModule, nodes: list[fx.Node], wanted: dict[fx.Node, FakeQuant]
) -> set[fx.Node]:
    """One quantizer for all that meets in a concatenation; returns who leaves watching to it."""

    def root(node: fx.Node) -> fx.Node:
        while node not in wanted and _kind(traced, node) in MOVES:
            node = node.args[0]  # type: ignore[assignment]
        return node

    quiet: set[fx.Node] = set()
    for node in nodes:
        if _kind(traced, node) not in CONCATENATES:
            continue
        for part in node.args[0]:  # type: ignore[union-attr]
            source = root(part)  # type: ignore[arg-type]
            if source not in wanted or isinstance(wanted[source], FixedQuant):
                continue
            old = wanted[source]
            for other in [n for n, q in wanted.items() if q is old]:
                wanted[other] = wanted[node]
                quiet.add(other)
    return quiet
