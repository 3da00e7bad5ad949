"""Compression schemes that the LC algorithm runs, and that add up on the same weights.

A `Term` is a C step with the field's name on it: it says what each layer's weight is to be, and
leaves to `LC` how the network learns to live with it. ``first + second`` of terms is an additive
combination, w = Δ₁(Θ₁) + Δ₂(Θ₂) (Idelbayev and Carreira-Perpiñán, "More general and effective model
compression via an additive combination of compressions", ECML 2021).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

from torch import nn

from tinykit.compress import csteps
from tinykit.compress.csteps.base import CStep
from tinykit.compress.scheme import Scheme
from tinykit.compress.views import Shaping
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError


class Term(Scheme):
    """A scheme that says what a weight is to be; alone it is run by `LC` with its defaults.

    A new one is a frozen dataclass with `c_step`.
    """

    #: whether all layers are joined into one vector rather than compressed one by one
    shared: bool = False
    shaping: Shaping = 1

    @abstractmethod
    def c_step(self, positions: int = 1) -> CStep:
        """The C step of a layer; `positions` is how often its matrix is used for one input."""

    def terms(self) -> tuple[Term, ...]:
        return (self,)

    def apply(
        self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
    ) -> nn.Module:
        from tinykit.compress.lc.scheme import LC

        return LC(self).apply(model, data, seed=seed, progress=progress)


@dataclass(frozen=True)
class LowRank(Term):
    """Each weight matrix as a product of two thin ones.

    Parameters
    ----------
    rank : of every layer; or "auto": the rank of each layer is learned, by what a rank costs
        (Idelbayev and Carreira-Perpiñán, CVPR 2020)
    alpha : with "auto", how much of the loss a unit of cost is worth
    cost : with "auto", "parameters" or "macs" (multiply-accumulates of one inference)
    shaping : how a convolution is a matrix: 1, filters by what each sees, n × (m·d²); or 2,
        (n·d) × (m·d); see `tinykit.compress.views`

    Where the factors take less than the layer, the compressed network has two layers instead of
    it, and is smaller for any runtime.
    """

    rank: int | Literal["auto"] = "auto"
    alpha: float | None = None
    cost: Literal["parameters", "macs"] = "parameters"
    shaping: Shaping = 1

    def __post_init__(self) -> None:
        if self.rank == "auto":
            if self.alpha is None:
                raise TinykitError(
                    "LowRank('auto') needs alpha, what a parameter is worth: 1e-6 suits LeNet300; "
                    "larger gives smaller ranks"
                )
        elif isinstance(self.rank, str):
            raise TinykitError(f"LowRank takes a rank or 'auto', not {self.rank!r}")
        elif self.alpha is not None:
            raise TinykitError("alpha is for LowRank('auto'); with a rank leave it out")
        if self.shaping not in (1, 2):
            raise TinykitError(f"LowRank knows the shapings 1 and 2, not {self.shaping!r}")
        self.c_step()  # checks the rest

    def c_step(self, positions: int = 1) -> CStep:
        if self.rank == "auto":
            assert self.alpha is not None
            times = positions if self.cost == "macs" else 1
            return csteps.RankSelection(self.alpha, self.cost, times)
        return csteps.LowRank(self.rank)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Codebook(Term):
    """Each weight one of a few levels.

    Parameters
    ----------
    levels : K, that many levels, chosen best for each layer; or a name: "binary" {−1, 1},
        "scaled-binary" {−c, c}, "ternary" {−1, 0, 1}, "scaled-ternary" {−c, 0, c}, "powers"
        (± powers of two from 2⁻⁷ to 1, and 0)
    shared : one codebook for all layers

    No runtime for microcontrollers multiplies with codebooks: the network keeps its shape, and
    only the encoded file (`small.compressed.encode()`) is smaller.
    """

    levels: int | str = 2
    shared: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.levels, str) and self.levels not in _NAMED:
            raise TinykitError(
                f"Codebook knows a number of levels and {', '.join(_NAMED)}, not {self.levels!r}"
            )
        self.c_step()

    def c_step(self, positions: int = 1) -> CStep:
        if isinstance(self.levels, str):
            return _NAMED[self.levels]
        return csteps.AdaptiveCodebook(self.levels)


@dataclass(frozen=True)
class Sparsify(Term):
    """Few weights that are not zero, by the LC algorithm; `Prune` is how it is written in a sum.

    Parameters
    ----------
    keep : share of the weights that stay, in (0, 1], or how many
    radius : instead of `keep`, with norm "l1": the largest ℓ1 norm, of all layers together, or of
        each where `shared` is False
    alpha : instead of `keep`, what a weight that is not zero costs (norm "l0"), or a weight's
        magnitude (norm "l1")
    norm : "l0" counts weights, "l1" adds their magnitudes
    shared : whether the weights that stay are chosen among all layers, or in each alike
    """

    keep: float | int | None = None
    radius: float | None = None
    alpha: float | None = None
    norm: Literal["l0", "l1"] = "l0"
    shared: bool = True

    def __post_init__(self) -> None:
        given = [n for n in ("keep", "radius", "alpha") if getattr(self, n) is not None]
        if len(given) != 1:
            raise TinykitError(
                "Sparsify takes one of keep, radius and alpha, got "
                + (" and ".join(given) or "none of them")
            )
        if self.norm not in ("l0", "l1"):
            raise TinykitError(f"Sparsify knows the norms 'l0' and 'l1', not {self.norm!r}")
        wrong = (self.norm == "l1" and self.keep is not None) or (
            self.norm == "l0" and self.radius is not None
        )
        if wrong:
            raise TinykitError(
                "keep counts weights (norm='l0'), radius limits their magnitudes (norm='l1')"
            )
        self.c_step()

    def c_step(self, positions: int = 1) -> CStep:
        if self.keep is not None:
            return csteps.L0Constraint(self.keep)
        if self.radius is not None:
            return csteps.L1Constraint(self.radius)
        assert self.alpha is not None
        return (csteps.L0Penalty if self.norm == "l0" else csteps.L1Penalty)(self.alpha)


class Combination(Term):
    """Terms added on the same weights."""

    def __init__(self, parts: tuple[Term, ...]) -> None:
        self.parts = parts
        shapings = {t.shaping for t in parts if t.c_step().view == "matrix"}
        if len(shapings) > 1:
            raise TinykitError("the terms of a sum have to see a convolution in one shaping")
        self.shaping = shapings.pop() if shapings else 1
        # a matrix belongs to one layer
        self.shared = all(t.shared for t in parts) and not shapings

    def terms(self) -> tuple[Term, ...]:
        return self.parts

    def c_step(self, positions: int = 1) -> CStep:
        return csteps.Additive(tuple(t.c_step(positions) for t in self.parts))

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


_NAMED: dict[str, CStep] = {
    "binary": csteps.Binary(),
    "scaled-binary": csteps.ScaledBinary(),
    "ternary": csteps.Ternary(),
    "scaled-ternary": csteps.ScaledTernary(),
    "powers": csteps.PowersOfTwo(-7, 0),
}
