"""Cross-layer equalization (Nagel et al. 2019, arXiv:1906.04721, section 4.1).

A ReLU is positively homogeneous: f(s·x) = s·f(x) for s > 0. What one layer's channel is divided by,
the next layer can multiply by, and the network computes what it did. Chosen so that both have the
same range, no channel is left with a few of the levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from tinykit.quant.fold import Does, folded, kind_of

#: what keeps channels apart and lets a positive factor through
HOMOGENEOUS: set[Does] = {
    *(nn.ReLU, nn.LeakyReLU, F.relu, F.leaky_relu, torch.relu, "relu", nn.Dropout, nn.Dropout2d),
    *(nn.Identity, nn.ZeroPad2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Flatten),
    *(F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d, F.dropout, torch.flatten, "flatten"),
}
FLATTENS: set[Does] = {nn.Flatten, torch.flatten, "flatten"}
LAYERS = (nn.Conv2d, nn.Linear)
ROUNDS, TOLERANCE = 50, 1e-4
#: channels are scaled by no more than this, nor by less than its inverse
MOST = 1e4


def equalized(model: nn.Module, rounds: int = ROUNDS) -> fx.GraphModule:
    """`model` folded, the ranges of each layer and the next equal, channel by channel.

    Pairs of layers with nothing but ReLUs, pooling, zero padding and flattening between them, and
    no other reader, are scaled in turn until nothing moves. Depthwise layers are both ends: chains
    conv - depthwise - conv converge to one range. A ReLU6 is not homogeneous and ends a chain.

    Parameters
    ----------
    rounds : at most; 0 folds alone

    Returns
    -------
    module : computes what `model` does in eval mode, to float32's rounding
    """
    traced = folded(model)
    joined = pairs(traced)
    layers = {name: traced.get_submodule(name) for pair in joined for name in pair}
    weight = {n: m.weight.detach().double() for n, m in layers.items()}  # type: ignore[union-attr,operator]
    bias = {n: m.bias.detach().double() for n, m in layers.items() if m.bias is not None}  # type: ignore[union-attr,operator]
    for _ in range(rounds):
        moved = 0.0
        for first, second in joined:
            a, b = weight[first], weight[second]
            groups = getattr(layers[second], "groups", 1)
            before, after = _of_outputs(a), _of_inputs(b, groups, len(a))
            both = (before > 0) & (after > 0)
            scale = torch.where(both, before / after.where(both, 1), 1).sqrt()
            scale = scale.clamp(1 / MOST, MOST)
            weight[first] = a / scale.reshape(-1, *[1] * (a.ndim - 1))
            if first in bias:
                bias[first] = bias[first] / scale
            weight[second] = _scaled_inputs(b, groups, scale)
            moved = max(moved, float((scale.log()).abs().max()))
        if moved < TOLERANCE:
            break
    for name, layer in layers.items():
        layer.weight.data = weight[name].float()  # type: ignore[union-attr]
        if name in bias:
            layer.bias.data = bias[name].float()  # type: ignore[union-attr]
    return traced


def pairs(traced: fx.GraphModule) -> list[tuple[str, str]]:
    """Names of layers and of the layer that alone reads each, in order."""
    calls = [str(n.target) for n in traced.graph.nodes if n.op == "call_module"]
    found = []
    for node in traced.graph.nodes:
        if kind_of(traced, node) not in LAYERS or calls.count(str(node.target)) > 1:
            continue
        after, between = node, []
        while len(after.users) == 1:
            after = next(iter(after.users))
            if kind_of(traced, after) not in HOMOGENEOUS:
                break
            between.append(after)
        if kind_of(traced, after) not in LAYERS or calls.count(str(after.target)) > 1:
            continue
        if len(node.users) == 1 and after is not node:
            first, second = (traced.get_submodule(str(n.target)) for n in (node, after))
            in_rows = [_in_rows(traced, n) for n in between if kind_of(traced, n) in FLATTENS]
            if _fit(first, second, in_rows):
                found.append((str(node.target), str(after.target)))
    return found


def _in_rows(traced: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a flattening node makes one row of each example's image, channel after channel."""
    if node.op == "call_module":
        module = traced.get_submodule(str(node.target))
        start, end = module.start_dim, module.end_dim
    else:
        said = dict(zip(("start_dim", "end_dim"), node.args[1:], strict=False)) | node.kwargs
        start, end = said.get("start_dim", 0), said.get("end_dim", -1)  # type: ignore[assignment]
    return (start, end) in ((1, -1), (1, 3))


def _fit(first: nn.Module, second: nn.Module, in_rows: list[bool]) -> bool:
    """Whether the second's inputs are the first's channels, each maybe several times in a row.

    A linear layer reads the last dimension: channels of a linear layer as they are, those of a
    convolution only in a row of the whole image.
    """
    outputs = len(first.weight)  # type: ignore[arg-type]
    if isinstance(second, nn.Conv2d):
        return isinstance(first, nn.Conv2d) and second.in_channels == outputs and not in_rows
    inputs = int(second.in_features)  # type: ignore[arg-type]
    if isinstance(first, nn.Conv2d):
        return in_rows == [True] and inputs % outputs == 0
    return inputs == outputs


def _of_outputs(weight: Tensor) -> Tensor:
    return weight.abs().flatten(1).amax(1)


def _by_inputs(weight: Tensor, groups: int, channels: int) -> Tensor:
    """A view (groups, outputs, inputs, the rest) of `weight`; groups · inputs are the channels."""
    return weight.reshape(groups, len(weight) // groups, channels // groups, -1)


def _of_inputs(weight: Tensor, groups: int, channels: int) -> Tensor:
    return _by_inputs(weight, groups, channels).abs().amax((1, 3)).reshape(-1)


def _scaled_inputs(weight: Tensor, groups: int, scale: Tensor) -> Tensor:
    by = _by_inputs(weight, groups, len(scale)) * scale.reshape(groups, 1, -1, 1)
    return by.reshape(weight.shape)
