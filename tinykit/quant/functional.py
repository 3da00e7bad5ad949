"""Quantization as plain functions on tensors: no state, no gradients, every choice an argument.

A real number x becomes the integer q = clamp(round(x / scale) + zero_point, low, high), and comes
back as (q - zero_point) · scale. Rounding is to nearest, ties to even, before the zero point is
added, which is what `torch.fake_quantize_per_tensor_affine` computes: the two agree bit for bit.

One scale serves a whole tensor, one index along `axis`, or `group` neighbours along axis 1 (the
input channels of a layer's weights) of one index along axis 0.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tinykit.graph.errors import TinykitError

MAX_BITS = 16
#: a range narrower than this share of the widest channel's is taken for a channel of zeros
EMPTY = 1e-6
#: step of a tensor that is always 0; a tiny one would overflow the multipliers downstream
ZERO_STEP = 1 / 128


def levels(bits: int, narrow: bool = False, signed: bool = True) -> tuple[int, int]:
    """The smallest and the largest of the integers that `bits` bits hold.

    Parameters
    ----------
    bits : 1 to 16
    narrow : leave the most negative out: -7..7 instead of -8..7
    signed : False counts from 0

    Raises
    ------
    TinykitError
        `bits` out of range, or so few that no level but 0 is left.
    """
    if not isinstance(bits, int) or not 1 <= bits <= MAX_BITS:
        raise TinykitError(f"bits is {bits!r}; quantization takes whole bits from 1 to {MAX_BITS}")
    if not signed:
        return 0, 2**bits - 1
    if narrow and bits == 1:
        raise TinykitError("bits is 1 with narrow=True: 0 alone is left; take narrow=False")
    return -(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1


def quantize(
    x: Tensor,
    scale: Tensor | float,
    zero_point: Tensor | int,
    low: int,
    high: int,
    *,
    axis: int | None = None,
    group: int | None = None,
    rounding: str = "nearest",
    generator: torch.Generator | None = None,
) -> Tensor:
    """The integers of `x`, int32, of its shape.

    Parameters
    ----------
    x : float32, any shape
    scale, zero_point : one number; with `axis` one for each index along it; with `group`
        (x.shape[0], x.shape[1] / group)
    low, high : the integers that there are (see `levels`)
    axis : dimension along which scales differ; None: one scale
    group : so many neighbours along axis 1 share a scale
    rounding : "nearest" (ties to even), or "stochastic": up with a probability of the fraction, so
        that the mean of many roundings is the number itself (Gupta et al. 2015, arXiv:1502.02551)
    generator : of stochastic rounding

    Raises
    ------
    TinykitError
        NaN in `x`, a scale that is not positive, shapes that do not match, an unknown rounding.
    """
    if not torch.compiler.is_compiling() and bool(torch.isnan(x).any()):
        raise TinykitError("x holds NaN, which no integer stands for: look for a division by 0")
    step = _spread(torch.as_tensor(scale, dtype=x.dtype), x, axis, group, "scale")
    zero = _spread(torch.as_tensor(zero_point), x, axis, group, "zero_point")
    if not torch.compiler.is_compiling() and not bool((step > 0).all()):
        raise TinykitError("scale has to be positive everywhere")
    # by the inverse, as torch's kernel does it: x / scale rounds differently in the last bit
    ratio = x * (1 / step)
    if rounding == "nearest":
        whole = ratio.round()
    elif rounding == "stochastic":
        random = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        whole = (ratio + random).floor()
    else:
        raise TinykitError(f"rounding is {rounding!r}; there are 'nearest' and 'stochastic'")
    return (whole + zero).clamp(low, high).to(torch.int32)


def dequantize(
    q: Tensor,
    scale: Tensor | float,
    zero_point: Tensor | int,
    *,
    axis: int | None = None,
    group: int | None = None,
) -> Tensor:
    """The real numbers that integers `q` stand for, float32; arguments as in `quantize`."""
    step = _spread(torch.as_tensor(scale, dtype=torch.float32), q, axis, group, "scale")
    zero = _spread(torch.as_tensor(zero_point), q, axis, group, "zero_point")
    return (q - zero).to(torch.float32) * step


def fake_quantize(
    x: Tensor,
    scale: Tensor | float,
    zero_point: Tensor | int,
    low: int,
    high: int,
    *,
    axis: int | None = None,
    group: int | None = None,
    rounding: str = "nearest",
    generator: torch.Generator | None = None,
) -> Tensor:
    """`x` at its nearest level, in real numbers: `quantize` and `dequantize` in one."""
    q = quantize(
        x,
        scale,
        zero_point,
        low,
        high,
        axis=axis,
        group=group,
        rounding=rounding,
        generator=generator,
    )
    return dequantize(q, scale, zero_point, axis=axis, group=group)


def kernel(
    x: Tensor, scale: Tensor, zero_point: Tensor, low: int, high: int, axis: int | None = None
) -> Tensor:
    """`fake_quantize` in one pass by torch's own kernel; the node that the exporter recognises.

    Its gradient is that of the clipped straight-through estimator.
    """
    zero = zero_point.to(torch.int32)
    if axis is None:
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, low, high)
    return torch.fake_quantize_per_channel_affine(x, scale, zero, axis, low, high)


# -- ranges ----------------------------------------------------------------------------------------


def rows(x: Tensor, axis: int | None = None, group: int | None = None) -> Tensor:
    """The values that share a scale, a row each: (scales, values)."""
    if group is not None:
        _groups(x, group)
        return x.reshape(x.shape[0] * (x.shape[1] // group), -1)
    if axis is None:
        return x.reshape(1, -1)
    return x.movedim(axis, 0).reshape(x.shape[axis], -1)


def scale_shape(x: Tensor, axis: int | None = None, group: int | None = None) -> tuple[int, ...]:
    """Shape of the scales of `x`: (1,), (channels,), or (outputs, inputs / group)."""
    if group is not None:
        _groups(x, group)
        return x.shape[0], x.shape[1] // group
    return (1,) if axis is None else (x.shape[axis],)


def value_range(
    x: Tensor, axis: int | None = None, group: int | None = None
) -> tuple[Tensor, Tensor]:
    """Smallest and largest value under each scale; of shape `scale_shape`."""
    if not x.numel():
        raise TinykitError(f"x of shape {tuple(x.shape)} is empty: it has no range")
    low, high = torch.aminmax(rows(x.detach(), axis, group), dim=1)
    shape = scale_shape(x, axis, group)
    return low.reshape(shape), high.reshape(shape)


def scale_of_range(
    low: Tensor | float, high: Tensor | float, bottom: int, top: int, symmetric: bool
) -> tuple[Tensor, Tensor]:
    """Scale (float32) and zero point (int32) with which bottom..top cover low..high, and 0 exactly.

    Where there is nothing to cover (a channel of zeros), any scale is right. Symmetric: that of
    the tensor's widest channel, or 1 / top where all are 0. Affine: 1/128, 0 at `bottom`, as
    `tinykit.graph.ranges.quantization` has it.

    Raises
    ------
    TinykitError
        A range that is not finite, or ends before it begins.
    """
    a = torch.as_tensor(low, dtype=torch.float64).reshape(-1)
    b = torch.as_tensor(high, dtype=torch.float64).reshape(-1)
    if not bool(torch.isfinite(a).all() and torch.isfinite(b).all()):
        raise TinykitError("the range is not finite: the values hold NaN or infinity")
    if bool((a > b).any()):
        raise TinykitError("the range ends before it begins (low > high)")
    shape = torch.as_tensor(low).shape or (1,)
    a, b = a.clamp(max=0), b.clamp(min=0)
    if symmetric:
        ends = [b / top] if top else []
        ends += [a / bottom] if bottom else []
        scale = torch.stack(ends).amax(0)
        widest = float(scale.amax()) or 1 / max(top, 1)
        scale = torch.where(scale > widest * EMPTY, scale, widest).float()
        return scale.reshape(shape), torch.zeros(shape, dtype=torch.int32)
    empty = b - a < EMPTY
    scale = torch.where(empty, ZERO_STEP, (b - a) / (top - bottom)).float()
    zero = (bottom - a / scale.double()).round().clamp(bottom, top)
    zero = torch.where(empty, float(bottom), zero)
    return scale.reshape(shape), zero.to(torch.int32).reshape(shape)


# -- errors ----------------------------------------------------------------------------------------


def error_split(
    x: Tensor,
    scale: Tensor | float,
    zero_point: Tensor | int,
    low: int,
    high: int,
    *,
    axis: int | None = None,
    group: int | None = None,
) -> tuple[float, float]:
    """Mean squared error of quantizing `x`, what clipping costs and what rounding costs.

    A number beyond the outermost level is clipped: its error is its distance from that level.
    All others are rounded. Each number is one or the other, so the two add up to the whole; a
    wider range moves error from the first to the second.

    Returns
    -------
    clipping, rounding : both divided by the number of values of `x`, in the square of its unit
    """
    if not x.numel():
        raise TinykitError(f"x of shape {tuple(x.shape)} is empty: it has no error")
    real = fake_quantize(x, scale, zero_point, low, high, axis=axis, group=group)
    ends = (torch.full_like(x, end, dtype=torch.int32) for end in (low, high))
    least, most = (dequantize(end, scale, zero_point, axis=axis, group=group) for end in ends)
    squared = (x.double() - real.double()) ** 2
    clipped = (x < least) | (x > most)
    count = x.numel()
    return float(squared[clipped].sum()) / count, float(squared[~clipped].sum()) / count


def _groups(x: Tensor, group: int) -> None:
    if x.ndim < 2 or group < 1 or x.shape[1] % group:
        raise TinykitError(
            f"group is {group}: it has to divide axis 1 of a tensor of shape {tuple(x.shape)}"
        )


def _spread(value: Tensor, x: Tensor, axis: int | None, group: int | None, name: str) -> Tensor:
    """`value` in a shape that broadcasts against `x`."""
    if value.numel() == 1:
        return value.reshape(())
    want = scale_shape(x, axis, group)
    if tuple(value.shape) != want:
        raise TinykitError(
            f"{name} has shape {tuple(value.shape)}; for axis={axis}, group={group} of "
            f"{tuple(x.shape)} it takes {want}"
        )
    if group is not None:
        wide = value.repeat_interleave(group, 1)
        return wide.reshape(*wide.shape, *[1] * (x.ndim - 2))
    assert axis is not None
    return value.reshape([-1 if a == axis % x.ndim else 1 for a in range(x.ndim)])
