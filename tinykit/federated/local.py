"""What a device does in a round: how many steps of SGD, on which of its examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinykit.federated.checks import real, whole
from tinykit.federated.errors import FederatedError


@dataclass(frozen=True)
class Local:
    """Local training: plain SGD on minibatches, as the papers on federated learning have it.

    Parameters
    ----------
    steps : minibatches a round, the same for every device; or
    epochs : passes over the device's examples; 1 where neither is given
    batch : examples a step; the last one of a pass may be smaller
    lr : step size in round 0
    decay : the step size of round r is lr · decay^r
    weight_decay : added to the gradient, times the parameters
    clip : largest norm of a step's direction (before weight decay); None does not limit it

    Raises
    ------
    FederatedError
        A value out of range, or both `steps` and `epochs`.
    """

    steps: int | None = None
    epochs: int | None = None
    batch: int = 32
    lr: float = 0.1
    decay: float = 1.0
    weight_decay: float = 0.0
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.steps is not None and self.epochs is not None:
            raise FederatedError("give steps or epochs of local training, not both")
        for name in ("steps", "epochs", "batch"):
            if (value := getattr(self, name)) is not None:
                whole(f"{name} of local training", value, least=1)
        real("lr of local training", self.lr, above=0)
        real("decay of local training", self.decay, above=0)
        real("weight_decay of local training", self.weight_decay, least=0)
        if self.clip is not None:
            real("clip of local training (None: no limit)", self.clip, above=0)

    def lr_in(self, round: int) -> float:
        """The step size of `round` (from 0)."""
        return self.lr * self.decay**round

    def steps_for(self, examples: int) -> int:
        """Minibatches that a device with `examples` examples does in a round; 0 without any."""
        if examples == 0:
            return 0
        if self.steps is not None:
            return self.steps
        return (self.epochs or 1) * -(-examples // self.batch)


@dataclass(frozen=True)
class Minibatches:
    """Which examples each step looks at.

    Parameters
    ----------
    index : int64 (steps, width), positions in the pool; a row is padded with its first entry
    sizes : int64 (steps,), how many entries of each row count
    """

    index: np.ndarray
    sizes: np.ndarray

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def full(self) -> bool:
        """Whether no row is padded."""
        return bool((self.sizes == self.index.shape[1]).all())


def minibatches(part: np.ndarray, steps: int, batch: int, rng: np.random.Generator) -> Minibatches:
    """`steps` minibatches of a device's examples: pass after pass, each in a new random order."""
    width = min(batch, len(part))
    index = np.empty((steps, width), dtype=np.int64)
    sizes = np.empty(steps, dtype=np.int64)
    done = 0
    while done < steps:
        order = part[rng.permutation(len(part))]
        for start in range(0, len(order), batch):
            if done == steps:
                break
            row = order[start : start + batch]
            index[done, : len(row)] = row
            index[done, len(row) :] = row[0]
            sizes[done] = len(row)
            done += 1
    return Minibatches(index, sizes)
