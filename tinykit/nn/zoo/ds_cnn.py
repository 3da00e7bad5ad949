"""DS-CNN: depthwise-separable, for microcontrollers (Zhang et al. 2017, arXiv:1711.07128)."""

from __future__ import annotations

from torch import nn

from tinykit.data.types import DataSpec
from tinykit.nn.zoo.blocks import channels, conv, seeded


@seeded
def ds_cnn(spec: DataSpec, width: float = 1.0, *, depth: int = 4, seed: int = 0) -> nn.Module:
    """A 3×3 convolution and `depth` depthwise-separable blocks of 64·`width` channels.

    Images of 20 pixels and more are halved by the first convolution; the first block halves again.

    Parameters
    ----------
    spec : what goes in and how many classes come out
    width : multiplies the channels
    depth : number of depthwise-separable blocks
    seed : of the initial weights

    Returns
    -------
    module : NCHW float32 (N, C, H, W) → logits (N, classes)
    """
    h, w, c = spec.shape
    wide = channels(64, width)
    stem, size = conv(c, wide, 3, (h, w), stride=2 if min(h, w) >= 20 else 1)
    layers: list[nn.Module] = [stem]
    for block in range(depth):
        depthwise, size = conv(wide, wide, 3, size, stride=2 if block == 0 else 1, groups=wide)
        pointwise, size = conv(wide, wide, 1, size)
        layers += [depthwise, pointwise]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(wide, spec.num_classes)
    )
