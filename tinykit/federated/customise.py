"""How a device makes the model of all its own: Tᵢ in "the meta-model that each device customises".

A strategy with a customisation minimises fᵢ(Tᵢ(θ)) on each device instead of fᵢ(θ) (Acar et al.,
"Debiasing model updates for improving personalized federated training", ICML 2021): FedAvg with
`MAML` is Per-FedAvg, FedDyn with one is PFLDyn, SCAFFOLD with one PFLScaf. Gradients go through the
customisation, second order included, by torch.func.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tinykit.federated.checks import real, whole
from tinykit.federated.errors import FederatedError
from tinykit.federated.gradient import grad_and_value
from tinykit.federated.net import Net, mean

#: the logit of a class that a device has no prototype of; finite, so that gradients are too
ABSENT = -1e6


@dataclass(frozen=True)
class Examples:
    """Examples of one device: x (N, C, H, W), y (N,), and weight (N,), 0 for padding, or None."""

    x: Tensor
    y: Tensor
    weight: Tensor | None = None


class Customise(ABC):
    """Tᵢ: what a device does with the shared model before it uses it.

    Attributes
    ----------
    supported : whether it needs examples of its own (a second minibatch in each step of training)
    """

    supported: ClassVar[bool] = True

    def reject_unfit(self, net: Net, classes: int) -> None:  # noqa: B027
        """Nothing, if it can customise `net` for data of so many classes.

        Raises
        ------
        FederatedError
            It cannot.
        """

    @abstractmethod
    def loss(
        self, net: Net, w: Tensor, statistics: Tensor, query: Examples, support: Examples
    ) -> tuple[Tensor, Tensor]:
        """fᵢ(Tᵢ(w)) on `query`, customised with `support`; and the statistics after it."""

    @abstractmethod
    def predict(
        self, net: Net, w: Tensor, statistics: Tensor, support: Examples, x: Tensor
    ) -> Tensor:
        """Logits of `x` (N, C, H, W) by the model that `support` customised; eval mode."""


@dataclass(frozen=True)
class Identity(Customise):
    """The shared model as it is."""

    supported: ClassVar[bool] = False

    def loss(
        self, net: Net, w: Tensor, statistics: Tensor, query: Examples, support: Examples
    ) -> tuple[Tensor, Tensor]:
        return net.loss(w, statistics, query.x, query.y, query.weight)

    def predict(
        self, net: Net, w: Tensor, statistics: Tensor, support: Examples, x: Tensor
    ) -> Tensor:
        return net.logits(w, statistics, x)[0]


@dataclass(frozen=True)
class MAML(Customise):
    """A few steps of gradient descent on the device's examples (Finn et al., ICML 2017).

    Parameters
    ----------
    steps : of gradient descent; after training, this is fine-tuning
    lr : their size
    first_order : leave out the derivative of the inner gradients (FOMAML)
    """

    steps: int = 1
    lr: float = 0.01
    first_order: bool = False

    def __post_init__(self) -> None:
        whole("steps of MAML", self.steps, least=0)
        real("lr of MAML", self.lr, above=0)

    def adapted(
        self, net: Net, w: Tensor, statistics: Tensor, support: Examples
    ) -> tuple[Tensor, Tensor]:
        """Tᵢ(w), (P,), and the statistics that batch norm has after it."""

        def on_support(v: Tensor, stats: Tensor) -> tuple[Tensor, Tensor]:
            return net.loss(v, stats, support.x, support.y, support.weight)

        for _ in range(self.steps):
            gradient, (_, statistics) = grad_and_value(on_support, w, statistics, further=True)
            w = w - self.lr * (gradient.detach() if self.first_order else gradient)
        return w, statistics

    def loss(
        self, net: Net, w: Tensor, statistics: Tensor, query: Examples, support: Examples
    ) -> tuple[Tensor, Tensor]:
        adapted, statistics = self.adapted(net, w, statistics, support)
        return net.loss(adapted, statistics, query.x, query.y, query.weight)

    def predict(
        self, net: Net, w: Tensor, statistics: Tensor, support: Examples, x: Tensor
    ) -> Tensor:
        adapted, statistics = self.adapted(net, w, statistics, support)
        return net.logits(adapted, statistics, x)[0]


@dataclass(frozen=True)
class Prototypes(Customise):
    """The last layer gives way to the device's own class means (Snell et al., NeurIPS 2017).

    A logit is minus the squared distance between what the last linear layer is given and the mean
    of that over the device's examples of the class. Classes that a device has not seen cannot be
    predicted; in training, queries of a class that the support lacks do not count.

    Parameters
    ----------
    classes : how many there are
    """

    classes: int = 10

    def __post_init__(self) -> None:
        whole("classes of prototypes", self.classes, least=2)

    def reject_unfit(self, net: Net, classes: int) -> None:
        if self.classes < classes:
            raise FederatedError(
                f"prototypes of {self.classes} classes, the data has {classes}: "
                f"Prototypes(classes={classes})"
            )
        net.last_linear()

    def distances(self, features: Tensor, support: Tensor, own: Examples) -> tuple[Tensor, Tensor]:
        """Logits (N, classes), and which classes `own` has, (classes,) of 0 and 1."""
        # not F.one_hot, which looks at the labels' values, and so fails under vmap
        known = torch.arange(self.classes, device=own.y.device)
        member = (own.y[:, None] == known).to(support.dtype)
        if own.weight is not None:
            member = member * own.weight[:, None]
        many = member.sum(0)
        centres = member.T @ support / many.clamp(min=1)[:, None]
        logits = -((features[:, None, :] - centres) ** 2).sum(-1)
        there = (many > 0).to(support.dtype)
        return torch.where(there > 0, logits, torch.full_like(logits, ABSENT)), there

    def loss(
        self, net: Net, w: Tensor, statistics: Tensor, query: Examples, support: Examples
    ) -> tuple[Tensor, Tensor]:
        of_support, statistics = net.features(w, statistics, support.x, training=True)
        of_query, statistics = net.features(w, statistics, query.x, training=True)
        logits, there = self.distances(of_query, of_support, support)
        weight = there[query.y]
        if query.weight is not None:
            weight = weight * query.weight
        return mean(net.loss_of_each(logits, query.y), weight), statistics

    def predict(
        self, net: Net, w: Tensor, statistics: Tensor, support: Examples, x: Tensor
    ) -> Tensor:
        of_support, _ = net.features(w, statistics, support.x)
        features, _ = net.features(w, statistics, x)
        return self.distances(features, of_support, support)[0]
