"""What the zoo's networks are built of."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec

import torch
from torch import nn

from tinykit.graph.errors import TinykitError

P = ParamSpec("P")


def seeded(build: Callable[P, nn.Module]) -> Callable[P, nn.Module]:
    """Decorator: initial weights depend on the argument `seed` alone; torch's own state is kept.

    The module gets `input_shape`, the (H, W, C) of the spec it was built for.
    """

    @functools.wraps(build)
    def with_seed(*args: P.args, **kwargs: P.kwargs) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(kwargs.get("seed", 0)))  # type: ignore[call-overload]
            module = build(*args, **kwargs)
        spec: Any = args[0] if args else kwargs["spec"]
        module.input_shape = spec.shape
        return module

    return with_seed


def channels(base: int, width: float) -> int:
    """`base` channels times `width`, in steps of 4 (four int8 fill a register), at least 4."""
    if not 0 < width <= 16:
        raise TinykitError(f"width is {width}; it multiplies the channels, give 0 < width <= 16")
    return max(4, round(base * width / 4) * 4)


def conv(
    inputs: int,
    outputs: int,
    kernel: int,
    size: tuple[int, int],
    stride: int = 1,
    groups: int = 1,
    act: type[nn.Module] | None = nn.ReLU,
) -> tuple[nn.Sequential, tuple[int, int]]:
    """Convolution with TFLite's SAME padding, batch norm, activation; and the output's size.

    SAME pads ``max((ceil(size / stride) - 1) * stride + kernel - size, 0)`` in all, the odd one at
    the end; torch's symmetric padding says the same only when that is even.
    """
    out = (-(-size[0] // stride), -(-size[1] // stride))
    total = [max((o - 1) * stride + kernel - s, 0) for o, s in zip(out, size, strict=True)]
    layers: list[nn.Module] = []
    padding: tuple[int, int] = (total[0] // 2, total[1] // 2)
    if total[0] % 2 or total[1] % 2:
        (top, left) = padding
        layers.append(nn.ZeroPad2d((left, total[1] - left, top, total[0] - top)))
        padding = (0, 0)
    layers += [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if act is not None:
        layers.append(act())
    return nn.Sequential(*layers), out
