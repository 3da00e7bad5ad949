"""LeNet300: two hidden layers, the classic of the compression literature."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from tinykit.data.types import DataSpec
from tinykit.nn.zoo.blocks import channels, seeded


@seeded
def mlp(
    spec: DataSpec, width: float = 1.0, *, hidden: Sequence[int] = (300, 100), seed: int = 0
) -> nn.Module:
    """Fully connected: pixels → each of `hidden`, times `width` → classes; NCHW → logits."""
    layers: list[nn.Module] = [nn.Flatten()]
    given = math.prod(spec.shape)
    for size in hidden:
        units = channels(size, width)
        layers += [nn.Linear(given, units), nn.ReLU()]
        given = units
    return nn.Sequential(*layers, nn.Linear(given, spec.num_classes))
