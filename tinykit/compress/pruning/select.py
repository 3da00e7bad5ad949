"""Which units go: those of the lowest score, until the share that was asked for is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Real

import torch
from torch import Tensor

from tinykit.graph.errors import TinykitError

#: share removed: one for all, or by layer
Amount = float | Mapping[str, float]


def lowest(scores: Mapping[str, Tensor], sizes: Mapping[str, Tensor], amount: Amount, scope: str
           ) -> dict[str, Tensor]:  # fmt: skip
    """What is kept when the units of the lowest scores go.

    Parameters
    ----------
    scores : layer → float (units,), larger is more important
    sizes : layer → int (units,), how many weights each unit has
    amount : share of the weights to remove, of all, or layer by layer; the fewest units are taken
        that make it up. Of each layer the unit of the highest score stays.
    scope : "global" ranks the units of all layers together, "layer" each layer's by themselves;
        amounts by layer are always layer by layer

    Returns
    -------
    keep : layer → bool (units,)
    """
    if isinstance(amount, Mapping) or scope == "layer":
        shares = amount if isinstance(amount, Mapping) else dict.fromkeys(scores, amount)
        return {
            name: _lowest({name: scores[name]}, {name: sizes[name]}, share)[name]
            for name, share in shares.items()
        }
    return _lowest(scores, sizes, amount)


def _lowest(
    scores: Mapping[str, Tensor], sizes: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    parts = []
    for score in scores.values():
        score = score.double().clone()
        score[score.argmax()] = torch.inf
        parts.append(score)
    every, size = torch.cat(parts), torch.cat(list(sizes.values()))
    order = every.argsort(stable=True)
    total = size[order].cumsum(0)
    target = round(share * int(total[-1]))
    count = int(torch.searchsorted(total, target)) + 1 if target else 0
    if count and bool(torch.isinf(every[order[count - 1]])):
        names = ", ".join(map(repr, scores)) if len(scores) < 4 else "this network"
        most = float(size[~torch.isinf(every)].sum()) / float(total[-1])
        raise TinykitError(
            f"{share:.1%} of {names} cannot be removed: of each layer something has to stay, so "
            f"amount can be {most:.1%} at most"
        )
    keep = torch.ones(len(every), dtype=torch.bool)
    keep[order[:count]] = False
    return dict(zip(scores, keep.split([len(s) for s in scores.values()]), strict=True))


def portion(amount: Amount, change: Callable[[float], float]) -> Amount:
    """`amount` with each share changed by the same function."""
    if isinstance(amount, Mapping):
        return {name: change(share) for name, share in amount.items()}
    return change(amount)


def check_amount(amount: Amount) -> None:
    """Raise `TinykitError` for a share outside [0, 1)."""
    if isinstance(amount, Mapping):
        for name, share in amount.items():
            if not isinstance(share, Real) or not 0 <= share < 1:
                raise TinykitError(
                    f"Prune takes shares of weights to remove, 0 <= amount < 1; for layer {name!r} "
                    f"it is {share}"
                )
    elif not isinstance(amount, Real) or not 0 <= amount < 1:
        raise TinykitError(
            f"Prune takes the share of weights to remove, 0 <= amount < 1, not {amount}"
        )
