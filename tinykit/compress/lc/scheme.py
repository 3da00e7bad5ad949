"""`LC`: compression terms run by the learning-compression algorithm, as one scheme among others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from tinykit.compress.csteps._checks import whole
from tinykit.compress.csteps.theta import Sparse, Sum, Theta
from tinykit.compress.lc import checkpoint
from tinykit.compress.lc.algorithm import LC as Algorithm
from tinykit.compress.lc.algorithm import Schedule
from tinykit.compress.lc.compressed import Compressed
from tinykit.compress.lc.learn import SGD
from tinykit.compress.lc.task import Task, weight_names
from tinykit.compress.pruning.masks import Masks, attach, masks_of
from tinykit.compress.scheme import Scheme
from tinykit.compress.terms import Term
from tinykit.compress.uses import uses
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.batch_norm import recalibrate
from tinykit.nn.train import accuracy, default_batch, default_epochs


@dataclass(frozen=True)
class LC(Scheme):
    """Compress by the LC algorithm.

    Parameters
    ----------
    what : a term, for all weights of convolutions and linear layers (``tk.Codebook(2)``,
        ``tk.Prune(0.95) + tk.LowRank("auto", alpha=1e-6)``); or layers by name and the term of
        each (``{"1": tk.Codebook(2), "3": tk.LowRank(10)}``, layers not named stay); or tasks
    steps : pairs of an L and a C step
    epochs : of each L step (the first takes twice as many); None makes all together about four
        times what training from scratch takes
    mu, growth : μ starts at `mu` and grows by this factor each step
    lr, decay, momentum, batch_size, precision : of the L step's `SGD`
    multipliers : "augmented" (Lagrangian) or "penalty" (quadratic penalty)
    checkpoint : a file that is written after each step; if it is there, the run goes on from it

    The compressed network carries what was found as `small.compressed`, a `Compressed`: each
    layer's Θ, the gap and history of the run, and `encode()`, its file. A scheme that follows
    works on the weights and knows nothing of Θ: zeros stay and layers of low rank stay two, but
    training (``Quantize``) moves weights off the levels of a codebook. Parameters that do not
    require gradients stay as they are.
    """

    what: Term | Mapping[str, Term] | Sequence[Task]
    steps: int = 40
    epochs: int | None = None
    mu: float = 1e-3
    growth: float = 1.12
    lr: float = 0.1
    decay: float = 0.97
    momentum: float = 0.9
    batch_size: int | None = None
    precision: Literal["float32", "bfloat16"] = "float32"
    multipliers: Literal["augmented", "penalty"] = "augmented"
    checkpoint: str | Path | None = field(default=None)

    def __post_init__(self) -> None:
        if isinstance(self.what, Scheme) and not isinstance(self.what, Term):
            raise TinykitError(
                f"LC cannot run {self.what!r}: it takes LowRank, Codebook, Sparsify, Prune without "
                "a structure in a sum with one of these, or sums of them"
            )
        if isinstance(self.what, Mapping):
            for layer, term in self.what.items():
                if not isinstance(term, Term):
                    raise TinykitError(
                        f"LC takes a term for each layer (LowRank, Codebook, Sparsify, or a sum "
                        f"with one of these); for layer {layer!r} it got {term!r}"
                    )
        elif not isinstance(self.what, Term) and not (
            isinstance(self.what, list | tuple) and all(isinstance(t, Task) for t in self.what)
        ):
            raise TinykitError(
                f"LC takes a term, a term for each layer by name, or a list of Task, not "
                f"{self.what!r}"
            )
        Schedule(self.mu, self.growth, self.steps)  # checks them
        for name, given in (("epochs", self.epochs), ("batch_size", self.batch_size)):
            if given is not None:
                whole(name, given, 1)
        if not isinstance(self.checkpoint, str | Path | None):
            raise TinykitError(f"checkpoint is the path of a file, not {self.checkpoint!r}")

    def apply(
        self, model: nn.Module, data: Dataset, *, seed: int, progress: bool | None
    ) -> nn.Module:
        made = self.compressed(model, data, seed=seed, progress=progress)
        return finished(made, data.spec.shape)

    def compressed(
        self, model: nn.Module, data: Dataset, *, seed: int = 0, progress: bool | None = None
    ) -> Compressed:
        """The run's outcome in its own terms; `model` is left alone."""
        run = self.algorithm(model, data, seed)
        path = None if self.checkpoint is None else Path(self.checkpoint)
        if path and path.exists():
            checkpoint.resume(run, path)
        made = run.run(
            progress=progress, on_step=(lambda r: checkpoint.save(r, path)) if path else None
        )
        recalibrate(made.model, data)
        return made

    def algorithm(
        self,
        model: nn.Module,
        data: Dataset,
        seed: int = 0,
        score: Callable[[nn.Module], float] | None = None,
    ) -> Algorithm:
        """The algorithm, ready to run; without `score` it notes the validation accuracy."""
        if masks_of(model).keep:
            raise TinykitError(
                "the model holds pruned weights at zero, and the LC algorithm trains all of them: "
                "take Prune(amount) or Sparsify into the sum that LC learns, or prune channels"
            )

        def validation(net: nn.Module) -> float:
            state = {k: v.clone() for k, v in net.named_buffers()}
            recalibrate(net, data)
            try:
                return accuracy(net, data.val.x, data.val.y)
            finally:
                for name, buffer in net.named_buffers():
                    buffer.copy_(state[name])

        return Algorithm(
            model,
            self.tasks(model, data),
            self.l_step(data),
            Schedule(self.mu, self.growth, self.steps),
            multipliers=self.multipliers,
            score=score or validation,
            seed=seed,
        )

    def l_step(self, data: Dataset) -> SGD:
        """The training between two C steps."""
        epochs = self.epochs
        if epochs is None:
            epochs = max(1, round(4 * default_epochs(data) / self.steps))
        batch = self.batch_size or default_batch(data)
        return SGD(data, epochs, self.lr, self.decay, batch, self.momentum, self.precision)

    def tasks(self, model: nn.Module, data: Dataset) -> list[Task]:
        """What is compressed how, for this model."""
        if not isinstance(self.what, (Term, Mapping)):
            return list(self.what)
        names = weight_names(model)
        if isinstance(self.what, Term):
            if self.what.shared and self.what.c_step().view == "vector":
                return [Task(tuple(names), self.what.c_step())]
            chosen = {name: self.what for name in names if fits(model, name, self.what)}
            if not chosen:
                raise TinykitError(f"{self.what!r} fits no layer of this model")
        else:
            chosen = {}
            for layer, term in self.what.items():
                name = layer if layer in names else f"{layer}.weight"
                if name not in names:
                    known = ", ".join(n.removesuffix(".weight") for n in names)
                    raise TinykitError(f"no layer is called {layer!r}; there are: {known}")
                if not fits(model, name, term):
                    raise TinykitError(
                        f"{term!r} needs a matrix, and layer {layer!r} is a grouped convolution: "
                        "its filters see different channels"
                    )
                chosen[name] = term
        h, w, c = data.spec.shape
        layers = {name: model.get_submodule(name.rpartition(".")[0]) for name in names}
        positions = uses(model, layers, torch.zeros(1, c, h, w))
        return [
            Task((name,), term.c_step(positions[name]), term.shaping)
            for name, term in chosen.items()
        ]


def fits(model: nn.Module, name: str, term: Term) -> bool:
    """Whether `term` can compress this weight: what is no matrix has no rank."""
    layer = model.get_submodule(name.rpartition(".")[0])
    return term.c_step().view == "vector" or getattr(layer, "groups", 1) == 1


def finished(compressed: Compressed, shape: tuple[int, ...] | None = None) -> nn.Module:
    """The module that goes on to other schemes and to a Graph, smaller where that is possible.

    `shape` is (H, W, C) of its input; None takes the module's own `input_shape`.
    """
    model = compressed.slim(shape)
    sparse = {
        name
        for task, theta in zip(compressed.tasks, compressed.thetas, strict=True)
        for name in task.parameters
        if _sparse(theta)
    }
    zero = {n: p.detach() != 0 for n, p in model.named_parameters() if n in sparse}
    if zero:
        attach(model, Masks(zero))
    model.compressed = compressed  # type: ignore[assignment]
    return model.eval()


def _sparse(theta: Theta) -> bool:
    # a sum with a term that is not sparse is not sparse
    if isinstance(theta, Sum):
        return all(map(_sparse, theta.terms))
    return isinstance(theta, Sparse)
