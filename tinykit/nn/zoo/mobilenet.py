"""Inverted residuals, linear bottlenecks (MobileNetV2, Sandler et al. 2018, arXiv:1801.04381)."""

from __future__ import annotations

import torch
from torch import nn

from tinykit.data.types import DataSpec
from tinykit.nn.zoo.blocks import channels, conv, seeded


class InvertedResidual(nn.Module):
    """1×1 up, 3×3 depthwise, 1×1 down without activation; the input is added where shapes allow."""

    def __init__(
        self, inputs: int, outputs: int, size: tuple[int, int], stride: int, expansion: int
    ) -> None:
        super().__init__()
        middle = inputs * expansion
        up, size = conv(inputs, middle, 1, size, act=nn.ReLU6)
        depthwise, size = conv(middle, middle, 3, size, stride, groups=middle, act=nn.ReLU6)
        down, self.size = conv(middle, outputs, 1, size, act=None)
        self.body = nn.Sequential(up, depthwise, down)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x) if self.skip else self.body(x)


@seeded
def mobilenet(
    spec: DataSpec, width: float = 1.0, *, expansion: int = 4, seed: int = 0
) -> nn.Module:
    """Stem, five inverted residuals of 16, 24 and 32 channels times `width`; NCHW → logits."""
    h, w, c = spec.shape
    wide = channels(16, width)
    stem, size = conv(c, wide, 3, (h, w), stride=2 if min(h, w) >= 20 else 1, act=nn.ReLU6)
    layers: list[nn.Module] = [stem]
    for outputs, stride in ((16, 1), (24, 2), (24, 1), (32, 2), (32, 1)):
        block = InvertedResidual(wide, channels(outputs, width), size, stride, expansion)
        wide, size = channels(outputs, width), block.size
        layers.append(block)
    head, _ = conv(wide, channels(96, width), 1, size, act=nn.ReLU6)
    return nn.Sequential(
        *layers,
        head,
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels(96, width), spec.num_classes),
    )
