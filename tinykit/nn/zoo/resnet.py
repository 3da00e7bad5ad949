"""ResNet-8, the residual network of MLPerf Tiny's image classification (arXiv:2106.07597)."""

from __future__ import annotations

import torch
from torch import nn

from tinykit.data.types import DataSpec
from tinykit.nn.zoo.blocks import channels, conv, seeded


class Residual(nn.Module):
    """Two 3×3 convolutions, and the input (through a 1×1 convolution where shapes differ) added."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], stride: int) -> None:
        super().__init__()
        self.first, self.size = conv(inputs, outputs, 3, size, stride)
        self.second, _ = conv(outputs, outputs, 3, self.size, act=None)
        self.short: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.short, _ = conv(inputs, outputs, 1, size, stride, act=None)
        self.act = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(self.second(self.first(x)) + self.short(x))


@seeded
def resnet8(spec: DataSpec, width: float = 1.0, *, seed: int = 0) -> nn.Module:
    """Stem and three residual blocks of 16, 32 and 64 channels times `width`; NCHW → logits."""
    h, w, c = spec.shape
    wide = channels(16, width)
    stem, size = conv(c, wide, 3, (h, w), stride=2 if min(h, w) >= 20 else 1)
    layers: list[nn.Module] = [stem]
    for outputs, stride in ((16, 1), (32, 2), (64, 2)):
        block = Residual(wide, channels(outputs, width), size, stride)
        wide, size = channels(outputs, width), block.size
        layers.append(block)
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, spec.num_classes)
    )
