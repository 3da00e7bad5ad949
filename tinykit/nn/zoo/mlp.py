"""LeNet300: two hidden layers, the classic of the compression literature."""

from __future__ import annotations

from torch import nn

from tinykit.data.types import DataSpec
from tinykit.nn.zoo.blocks import channels, seeded


@seeded
def mlp(spec: DataSpec, width: float = 1.0, *, seed: int = 0) -> nn.Module:
    """Fully connected: pixels → 300·`width` → 100·`width` → classes; NCHW → logits."""
    h, w, c = spec.shape
    one, two = channels(300, width), channels(100, width)
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(h * w * c, one),
        nn.ReLU(),
        nn.Linear(one, two),
        nn.ReLU(),
        nn.Linear(two, spec.num_classes),
    )
