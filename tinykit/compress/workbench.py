"""A trained network on which cuts are tried one after another, each within milliseconds.

What a cut needs again and again (scores, the dependency graph, the layers) is found once; weights
are set to zero in place and put back. The results are plain numbers and arrays.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from tinykit.compress.finetune import finetune
from tinykit.compress.pruning.channels import Channels
from tinykit.compress.pruning.choose import Units, by_layer, ranked
from tinykit.compress.pruning.criteria import Context, criterion
from tinykit.compress.pruning.cut import Cut, example_of
from tinykit.compress.pruning.layers import Layer, layers_of
from tinykit.compress.pruning.masks import Masks, attach
from tinykit.compress.pruning.schedules import LR
from tinykit.compress.pruning.select import Amount, check_amount
from tinykit.compress.pruning.sensitivity import Sensitivity, sensitivity
from tinykit.compress.uses import uses
from tinykit.data.types import Dataset
from tinykit.nn.train import accuracy, default_batch

#: told the share done and what is done; whatever it raises stops the work
Tick = Callable[[float | None, str], None]


@dataclass(frozen=True, eq=False)
class Trial:
    """A cut, without training.

    Parameters
    ----------
    masks : what it removes
    removed : share that went, by layer (with channels: by group of channels, see `Workbench`)
    kept : bool arrays in the shape of the weights, by layer: all convolutions and linear layers
    parameters : how many numbers stay
    macs : multiply-accumulates of an inference that a dense runtime does
    accuracy : on the split that was asked for, in [0, 1]
    """

    masks: Masks
    removed: Mapping[str, float]
    kept: Mapping[str, np.ndarray]
    parameters: int
    macs: int
    accuracy: float

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Trial):
            return NotImplemented
        mine = (self.removed, self.parameters, self.macs, self.accuracy, self.kept.keys())
        theirs = (other.removed, other.parameters, other.macs, other.accuracy, other.kept.keys())
        return mine == theirs and all(
            np.array_equal(kept, other.kept[name]) for name, kept in self.kept.items()
        )

    __hash__ = None  # type: ignore[assignment]


class Workbench:
    """`model` and one way to prune it.

    Parameters
    ----------
    model : trained; it is copied
    structure, criterion, multiple : as in `tinykit.Prune`
    seed : of criterion "random", of the images that gradients are taken on, and of training

    Attributes
    ----------
    layers : names of what can lose a share of its own: layers that can have the structure; with
        channels, layers that stand for those whose channels go together
    together : for each of these, the layers that make its channels; itself where weights go
    weights : float32 arrays by layer, in torch's shape: all convolutions and linear layers
    kinds : what each of those is, "conv 3×3", "depthwise 3×3" or "linear"
    parameters, macs : of the whole network; an inference on one image

    Raises
    ------
    TinykitError
        A criterion that makes no sense for the structure, a structure that no layer can have.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        structure: str = "channel",
        criterion: str = "magnitude",
        *,
        multiple: int = 1,
        seed: int = 0,
    ) -> None:
        self.data, self.multiple, self.seed = data, multiple, seed
        self.structure, self.criterion = structure, criterion
        self.cut = Cut(0.0, structure, criterion, multiple=multiple)
        self._whole = copy.deepcopy(model).eval()
        self._model = copy.deepcopy(self._whole)
        self._example = example_of(model, data)
        # single weights are ranked in torch's order, as `Prune` does
        laid = self.cut.shape is not None and self.cut.shape.kind in ("blocks", "N:M")
        self._layers = layers_of(self._model, self._example if laid else None)
        self.parameters = sum(p.numel() for p in self._model.parameters())
        self.weights = {layer.name: layer.weight.detach().numpy().copy() for layer in self._layers}
        self.kinds = {layer.name: _kind(layer) for layer in self._layers}
        self._positions = uses(self._model, {i.name: i.module for i in self._layers}, self._example)
        self.macs = sum(self.weights[n].size * count for n, count in self._positions.items())
        if self.cut.shape is None:
            groups = sorted(self._channels.groups, key=lambda g: self._first(g.makers))
            self.together = {g.root: tuple(sorted(g.makers, key=self._order)) for g in groups}
        else:
            fitting = self.cut.shape.fitting(self._layers, 0.0)
            self.together = {layer.name: (layer.name,) for layer in fitting}
        self.layers = tuple(self.together)

    @property
    def fixed(self) -> float | None:
        """The share that the structure removes by itself; None where it leaves a choice."""
        return self.cut.fixed

    def scan(
        self,
        ratios: tuple[float, ...] | None = None,
        *,
        split: str = "val",
        tick: Tick | None = None,
    ) -> Sensitivity:
        """The sensitivity scan of the whole network, as `tinykit.compress.pruning.sensitivity`."""
        # within a layer LAMP ranks as magnitude does
        how = "magnitude" if self.criterion == "lamp" else self.criterion
        return sensitivity(
            self._whole,
            self.data,
            ratios if self.fixed is None else None,
            structure=self.structure,
            criterion=how,
            split=split,
            multiple=self.multiple,
            seed=self.seed,
            progress=False,
            on_step=(lambda share: tick(share, "pruning each layer alone")) if tick else None,
        )

    def measure(self, split: str = "test") -> float:
        """Accuracy of the whole network."""
        return self._accuracy(self._whole, split)

    def try_out(self, amount: Amount, split: str = "test") -> Trial:
        """Remove `amount`, by layer or one share of all ranked together, measure, and undo it.

        Raises
        ------
        TinykitError
            A share outside [0, 1), or a layer that cannot be pruned.
        """
        check_amount(amount)
        masks, removed = self._masks(amount)
        masks.hold(self._model)
        try:
            accuracy = self._accuracy(self._model, split)
        finally:
            self._put_back(masks)
        kept = {layer.name: _kept(layer, masks) for layer in self._layers}
        macs = self.macs
        if self.cut.shape is None:  # a smaller network; else zeros are multiplied as before
            macs = sum(int(kept[n].sum()) * count for n, count in self._positions.items())
        left = self.parameters - masks.removed(self._whole)
        return Trial(masks, removed, kept, left, macs, accuracy)

    def finetuned(
        self, trial: Trial, epochs: int, split: str = "test", tick: Tick | None = None
    ) -> float:
        """Accuracy after training what `trial` leaves, for `epochs`."""
        model = attach(copy.deepcopy(self._whole), trial.masks)
        steps, done = epochs * max(1, len(self.data.train) // default_batch(self.data)), 0

        def on_step() -> None:
            nonlocal done
            done += 1
            if tick:
                tick(min(1.0, done / steps), f"training what is left, {epochs} epochs")

        finetune(
            model, self.data, epochs, lr=LR, seed=self.seed, progress=False, what="fine-tune",
            on_step=on_step,
        )  # fmt: skip
        return self._accuracy(model, split)

    # -- how ------------------------------------------------------------------------------------

    def _masks(self, amount: Amount) -> tuple[Masks, dict[str, float]]:
        if self.cut.shape is None:
            units = self._units(amount)
            masks = self._channels.masks(self._channels.channels(units))
            sizes = {g.root: g.units for g in self._channels.groups}
            return masks, {n: len(units.get(n, ())) / sizes[n] for n in self.layers}
        shape = self.cut.shape
        if isinstance(amount, Mapping):
            amount = {name: share for name, share in amount.items() if share}
        if not amount:
            return Masks(), dict.fromkeys(self.layers, 0.0)
        self._context.random.manual_seed(self.seed)
        how = "magnitude" if isinstance(amount, Mapping) and self.criterion == "lamp" else None
        score = criterion(how or self.criterion, shape.kind)
        masks = shape.masks(self._layers, score, self._context, amount, "global", Masks())
        keys = {layer.name: layer.key for layer in self._layers}
        gone = {
            n: float((~masks.keep[keys[n]]).double().mean()) if keys[n] in masks.keep else 0.0
            for n in self.layers
        }
        return masks, gone

    def _units(self, amount: Amount) -> Units:
        scores = self._scores
        if isinstance(amount, Mapping):
            if self.criterion == "lamp":
                scores = self._channels.scores(criterion("magnitude"), self._context)
            return by_layer(self._channels, scores, amount, self.multiple, {})
        return ranked(self._channels, scores, amount, self.multiple)

    @cached_property
    def _channels(self) -> Channels:
        # of a copy of its own, which is never changed
        return Channels(copy.deepcopy(self._whole), self._example)

    @cached_property
    def _scores(self) -> dict[str, torch.Tensor]:
        return self._channels.scores(criterion(self.criterion), self._context)

    @cached_property
    def _context(self) -> Context:
        return Context(self._whole, self.data, self.seed)

    def _accuracy(self, model: nn.Module, split: str) -> float:
        part = self.data.split(split)
        return accuracy(model, part.x, part.y)

    @torch.no_grad()
    def _put_back(self, masks: Masks) -> None:
        whole = dict(self._whole.named_parameters())
        for name, parameter in self._model.named_parameters():
            if name in masks.keep:
                parameter.copy_(whole[name])

    def _order(self, name: str) -> int:
        return [layer.name for layer in self._layers].index(name)

    def _first(self, names: tuple[str, ...]) -> int:
        return min(map(self._order, names))


def _kind(layer: Layer) -> str:
    if not layer.kernel:
        return "linear"
    return f"{'depthwise' if layer.depthwise else 'conv'} {'×'.join(map(str, layer.kernel))}"


def _kept(layer: Layer, masks: Masks) -> np.ndarray:
    mask = masks.keep.get(layer.key)
    kept = torch.ones_like(layer.weight, dtype=torch.bool) if mask is None else mask
    array: np.ndarray = kept.numpy()
    return array
