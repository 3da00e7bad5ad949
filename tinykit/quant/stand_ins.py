"""What stands where a quantizer stood, when levels are chosen anew for each run of a network."""

from __future__ import annotations

import torch
from torch import nn

from tinykit.quant.levels import Levels


class Pass(nn.Module):
    """Not quantized."""

    def forward(self, x: torch.Tensor, observe: bool = True) -> torch.Tensor:
        return x


class Given(nn.Module):
    """A tensor that was made beforehand, whatever comes in."""

    def __init__(self, value: torch.Tensor) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value


class Round(nn.Module):
    """`functional.fake_quantize` to the bit, a row a scale, in a tenth of its time.

    torch's own kernel also makes the mask that a gradient needs, which takes most of its time.
    """

    def __init__(self, levels: Levels) -> None:
        super().__init__()
        shape = (-1, 1) if len(levels.scale) > 1 else ()
        self.scale, zero = (torch.from_numpy(v).reshape(shape) for v in (levels.scale, levels.zero))
        self.low, self.high = levels.low - zero, levels.high - zero

    def forward(self, x: torch.Tensor, observe: bool = True) -> torch.Tensor:
        whole = (x * (1 / self.scale)).round_()
        return whole.clamp_(self.low, self.high).mul_(self.scale)
