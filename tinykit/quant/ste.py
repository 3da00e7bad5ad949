"""Straight-through estimators: numbers from one place, gradients by a rule of one's own.

Rounding has no useful derivative. What stands in for it is the whole difference between many
quantizers, so it is written down once, as functions that a quantizer calls.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from tinykit.quant import functional as fq


class _PassThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, inside: Tensor | None) -> Tensor:
        ctx.save_for_backward(inside)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        (grad,), (inside,) = grads, ctx.saved_tensors
        return None, grad if inside is None else grad * inside, None


def pass_through(value: Tensor, x: Tensor, inside: Tensor | None = None) -> Tensor:
    """`value`, to the last bit; its gradient goes to `x` (Bengio et al. 2013, arXiv:1308.3432).

    Parameters
    ----------
    value : what is computed; no gradient flows into it
    x : what it was computed from, of the same shape
    inside : where gradients pass (the clipped estimator); None: everywhere (the identity)
    """
    if torch.compiler.is_exporting():  # a graph has no gradients
        return value
    made: Tensor = _PassThrough.apply(value.detach(), x, inside)
    return made


def round_through(x: Tensor) -> Tensor:
    """`x` rounded to whole numbers, ties to even; the gradient passes as it is."""
    return pass_through(x.detach().round(), x)


class _LearnedStep(torch.autograd.Function):
    """LSQ: fake quantization whose step is learned (Esser et al. 2020, arXiv:1902.08153, eqs. 2-4).

    Where x / step lies within the levels, d/dx = 1 and d/dstep = round(v) - v; beyond, d/dx = 0 and
    d/dstep is the outermost level. Each step's gradient is divided by √(N · top), N the numbers
    that it serves: it moves as one weight among them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, step: Tensor, zero: Tensor, low: int, high: int, axis: int | None
    ) -> Tensor:
        ctx.save_for_backward(x, step, zero)
        ctx.low, ctx.high, ctx.axis = low, high, axis
        return fq.kernel(x, step, zero, low, high, axis)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        (grad,) = grads
        x, step, zero = ctx.saved_tensors
        along, offset = step, zero
        if ctx.axis is not None:
            shape = [-1 if a == ctx.axis else 1 for a in range(x.ndim)]
            along, offset = step.view(shape), zero.view(shape)
        least, most = ctx.low - offset, ctx.high - offset
        ratio = x / along
        inside = (ratio >= least) & (ratio <= most)
        slope = torch.where(inside, ratio.round() - ratio, ratio.clamp(least, most))
        by_step = fq.rows(grad * slope, ctx.axis).sum(1)
        factor = 1 / math.sqrt(x.numel() / step.numel() * ctx.high)
        return grad * inside, by_step * factor, None, None, None, None


def learned_step(
    x: Tensor, step: Tensor, zero: Tensor, low: int, high: int, axis: int | None = None
) -> Tensor:
    """`x` at the levels (low - zero) · step .. (high - zero) · step; gradients to both by LSQ.

    Parameters
    ----------
    x : float32
    step : positive, (1,) or one along `axis`
    zero : the zero point, int32, of the shape of `step`; fixed
    low, high : the integers that there are; `high` > 0 (it scales the step's gradient)
    """
    made: Tensor = _LearnedStep.apply(x, step, zero, low, high, axis)
    return made
