"""What a compression scheme is, and how schemes add up."""

from __future__ import annotations

import copy
import itertools
from abc import ABC, abstractmethod
from numbers import Integral
from typing import TYPE_CHECKING, ClassVar

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    from torch import nn

    from tinykit.compress.terms import Term


class Scheme(ABC):
    """One way to make a network smaller; ``first + then`` applies one after the other.

    A new scheme is a subclass with `apply`; nothing else has to know of it.
    """

    #: nothing can follow a scheme after which the module is in its final form
    final: ClassVar[bool] = False

    @abstractmethod
    def apply(
        self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
    ) -> nn.Module:
        """Compress `model`, which it may change, and return the result in eval mode."""

    def terms(self) -> tuple[Term, ...]:
        """What this scheme is in an additive combination; nothing where it can be in none."""
        return ()

    def __add__(self, other: Scheme) -> Scheme:
        """One after the other; or, where both are terms of the LC algorithm, on the same weights.

        A sum with `LowRank` or `Codebook` is w = Δ₁ + Δ₂, learned together; `Prune` is one of its
        terms unless its structure is named. Every other sum is a `Chain`.
        """
        if not isinstance(other, Scheme):
            return NotImplemented
        from tinykit.compress.terms import Combination, Term

        ours, theirs = self.terms(), other.terms()
        if ours and theirs and (isinstance(self, Term) or isinstance(other, Term)):
            return Combination((*ours, *theirs))
        if isinstance(self, Chain) and theirs:
            # a + b + c is (a + b) + c: the end of the chain is what `other` adds to
            last = self.schemes[-1] + other
            return Chain((*self.schemes[:-1], *_parts(last)))
        return Chain((*_parts(self), *_parts(other)))


class Chain(Scheme):
    """Schemes in the order in which they are applied."""

    def __init__(self, schemes: tuple[Scheme, ...]) -> None:
        for before, after in itertools.pairwise(schemes):
            if before.final:
                raise TinykitError(
                    f"{after!r} cannot follow {before!r}: write {after!r} + {before!r}"
                )
        self.schemes = schemes

    @property
    def final(self) -> bool:  # type: ignore[override]
        return self.schemes[-1].final

    def apply(
        self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
    ) -> nn.Module:
        for scheme in self.schemes:
            model = scheme.apply(model, data, seed=seed, progress=progress)
        return model

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.schemes))


def _parts(scheme: Scheme) -> tuple[Scheme, ...]:
    return scheme.schemes if isinstance(scheme, Chain) else (scheme,)


def compress(
    model: nn.Module,
    data: Dataset,
    scheme: Scheme,
    *,
    seed: int = 0,
    progress: bool | None = None,
) -> nn.Module:
    """A compressed copy of `model`; `model` itself is left alone.

    Parameters
    ----------
    model : NCHW in, logits out
    data : what it is fine-tuned on
    scheme : ``Prune(0.7)``, ``Quantize(bits=8)``, or their sum
    seed : of everything random; the same seed gives the same weights on one machine
    progress : show bars; None shows them on terminals and in notebooks

    Returns
    -------
    small : in eval mode, ready for `tinykit.to_graph`

    Raises
    ------
    TinykitError
        Arguments out of range, or a model that the scheme cannot handle; the text says which.
    """
    if not isinstance(scheme, Scheme):
        raise TinykitError(
            f"compress takes a scheme such as tk.Prune(0.7) + tk.Quantize(bits=8), got {scheme!r}"
        )
    check_inputs(model, data, seed)
    return scheme.apply(copy.deepcopy(model), data, seed=seed, progress=progress).eval()


def check_inputs(model: nn.Module, data: Dataset, seed: int) -> None:
    """What every scheme asks of its inputs, told before anything is trained."""
    from torch import float32, nn

    if not isinstance(model, nn.Module):
        raise TinykitError(f"model is a {type(model).__name__}; it has to be a torch module")
    if not isinstance(data, Dataset):
        raise TinykitError(
            f"data is a {type(data).__name__}; it has to be a Dataset: tinykit.data.load(name)"
        )
    for split in ("train", "val"):
        if not len(data.split(split)):
            raise TinykitError(f"data {data.name!r} has no examples in its split {split!r}")
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**32:
        raise TinykitError(f"seed is {seed!r}; it has to be an integer from 0 to 2³² − 1")
    for name, parameter in model.named_parameters():
        if parameter.dtype != float32:
            raise TinykitError(
                f"parameter {name!r} is {parameter.dtype}; it has to be float32: model.float()"
            )
