"""Mixed precision: how many bits each layer's weights get, under a budget of bytes.

Each layer's sensitivity is measured: how much worse the network is with this layer alone at b bits.
Taken together, the sensitivities are assumed to add up (as HAWQ-V2 does, Dong et al. 2020,
arXiv:1911.03852, there with traces of Hessians); under that assumption the choice is exact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.quant.fold import folded, plain_layers
from tinykit.quant.layers import weighted
from tinykit.quant.prepare import prepare, weight_grid, widths_of
from tinykit.quant.ptq.record import plain_activations
from tinykit.quant.quantizer import Kind, Mode, quantizer

WIDTHS = (2, 3, 4, 5, 6, 7, 8)
METRICS = ("loss", "kl")
STORAGES = ("tflite", "packed")
#: layer → bits → what they cost, or how many bytes they take
Costs = Mapping[str, Mapping[int, float]]
Sizes = Mapping[str, Mapping[int, int]]


@dataclass(frozen=True)
class MixedPlan:
    """Bits for each layer, and what they were chosen by.

    Parameters
    ----------
    bits : layer → bits, as `prepare(bits_of=...)` takes them
    bytes : of all weights and biases, counted as `storage` says
    budget : bytes that were allowed
    storage : "tflite" (up to 4 bits as int4, else int8) or "packed" (as many bits as there are)
    cost : the sum of the sensitivities: how much worse the network is expected to be
    sensitivity : layer → bits → how much worse the network is with this layer alone at these bits
    """

    bits: Mapping[str, int]
    bytes: int
    budget: int
    storage: str
    cost: float
    sensitivity: Costs


def mixed_precision(
    model: nn.Module,
    data: Dataset,
    budget: int,
    *,
    storage: str = "tflite",
    widths: Sequence[int] = WIDTHS,
    metric: str = "loss",
    weights: Kind = "clipped",
    examples: int = 512,
    measured: Costs | None = None,
) -> MixedPlan:
    """The bits of each layer that cost least within `budget` bytes of weights and biases.

    Parameters
    ----------
    model : trained, float
    data : its training split is what sensitivities are measured on
    budget : bytes for all weights and biases (4 bytes each) of convolutions and linear layers
    storage : what bits cost. "tflite" is what a graph holds: int4 up to 4 bits, int8 above.
        "packed" is what a kernel for every width would hold: bits times weights.
    widths : bits to choose from, of 2 to 8; transposed convolutions take those from 5 on, as
        their kernel does, or 8
    metric : "loss" (increase of the cross-entropy) or "kl" (divergence from the float outputs;
        needs no labels), both in nats per example
    weights : kind of quantizer that sensitivities are measured with
    examples : images that they are measured on
    measured : sensitivities from before (`MixedPlan.sensitivity`), for another budget; `metric`,
        `weights` and `examples` are then not looked at

    Raises
    ------
    TinykitError
        A budget that no choice meets; the smallest possible size is told. An unknown metric,
        storage or width.
    """
    if storage not in STORAGES:
        raise TinykitError(f"storage is {storage!r}; there are {', '.join(STORAGES)}")
    sizes = {
        name: {b: layer_bytes(layer, b, storage) for b in widths_of(layer, widths)}
        for name, layer in plain_layers(folded(model)).items()
    }
    _affordable(sizes, budget)
    costs = measured
    if costs is None:
        costs = sensitivity(model, data, widths, metric=metric, weights=weights, examples=examples)
    bits = allocate(costs, sizes, budget)
    return MixedPlan(
        bits,
        sum(sizes[n][b] for n, b in bits.items()),
        budget,
        storage,
        sum(costs[n][b] for n, b in bits.items()),
        costs,
    )


def layer_bytes(layer: nn.Module, bits: int, storage: str = "tflite") -> int:
    """Bytes of a layer's weights at `bits`, and of its bias (int32, one an output)."""
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    each = bits if storage == "packed" else (4 if bits <= 4 else 8)
    outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    return math.ceil(weight.numel() * each / 8) + 4 * int(outputs)  # type: ignore[arg-type]


def model_bytes(model: nn.Module, bits: Mapping[str, int], storage: str = "tflite") -> int:
    """Bytes of all weights and biases of a float `model` with these `bits` for its layers."""
    layers = plain_layers(folded(model))
    return sum(layer_bytes(layer, bits[name], storage) for name, layer in layers.items())


@torch.no_grad()
def sensitivity(
    model: nn.Module,
    data: Dataset,
    widths: Sequence[int] = WIDTHS,
    *,
    metric: str = "loss",
    weights: Kind = "clipped",
    examples: int = 512,
) -> dict[str, dict[int, float]]:
    """Layer → bits → how much worse the network is with this layer's weights alone at these bits.

    Nats per example, on `examples` images of the training split; can be negative by chance when
    measured as loss. Activations are not rounded.
    """
    from tinykit.nn.train import tensors

    if metric not in METRICS:
        raise TinykitError(f"metric is {metric!r}; there are {', '.join(METRICS)}")
    if not widths or not all(isinstance(b, int) and 2 <= b <= 8 for b in widths):
        raise TinykitError(f"widths are {widths}: weights take 2 to 8 bits")
    small = prepare(model, weights=weights)
    part = data.train.take(examples)
    if not len(part.x):
        raise TinykitError("sensitivities are measured on examples, and there are none")
    x, y = tensors(part.x, part.y)

    def logits() -> torch.Tensor:
        return torch.cat([small(some) for some in x.split(128)])

    def worse(now: torch.Tensor) -> float:
        if metric == "loss":
            return float(F.cross_entropy(now, y) - base)
        ours, theirs = F.log_softmax(now, 1), F.log_softmax(exact, 1)
        return float(F.kl_div(ours, theirs, reduction="batchmean", log_target=True))

    layers = weighted(small)
    found: dict[str, dict[int, float]] = {name: {} for name in layers}
    with plain_activations(small):
        for layer in layers.values():
            layer.quantizer.mode = Mode.OFF
        exact = logits()
        base = F.cross_entropy(exact, y)
        for name, layer in layers.items():
            off = layer.quantizer
            for bits in widths_of(layer, widths):
                made = quantizer(weights, weight_grid(layer, bits, weights))
                layer.quantizer = made.start(layer.weight)
                found[name][bits] = worse(logits())
            layer.quantizer = off
    return found


@torch.no_grad()
def joint_cost(
    model: nn.Module,
    data: Dataset,
    bits: Mapping[str, int],
    *,
    weights: Kind = "clipped",
    examples: int = 512,
) -> float:
    """By how much the loss rises with all layers at these bits together, in nats an example.

    Measured as each layer's `sensitivity` is, which need not add up to it.
    """
    from tinykit.nn.train import tensors

    part = data.train.take(examples)
    x, y = tensors(part.x, part.y)
    small = prepare(model, weights=weights, bits_of=bits)
    with plain_activations(small):
        rounded = F.cross_entropy(small(x), y)
    return float(rounded - F.cross_entropy(model(x), y))


def allocate(costs: Costs, sizes: Sizes, budget: int) -> dict[str, int]:
    """The bits of each layer with the least sum of costs whose sizes add up to `budget` at most.

    Exact: dynamic programming over the layers, which keeps each total size that no smaller one
    beats (a multiple-choice knapsack). Of equal sums the smaller size is taken.

    Parameters
    ----------
    costs, sizes : layer → bits → cost, and bytes; with the same keys
    budget : bytes

    Raises
    ------
    TinykitError
        No choice fits, keys that differ, or a cost that is not finite.
    """
    if {n: set(c) for n, c in costs.items()} != {n: set(s) for n, s in sizes.items()}:
        raise TinykitError("costs and sizes have to speak of the same layers and bits")
    if not all(math.isfinite(c) for by in costs.values() for c in by.values()):
        raise TinykitError("a cost is not finite: the network computes NaN or infinity")
    rest = _affordable(sizes, budget)
    size, cost = np.zeros(1, np.int64), np.zeros(1)
    steps: list[tuple[list[int], np.ndarray, np.ndarray]] = []
    for name in sizes:
        widths = list(sizes[name])
        rest -= min(sizes[name].values())
        total = (size[:, None] + np.array([sizes[name][b] for b in widths])).ravel()
        price = (cost[:, None] + np.array([costs[name][b] for b in widths])).ravel()
        fits = np.flatnonzero(total + rest <= budget)
        order = fits[np.lexsort((price[fits], total[fits]))]
        best = np.minimum.accumulate(price[order])
        keep = order[np.r_[True, price[order][1:] < best[:-1]]]
        size, cost = total[keep], price[keep]
        steps.append((widths, keep // len(widths), keep % len(widths)))
    bits: dict[str, int] = {}
    at = len(size) - 1  # costs fall as sizes grow
    for name, (widths, parent, option) in zip(reversed(list(sizes)), reversed(steps), strict=True):
        bits[name] = widths[option[at]]
        at = int(parent[at])
    return {name: bits[name] for name in sizes}


def _affordable(sizes: Sizes, budget: int) -> int:
    """The smallest size there is; an error if it is beyond the budget."""
    if not sizes:
        raise TinykitError("the model has no layers whose weights could be quantized")
    smallest = sum(min(by.values()) for by in sizes.values())
    if smallest > budget:
        raise TinykitError(
            f"budget is {budget} bytes, and the smallest possible is {smallest}: raise the budget, "
            f"or take a smaller network (tk.Prune)"
        )
    return smallest
