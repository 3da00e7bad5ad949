"""Fake quantization: modules that round in training as the chip will, and let gradients through.

Weights learn their step size (LSQ, Esser et al. 2020, arXiv:1902.08153); activations follow the
range of what they see (an exponential moving average) until it is frozen.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tinykit.graph.ranges import FIXED_OUTPUT, quantization, weight_range
from tinykit.quant.weights import least_squares_range

BOTTOM, TOP = -128, 127


class FakeQuant(nn.Module):
    """Rounds an activation to 256 levels; int8, one scale, any zero point.

    While `calibrating`, the range grows to cover what passes, and values pass through. While
    `observing` in train mode, it follows the extremes by moving average with the given momentum.
    Before it has seen anything it passes values through.
    """

    scale: torch.Tensor
    zero_point: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, momentum: float = 0.02) -> None:
        super().__init__()
        self.momentum, self.observing, self.ready = momentum, True, False
        self.calibrating = False
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("zero_point", torch.zeros(1, dtype=torch.int32))

    def forward(self, x: torch.Tensor, observe: bool = True) -> torch.Tensor:
        if self.calibrating:
            if observe:
                self.watch(x, widest=True)
            return x
        if observe and self.observing and self.training:
            self.watch(x)
        if not self.ready:
            return x
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, BOTTOM, TOP)

    @torch.no_grad()
    def watch(self, x: torch.Tensor, widest: bool = False) -> None:
        """Move the range towards that of `x`, or with `widest` extend it to cover `x`."""
        low, high = torch.aminmax(x.detach())
        if not self.ready:
            self.set_range(float(low), float(high))
        elif widest:
            self.set_range(min(float(low), float(self.low)), max(float(high), float(self.high)))
        else:
            self.set_range(
                float(torch.lerp(self.low, low, self.momentum)),
                float(torch.lerp(self.high, high, self.momentum)),
            )

    def set_range(self, low: float, high: float) -> None:
        """Represent [`low`, `high`] (and 0) from now on."""
        quant = quantization(low, high)
        self.low.fill_(low)
        self.high.fill_(high)
        self.scale.fill_(float(quant.scale[0]))
        self.zero_point.fill_(int(quant.zero_point[0]))
        self.ready = True

    def get_extra_state(self) -> dict[str, Any]:
        return {"ready": self.ready, "observing": self.observing}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        self.ready, self.observing = state["ready"], state["observing"]


class FixedQuant(FakeQuant):
    """The scale that TFLite prescribes for the output of softmax, logistic or tanh."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        scale, zero_point = FIXED_OUTPUT[kind]
        self.scale.fill_(scale)
        self.zero_point.fill_(zero_point)
        self.observing, self.ready = False, True

    def watch(self, x: torch.Tensor, widest: bool = False) -> None:
        """Does nothing: the range is prescribed."""


class _LearnedStep(torch.autograd.Function):
    """Fake-quantize weights along axis 0 (or with one step); gradients to weights and step by LSQ.

    The values are those of torch's own kernel, which the exported graph is made from as well.
    """

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, step: torch.Tensor, top: int) -> torch.Tensor:
        ctx.save_for_backward(weight, step)
        ctx.top = top
        return rounded(weight, step, top)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        (grad,) = grads
        weight, step = ctx.saved_tensors
        along = step.view(-1, *[1] * (weight.ndim - 1)) if step.numel() > 1 else step
        ratio = weight / along
        inside = ratio.abs() <= ctx.top
        slope = torch.where(inside, ratio.round() - ratio, ratio.clamp(-ctx.top, ctx.top))
        by_step = grad * slope
        by_step = by_step.flatten(1).sum(1) if step.numel() > 1 else by_step.sum().view(1)
        # LSQ's gradient scale: the step counts as one weight among those it serves
        factor = 1 / math.sqrt(weight.numel() / step.numel() * ctx.top)
        return grad * inside, by_step * factor, None


def rounded(weight: torch.Tensor, step: torch.Tensor, top: int) -> torch.Tensor:
    """`weight` at the nearest of the levels -top..top times `step` (per output channel or one)."""
    zero = torch.zeros(step.shape, dtype=torch.int32)
    if step.numel() > 1:
        return torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -top, top)
    return torch.fake_quantize_per_tensor_affine(weight, step, zero, -top, top)


class _Weighted(nn.Module):
    """What quantized layers share: weights of `bits` bits with a learned step per output channel.

    4-bit linear layers have one step in all, as TFLite Micro's kernel demands.
    """

    weight: torch.Tensor
    bits: int

    def _set_step(self, bits: int, one: bool) -> None:
        self.bits, self.top = bits, 2 ** (bits - 1) - 1
        data = self.weight.detach().numpy()
        axis = None if one else 0
        find = weight_range if bits == 8 else least_squares_range
        scale = np.array(find(data, axis, bits).scale)
        # learned by its logarithm: an optimizer's update is then a share of the step, whatever its
        # size, and the step stays positive
        self.log_step = nn.Parameter(torch.from_numpy(np.log(scale)))

    @property
    def step(self) -> torch.Tensor:
        """Step size per output channel, or one in all; positive."""
        return self.log_step.exp()

    def quantized_weight(self) -> torch.Tensor:
        """The weights as the chip will have them, in real numbers."""
        if self.training:
            made: torch.Tensor = _LearnedStep.apply(self.weight, self.step, self.top)
            return made
        return rounded(self.weight, self.step.detach(), self.top)


class QuantConv2d(nn.Conv2d, _Weighted):
    """A convolution with quantized weights, batch norm already folded in."""

    @classmethod
    def of(cls, conv: nn.Conv2d, bits: int) -> QuantConv2d:
        made = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.dilation,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            conv.padding_mode,
        )
        made.load_state_dict(conv.state_dict())
        depthwise = conv.groups == conv.in_channels and conv.groups > 1
        made._set_step(8 if depthwise else bits, one=False)
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.quantized_weight(), self.bias)


class QuantLinear(nn.Linear, _Weighted):
    """A linear layer with quantized weights."""

    @classmethod
    def of(cls, linear: nn.Linear, bits: int) -> QuantLinear:
        made = cls(linear.in_features, linear.out_features, linear.bias is not None)
        made.load_state_dict(linear.state_dict())
        made._set_step(bits, one=bits == 4)
        return made

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.quantized_weight(), self.bias)
