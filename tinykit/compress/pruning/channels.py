"""Channels: which go together, which are dispensable, and how they are removed or masked.

What depends on a channel (the filter that makes it, batch norm, depthwise filters, everything that
reads it, and all of that again across additions) is found by torch-pruning's dependency graph (Fang
et al. 2023, arXiv:2301.12900). The same lists serve removal and masks, so that they are the same.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tinykit.compress.pruning.criteria import Context, Criterion
from tinykit.compress.pruning.layers import KINDS, layers_of
from tinykit.compress.pruning.masks import Masks, attach, masks_of
from tinykit.graph.errors import TinykitError

#: root layer of a group → its channels that go, ascending
Plan = Mapping[str, list[int]]


@dataclass(frozen=True)
class Part:
    """Parameters of one layer that belong to a group's channels.

    Parameters
    ----------
    name : the layer's, or a bare parameter's
    reads : they read the channels (input side); else they make or change them (output side)
    index : places along the layer's channels
    unit : which unit of the group each belongs to; () where it is only of interest what to remove
    """

    name: str
    target: Any
    reads: bool
    index: list[int]
    unit: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Group:
    """Channels that can only go together with what depends on them.

    Parameters
    ----------
    root : name of the layer that stands for it
    makers : names of all layers whose output channels these are
    channels : how many
    tie : so many channels of grouped convolutions, one a convolution group, make one unit
    """

    root: str
    makers: tuple[str, ...]
    channels: int
    tie: int
    parts: tuple[Part, ...]

    @property
    def units(self) -> int:
        return self.channels // self.tie


class Channels:
    """The groups of channels of `model`, which is looked at live: its weights may change."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        import torch_pruning as tp

        layers_of(model)
        self.model = model
        self._names = {id(m): name for name, m in model.named_modules()}
        self._names |= {id(p): name for name, p in model.named_parameters()}
        was = {p: p.requires_grad for p in model.parameters()}
        training = model.training
        last = last_layer(model.eval(), example)
        with warnings.catch_warnings():
            # torch-pruning warns of parameters that no layer owns
            warnings.filterwarnings("ignore", category=UserWarning, module=r"torch_pruning")
            for p in was:  # the graph is found by autograd
                p.requires_grad_(True)
            self.graph = tp.DependencyGraph().build_dependency(model, example)
        for p, wanted in was.items():
            p.requires_grad_(wanted)
        model.train(training)
        found = self.graph.get_all_groups(ignored_layers=[last], root_module_types=list(KINDS))
        self.groups = [self._group(g) for g in found]

    def group_of(self, layer: str) -> Group | None:
        """The group that the output channels of `layer` belong to; None where they must stay."""
        return next((g for g in self.groups if layer in g.makers), None)

    def _group(self, found: Any) -> Group:
        dep = found[0].dep
        channels = self.graph.get_out_channels(dep.target.module)
        targets = [d.target.module for d, _ in found]
        # grouped convolutions lose as many channels in each of their groups
        grouped = [t for t in targets if isinstance(t, KINDS) and not isinstance(t, nn.Linear)]
        tie = max([t.groups for t in grouped if t.groups != t.out_channels], default=1)
        parts = []
        for item in found:
            part = self._part(item.dep, item.idxs)
            if part and all(r is not None for r in item.root_idxs):
                unit = [int(r) % (channels // tie) for r in item.root_idxs]
                parts.append(Part(part.name, part.target, part.reads, part.index, unit))
        makers = tuple(p.name for p in parts if not p.reads and isinstance(p.target, KINDS))
        for part in parts:
            made = getattr(part.target, "out_channels", getattr(part.target, "out_features", 0))
            if part.name in makers and sorted(part.index) != list(range(made)):
                raise TinykitError(
                    f"how the channels of layers {', '.join(map(repr, makers))} meet is more than "
                    "torch-pruning understands (a concatenation that is flattened, say): rewrite "
                    "the model, or take another structure"
                )
        return Group(self._names[id(dep.target.module)], makers, channels, tie, tuple(parts))

    def _part(self, dep: Any, idxs: Iterable[int]) -> Part | None:
        target = dep.target.module
        own = id(target) in self._names
        if not own or not (isinstance(target, nn.Parameter) or list(target.parameters(False))):
            return None
        reads = not self.graph.is_out_channel_pruning_fn(dep.handler)
        return Part(self._names[id(target)], target, reads, [int(i) for i in idxs])

    # -- scores ---------------------------------------------------------------------------------

    def scores(self, criterion: Criterion, context: Context) -> dict[str, Tensor]:
        """Root → float (units,), comparable between groups."""
        made = {}
        for group in self.groups:
            parts = [p for p in group.parts if self._counts(p, criterion.channel)]
            score = criterion.score(partial(_gather, group, parts), context)
            made[group.root] = criterion.comparable(score)
        return made

    @staticmethod
    def _counts(part: Part, which: str) -> bool:
        layer = isinstance(part.target, KINDS)
        if which == "producers":
            return layer and not part.reads
        if which == "consumers":
            return layer and part.reads
        return layer or isinstance(part.target, nn.modules.batchnorm._BatchNorm)

    # -- removal and masks ----------------------------------------------------------------------

    def channels(self, units: Mapping[str, list[int]]) -> Plan:
        """Units by group → channels by group."""
        by_root = {g.root: g for g in self.groups}
        return {
            root: sorted(
                u + k * by_root[root].units for u in gone for k in range(by_root[root].tie)
            )
            for root, gone in units.items()
            if gone
        }

    def masks(self, plan: Plan) -> Masks:
        """Masks that zero the channels of `plan`, their batch norm and biases, and what reads them.

        Every parameter that removal would take is masked, and no other.
        """
        keep: dict[str, Tensor] = {}
        for root, gone in plan.items():
            for dep, idxs in self._pruning_group(root, gone):
                part = self._part(dep, idxs)
                if part:
                    for name, mask in _part_masks(part):
                        keep[name] = keep[name] & mask if name in keep else mask
        return Masks(keep)

    def _pruning_group(self, root: str, gone: list[int]) -> Iterator[tuple[Any, list[int]]]:
        module = self.model.get_submodule(root)
        pruner = self.graph.get_pruner_of_module(module)
        yield from self.graph.get_pruning_group(module, pruner.prune_out_channels, gone)

    def remove(self, plan: Plan) -> nn.Module:
        """Take the channels of `plan` out of the model itself; its masks shrink with it."""
        old = masks_of(self.model)
        gone = self.masks(plan)
        for root, indices in plan.items():
            module = self.model.get_submodule(root)
            pruner = self.graph.get_pruner_of_module(module)
            self.graph.get_pruning_group(module, pruner.prune_out_channels, indices).prune()
        shapes = {name: p.shape for name, p in self.model.named_parameters()}
        kept = {}
        for name, mask in old.keep.items():
            if name in gone.keep:
                mask = mask[gone.keep[name]]
            kept[name] = mask.reshape(shapes.get(name, mask.shape))
        self.model.zero_grad(set_to_none=True)
        return attach(self.model, Masks(kept)) if old.keep else self.model


def _gather(group: Group, parts: list[Part], values: Mapping[str, Tensor]) -> Tensor:
    """All values of `parts` as (units, values of one)."""
    rows = []
    for part in parts:
        name = f"{part.name}.weight"
        if name not in values:
            continue
        by_channel = _by_channel(part, values[name])[part.index]
        unit = torch.tensor(part.unit)
        counts = unit.bincount(minlength=group.units)
        if int(counts.min()) != int(counts.max()):
            raise TinykitError(
                f"channels of layer {group.root!r} meet others in {part.name!r} in a way that "
                "pruning does not know: leave it out (amount by layer)"
            )
        rows.append(by_channel[unit.argsort(stable=True)].reshape(group.units, -1))
    return torch.cat(rows, 1) if rows else torch.zeros(group.units, 1)


def _by_channel(part: Part, values: Tensor) -> Tensor:
    """A weight's values as (channels, values of one): by input where it reads, else by output."""
    target = part.target
    transposed = isinstance(target, nn.ConvTranspose2d)
    groups = getattr(target, "groups", 1)
    if values.ndim == 1:
        return values.view(-1, 1)
    if transposed == part.reads:  # the channels lie along dimension 0
        return values.flatten(1)
    size, other = values.shape[0] // groups, values.shape[1]
    return values.reshape(groups, size, other, -1).transpose(1, 2).reshape(groups * other, -1)


def _part_masks(part: Part) -> Iterator[tuple[str, Tensor]]:
    """Names and masks of the parameters of one layer that go with `part.index`."""
    target = part.target
    if isinstance(target, nn.Parameter):
        gone = torch.zeros(max(target.shape), dtype=torch.bool)
        gone[part.index] = True
        axis = max(d for d in range(target.ndim) if target.shape[d] > 1)
        shape = [1] * target.ndim
        shape[axis] = -1
        yield part.name, ~gone[: target.shape[axis]].view(shape).expand(target.shape)
        return
    named = dict(target.named_parameters(recurse=False))
    if not isinstance(target, KINDS):
        for own, parameter in named.items():
            if parameter.numel() == 1:  # one slope for all channels
                continue
            if parameter.ndim > 1:
                raise TinykitError(
                    f"channels that layer {part.name!r} ({type(target).__name__}) reads or changes "
                    "cannot be pruned"
                )
            mask = torch.ones(parameter.shape, dtype=torch.bool)
            mask[part.index] = False
            yield f"{part.name}.{own}", mask
        return
    weight = target.weight
    gone = torch.zeros(weight.shape, dtype=torch.bool)
    rows = torch.zeros(len(_by_channel(part, gone)), dtype=torch.bool)
    rows[part.index] = True
    yield f"{part.name}.weight", ~_over(part, rows, weight)
    if not part.reads:
        # also where there is no bias yet: it appears when batch norm is folded in
        yield f"{part.name}.bias", ~rows


def _over(part: Part, rows: Tensor, weight: Tensor) -> Tensor:
    """One flag a channel → one a weight; the reverse of `_by_channel`."""
    groups = getattr(part.target, "groups", 1)
    if isinstance(part.target, nn.ConvTranspose2d) == part.reads:
        return rows.view(-1, *[1] * (weight.ndim - 1)).expand(weight.shape)
    size, other = weight.shape[0] // groups, weight.shape[1]
    each = rows.view(groups, 1, other, 1).expand(groups, size, other, weight[0, 0].numel())
    return each.reshape(weight.shape)


def last_layer(model: nn.Module, example: Tensor) -> nn.Module:
    """The layer that makes the scores: the last one to run. Its outputs are the classes."""
    ran: list[nn.Module] = []
    note: Callable[..., None] = lambda module, *_: ran.append(module)  # noqa: E731
    hooks = [layer.module.register_forward_hook(note) for layer in layers_of(model)]
    try:
        with torch.no_grad():
            model(example)
    finally:
        for hook in hooks:
            hook.remove()
    if not ran:
        raise TinykitError("there is nothing to prune: no layer runs when the model does")
    return ran[-1]


def removed(model: nn.Module, example: Tensor, plan: Plan) -> nn.Module:
    """A copy of `model` without the channels of `plan`."""
    return Channels(copy.deepcopy(model), example).remove(plan)
