"""Pruning: whole channels, so that the network is smaller for any runtime; or single weights."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from tinykit.compress.finetune import finetune, weighted
from tinykit.compress.scheme import Scheme
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import tensors

#: criterion -> name of torch-pruning's importance
CRITERIA = {
    "magnitude": "GroupMagnitudeImportance",
    "taylor": "GroupTaylorImportance",
    "fpgm": "FPGMImportance",
    "random": "RandomImportance",
}


@dataclass(frozen=True)
class Prune(Scheme):
    """Remove `amount` of the weights, then fine-tune.

    Parameters
    ----------
    amount : share of the network's parameters to remove, in [0, 1)
    structure : "channel" removes whole channels with everything that depends on them (the
        dependency graph is torch-pruning's, Fang et al. 2023, arXiv:2301.12900): the result is a
        smaller dense network. "unstructured" sets single weights to zero and keeps them there: no
        runtime for microcontrollers stores or runs such a network any smaller.
    criterion : what marks a channel as dispensable: "magnitude" (norm of its weights), "taylor"
        (change of the loss, to first order), "fpgm" (distance from the layer's median), "random".
        Single weights go by magnitude or at random.
    epochs : of fine-tuning after each round; None takes a third of what training takes
    rounds : reach `amount` in so many equal steps, fine-tuned after each
    multiple : channel counts stay multiples of this (kernels work on four at a time)
    lr : peak learning rate of fine-tuning
    """

    amount: float
    structure: str = "channel"
    criterion: str = "magnitude"
    epochs: int | None = None
    rounds: int = 1
    multiple: int = 4
    lr: float = 5e-3

    def __post_init__(self) -> None:
        if not 0 <= self.amount < 1:
            raise TinykitError(
                f"Prune takes the share of weights to remove, 0 <= amount < 1, not {self.amount}"
            )
        if self.structure not in ("channel", "unstructured"):
            raise TinykitError(
                f"Prune knows structure 'channel' and 'unstructured', not {self.structure!r}"
            )
        known = CRITERIA if self.structure == "channel" else ("magnitude", "random")
        if self.criterion not in known:
            raise TinykitError(
                f"{self.structure} pruning knows the criteria {', '.join(known)}, "
                f"not {self.criterion!r}"
            )
        if (self.epochs is not None and self.epochs < 0) or self.rounds < 1 or self.multiple < 1:
            raise TinykitError("Prune needs epochs >= 0, rounds >= 1 and multiple >= 1")
        if not self.lr > 0:
            raise TinykitError(f"Prune needs lr > 0, not {self.lr}")

    def apply(
        self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
    ) -> nn.Module:
        if self.amount == 0:
            return model.eval()
        whole = parameters(model)
        for number in range(self.rounds):
            # equal factors, so that each round removes the same share of what is left
            share = 1 - (1 - self.amount) ** ((number + 1) / self.rounds)
            if self.structure == "channel":
                model = self._channels(model, data, whole, share, seed)
            else:
                self._weights(model, share, seed)
            finetune(
                model, data, self.epochs, lr=self.lr, seed=seed, progress=progress, what="prune"
            )
        return model.eval()

    # -- channels -------------------------------------------------------------------------------

    def _channels(
        self, model: nn.Module, data: Dataset, whole: int, share: float, seed: int
    ) -> nn.Module:
        """The least pruned copy of `model` that lacks `share` of `whole` parameters."""
        if self.criterion == "taylor":
            _gradients(model, data, seed)
        low, high = 0.0, 1.0
        best: nn.Module | None = None
        for _ in range(9):  # the channel ratio to 1/512
            ratio = (low + high) / 2
            made = self._cut(model, data, ratio, seed)
            if parameters(made) <= (1 - share) * whole:
                best, high = made, ratio
            else:
                low = ratio
        if best is None:
            raise TinykitError(
                f"{share:.0%} of this network's weights cannot be removed by channels (at least "
                f"{self.multiple} a layer stay): prune less, or a wider network"
            )
        best.zero_grad(set_to_none=True)
        return best

    def _cut(self, model: nn.Module, data: Dataset, ratio: float, seed: int) -> nn.Module:
        import torch_pruning as tp

        gradients = [p.grad for p in model.parameters()]
        model = copy.deepcopy(model).eval()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
            parameter.requires_grad_(True)
        h, w, c = data.spec.shape
        example = torch.zeros(1, c, h, w)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # torch-pruning warns of parameters that no layer owns; they are left as they are
            warnings.filterwarnings("ignore", category=UserWarning, module=r"torch_pruning")
            torch.manual_seed(seed)
            importance = getattr(tp.importance, CRITERIA[self.criterion])()
            pruner = tp.pruner.BasePruner(
                model,
                example,
                importance=importance,
                pruning_ratio=ratio,
                round_to=self.multiple,
                ignored_layers=[_last(model, example)],
            )
            pruner.step()
        return model

    # -- single weights -------------------------------------------------------------------------

    def _weights(self, model: nn.Module, share: float, seed: int) -> None:
        """Zero the `share` of all weights that matter least, across layers."""
        layers: list[Any] = weighted(model)
        every = torch.cat([m.weight.detach().abs().flatten() for m in layers])
        score = every
        if self.criterion == "random":
            score = torch.rand(every.shape, generator=torch.Generator().manual_seed(seed))
            score[every == 0] = -1  # what an earlier round removed stays removed
        keep = torch.ones_like(score)
        keep[score.argsort(stable=True)[: round(share * len(score))]] = 0
        with torch.no_grad():
            for m, mask in zip(layers, keep.split([m.weight.numel() for m in layers]), strict=True):
                m.weight.mul_(mask.view_as(m.weight))
        model.sparse = True  # type: ignore[assignment]


def parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def _last(model: nn.Module, example: torch.Tensor) -> nn.Module:
    """The layer that makes the scores: the last one to run. Its outputs are the classes."""
    ran: list[nn.Module] = []
    note: Callable[..., None] = lambda module, *_: ran.append(module)  # noqa: E731
    hooks = [m.register_forward_hook(note) for m in weighted(model)]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise TinykitError(
            "there is nothing to prune: the model has no convolution or linear layer"
        )
    return ran[-1]


def _gradients(model: nn.Module, data: Dataset, seed: int) -> None:
    """Leave the loss's gradient on 512 training images in the parameters."""
    part = data.train.take(512, seed)
    x, y = tensors(part.x, part.y)
    model.eval()
    model.zero_grad(set_to_none=True)
    F.cross_entropy(model(x), y).backward()
