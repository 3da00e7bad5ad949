"""One network under many quantizations: its numbers, their levels and errors, and the accuracy.

A `Study` prepares a network once. After that each `Format` of each of its tensors is answered
within milliseconds, because nothing is trained and nothing is traced again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import fx, nn

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import tensors
from tinykit.quant import functional as fq
from tinykit.quant.layers import activation_quantizers, weighted
from tinykit.quant.levels import Format, Levels, least_squares_ranges
from tinykit.quant.observers import MinMax, Percentile, observer
from tinykit.quant.prepare import prepare
from tinykit.quant.quantizer import Grid, Mode, Quantizer
from tinykit.quant.stand_ins import Given, Pass, Round

__all__ = ["Format", "Layer", "Levels", "Study"]

What = Literal["weights", "activations"]
#: values of a layer's activations that are shown, and whose errors are measured (a fixed seed)
SAMPLE = 10_000
#: images that are run at once: what they take in memory is small enough to be used again
BATCH = 180
#: percent of all values that the percentile observer may clip
CLIPPED = 1.0


@dataclass(frozen=True)
class Layer:
    """A layer that has weights.

    Attributes
    ----------
    name : in the module
    kind : "convolution", "depthwise", "transposed" or "linear"
    shape : of its weights, outputs first
    """

    name: str
    kind: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


class Study:
    """A network, prepared for looking at.

    Parameters
    ----------
    model : NCHW in, logits out; batch norm is folded into the weights first, as on a chip
    data : ranges of activations come from `examples` of its training images, accuracies are those
        on its test images

    Raises
    ------
    TinykitError
        The network cannot be traced, or has no layers with weights.
    """

    def __init__(self, model: nn.Module, data: Dataset, examples: int = 200) -> None:
        self._module = prepare(model, 8, weights="clipped", activations="clipped")
        self._weighted = weighted(self._module)
        if not self._weighted:
            raise TinykitError("the network has no layers with weights: nothing to quantize")
        self.layers = tuple(
            Layer(name, _kind(layer), tuple(_outputs_first(layer, layer.weight).shape))
            for name, layer in self._weighted.items()
        )
        self._after = _after(self._module, [layer.name for layer in self.layers])
        self._lock = threading.Lock()
        self._x = tensors(data.test.x, data.test.y)[0].contiguous()
        self._labels = data.test.y
        #: images that accuracies are measured on
        self.tested = len(data.test.y)
        self._seen = self._watch(data, examples)
        self._drawn = [_draw(seen) for seen in self._seen]
        #: how many numbers each layer gives for an image
        self.outputs = tuple(seen[0].size for seen in self._seen)
        self.range = lru_cache(maxsize=8192)(self._range)
        self.levels = lru_cache(maxsize=8192)(self._levels)
        self.errors = lru_cache(maxsize=8192)(self._errors)
        self.float_accuracy = self.accuracy({}, {}, None)

    # -- numbers ---------------------------------------------------------------------------------

    def values(self, layer: int, what: What, scales: str = "tensor", group: int = 8) -> np.ndarray:
        """What is quantized, a row for each scale: float32 (rows, values).

        Activations: `SAMPLE` of them, in one row. (Ranges are those of all.)
        """
        if what == "activations":
            return self._drawn[layer]
        axis, size = self._axis(layer, what, scales, group)
        return fq.rows(self._weight(layer), axis, size).numpy()

    def channels(self, layer: int, what: What) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest value of each output channel: (channels,) each."""
        if what == "weights":
            rows = self.values(layer, what, "channel")
            return rows.min(1), rows.max(1)
        seen = self._seen[layer]
        rest = tuple(axis for axis in range(seen.ndim) if axis != 1)
        return seen.min(axis=rest), seen.max(axis=rest)

    def _levels(self, layer: int, what: What, fmt: Format) -> Levels:
        """The levels that `fmt` gives a tensor; remembered."""
        low, high, per = self.range(layer, what, fmt)
        grid = self._grid(what, fmt)
        scale, zero = fq.scale_of_range(
            torch.from_numpy(low), torch.from_numpy(high), grid.low, grid.high, fmt.symmetric
        )
        return Levels(scale.numpy().reshape(-1), zero.numpy().reshape(-1), grid.low, grid.high, per)

    def _range(self, layer: int, what: What, fmt: Format) -> tuple[np.ndarray, np.ndarray, str]:
        axis, size = self._axis(layer, what, fmt.scales, fmt.group)
        per = "group" if size else "tensor" if axis is None else "channel"
        if fmt.observer == "hand":
            if not 0 < fmt.share <= 1:
                raise TinykitError(f"share is {fmt.share}; it has to lie in (0, 1]")
            low, high, _ = self.range(layer, what, replace(fmt, observer="minmax", share=1.0))
            if fmt.symmetric:
                high = np.maximum(-low, high)
                low = -high
            return low * fmt.share, high * fmt.share, per
        grid = self._grid(what, fmt)
        count = grid.high - grid.low + 1
        if what == "activations":
            one = _observer(fmt.observer, count, fmt.symmetric)
            for example in self._seen[layer]:
                one.update(example)
            least, most = one.range()
            return np.array([least]), np.array([most]), per
        rows = self.values(layer, what, fmt.scales, fmt.group)
        if fmt.observer == "mse":
            return *least_squares_ranges(rows, count, fmt.symmetric), per
        ends = []
        for row in rows:
            one = _observer(fmt.observer, count, fmt.symmetric)
            one.update(row)
            ends.append(one.range())
        lows, highs = np.array(ends, np.float64).T
        return lows, highs, per

    def _errors(self, layer: int, what: What, fmt: Format) -> tuple[float, float]:
        """Squared error of clipping and of rounding, in shares of the mean square of `values`."""
        levels = self.levels(layer, what, fmt)
        x = torch.from_numpy(self.values(layer, what, levels.per, fmt.group))
        scale, zero = torch.from_numpy(levels.scale), torch.from_numpy(levels.zero)
        axis = 0 if len(x) > 1 else None
        clip, rounding = fq.error_split(x, scale, zero, levels.low, levels.high, axis=axis)
        power = float((x.double() ** 2).mean()) or 1.0
        return clip / power, rounding / power

    def clipped(self, layer: int, what: What, fmt: Format) -> np.ndarray:
        """Which of `values` lie beyond the outermost levels: bool, in the rows that share one."""
        levels = self.levels(layer, what, fmt)
        low, high = levels.ends
        rows = self.values(layer, what, levels.per, fmt.group)
        # the largest value's own level may lie a last bit below it
        slack = 1e-4 * levels.scale
        made = (rows < (low - slack)[:, None]) | (rows > (high + slack)[:, None])
        return np.asarray(made)

    # -- accuracy --------------------------------------------------------------------------------

    def accuracy(
        self,
        weights: Mapping[int, Format],
        activations: Mapping[int, Format],
        others: Format | None = None,
    ) -> float:
        """Share of the test images that the fake-quantized network gets right, computed now.

        Parameters
        ----------
        weights, activations : layer → format; what is not named stays float
        others : of the input image and of averages, which no layer with weights makes
        """
        with self._lock, torch.inference_mode():
            for index, layer in enumerate(self._weighted.values()):
                layer.quantizer = self._rounded(index, weights.get(index))  # type: ignore[assignment]
                name = self._after[index]
                setattr(self._module, name, self._rounding(index, activations.get(index)))
            for name, (low, high) in self._other_seen.items():
                setattr(self._module, name, _other(low, high, others))
            parts = [self._module(part).argmax(1) for part in self._x.split(BATCH)]
        found = torch.cat(parts).numpy()
        return float((found == self._labels).mean())

    def _rounded(self, layer: int, fmt: Format | None) -> nn.Module:
        """Gives the weights of `layer` at their levels."""
        weight = self._weight(layer)
        if fmt is None:
            return Pass()
        levels = self.levels(layer, "weights", fmt)
        rows = torch.from_numpy(self.values(layer, "weights", levels.per, fmt.group))
        made = Round(levels)(rows).reshape(weight.shape)
        return Given(_outputs_first(self._weighted[self.layers[layer].name], made))

    def _rounding(self, layer: int, fmt: Format | None) -> nn.Module:
        return Pass() if fmt is None else Round(self.levels(layer, "activations", fmt))

    # -- what the network is ---------------------------------------------------------------------

    def _weight(self, layer: int) -> torch.Tensor:
        held = self._weighted[self.layers[layer].name]
        return _outputs_first(held, held.weight.detach())

    def _axis(
        self, layer: int, what: What, scales: str, group: int
    ) -> tuple[int | None, int | None]:
        """Axis and group as `functional` takes them; what does not fit becomes coarser."""
        if what == "activations" or scales == "tensor":
            return None, None
        if scales == "group" and self.layers[layer].shape[1] % group == 0:
            return 0, group
        return 0, None

    @staticmethod
    def _grid(what: What, fmt: Format) -> Grid:
        # weights as TFLite has them, -7..7; activations with all integers, -8..7
        return Grid(fmt.bits, fmt.symmetric, narrow=fmt.symmetric and what == "weights")

    @torch.no_grad()
    def _watch(self, data: Dataset, examples: int) -> list[np.ndarray]:
        """What each layer gives for training images, in float; and the ranges of all else."""
        taken = data.train.take(examples)
        x, _ = tensors(taken.x, taken.y)
        seen: dict[str, np.ndarray] = {}
        hooks = []
        for name, quantizer in activation_quantizers(self._module).items():

            def note(_: nn.Module, args: tuple[torch.Tensor], name: str = name) -> None:
                seen[name] = args[0].numpy().copy()

            quantizer.mode = Mode.OFF
            hooks.append(quantizer.register_forward_pre_hook(note))
        for layer in self._weighted.values():
            layer.quantizer.mode = Mode.OFF
        self._module(x)
        for hook in hooks:
            hook.remove()
        ours = set(self._after)
        self._other_seen = {
            name: (float(v.min()), float(v.max())) for name, v in seen.items() if name not in ours
        }
        return [seen[name] for name in self._after]


def _draw(seen: np.ndarray) -> np.ndarray:
    values = seen.ravel()
    if values.size <= SAMPLE:
        return values[None]
    return values[np.random.default_rng(0).choice(values.size, SAMPLE, replace=False)][None]


def _observer(name: str, levels: int, symmetric: bool) -> MinMax:
    made = observer(name, levels, symmetric)
    if isinstance(made, Percentile):
        made.share = CLIPPED
    return made  # type: ignore[return-value]


def _other(low: float, high: float, fmt: Format | None) -> nn.Module:
    if fmt is None:
        return Pass()
    grid = Study._grid("activations", fmt)
    scale, zero = fq.scale_of_range(low, high, grid.low, grid.high, fmt.symmetric)
    return Round(Levels(scale.numpy(), zero.numpy(), grid.low, grid.high, "tensor"))


def _kind(layer: nn.Module) -> str:
    if isinstance(layer, nn.Linear):
        return "linear"
    if isinstance(layer, nn.ConvTranspose2d):
        return "transposed"
    assert isinstance(layer, nn.Conv2d)
    return "depthwise" if layer.groups == layer.in_channels > 1 else "convolution"


def _outputs_first(layer: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """`weight` with the outputs along axis 0, or from there back to torch's order."""
    return weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else weight


def _after(module: fx.GraphModule, layers: Sequence[str]) -> list[str]:
    """The quantizer of each layer's output, behind its activation function."""
    found = {}
    for node in module.graph.nodes:
        if node.op != "call_module" or node.target not in layers:
            continue
        at = node
        while not isinstance(_module(module, at), Quantizer):
            at = next(iter(at.users))
        found[node.target] = str(at.target)
    return [found[name] for name in layers]


def _module(traced: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    return traced.get_submodule(str(node.target)) if node.op == "call_module" else None
