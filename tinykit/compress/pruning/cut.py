"""What to remove, said once: for `Prune`, `masked` and `pruned`, and the sensitivity scan."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from tinykit.compress.pruning.channels import Channels
from tinykit.compress.pruning.choose import Units, by_layer, by_size
from tinykit.compress.pruning.criteria import Context, criterion
from tinykit.compress.pruning.layers import layers_of, parameters
from tinykit.compress.pruning.masks import Masks, attach, masks_of
from tinykit.compress.pruning.select import Amount, check_amount
from tinykit.compress.pruning.structures import Blocks, NofM, Structure, structure
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError


@dataclass(frozen=True)
class Cut:
    """Which weights go: how many, in what structure, by what criterion.

    Parameters are those of `tinykit.Prune`.
    """

    amount: Amount | None = None
    structure: str | None = None
    criterion: str = "magnitude"
    scope: str | None = None
    multiple: int = 4
    shape: Structure | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape = structure(self.structure or "channel")
        object.__setattr__(self, "shape", shape)
        kind = shape.kind if shape else "channel"
        criterion(self.criterion, kind)
        if self.multiple < 1:
            raise TinykitError(f"Prune needs multiple >= 1, not {self.multiple}")
        fixed = shape.share if shape else None
        if self.amount is None and fixed is None:
            raise TinykitError("Prune needs amount, the share of weights to remove")
        if self.amount is not None:
            check_amount(self.amount)
            shares = self.amount.values() if isinstance(self.amount, Mapping) else [self.amount]
            wrong = [s for s in shares if fixed is not None and s and abs(s - fixed) > 1e-3]
            if wrong:
                raise TinykitError(
                    f"structure {self.structure!r} removes {fixed:.4g} of the weights by itself: "
                    f"leave amount out, or give that; not {wrong[0]}"
                )
        if self.scope not in (None, "layer", "global"):
            raise TinykitError(f"Prune knows scope 'layer' and 'global', not {self.scope!r}")
        if self.scope and (fixed is not None or isinstance(self.amount, Mapping)):
            raise TinykitError("scope says how one amount is spread over layers: leave it out here")
        if self.criterion == "lamp" and (self.scope == "layer" or isinstance(self.amount, Mapping)):
            raise TinykitError(
                "within a layer 'lamp' ranks as 'magnitude' does: take that, or scope 'global'"
            )

    @property
    def where(self) -> str:
        """How the amount is spread: "global" or "layer"."""
        if self.scope:
            return self.scope
        return "global" if self.shape else criterion(self.criterion).scope

    @property
    def fixed(self) -> float | None:
        """The share that the structure removes by itself; None where it leaves a choice."""
        return self.shape.share if self.shape else None

    @property
    def nothing(self) -> bool:
        """Whether nothing is to be removed."""
        if self.amount is None:
            return False
        shares = self.amount.values() if isinstance(self.amount, Mapping) else [self.amount]
        return not any(shares)

    def at(self, amount: Amount | None) -> Cut:
        """The same with another amount."""
        return replace(self, amount=amount)

    # -- inside weights -------------------------------------------------------------------------

    def masks(
        self, model: nn.Module, data: Dataset | None, seed: int, context: Context | None = None
    ) -> Masks:
        """Masks of this cut joined with those that `model` carries."""
        if self.shape is None:
            raise TinykitError("channels are planned, not masked weight by weight")
        laid = isinstance(self.shape, (Blocks, NofM)) and self.shape.kind != "weights"
        known = data is not None or hasattr(model, "input_shape")
        example = example_of(model, data) if laid and known else None
        layers, before = layers_of(model, example), masks_of(model)
        context = context or Context(model, data, seed)
        amount = 1.0 if self.amount is None else self.amount
        score = criterion(self.criterion, self.shape.kind)
        return before & self.shape.masks(layers, score, context, amount, self.where, before)

    # -- channels -------------------------------------------------------------------------------

    def units(
        self,
        channels: Channels,
        data: Dataset | None,
        seed: int,
        whole: Whole,
        gone: Units | None = None,
    ) -> Units:
        """Channels that go, those in `gone` among them."""
        context = Context(channels.model, data, seed)
        scores = channels.scores(criterion(self.criterion), context)
        for root, units in (gone or {}).items():
            scores[root][units] = -1
        if isinstance(self.amount, Mapping):
            return by_layer(channels, scores, self.amount, self.multiple, whole.channels)
        assert self.amount is not None
        return by_size(channels, scores, self.amount, self.where, self.multiple, whole.parameters)


@dataclass(frozen=True)
class Whole:
    """How large the network was before anything was removed."""

    parameters: int
    channels: Mapping[str, int]

    @classmethod
    def of(cls, model: nn.Module, example: Tensor) -> Whole:
        groups = Channels(model, example).groups
        return cls(parameters(model), {g.root: g.channels for g in groups})


def example_of(model: nn.Module, data: Dataset | None = None) -> Tensor:
    """An input of the model, zeros (1, C, H, W)."""
    shape = data.spec.shape if data is not None else getattr(model, "input_shape", None)
    if shape is None:
        raise TinykitError("the model does not say its input_shape: pass data")
    h, w, c = shape
    return torch.zeros(1, c, h, w)


def masked(
    model: nn.Module,
    amount: Amount | None = None,
    *,
    structure: str | None = None,
    criterion: str = "magnitude",
    scope: str | None = None,
    multiple: int = 4,
    data: Dataset | None = None,
    seed: int = 0,
) -> nn.Module:
    """A copy of `model` in which what `tinykit.Prune` would remove is zero; nothing is trained.

    With channels, all of their parameters are masked: filters, biases, batch norm's factors and
    shifts, and the weights that read them. It computes what `pruned` computes, and can be trained
    on (`attach`ed masks hold).

    Parameters
    ----------
    amount, structure, criterion, scope, multiple : as in `tinykit.Prune`
    data : for criterion "taylor", and for models that do not say their `input_shape`
    seed : of criterion "random", and of the images that gradients are taken on

    Returns
    -------
    sparse : in eval mode, with the attribute `masks`
    """
    cut = Cut(amount, structure, criterion, scope, multiple)
    model = copy.deepcopy(model).eval()
    if cut.nothing:
        return model
    if cut.shape is not None:
        return attach(model, cut.masks(model, data, seed))
    example = example_of(model, data)
    channels = Channels(model, example)
    plan = channels.channels(cut.units(channels, data, seed, Whole.of(model, example)))
    return attach(model, masks_of(model) & channels.masks(plan))


def pruned(
    model: nn.Module,
    amount: Amount,
    *,
    criterion: str = "magnitude",
    scope: str | None = None,
    multiple: int = 4,
    data: Dataset | None = None,
    seed: int = 0,
    whole: Whole | None = None,
) -> nn.Module:
    """A copy of `model` without the channels that `tinykit.Prune` would remove; nothing is trained.

    Parameters are those of `masked`; `whole` is what the amount is a share of, left out: `model`.
    """
    cut = Cut(amount, "channel", criterion, scope, multiple)
    model = copy.deepcopy(model).eval()
    if cut.nothing:
        return model
    example = example_of(model, data)
    channels = Channels(model, example)
    units = cut.units(channels, data, seed, whole or Whole.of(model, example))
    return channels.remove(channels.channels(units))
