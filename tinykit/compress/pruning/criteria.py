"""Criteria: what marks a set of weights that go together as dispensable.

A criterion sees units, one row each: single weights, blocks, or channels with all that depends on
them. It is found by its name once its class is defined.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError

#: rows (units, weights of one) of named parameters' values; zeros fill up incomplete units
Gather = Callable[[Mapping[str, Tensor]], Tensor]
#: examples that gradients are taken on, and how many make one batch
EXAMPLES, BATCH = 512, 32


class Context:
    """What criteria may look at: the weights, the training data, a source of random numbers."""

    def __init__(self, model: nn.Module, data: Dataset | None, seed: int) -> None:
        self.model, self.data, self.seed = model, data, seed
        self.random = torch.Generator().manual_seed(seed)
        self.weights = {name: p.detach() for name, p in model.named_parameters()}
        self._products: list[dict[str, Tensor]] | None = None

    def products(self) -> list[dict[str, Tensor]]:
        """Gradient times weight, by batch of training images and parameter; in eval mode."""
        if self._products is None:
            if self.data is None:
                raise TinykitError("criterion 'taylor' needs gradients: pass data")
            self._products = products(self.model, self.data, self.seed)
        return self._products


def products(model: nn.Module, data: Dataset, seed: int = 0) -> list[dict[str, Tensor]]:
    """∂L/∂w · w of every parameter, for each batch of 32 of 512 training images; L: cross-entropy.

    The model's mode and gradients are left as they are.
    """
    from tinykit.nn.train import tensors

    part = data.train.take(EXAMPLES, seed)
    x, y = tensors(part.x, part.y)
    named = dict(model.named_parameters())
    frozen = [p for p in named.values() if not p.requires_grad]
    was, made = model.training, []
    model.eval()
    try:
        for p in frozen:
            p.requires_grad_(True)
        with torch.enable_grad():
            for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
                loss = F.cross_entropy(model(images), labels)
                grads = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
                made.append({
                    name: torch.zeros_like(p) if g is None else (g * p).detach()
                    for (name, p), g in zip(named.items(), grads, strict=True)
                })  # fmt: skip
    finally:
        for p in frozen:
            p.requires_grad_(False)
        model.train(was)
    return made


class Criterion(ABC):
    """Scores units; the lowest go first. Scores are never negative."""

    name: ClassVar[str]
    #: name → class of every criterion that is defined
    known: ClassVar[dict[str, type[Criterion]]] = {}
    #: kinds of structure ("weights", "blocks", "N:M", "pattern", "channel") that it makes no sense
    #: for → why
    senseless: ClassVar[Mapping[str, str]] = {}
    #: whether scores add up over a unit's weights, so that larger units score higher
    additive: ClassVar[bool] = False
    #: which parameters make up a channel: all that depend on it, "producers", or "consumers"
    channel: ClassVar[str] = "all"
    #: how scores of channels are ranked unless said otherwise
    scope: ClassVar[str] = "layer"

    def __init_subclass__(cls) -> None:
        Criterion.known[cls.name] = cls

    @abstractmethod
    def score(self, gather: Gather, context: Context) -> Tensor:
        """Float (units,) of one layer, or of one set of channels that depend on each other."""

    def comparable(self, score: Tensor) -> Tensor:
        """Scores of channels, to be ranked with those of other layers: their mean is 1."""
        mean = score.mean()
        return score / mean if float(mean) > 0 else score


def criterion(name: str, structure: str = "channel") -> Criterion:
    """The criterion called `name`, if it makes sense for the kind of `structure`."""
    if name not in Criterion.known:
        raise TinykitError(f"Prune knows the criteria {', '.join(Criterion.known)}, not {name!r}")
    made = Criterion.known[name]()
    if structure in made.senseless:
        raise TinykitError(
            f"criterion {name!r} makes no sense for this structure: {made.senseless[structure]}"
        )
    return made


class Magnitude(Criterion):
    """Sum of squared weights: small ones matter least (Han et al. 2015, arXiv:1506.02626)."""

    name = "magnitude"
    additive = True

    def score(self, gather: Gather, context: Context) -> Tensor:
        return gather(context.weights).square().sum(1)


class Taylor(Criterion):
    """(Σ gradient · weight)², averaged over batches: to first order, the squared change of the loss
    when the unit is set to zero (Molchanov et al. 2019, arXiv:1906.10771, eq. 8 and its gates).

    A channel is gone when nothing reads it; so its sum goes over the weights that read it.
    """

    name = "taylor"
    additive = True
    channel = "consumers"

    def score(self, gather: Gather, context: Context) -> Tensor:
        each = [gather(values).sum(1).square() for values in context.products()]
        return torch.stack(each).mean(0)


class Lamp(Criterion):
    """Squared magnitude over the sum of those in the layer that are at least as large (Lee et al.
    2021, arXiv:2010.07611, eq. 2), so that layers can be ranked together."""

    name = "lamp"
    scope = "global"
    senseless = {
        "N:M": "within a few neighbours it ranks as magnitude does; take 'magnitude'",
        "pattern": "within a kernel it ranks as magnitude does; take 'magnitude'",
    }

    def score(self, gather: Gather, context: Context) -> Tensor:
        square = gather(context.weights).square().sum(1).double()
        order = square.argsort(stable=True)
        ranked = square[order]
        left = ranked.flip(0).cumsum(0).flip(0)
        scores = torch.zeros_like(ranked)
        scores[order] = torch.where(left > 0, ranked / left.clamp_min(1e-300), 0.0)
        return scores

    def comparable(self, score: Tensor) -> Tensor:
        return score


class Fpgm(Criterion):
    """Sum of the distances to the layer's other filters: what lies near their geometric median can
    be replaced by them (He et al. 2019, arXiv:1811.00250, eq. 4 to 7)."""

    name = "fpgm"
    channel = "producers"
    senseless = dict.fromkeys(
        ("weights", "blocks", "N:M", "pattern"),
        "it compares whole filters; take structure 'channel'",
    )

    def score(self, gather: Gather, context: Context) -> Tensor:
        filters = gather(context.weights).double()
        # by differences: the expansion of (a − b)² that is taken for speed loses digits
        return torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)


class Random(Criterion):
    """By chance: what every criterion should beat."""

    name = "random"

    def score(self, gather: Gather, context: Context) -> Tensor:
        return torch.rand(len(gather(context.weights)), generator=context.random)
