"""How much each layer can lose: accuracy without training when one layer alone is pruned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from tinykit.compress.pruning.channels import Channels
from tinykit.compress.pruning.choose import by_layer
from tinykit.compress.pruning.criteria import Context, criterion
from tinykit.compress.pruning.cut import Cut, example_of
from tinykit.compress.pruning.layers import layers_of
from tinykit.compress.pruning.masks import Masks
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.progress import bar
from tinykit.nn.train import accuracy as score

RATIOS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Accuracy when one layer alone is pruned, without training.

    Parameters
    ----------
    layers : names; with channels, of the layer that stands for those that go together
    ratios : shares that were asked for, ascending
    accuracy : float (layers, ratios), in [0, 1]
    removed : float (layers, ratios), the share that went: channel counts are rounded
    baseline : accuracy of the whole network
    structure, criterion, split : how, and on which examples it was measured
    weights : how many numbers stay where these layers lose something: (count, names of layers whose
        share they shrink by), for all parameters
    """

    layers: tuple[str, ...]
    ratios: tuple[float, ...]
    accuracy: np.ndarray
    removed: np.ndarray
    baseline: float
    structure: str
    criterion: str
    split: str
    weights: tuple[tuple[int, tuple[str, ...]], ...]

    @property
    def drop(self) -> np.ndarray:
        """Accuracy lost, (layers, ratios); negative where pruning helps."""
        return self.baseline - self.accuracy

    def left(self, ratios: Mapping[str, float]) -> float:
        """Share of the parameters that stay with these `ratios`, each one of the scan's."""
        kept = {name: 1 - self._removed(name, ratio) for name, ratio in ratios.items()}
        total = sum(count for count, _ in self.weights)
        return (
            sum(count * float(np.prod([kept.get(n, 1.0) for n in names]))
                for count, names in self.weights) / total
        )  # fmt: skip

    def ratios_for(
        self, budget: float | None = None, max_drop: float | None = None
    ) -> dict[str, float]:
        """Shares by layer, to be given to ``Prune(amount=...)``: all layers lose alike in accuracy.

        Each layer gets the largest ratio up to which no measured drop exceeds a limit. The limit is
        `max_drop`, or the lowest that removes `budget`; there, layers that bring most go first,
        and the others stay at the limit before. Drops of several layers together are not
        known from this scan; training afterwards makes up for more than that.

        Parameters
        ----------
        budget : share of all parameters to remove, in (0, 1)
        max_drop : accuracy that a layer may cost, >= 0

        Raises
        ------
        TinykitError
            Not exactly one of them, out of range, or the largest ratios of all layers together
            remove less than `budget`.
        """
        if (budget is None) == (max_drop is None):
            raise TinykitError("ratios_for takes one of budget and max_drop")
        if max_drop is not None:
            if not max_drop >= 0:
                raise TinykitError(f"max_drop is an accuracy, at least 0, not {max_drop}")
            return self._within(max_drop)
        assert budget is not None
        if not 0 < budget < 1:
            raise TinykitError(f"budget is a share of the parameters, 0 < budget < 1, not {budget}")
        ratios: dict[str, float] = {}
        for limit in np.unique(self.drop):
            further = self._within(float(limit))
            if 1 - self.left(further) >= budget:
                return self._just(ratios, further, budget)
            ratios = further
        most = 1 - self.left(dict.fromkeys(self.layers, self.ratios[-1]))
        raise TinykitError(
            f"the ratios of this scan remove {most:.0%} of the parameters at most, budget asks for "
            f"{budget:.0%}: scan larger ratios"
        )

    def _just(
        self, before: dict[str, float], after: dict[str, float], budget: float
    ) -> dict[str, float]:
        """`before` with as few of its layers as at `after` as remove `budget`."""
        ratios = dict(before)

        def left_with(name: str) -> float:
            return self.left({**before, name: after[name]})

        for name in sorted(after, key=left_with):
            if 1 - self.left(ratios) >= budget:
                break
            ratios[name] = after[name]
        return {name: ratios[name] for name in self.layers if name in ratios}

    def _within(self, limit: float) -> dict[str, float]:
        found = {}
        for name, drops in zip(self.layers, self.drop, strict=True):
            fine = np.flatnonzero(np.cumprod(drops <= limit + 1e-12))
            if len(fine):
                found[name] = self.ratios[int(fine[-1])]
        return found

    def _removed(self, layer: str, ratio: float) -> float:
        if layer not in self.layers or ratio not in (0, *self.ratios):
            raise TinykitError(
                f"the scan knows layers {', '.join(self.layers)} at ratios "
                f"{', '.join(map(str, self.ratios))}; not {layer!r} at {ratio}"
            )
        if ratio == 0:
            return 0.0
        return float(self.removed[self.layers.index(layer), self.ratios.index(ratio)])


def sensitivity(
    model: nn.Module,
    data: Dataset,
    ratios: tuple[float, ...] | None = None,
    *,
    structure: str | None = None,
    criterion: str = "magnitude",
    split: str = "val",
    multiple: int = 4,
    seed: int = 0,
    progress: bool | None = None,
    on_step: Callable[[float], None] | None = None,
) -> Sensitivity:
    """Prune each layer by each of `ratios`, alone and without training, and measure (Li et al.
    2017, arXiv:1608.08710, section 3.2).

    `model` is left as it is. The same seed gives the same numbers.

    Parameters
    ----------
    ratios : shares of the layer's channels or weights, in (0, 1); None takes 0.1 to 0.9, or the
        one that the structure has ("2:4", "pattern")
    structure, criterion, multiple : as in `tinykit.Prune`; "lamp" is for ranking layers together
    split : what accuracy is measured on; not on the test split, if ratios are chosen by it
    progress : show a bar; None shows it on terminals and in notebooks
    on_step : called with the share that is done; whatever it raises stops the scan

    Raises
    ------
    TinykitError
        Ratios out of range, or a structure that no layer can have.
    """
    kind = structure or "channel"
    fixed = _fixed(kind)
    if ratios is None:
        ratios = RATIOS if fixed is None else (fixed,)
    ratios = tuple(sorted(ratios))
    if not ratios or not all(0 < r < 1 for r in ratios):
        raise TinykitError(f"ratios are shares in (0, 1), at least one; not {ratios}")
    if criterion == "lamp":
        raise TinykitError("within a layer 'lamp' ranks as 'magnitude' does: take that")
    part = data.split(split)
    scratch = copy.deepcopy(model).eval()
    scan: _Scan
    if kind == "channel":
        scan = _ChannelScan(scratch, data, criterion, multiple, seed)
    else:
        scan = _WeightScan(scratch, data, kind, criterion, seed)

    def measure() -> float:
        return score(scratch, part.x, part.y)

    baseline, values = measure(), {n: p.detach().clone() for n, p in scratch.named_parameters()}
    shape = (len(scan.layers), len(ratios))
    accuracy, removed = np.zeros(shape), np.zeros(shape)
    with bar(accuracy.size, "sensitivity", progress) as shown:
        for i, name in enumerate(scan.layers):
            for j, ratio in enumerate(ratios):
                masks, removed[i, j] = scan.masks(name, ratio)
                masks.hold(scratch)
                accuracy[i, j] = measure()
                with torch.no_grad():
                    for key in masks.keep:
                        if key in values:
                            scratch.get_parameter(key).copy_(values[key])
                shown.update()
                if on_step:
                    on_step((i * len(ratios) + j + 1) / accuracy.size)
    return Sensitivity(
        tuple(scan.layers), ratios, accuracy, removed, baseline, kind, criterion, split,
        tuple(scan.weights()),
    )  # fmt: skip


def _fixed(kind: str) -> float | None:
    if kind == "channel":
        return None
    return Cut(0.0, kind).fixed


class _Scan:
    """Masks for one layer at one ratio, with scores that are computed once."""

    layers: list[str]

    def masks(self, name: str, ratio: float) -> tuple[Masks, float]:
        raise NotImplementedError

    def weights(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        raise NotImplementedError


class _ChannelScan(_Scan):
    def __init__(self, model: nn.Module, data: Dataset, how: str, multiple: int, seed: int) -> None:
        self.channels = Channels(model, example_of(model, data))
        self.multiple = multiple
        self.scores = self.channels.scores(criterion(how), Context(model, data, seed))
        order = {name: i for i, name in enumerate(dict(model.named_modules()))}
        self.groups = sorted(
            self.channels.groups, key=lambda g: min(order[name] for name in g.makers)
        )
        self.layers = [g.root for g in self.groups]

    def masks(self, name: str, ratio: float) -> tuple[Masks, float]:
        units = by_layer(self.channels, self.scores, {name: ratio}, self.multiple, {})
        group = self.channels.group_of(name)
        assert group is not None
        plan = self.channels.channels(units)
        return self.channels.masks(plan), len(units[group.root]) / group.units

    def weights(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        touched: dict[str, list[str]] = {}
        for group in self.groups:
            for name in self.channels.masks({group.root: [0]}).keep:
                touched.setdefault(name, []).append(group.root)
        for name, p in self.channels.model.named_parameters():
            yield p.numel(), tuple(touched.get(name, ()))


class _WeightScan(_Scan):
    def __init__(self, model: nn.Module, data: Dataset, kind: str, how: str, seed: int) -> None:
        self.model, self.data, self.seed = model, data, seed
        self.cut = Cut(0.0, kind, how)
        assert self.cut.shape is not None
        fitting = self.cut.shape.fitting(layers_of(model), 0.0)
        self.by_name = {layer.name: layer for layer in fitting}
        self.layers = list(self.by_name)
        self.context = Context(model, data, seed)

    def masks(self, name: str, ratio: float) -> tuple[Masks, float]:
        cut = self.cut.at({name: ratio})
        masks = cut.masks(self.model, self.data, self.seed, self.context)
        weight = self.by_name[name].key
        mask = masks.keep[weight]
        return masks, float((~mask).double().mean())

    def weights(self) -> Iterator[tuple[int, tuple[str, ...]]]:
        keys = {layer.key: layer.name for layer in self.by_name.values()}
        for name, p in self.model.named_parameters():
            yield p.numel(), (keys[name],) if name in keys else ()
