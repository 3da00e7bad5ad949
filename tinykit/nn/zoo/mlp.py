"""LeNet300: two hidden layers, the classic of the compression literature."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from tinykit.data.types import DataSpec
from tinykit.graph.errors import TinykitError
from tinykit.nn.zoo.blocks import channels, seeded


@seeded
def mlp(
    spec: DataSpec, width: float = 1.0, *, seed: int = 0, hidden: Sequence[int] | None = None
) -> nn.Module:
    """Fully connected: pixels → 300·`width` → 100·`width` → classes; NCHW → logits.

    Parameters
    ----------
    hidden : sizes of the hidden layers, in place of those two

    Raises
    ------
    TinykitError
        A hidden layer without a neuron.
    """
    h, w, c = spec.shape
    between = (channels(300, width), channels(100, width)) if hidden is None else tuple(hidden)
    if any(size < 1 for size in between):
        raise TinykitError(f"hidden={between}: a hidden layer needs 1 neuron or more")
    sizes = (h * w * c, *between)
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], spec.num_classes))
