"""Units that do nothing removed: what sparse compression leaves of a network, really smaller.

A unit (of a linear layer) or channel (of a convolution) can go without a trace where nothing reads
it, or where it says the same whatever goes in: all its weights are zero. Such a constant goes
through batch norm, activations and pooling as one number, and into the next layer's bias.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from tinykit.compress.constants import Channels, pads_zeros, through
from tinykit.graph.errors import TinykitError


class Untraceable(TinykitError):
    """A model whose forward `torch.fx` cannot trace."""


def drop_dead(model: nn.Module, shape: tuple[int, ...] | None = None) -> nn.Module:
    """A copy of `model` without units and channels that make no difference.

    Looked at are linear layers and convolutions whose output goes, through batch norm, activations
    of single values, pooling, dropout, depthwise convolutions and flattening alone, into one other
    linear layer or convolution. A channel stays where its removal would not be exact: a constant
    other than zero that a convolution pads with zeros, a sum with another branch. One always stays.

    Parameters
    ----------
    model : NCHW in; one that `torch.fx` can trace. It is left alone.
    shape : (H, W, C) of the input, or (features,); None takes the model's `input_shape`

    Returns
    -------
    nn.Module
        In eval mode, where its outputs equal the model's but for the rounding of sums.

    Raises
    ------
    TinykitError
        No shape is known, or the model's forward cannot be traced (`Untraceable`).
    """
    model = copy.deepcopy(model).eval()
    shape = shape or getattr(model, "input_shape", None)
    if shape is None:
        raise TinykitError("drop_dead must know the input's shape: pass shape=(H, W, C)")
    size = (shape[2], *shape[:2]) if len(shape) == 3 else shape
    with torch.no_grad():
        while _drop_once(model, torch.zeros(2, *size)):
            pass  # what lost its inputs may be dead now
    return model


def _drop_once(model: nn.Module, example: Tensor) -> bool:
    """Remove what can be, layer by layer; whether anything was."""
    try:
        traced = fx.symbolic_trace(model)
        ranks = _Ranks(traced)
        ranks.run(example)
    except Exception as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise Untraceable(f"cannot follow what {type(model).__name__} computes: {why}") from error
    modules = dict(model.named_modules())
    shared = _shared(traced.graph, model)
    changed = False
    for node in traced.graph.nodes:
        layer = modules.get(str(node.target)) if node.op == "call_module" else None
        if layer is None or not _plain(layer) or layer in shared:
            continue
        if ranks.of[node] != (2 if isinstance(layer, nn.Linear) else 4):
            continue  # channels are the second dimension throughout
        path = _path(node, modules, shared)
        if path is not None and _cut(layer, *path):
            changed = True
    return changed


class _Ranks(fx.Interpreter):
    """Runs what was traced and keeps of how many dimensions each result is."""

    def __init__(self, traced: fx.GraphModule) -> None:
        super().__init__(traced)
        self.of: dict[fx.Node, int | None] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.of[n] = getattr(result, "ndim", None)
        return result


def _shared(graph: fx.Graph, model: nn.Module) -> set[nn.Module]:
    """Modules called twice, whose parameters are used elsewhere, or that hooks change."""
    uses: dict[Any, int] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            uses[parameter] = uses.get(parameter, 0) + 1
    modules = dict(model.named_modules())
    for node in graph.nodes:
        if node.op == "call_module":
            module = modules[str(node.target)]
            uses[module] = uses.get(module, 0) + 1
        elif node.op == "get_attr":  # read beside its module
            owner = modules[str(node.target).rpartition(".")[0]]
            uses[owner] = 2
    return {
        module
        for module in model.modules()
        if uses.get(module, 0) > 1
        or any(uses[p] > 1 for p in module.parameters(recurse=False))
        or module._forward_pre_hooks
        or module._forward_hooks
    }


def _plain(layer: nn.Module) -> bool:
    """A layer whose inputs and outputs are all independent: linear, or convolution of one group."""
    return type(layer) is nn.Linear or (type(layer) is nn.Conv2d and layer.groups == 1)


#: functions that say what a module says
FUNCTIONS: dict[Any, type[nn.Module]] = {
    F.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    "relu": nn.ReLU,
    F.relu6: nn.ReLU6,
    torch.tanh: nn.Tanh,
    "tanh": nn.Tanh,
    torch.sigmoid: nn.Sigmoid,
    "sigmoid": nn.Sigmoid,
    torch.flatten: nn.Flatten,
    "flatten": nn.Flatten,
}


def _module(node: fx.Node, modules: dict[str, nn.Module]) -> nn.Module | None:
    if node.op == "call_module":
        return modules[str(node.target)]
    kind = FUNCTIONS.get(node.target)
    if kind is nn.Flatten:
        said = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
        return nn.Flatten(said.get("start_dim", 0), said.get("end_dim", -1))  # type: ignore[arg-type]
    return None if kind is None else kind()


def _path(
    node: fx.Node, modules: dict[str, nn.Module], shared: set[nn.Module]
) -> tuple[Channels, list[nn.Module], nn.Module] | None:
    """What is known where the next plain layer reads, what lies between, and that layer."""
    layer: Any = modules[str(node.target)]
    bias = layer.bias if layer.bias is not None else layer.weight.new_zeros(len(layer.weight))
    state = Channels(layer.weight.flatten(1).eq(0).all(1), bias.detach().clone())
    between: list[nn.Module] = []
    while len(node.users) == 1:
        node = next(iter(node.users))
        module = _module(node, modules)
        if module is None or module in shared:
            return None
        if _plain(module):
            apart = state.flat or isinstance(layer, nn.Linear)  # one channel after the other
            fits = apart if isinstance(module, nn.Linear) else not state.flat
            return (state, between, module) if fits else None
        after = through(module, state)
        if after is None:
            return None
        state = after
        between.append(module)
    return None


def _cut(layer: Any, state: Channels, between: list[nn.Module], reader: Any) -> bool:
    """Remove the channels between `layer` and `reader` that make no difference."""
    count = len(layer.weight)
    # (outputs, channels, places): what reads each channel
    weight = reader.weight.reshape(len(reader.weight), count, -1)
    unread = weight.eq(0).all(2).all(0)
    constant = state.constant
    if isinstance(reader, nn.Conv2d) and pads_zeros(reader):
        constant = constant & (state.value == 0)
    gone = unread | constant
    if gone.all():
        gone[0] = False
    if not gone.any():
        return False
    told = torch.where(constant & gone & ~unread, state.value, torch.zeros_like(state.value))
    more = (weight.double().sum(2) @ told.double()).to(weight)
    if more.any():
        own = reader.bias if reader.bias is not None else torch.zeros_like(more)
        reader.bias = nn.Parameter(own + more)
    keep = ~gone
    _keep_outputs(layer, keep)
    for module in between:
        if isinstance(module, nn.Conv2d):
            _keep_outputs(module, keep)
            module.in_channels = module.groups = int(keep.sum())
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            _slice(module, keep, "weight", "bias", "running_mean", "running_var")
            module.num_features = int(keep.sum())
    kept = weight[:, keep].reshape(len(weight), -1, *reader.weight.shape[2:])
    reader.weight = nn.Parameter(kept.clone(), requires_grad=reader.weight.requires_grad)
    if isinstance(reader, nn.Linear):
        reader.in_features = kept.shape[1]
    else:
        reader.in_channels = kept.shape[1]
    return True


def _keep_outputs(layer: Any, keep: Tensor) -> None:
    _slice(layer, keep, "weight", "bias")
    name = "out_features" if isinstance(layer, nn.Linear) else "out_channels"
    setattr(layer, name, int(keep.sum()))


def _slice(module: nn.Module, keep: Tensor, *names: str) -> None:
    for name in names:
        old = getattr(module, name)
        if isinstance(old, nn.Parameter):
            setattr(module, name, nn.Parameter(old[keep].clone(), old.requires_grad))
        elif old is not None:
            setattr(module, name, old[keep].clone())
