"""What layers make of channels that are one number everywhere: constants on their way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Channels:
    """What is known of a tensor's channels on their way to the next layer.

    Parameters
    ----------
    constant : bool (n,), whether a channel is one number, everywhere and always
    value : float32 (n,), that number
    flat : the channels are blocks of a flattened tensor
    """

    constant: Tensor
    value: Tensor
    flat: bool = False

    def known(self, where: Tensor, value: Tensor) -> Channels:
        """With constants also there."""
        constant = self.constant | where
        return replace(self, constant=constant, value=torch.where(where, value, self.value))

    def only(self, keep: Tensor) -> Channels:
        """With constants only there."""
        return replace(self, constant=self.constant & keep)


def through(module: nn.Module, state: Channels) -> Channels | None:
    """Channels after `module`; None where they do not stay apart, or it is not known.

    How a further kind of module passes them is registered for its very class: a subclass may do
    anything.
    """
    return _through(module, state) if type(module) in _through.registry else None


@singledispatch
def _through(module: nn.Module, state: Channels) -> Channels | None:
    return None


def _each(module: nn.Module, state: Channels) -> Channels:
    return replace(state, value=module(state.value.clone()))


def _alone(module: nn.Module, state: Channels) -> Channels:
    return state


_ELEMENTWISE: tuple[type[nn.Module], ...] = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.Hardtanh, nn.Tanh, nn.Sigmoid, nn.ELU, nn.SiLU,
    nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Mish,
)  # fmt: skip
_CONSTANT_STAYS: tuple[type[nn.Module], ...] = (
    nn.Identity, nn.Dropout, nn.Dropout2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
)  # fmt: skip
for _kind in _ELEMENTWISE:
    _through.register(_kind, _each)
for _kind in _CONSTANT_STAYS:
    _through.register(_kind, _alone)


@_through.register
def _(module: nn.Flatten, state: Channels) -> Channels | None:
    if (module.start_dim, module.end_dim) not in ((1, -1), (1, 3)):
        return None
    return replace(state, flat=True)


@_through.register
def _(module: nn.MaxPool2d, state: Channels) -> Channels | None:
    return None if module.return_indices else state  # it pads with what never wins


@_through.register
def _(module: nn.AvgPool2d, state: Channels) -> Channels:
    whole = module.divisor_override is None and (
        not module.count_include_pad or module.padding in (0, (0, 0))
    )
    return state if whole else state.only(state.value == 0)


@_through.register
def _(module: nn.ZeroPad2d, state: Channels) -> Channels:
    return state.only(state.value == 0)


@_through.register(nn.BatchNorm1d)
@_through.register(nn.BatchNorm2d)
def _(module: Any, state: Channels) -> Channels | None:
    if state.flat or module.running_var is None:
        return None
    scale = (module.running_var + module.eps).rsqrt()
    shift = -module.running_mean * scale
    if module.affine:
        scale, shift = scale * module.weight, shift * module.weight + module.bias
    return replace(state, value=state.value * scale + shift).known(scale == 0, shift)


@_through.register
def _(module: nn.Conv2d, state: Channels) -> Channels | None:
    if not module.groups == module.in_channels == module.out_channels or state.flat:
        return None
    weight = module.weight.flatten(1)
    bias = module.bias if module.bias is not None else weight.new_zeros(len(weight))
    after = replace(state, value=state.value * weight.sum(1) + bias)
    if pads_zeros(module):
        after = after.only(state.value == 0)
    return after.known(weight.eq(0).all(1), bias)


def pads_zeros(conv: nn.Conv2d) -> bool:
    """Whether a convolution sees zeros at the border that are not in its input."""
    if conv.padding_mode != "zeros" or conv.padding == "valid":
        return False
    if conv.padding == "same":
        return conv.kernel_size != (1, 1)
    return any(conv.padding)  # type: ignore[arg-type]
