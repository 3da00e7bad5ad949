"""Networks whose ranges are set by hand: what clipping costs, what rounding costs.

All weights of a network, or all its hidden activations, are quantized with one scale a tensor, and
nothing else is: the experiment of TorchQuant (Tailor, Alizadeh, Lane: TorchQuant, On-Device
Intelligence Workshop, MLSys 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, fx, nn

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import tensors
from tinykit.quant.functional import error_split, levels, scale_of_range
from tinykit.quant.layers import activation_quantizers, weighted
from tinykit.quant.observers import observer
from tinykit.quant.prepare import prepare
from tinykit.quant.quantizer import Grid, Kind, Mode, Quantizer, quantizer
from tinykit.quant.quantizers.uniform import Uniform

WHAT = ("weights", "activations")


@dataclass(frozen=True)
class Ranged:
    """A trained network, and the tensors of it that are quantized.

    Parameters
    ----------
    what : "weights" (symmetric, narrow), or "activations": the hidden ones, behind ReLUs (0 to the
        end of the range); input and logits stay float
    values : each tensor's float values; of activations, those of `images` images
    tops : the largest magnitude of each tensor; of activations, over the whole training split
    """

    model: nn.Module
    data: Dataset
    what: str
    values: tuple[Tensor, ...]
    tops: tuple[float, ...]

    @classmethod
    def of(cls, model: nn.Module, data: Dataset, what: str, images: int = 256) -> Ranged:
        """The tensors of `model`; `data`'s training split shows its activations.

        Raises
        ------
        TinykitError
            `what` is neither; there is no hidden activation.
        """
        if what not in WHAT:
            raise TinykitError(f"what is {what!r}; there are {', '.join(WHAT)}")
        seen = next(_passing(model, data, what, batch=len(data.train)))
        if not seen:
            raise TinykitError(f"the model has no {what} to quantize")
        tops = tuple(float(v.abs().max()) for v in seen)
        values = seen if what == "weights" else [v[:images] for v in seen]
        return cls(model, data, what, tuple(values), tops)

    def at(self, bits: int, ends: Sequence[float], kind: Kind = "clipped") -> fx.GraphModule:
        """The network with ranges that end there (one end a tensor); `kind` says how it trains."""
        small = _prepared(self.model, self.what, bits, kind)
        for quant, end in zip(_places(small, self.what), ends, strict=True):
            quant.set_range(-end if self.what == "weights" else 0.0, end)
            quant.mode = Mode.QUANTIZE
        return small

    def ends(self, small: nn.Module) -> list[float]:
        """Where the ranges of `small` (made by `at`, maybe trained) end."""
        found = []
        for quant in _places(small, self.what):
            grid = quant.grid
            steps = grid.high if grid.symmetric else grid.high - grid.low
            found.append(float(quant.scale.detach()) * steps)
        return found

    def observed(self, bits: int, name: str, batch: int = 32) -> list[float]:
        """Where the observer `name` lets each range end, after the training split in batches."""
        symmetric = self.what == "weights"
        count = 2**bits - 1 if symmetric else 2**bits
        watching = [observer(name, count, symmetric) for _ in self.tops]
        for seen in _passing(self.model, self.data, self.what, batch):
            for one, values in zip(watching, seen, strict=True):
                one.update(values.numpy())
        return [float(max(map(abs, one.range()))) for one in watching]

    def errors(self, small: nn.Module) -> tuple[float, float]:
        """Clipping and rounding error of `values` in the ranges of `small`, over their mean square;
        the mean of all tensors."""
        parts = []
        for quant, value in zip(_places(small, self.what), self.values, strict=True):
            grid, power = quant.grid, float(value.double().square().mean())
            split = error_split(value, quant.scale, quant.zero_point, grid.low, grid.high)
            parts.append([part / power for part in split])
        clipping, rounding = np.mean(parts, axis=0)
        return float(clipping), float(rounding)

    def clipped(self, small: nn.Module) -> float:
        """Share of the values that lie beyond the ranges of `small`, as it is now (after training,
        say); of activations, those of the training split."""
        tensors_now = _values(small, self.data, self.what)
        ends = self.ends(small)
        beyond = sum(int((v.abs() > end).sum()) for v, end in zip(tensors_now, ends, strict=True))
        return beyond / sum(v.numel() for v in tensors_now)


def symmetric_error(values: np.ndarray, end: float, bits: int) -> tuple[float, float]:
    """Clipping and rounding error (mean squares) of `values` with a symmetric range -end..end."""
    low, high = levels(bits, narrow=True)
    scale, zero = scale_of_range(-end, end, low, high, symmetric=True)
    return error_split(torch.as_tensor(values, dtype=torch.float64), scale, zero, low, high)


def clip_gradients(model: nn.Module, norm: float) -> None:
    """Shorten the gradient of each parameter to `norm` (its 2-norm) whenever it is longer."""

    def shorten(parameter: Tensor) -> None:
        nn.utils.clip_grad_norm_([parameter], norm)

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(shorten)


def _prepared(model: nn.Module, what: str, bits: int, kind: Kind) -> fx.GraphModule:
    """`model` with one scale a tensor, every quantizer off; ranges of activations still open."""

    def whole_tensor(grid: Grid) -> Quantizer:
        return quantizer(kind, replace(grid, axis=None))

    if what == "weights":
        small = prepare(model, bits, weights=whole_tensor)
    else:
        small = prepare(model, activations=kind, activation_bits=bits)
    for quant in (
        *(layer.quantizer for layer in weighted(small).values()),
        *activation_quantizers(small).values(),
    ):
        quant.mode = Mode.OFF
    return small


def _places(small: nn.Module, what: str) -> list[Uniform]:
    if what == "weights":
        found: list[Quantizer] = [layer.quantizer for layer in weighted(small).values()]
    else:
        found = list(activation_quantizers(small).values())[1:-1]
    return [quant for quant in found if isinstance(quant, Uniform)]


def _passing(model: nn.Module, data: Dataset, what: str, batch: int) -> Iterator[list[Tensor]]:
    """The float values of each tensor: of weights once, of activations a batch at a time."""
    small = _prepared(model, what, 8, "clipped")
    size = len(data.train) if what == "weights" else batch
    for start in range(0, len(data.train), size):
        yield _values(small, data, what, slice(start, start + size))


@torch.no_grad()
def _values(
    small: nn.Module, data: Dataset, what: str, images: slice = slice(None)
) -> list[Tensor]:
    """What comes to each quantizer of `small`."""
    if what == "weights":
        return [layer.weight.detach() for layer in weighted(small).values()]
    seen: list[Tensor] = []
    hooks = [
        quant.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
        for quant in _places(small, what)
    ]
    x, _ = tensors(data.train.x[images], data.train.y[images])
    small(x)
    for hook in hooks:
        hook.remove()
    return seen
