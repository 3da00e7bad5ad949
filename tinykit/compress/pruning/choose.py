"""How many channels of each group go: a share of each, or what makes the network small enough."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tinykit.compress.pruning.channels import Channels, Group
from tinykit.compress.pruning.layers import check_names, parameters
from tinykit.graph.errors import TinykitError

#: units by group that go
Units = dict[str, list[int]]


def left(group: Group, share: float, multiple: int, whole: int | None = None) -> int:
    """Units of `group` that stay when `share` of its channels goes.

    Counts of channels are rounded down to a `multiple`, but so many stay at least, or all there
    are. `whole` is how many channels there were when nothing was removed yet.
    """
    step = _lcm(multiple, group.tie)
    count = int((whole or group.channels) * (1 - share) + 1e-9)
    count = max(count - count % step, min(step, group.channels))
    return min(count, group.channels) // group.tie


def by_layer(
    channels: Channels,
    scores: Mapping[str, Tensor],
    amount: Mapping[str, float],
    multiple: int,
    whole: Mapping[str, int],
) -> Units:
    """Remove the given share of the output channels of each layer that `amount` names.

    Raises
    ------
    TinykitError
        A layer does not exist, its channels are the classes, or layers whose channels are added to
        each other have different shares.
    """
    there = [maker for g in channels.groups for maker in g.makers]
    check_names(amount, there)
    by_root: dict[str, tuple[str, float]] = {}
    units: Units = {}
    for name, share in amount.items():
        group = channels.group_of(name)
        assert group is not None
        other, known = by_root.setdefault(group.root, (name, share))
        if known != share:
            raise TinykitError(
                f"amount names {other!r} ({known}) and {name!r} ({share}), whose channels can only "
                "go together (they are added, or one filters the other's): name one of them"
            )
        count = left(group, share, multiple, whole.get(group.root))
        units[group.root] = _least(scores[group.root], group.units - count)
    return units


def uniform(channels: Channels, scores: Mapping[str, Tensor], share: float, multiple: int) -> Units:
    """The same share of each group's channels."""
    return {
        g.root: _least(scores[g.root], g.units - left(g, share, multiple)) for g in channels.groups
    }


def ranked(channels: Channels, scores: Mapping[str, Tensor], share: float, multiple: int) -> Units:
    """`share` of all channels, those of the lowest scores in the whole network."""
    every = torch.cat([scores[g.root] for g in channels.groups])
    order = every.argsort(stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    gone = rank < round(share * len(order))
    units: Units = {}
    for group, flags in zip(
        channels.groups, gone.split([g.units for g in channels.groups]), strict=True
    ):
        count = left(group, int(flags.sum()) / group.units, multiple)
        units[group.root] = _least(scores[group.root], group.units - count)
    return units


def by_size(
    channels: Channels,
    scores: Mapping[str, Tensor],
    amount: float,
    scope: str,
    multiple: int,
    whole: int,
) -> Units:
    """As few channels as leave at most ``1 - amount`` of `whole` parameters (to 1/512 of them).

    Raises
    ------
    TinykitError
        Even with `multiple` channels a layer there are more.
    """
    pick = uniform if scope == "layer" else ranked
    low, high = 0.0, 1.0
    best: Units | None = None
    for _ in range(9):
        share = (low + high) / 2
        units = pick(channels, scores, share, multiple)
        if size(channels, units) <= (1 - amount) * whole:
            best, high = units, share
        else:
            low = share
    if best is None:
        raise TinykitError(
            f"{amount:.0%} of this network's weights cannot be removed by channels (at least "
            f"{multiple} a layer stay): prune less, or a wider network"
        )
    return best


def size(channels: Channels, units: Units) -> int:
    """Parameters that stay when `units` go."""
    masks = channels.masks(channels.channels(units))
    return parameters(channels.model) - masks.removed(channels.model)


def _least(score: Tensor, count: int) -> list[int]:
    return sorted(int(i) for i in score.argsort(stable=True)[:count])


def _lcm(a: int, b: int) -> int:
    return int(torch.lcm(torch.tensor(a), torch.tensor(b)))
