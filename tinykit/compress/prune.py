"""Pruning as a compression scheme: whole channels, or zeros of some structure inside weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from tinykit.compress.csteps._checks import number, whole
from tinykit.compress.pruning.cut import Cut
from tinykit.compress.pruning.layers import nonzero, parameters
from tinykit.compress.pruning.schedules import SCHEDULES, Training, gradual, rewind, rounds
from tinykit.compress.pruning.select import Amount
from tinykit.compress.scheme import Scheme
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError

if TYPE_CHECKING:
    from tinykit.compress.terms import Term

__all__ = ["Prune", "nonzero", "parameters"]


@dataclass(frozen=True)
class Prune(Scheme):
    """Remove `amount` of the weights, and train what is left.

    Parameters
    ----------
    amount : share to remove, in [0, 1): with channels, of all of the network's parameters; else of
        the weights of its convolutions and linear layers. By layer, ``{"0.0": 0.5}``: of its output
        channels, or of its weights; layers not named are left alone. "N:M" and "pattern" remove
        what they remove, and need no amount.
    structure : None or "channel" removes whole channels with everything that depends on them (the
        dependency graph is torch-pruning's, Fang et al. 2023, arXiv:2301.12900): the result is a
        smaller dense network. All others set weights to zero and keep them there, which no runtime
        for microcontrollers stores or runs any smaller by itself: "unstructured" single ones;
        "N:M" (as "2:4") all but N of every M along the input axis; "RxC" (as "1x4", "4x4") blocks
        of the weight matrix in the engine's layout; "pattern" or "pattern:K" all but one of K
        (8) patterns of 4 entries in each 3×3 kernel.
    criterion : what marks weights as dispensable: "magnitude"; "taylor", the change of the loss to
        first order; "lamp", magnitude made comparable between layers; "fpgm", nearness to the
        other filters (channels only); "random"
    epochs : of training after each round; None takes a third of what training takes (all of it
        after rewinding)
    rounds : reach `amount` in so many steps, each removing the same share of what is left
    multiple : channel counts stay multiples of this (kernels work on four at a time)
    lr : peak learning rate of that training; None takes 5e-3, and 1e-2 after rewinding
    scope : "layer" spreads one `amount` evenly over layers, "global" ranks them together; None
        takes "layer" for channels ("global" by "lamp"), and "global" for weights and blocks. At
        least one weight, block or `multiple` of channels stays of each layer.
    schedule : "one-shot"; "iterative" in `rounds`; "gradual" while training, along a cubic (Zhu &
        Gupta 2017, arXiv:1710.01878); "rewind" goes back to `rewind_to` after each round and
        trains again (the lottery ticket, Frankle & Carbin 2019, arXiv:1803.03635). None is
        "one-shot", or "iterative" where there are several rounds.
    rewind_to : the model's state at its start or early in training, copied then:
        ``copy.deepcopy(model.state_dict())``
    """

    amount: Amount | None = None
    structure: str | None = None
    criterion: str = "magnitude"
    epochs: int | None = None
    rounds: int = 1
    multiple: int = 4
    lr: float | None = None
    scope: str | None = None
    schedule: str | None = None
    rewind_to: Mapping[str, Tensor] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.epochs is not None:
            whole("epochs", self.epochs, 0)
        whole("rounds", self.rounds, 1)
        whole("multiple", self.multiple, 1)
        if self.lr is not None:
            number("lr", self.lr, positive=True)
        if not isinstance(self.structure, str | None):
            raise TinykitError(f"Prune takes structure by its name, not {self.structure!r}")
        cut = self.cut
        if self.schedule not in (None, *SCHEDULES):
            raise TinykitError(
                f"Prune knows the schedules {', '.join(SCHEDULES)}, not {self.schedule!r}"
            )
        if self.rounds > 1 and self.schedule in ("one-shot", "gradual"):
            raise TinykitError(f"schedule {self.schedule!r} has no rounds: leave rounds out")
        if self.rounds == 1 and self.schedule == "iterative":
            raise TinykitError("schedule 'iterative' needs rounds >= 2")
        if (self.schedule == "rewind") != (self.rewind_to is not None):
            raise TinykitError(
                "schedule 'rewind' and rewind_to need each other: give the model's early state, "
                "copy.deepcopy(model.state_dict()) before training"
            )
        fixed = cut.shape is not None and cut.shape.share is not None
        if fixed and (self.rounds > 1 or self.schedule == "gradual"):
            raise TinykitError(
                f"structure {self.structure!r} removes its share at once: take one round, and "
                "schedule 'one-shot' or 'rewind'"
            )

    @property
    def cut(self) -> Cut:
        """What is removed, without how it is trained."""
        return Cut(self.amount, self.structure, self.criterion, self.scope, self.multiple)

    def terms(self) -> tuple[Term, ...]:
        """In a sum with a term of the LC algorithm: all but few weights of the other's rest."""
        from tinykit.compress.terms import Sparsify

        if not isinstance(self.amount, (int, float)):
            return ()
        if self != Prune(self.amount):
            return ()  # whoever names a structure or a training means what comes first, or next
        return (Sparsify(keep=round(1.0 - self.amount, 12)),)

    def apply(
        self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
    ) -> nn.Module:
        cut = self.cut
        if cut.nothing:
            return model.eval()
        training = Training(data, self.epochs, self.lr, seed, progress)
        if self.schedule == "gradual":
            return gradual(model, cut, training)
        if self.rewind_to is not None:
            return rewind(model, cut, training, self.rounds, self.rewind_to)
        return rounds(model, cut, training, self.rounds)
