"""Depthwise-separable blocks in a row (MobileNetV1, Howard et al. 2017, arXiv:1704.04861)."""

from __future__ import annotations

from torch import nn

from tinykit.data.types import DataSpec
from tinykit.nn.zoo.blocks import channels, conv, seeded

#: channels at width 1 and stride of the 13 blocks (table 1 of the paper)
BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip


@seeded
def mobilenet_v1(spec: DataSpec, width: float = 0.25, *, seed: int = 0) -> nn.Module:
    """A 3×3 stem and 13 depthwise-separable blocks, averaged; NCHW → logits.

    At width 0.25 on 96×96×3 and two classes it is the network of MLPerf Tiny's visual wake words
    (Banbury et al. 2021, arXiv:2106.07597): 7.49 M multiply-accumulates.
    """
    h, w, c = spec.shape
    wide = channels(32, width)
    stem, size = conv(c, wide, 3, (h, w), stride=2)
    layers: list[nn.Module] = [stem]
    for base, stride in BLOCKS:
        depthwise, size = conv(wide, wide, 3, size, stride, groups=wide)
        pointwise, size = conv(wide, channels(base, width), 1, size)
        wide = channels(base, width)
        layers += [depthwise, pointwise]
    # what is left is averaged as MLPerf's models say it: by a pooling op, not a mean
    return nn.Sequential(
        *layers, nn.AvgPool2d(size), nn.Flatten(), nn.Linear(wide, spec.num_classes)
    )
