"""Random cases of fake quantization, ties included, for the tests and the benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from tinykit.quant.functional import fake_quantize


@dataclass(frozen=True)
class Case:
    """One call of fake quantization; `axis` None is per tensor."""

    x: Tensor
    scale: Tensor
    zero_point: Tensor
    low: int
    high: int
    axis: int | None

    def ours(self) -> Tensor:
        return fake_quantize(
            self.x, self.scale, self.zero_point, self.low, self.high, axis=self.axis
        )

    def torchs(self) -> Tensor:
        if self.axis is None:
            return torch.fake_quantize_per_tensor_affine(
                self.x, self.scale, self.zero_point, self.low, self.high
            )
        return torch.fake_quantize_per_channel_affine(
            self.x, self.scale, self.zero_point, self.axis, self.low, self.high
        )

    def differing(self) -> int:
        """Values whose bits differ, a zero's sign included."""
        return int((self.ours().view(torch.int32) != self.torchs().view(torch.int32)).sum())

    def ties(self) -> int:
        """Values that lie exactly between two levels."""
        along = self.scale
        if self.axis is not None:
            along = self.scale.reshape([-1 if a == self.axis else 1 for a in range(self.x.ndim)])
        ratio = self.x * (1 / along)
        return int((ratio - ratio.floor() == 0.5).sum())


def cases(count: int, seed: int = 0) -> Iterator[Case]:
    """`count` cases: 1 to 16 bits, narrow and full, symmetric and affine, half of them per channel.

    A third of the values are random, a third lie between two levels, a third are beyond the range.
    """
    g = torch.Generator().manual_seed(seed)

    def whole(low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (1,), generator=g))

    for number in range(count):
        bits = 1 + number % 16
        low, high = -(2 ** (bits - 1)) + (whole(0, 1) if bits > 1 else 0), 2 ** (bits - 1) - 1
        shape = tuple(whole(1, 5) for _ in range(whole(1, 4)))
        axis = whole(0, len(shape) - 1) if number % 2 else None
        channels = 1 if axis is None else shape[axis]
        scale = torch.rand(channels, generator=g) + 0.1
        scale *= 10.0 ** whole(-5, 3)
        if whole(0, 1):  # powers of two: then ties are exact
            scale = 2.0 ** scale.log2().round()
        zero = torch.randint(low, high + 1, (channels,), generator=g, dtype=torch.int32)
        if whole(0, 1):
            zero.zero_()
            zero.clamp_(low, high)
        along = scale.reshape([-1 if a == axis else 1 for a in range(len(shape))])
        span = high - low + 1
        x = torch.randn(shape, generator=g) * span / 3
        tie = torch.randint(low - 2, high + 2, shape, generator=g) + 0.5
        beyond = torch.randn(shape, generator=g).sign() * span * 3
        pick = torch.randint(0, 3, shape, generator=g)
        x = torch.where(pick == 0, x, torch.where(pick == 1, tie, beyond)) * along
        yield Case(x, scale, zero, low, high, axis)
