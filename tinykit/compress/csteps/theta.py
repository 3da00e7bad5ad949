"""What a compression step finds: Θ, the few numbers that a tensor is decompressed from, Δ(Θ).

Each kind knows how to decompress, differentiably in its continuous numbers (so that they can be
trained on their own, with what is discrete held), and nothing of how it was found or is stored.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


class Theta(ABC):
    """The compressed form of one tensor of `shape`.

    A subclass is a frozen dataclass; its fields named in `CONTINUOUS` are float tensors which
    `decompress` is differentiable in.
    """

    shape: tuple[int, ...]
    CONTINUOUS: tuple[str, ...] = ()

    @abstractmethod
    def decompress(self) -> Tensor:
        """Δ(Θ): a dense float32 tensor of `shape`."""

    def continuous(self) -> dict[str, Tensor]:
        """What may be trained while indices and codes stay: name → float32 tensor."""
        return {name: getattr(self, name) for name in self.CONTINUOUS}

    def with_continuous(self, values: dict[str, Tensor]) -> Theta:
        """The same codes and indices with other numbers; names as in `continuous`."""
        return replace(self, **values)  # type: ignore[type-var]

    @property
    def numbers(self) -> int:
        """How many numbers Δ is computed from, indices and codes not counted."""
        return sum(t.numel() for t in self.continuous().values())


@dataclass(frozen=True)
class Dense(Theta):
    """Nothing compressed: the tensor itself, float32."""

    shape: tuple[int, ...]
    values: Tensor
    CONTINUOUS = ("values",)

    def decompress(self) -> Tensor:
        return self.values.reshape(self.shape)


@dataclass(frozen=True)
class Sparse(Theta):
    """A few values; all else is zero.

    Parameters
    ----------
    index : int64 (n,), ascending places in the flattened tensor
    values : float32 (n,)
    """

    shape: tuple[int, ...]
    index: Tensor
    values: Tensor
    CONTINUOUS = ("values",)

    def decompress(self) -> Tensor:
        size = 1
        for d in self.shape:
            size *= d
        flat = torch.zeros(size, dtype=self.values.dtype)
        return flat.index_put((self.index,), self.values).reshape(self.shape)


class _Lookup(torch.autograd.Function):
    """levels[codes]; its gradient by counting, some ten times faster than torch's own scatter."""

    @staticmethod
    def forward(ctx: Any, levels: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.size = levels.numel()
        return levels[codes]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (codes,) = ctx.saved_tensors
        total = torch.bincount(codes.reshape(-1), grads[0].reshape(-1), ctx.size)
        return total.to(grads[0].dtype), None


@dataclass(frozen=True)
class Coded(Theta):
    """Each value is one of a few levels: Δ = levels[codes].

    Parameters
    ----------
    codes : uint8 or int16 of `shape`, which level each value takes
    levels : float32 (K,), ascending
    kind : what is known of the levels without storing them, so that a file need not hold them:
        "free" all K are stored; "binary" is {−1, 1} and "ternary" {−1, 0, 1}, nothing is stored;
        "scaled-binary" {−c, c} and "scaled-ternary" {−c, 0, c} store c; "powers" (of two, zero
        among them or not) store one exponent a level; "grid" stores first level and step
    """

    shape: tuple[int, ...]
    codes: Tensor
    levels: Tensor
    kind: str = "free"
    CONTINUOUS = ("levels",)

    def continuous(self) -> dict[str, Tensor]:
        if self.kind == "free":
            return {"levels": self.levels}
        if self.kind.startswith("scaled"):
            return {"scale": self.levels[-1:]}
        return {}

    def with_continuous(self, values: dict[str, Tensor]) -> Coded:
        if "scale" in values:
            signs = torch.tensor([-1.0, 1.0] if len(self.levels) == 2 else [-1.0, 0.0, 1.0])
            return replace(self, levels=signs * values["scale"])
        return replace(self, levels=values.get("levels", self.levels))

    def decompress(self) -> Tensor:
        made: Tensor = _Lookup.apply(self.levels, self.codes.long())
        return made.reshape(self.shape)


@dataclass(frozen=True)
class Factors(Theta):
    """A matrix of low rank: Δ = left @ right; rank 0 is a matrix of zeros.

    Parameters
    ----------
    left : float32 (rows, rank)
    right : float32 (rank, columns)
    """

    shape: tuple[int, ...]
    left: Tensor
    right: Tensor
    CONTINUOUS = ("left", "right")

    @property
    def rank(self) -> int:
        return self.left.shape[1]

    def decompress(self) -> Tensor:
        # how a product is rounded depends on how its factors lie in memory; Δ must not
        return (self.left.contiguous() @ self.right.contiguous()).reshape(self.shape)


@dataclass(frozen=True)
class Sum(Theta):
    """Several compressed forms added: Δ = Σ Δᵢ."""

    shape: tuple[int, ...]
    terms: tuple[Theta, ...]

    def continuous(self) -> dict[str, Tensor]:
        return {
            f"{i}.{name}": t
            for i, term in enumerate(self.terms)
            for name, t in term.continuous().items()
        }

    def with_continuous(self, values: dict[str, Tensor]) -> Sum:
        def own(i: int) -> dict[str, Tensor]:
            return {k.partition(".")[2]: v for k, v in values.items() if k.startswith(f"{i}.")}

        terms = tuple(term.with_continuous(own(i)) for i, term in enumerate(self.terms))
        return replace(self, terms=terms)

    def decompress(self) -> Tensor:
        total = self.terms[0].decompress().reshape(self.shape)
        for term in self.terms[1:]:
            total = total + term.decompress().reshape(self.shape)
        return total
