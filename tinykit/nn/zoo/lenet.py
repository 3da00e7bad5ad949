"""LeNet-5 in today's dress: ReLU and max pooling (after LeCun et al. 1998)."""

from __future__ import annotations

from torch import nn

from tinykit.data.types import DataSpec
from tinykit.nn.zoo.blocks import channels, seeded


@seeded
def lenet(spec: DataSpec, width: float = 1.0, *, seed: int = 0) -> nn.Module:
    """Two 3×3 convolutions with 2×2 max pooling, two hidden linear layers; NCHW → logits."""
    h, w, c = spec.shape
    one, two = channels(8, width), channels(16, width)
    hidden, last = channels(120, width), channels(84, width)
    return nn.Sequential(
        nn.Conv2d(c, one, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(one, two, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(two * (h // 4) * (w // 4), hidden),
        nn.ReLU(),
        nn.Linear(hidden, last),
        nn.ReLU(),
        nn.Linear(last, spec.num_classes),
    )
