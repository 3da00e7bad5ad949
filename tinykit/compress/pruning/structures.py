"""Structures of zeros inside weights: single ones, blocks, N of M, patterns.

Each says which weights go together (units) and how units of the lowest score become masks. All are
laid out as the engine has the weights: OHWI, OI, depthwise filters 1HWO. Channels are another
matter (`channels.py`): there the network becomes smaller.
"""

from __future__ import annotations

import itertools
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from tinykit.compress.pruning.criteria import Context, Criterion
from tinykit.compress.pruning.layers import Layer, check_names
from tinykit.compress.pruning.masks import Masks
from tinykit.compress.pruning.select import Amount, lowest
from tinykit.graph.errors import TinykitError


def _single(layer: Layer, values: Mapping[str, Tensor]) -> Tensor:
    """Each weight a unit of its own, in torch's order."""
    return values[layer.key].reshape(-1, 1)


class Structure(ABC):
    """A structure of zeros inside the weights of layers; a subclass is found by its names."""

    known: ClassVar[list[type[Structure]]] = []
    #: how its names look, for messages
    usage: ClassVar[str]
    #: what criteria call it: "weights", "blocks", "N:M", "pattern"
    kind: ClassVar[str]

    def __init_subclass__(cls) -> None:
        Structure.known.append(cls)

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Structure | None:
        """The structure called `text`; None where it is none of these."""

    @property
    def share(self) -> float | None:
        """The share it removes, where it leaves no choice."""
        return None

    def misfit(self, layer: Layer) -> str | None:
        """Why `layer` cannot have this structure; None when it can."""
        return None

    @abstractmethod
    def masks(
        self,
        layers: list[Layer],
        score: Criterion,
        context: Context,
        amount: Amount,
        scope: str,
        before: Masks,
    ) -> Masks:
        """Masks that remove the lowest scores; what `before` masks counts as removed already."""

    def fitting(self, layers: list[Layer], amount: Amount) -> list[Layer]:
        """The layers that are pruned: those that `amount` names, or else all that can be.

        Raises
        ------
        TinykitError
            A layer does not exist, or cannot have this structure (all of them, without names).
        """
        named = isinstance(amount, Mapping)
        if isinstance(amount, Mapping):
            check_names(amount, [layer.name for layer in layers])
            layers = [layer for layer in layers if layer.name in amount]
        why = {layer.name: self.misfit(layer) for layer in layers}
        bad = {name: text for name, text in why.items() if text}
        if layers and bad and (named or len(bad) == len(layers)):
            raise TinykitError(
                f"structure {self} does not fit "
                + "; ".join(f"layer {name!r}: {text}" for name, text in bad.items())
            )
        return [layer for layer in layers if layer.name not in bad]


@dataclass(frozen=True)
class Blocks(Structure):
    """`rows` × `columns` neighbours of the engine's weight matrix go together; 1×1: single weights.

    Blocks at the right and lower edge may be incomplete; blocks are ranked by the mean score of
    their weights, so that size does not count.
    """

    rows: int = 1
    columns: int = 1
    usage: ClassVar[str] = "'unstructured', blocks such as '1x4'"

    @classmethod
    def parse(cls, text: str) -> Blocks | None:
        if text == "unstructured":
            return cls()
        found = re.fullmatch(r"([1-9]\d*)[x×]([1-9]\d*)", text)
        return cls(int(found[1]), int(found[2])) if found else None

    @property
    def kind(self) -> str:  # type: ignore[override]
        return "weights" if self.rows == self.columns == 1 else "blocks"

    def __str__(self) -> str:
        return "unstructured" if self.kind == "weights" else f"{self.rows}x{self.columns}"

    def units(self, layer: Layer, values: Tensor) -> Tensor:
        """Values of the weight's shape as (units, rows · columns), zeros where blocks stick out."""
        matrix = layer.matrix(values)
        height, width = matrix.shape
        r, c = math.ceil(height / self.rows), math.ceil(width / self.columns)
        whole = matrix.new_zeros(r * self.rows, c * self.columns)
        whole[:height, :width] = matrix
        blocks = whole.reshape(r, self.rows, c, self.columns).transpose(1, 2)
        return blocks.reshape(r * c, self.rows * self.columns)

    def _gather(self, layer: Layer, values: Mapping[str, Tensor]) -> Tensor:
        return self.units(layer, values[layer.key])

    def spread(self, layer: Layer, flags: Tensor) -> Tensor:
        """One flag a unit → one flag a weight, in the weight's shape."""
        height, width = layer.matrix(layer.weight).shape
        r, c = math.ceil(height / self.rows), math.ceil(width / self.columns)
        each = flags.view(r, 1, c, 1).expand(r, self.rows, c, self.columns)
        whole = each.reshape(r * self.rows, c * self.columns)
        return layer.unmatrix(whole[:height, :width])

    def masks(self, layers: list[Layer], score: Criterion, context: Context, amount: Amount,
              scope: str, before: Masks) -> Masks:  # fmt: skip
        scores, sizes = {}, {}
        layers = self.fitting(layers, amount)
        for layer in layers:
            size = self.units(layer, torch.ones_like(layer.weight)).sum(1)
            found = score.score(partial(self._gather, layer), context)
            if score.additive:
                found = found / size
            if layer.key in before.keep:
                found[~self.units(layer, before.keep[layer.key]).any(1)] = -1
            scores[layer.name], sizes[layer.name] = found, size.long()
        keep = lowest(scores, sizes, amount, scope)
        return Masks({layer.key: self.spread(layer, keep[layer.name]) for layer in layers})


@dataclass(frozen=True)
class NofM(Structure):
    """Of every `m` neighbours along the input axis at most `n` stay (2:4: Mishra et al. 2021,
    arXiv:2104.08378).

    Where the axis is no multiple of `m`, the last, shorter stretch keeps `n` as well, or all that
    there are. Layers whose input axis is shorter than `m` (depthwise filters see one channel) stay
    dense, unless they are named.
    """

    n: int
    m: int
    kind: ClassVar[str] = "N:M"
    usage: ClassVar[str] = "'N:M' with N < M such as '2:4'"

    @classmethod
    def parse(cls, text: str) -> NofM | None:
        found = re.fullmatch(r"([1-9]\d*):(\d+)", text)
        return (
            cls(int(found[1]), int(found[2])) if found and int(found[1]) < int(found[2]) else None
        )

    @property
    def share(self) -> float:
        return 1 - self.n / self.m

    def __str__(self) -> str:
        return f"{self.n}:{self.m}"

    def misfit(self, layer: Layer) -> str | None:
        if layer.inputs < self.m:
            return f"its input axis has {layer.inputs}, less than M = {self.m}"
        return None

    def masks(self, layers: list[Layer], score: Criterion, context: Context, amount: Amount,
              scope: str, before: Masks) -> Masks:  # fmt: skip
        made = {}
        for layer in self.fitting(layers, amount):
            if isinstance(amount, Mapping) and amount[layer.name] == 0:
                continue
            found = score.score(partial(_single, layer), context)
            found = found.double().reshape(layer.weight.shape)
            if layer.key in before.keep:
                found = found.masked_fill(~before.keep[layer.key], -1)
            axis = layer.inputs
            rows = layer.matrix(found).reshape(-1, axis)
            stretches = math.ceil(axis / self.m)
            # what sticks out ranks below everything, so that it takes no weight's place
            whole = rows.new_full((len(rows), stretches * self.m), -2.0)
            whole[:, :axis] = rows
            whole = whole.view(-1, self.m)
            first = whole.argsort(dim=1, descending=True, stable=True)[:, : self.n]
            keep = torch.zeros_like(whole, dtype=torch.bool).scatter_(1, first, True)
            keep = keep.view(len(rows), -1)[:, :axis]
            made[layer.key] = layer.unmatrix(keep.reshape(layer.matrix(layer.weight).shape))
        return Masks(made)


#: the 4-entry patterns of a 3×3 kernel that hold its centre: bool (56, 9)
PATTERNS = torch.zeros(56, 9, dtype=torch.bool)
for _row, _others in zip(
    PATTERNS, itertools.combinations([0, 1, 2, 3, 5, 6, 7, 8], 3), strict=True
):
    _row[[4, *_others]] = True


@dataclass(frozen=True)
class Pattern(Structure):
    """Each 3×3 kernel keeps one of `count` patterns of 4 entries, the centre among them.

    As PCONV (Ma et al. 2020, arXiv:1909.05073) and PatDNN (Niu et al. 2020, arXiv:2001.00138) have
    it: each kernel has its own best pattern; the `count` that are most often the best are taken,
    and each kernel gets the best of these. Kernels are not removed as a whole. Layers with other
    kernels stay dense, unless they are named.
    """

    count: int = 8
    kind: ClassVar[str] = "pattern"
    usage: ClassVar[str] = "'pattern' or 'pattern:K' with K up to 56"

    @classmethod
    def parse(cls, text: str) -> Pattern | None:
        found = re.fullmatch(r"pattern(:\d+)?", text)
        count = int(found[1][1:]) if found and found[1] else 8
        return cls(count) if found and 1 <= count <= len(PATTERNS) else None

    @property
    def share(self) -> float:
        return 5 / 9

    def __str__(self) -> str:
        return f"pattern:{self.count}"

    def misfit(self, layer: Layer) -> str | None:
        return None if layer.kernel == (3, 3) else "its kernels are not 3×3"

    def masks(self, layers: list[Layer], score: Criterion, context: Context, amount: Amount,
              scope: str, before: Masks) -> Masks:  # fmt: skip
        kernels = {}
        chosen = [
            layer
            for layer in self.fitting(layers, amount)
            if not isinstance(amount, Mapping) or amount[layer.name] > 0
        ]
        if not chosen:
            return Masks()
        for layer in chosen:
            found = score.score(partial(_single, layer), context)
            if layer.key in before.keep:
                found = found.masked_fill(~before.keep[layer.key].flatten(), 0)
            kernels[layer.key] = found.double().view(-1, 9) @ PATTERNS.double().T
        best = torch.cat([gain.argmax(1) for gain in kernels.values()])
        often = best.bincount(minlength=len(PATTERNS))
        taken = often.argsort(descending=True, stable=True)[: self.count].sort().values
        return Masks({
            layer.key: PATTERNS[taken[kernels[layer.key][:, taken].argmax(1)]].view(
                layer.weight.shape
            )
            for layer in chosen
        })  # fmt: skip


def structure(text: str) -> Structure | None:
    """The structure that `text` names; None for "channel"."""
    if text == "channel":
        return None
    for kind in Structure.known:
        if made := kind.parse(text):
            return made
    usages = ", ".join(kind.usage for kind in Structure.known)
    raise TinykitError(f"Prune knows the structures 'channel', {usages}; not {text!r}")
