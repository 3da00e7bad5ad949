"""Layers whose weights pass through a quantizer, batch norm already folded in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional as F

from tinykit.quant.quantizer import Quantizer

Made = TypeVar("Made", "QuantConv2d", "QuantConvTranspose2d", "QuantLinear")


class _Weighted:
    """What quantized layers share."""

    weight: torch.Tensor
    quantizer: Quantizer

    def quantized_weight(self) -> torch.Tensor:
        """The weights as the chip will have them, in real numbers."""
        made: torch.Tensor = self.quantizer(self.weight)
        return made

    def with_weight(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """What the layer makes of `x` with these weights in the place of its own."""
        raise NotImplementedError


def _filled(made: Made, layer: nn.Module, quantizer: Quantizer) -> Made:
    """`made`, without numbers so that no random ones were drawn, with those of `layer`."""
    for name, parameter in layer.named_parameters(recurse=False):
        setattr(made, name, nn.Parameter(parameter.detach().clone()))
    made.quantizer = quantizer
    return made.train(layer.training)


class QuantConv2d(nn.Conv2d, _Weighted):
    """A convolution with quantized weights; stride, padding, dilation and groups as they were."""

    @classmethod
    def of(cls, conv: nn.Conv2d, quantizer: Quantizer) -> QuantConv2d:
        """`conv`, its weights passed through `quantizer`, which starts from them."""
        quantizer.start(conv.weight)
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
            device="meta",
        )
        return _filled(made, conv, quantizer)

    def with_weight(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, weight, self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.with_weight(x, self.quantized_weight())


class QuantConvTranspose2d(nn.ConvTranspose2d, _Weighted):
    """A transposed convolution with quantized weights; its output channels lie along axis 1."""

    @classmethod
    def of(cls, conv: nn.ConvTranspose2d, quantizer: Quantizer) -> QuantConvTranspose2d:
        """`conv`, its weights passed through `quantizer`, which starts from them."""
        quantizer.start(conv.weight)
        made = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size,  # type: ignore[arg-type]
            conv.stride,  # type: ignore[arg-type]
            conv.padding,  # type: ignore[arg-type]
            conv.output_padding,  # type: ignore[arg-type]
            conv.groups,
            conv.bias is not None,
            conv.dilation,  # type: ignore[arg-type]
            conv.padding_mode,
            device="meta",
        )
        return _filled(made, conv, quantizer)

    def with_weight(
        self, x: torch.Tensor, weight: torch.Tensor, output_size: list[int] | None = None
    ) -> torch.Tensor:
        more = self._output_padding(
            x,
            output_size,
            self.stride,  # type: ignore[arg-type]
            self.padding,  # type: ignore[arg-type]
            self.kernel_size,  # type: ignore[arg-type]
            2,
            self.dilation,  # type: ignore[arg-type]
        )
        return F.conv_transpose2d(
            x,
            weight,
            self.bias,
            self.stride,
            self.padding,  # type: ignore[arg-type]
            more,
            self.groups,
            self.dilation,
        )

    def forward(self, x: torch.Tensor, output_size: list[int] | None = None) -> torch.Tensor:
        return self.with_weight(x, self.quantized_weight(), output_size)


class QuantLinear(nn.Linear, _Weighted):
    """A linear layer with quantized weights."""

    @classmethod
    def of(cls, linear: nn.Linear, quantizer: Quantizer) -> QuantLinear:
        """`linear`, its weights passed through `quantizer`, which starts from them."""
        quantizer.start(linear.weight)
        bias = linear.bias is not None
        made = cls(linear.in_features, linear.out_features, bias, device="meta")
        return _filled(made, linear, quantizer)

    def with_weight(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return F.linear(x, weight, self.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.with_weight(x, self.quantized_weight())


#: plain layer -> how its quantized counterpart is made
COUNTERPARTS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    nn.Conv2d: QuantConv2d.of,
    nn.ConvTranspose2d: QuantConvTranspose2d.of,
    nn.Linear: QuantLinear.of,
}


#: a layer that has a weight quantizer
Weighted = QuantConv2d | QuantConvTranspose2d | QuantLinear


def weighted(model: nn.Module) -> dict[str, Weighted]:
    """The layers of a prepared `model` that have a weight quantizer, by name."""
    return {n: m for n, m in model.named_modules() if isinstance(m, Weighted)}


def activation_quantizers(model: nn.Module) -> dict[str, Quantizer]:
    """The quantizers of a prepared `model` that serve activations, by name."""
    of_weights = {id(layer.quantizer) for layer in weighted(model).values()}
    found = {n: m for n, m in model.named_modules() if isinstance(m, Quantizer)}
    return {n: m for n, m in found.items() if id(m) not in of_weights}
