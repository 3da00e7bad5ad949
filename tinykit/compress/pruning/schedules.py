"""Schedules: when weights go, and what is trained in between.

All take a model that they may change, and return the pruned one, trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from tinykit.compress.finetune import finetune, finetune_epochs
from tinykit.compress.pruning.channels import Channels
from tinykit.compress.pruning.choose import Units
from tinykit.compress.pruning.cut import Cut, Whole, example_of
from tinykit.compress.pruning.masks import Masks, attach, masks_of
from tinykit.compress.pruning.select import portion
from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.train import default_batch, default_epochs

SCHEDULES = ("one-shot", "iterative", "gradual", "rewind")
#: peak learning rates of fine-tuning, and of training again from early weights
LR, REWIND_LR = 5e-3, 1e-2
#: a gradual schedule prunes so often, in this share of the steps; the rest only trains
UPDATES, RAMP = 20, 2 / 3

#: final share → share at some point on the way
Change = Callable[[float], float]


@dataclass(frozen=True)
class Training:
    """How to train between cuts."""

    data: Dataset
    epochs: int | None
    lr: float | None
    seed: int
    progress: bool | None


def cubic(amount: float, done: float) -> float:
    """Share removed after `done` (0 to 1) of the ramp: fast first, when there is much redundancy
    (Zhu & Gupta 2017, arXiv:1710.01878, eq. 1)."""
    return amount * (1 - (1 - min(max(done, 0.0), 1.0)) ** 3)


def after_round(amount: float, number: int, rounds: int) -> float:
    """Share removed after round `number` of `rounds`: each removes the same share of the rest."""
    return amount if number == rounds else float(1 - (1 - amount) ** (number / rounds))


def rounds(model: nn.Module, cut: Cut, training: Training, count: int) -> nn.Module:
    """Prune and fine-tune, `count` times; once is one-shot."""
    data, seed = training.data, training.seed
    example = example_of(model, data)
    whole = None if cut.shape else Whole.of(model, example)
    for number in range(1, count + 1):
        now = _at(cut, partial(after_round, number=number, rounds=count))
        if whole is None:
            attach(model, now.masks(model, data, seed))
        else:
            channels = Channels(model, example)
            units = now.units(channels, data, seed, whole)
            model = channels.remove(channels.channels(units))
        _train(model, training, LR)
    return model.eval()


def gradual(model: nn.Module, cut: Cut, training: Training) -> nn.Module:
    """Prune a little, `UPDATES` times, while training; channels are masked, and go at the end."""
    data = training.data
    epochs = finetune_epochs(data) if training.epochs is None else training.epochs
    steps = epochs * max(1, len(data.train) // default_batch(data))
    ramp = max(1, round(steps * RAMP))
    cutter = _Masking(model, cut, training)
    due = {max(1, round(ramp * k / UPDATES)) for k in range(1, UPDATES + 1)}
    done = 0

    def on_step() -> None:
        nonlocal done
        done += 1
        if done in due:
            cutter.cut(lambda a: cubic(a, done / ramp))

    if steps:
        _train(model, training, LR, on_step)
    if not done or done < ramp:
        cutter.cut(lambda a: a)
    return cutter.finish()


def rewind(
    model: nn.Module, cut: Cut, training: Training, count: int, early: Mapping[str, Tensor]
) -> nn.Module:
    """Find a ticket: prune the trained weights, set those that stay back to `early`, train again
    (Frankle & Carbin 2019, arXiv:1803.03635; early ones: arXiv:1912.05671); `count` times."""
    check_early(model, early)
    early = {name: t.clone() for name, t in early.items()}
    cutter = _Masking(model, cut, training)
    for number in range(1, count + 1):
        cutter.cut(partial(after_round, number=number, rounds=count))
        model.load_state_dict(early)
        masks_of(model).hold(model)
        whole = default_epochs(training.data) if training.epochs is None else training.epochs
        _train(model, training, REWIND_LR, None, whole)
    return cutter.finish()


def check_early(model: nn.Module, early: Mapping[str, Tensor]) -> None:
    """Raise `TinykitError` unless `early` is a state of `model` other than its own."""
    own = model.state_dict()
    if missing := sorted(set(own) ^ set(early)):
        raise TinykitError(
            f"rewind_to is no state of this model: {missing[0]!r} is in one of them alone"
        )
    for name, value in own.items():
        if isinstance(value, Tensor) and value.shape != early[name].shape:
            raise TinykitError(
                f"rewind_to is no state of this model: {name!r} is {tuple(early[name].shape)}, "
                f"the model's is {tuple(value.shape)}"
            )
    named = [name for name, _ in model.named_parameters()]
    if all(torch.equal(own[name], early[name]) for name in named):
        raise TinykitError(
            "rewind_to is the state that the model is in, so there is nothing to go back to; a "
            "state_dict changes with its model: copy.deepcopy(model.state_dict()) before training"
        )


class _Masking:
    """Cuts a model by masks, again and again; what went stays away."""

    def __init__(self, model: nn.Module, cut: Cut, training: Training) -> None:
        self.model, self.spec, self.training = model, cut, training
        self.before, self.units = masks_of(model), Units()
        if cut.shape is None:
            self.example = example_of(model, training.data)
            self.channels = Channels(model, self.example)
            self.whole = Whole.of(model, self.example)

    def cut(self, change: Change) -> None:
        now = _at(self.spec, change)
        data, seed = self.training.data, self.training.seed
        if now.shape is not None:
            attach(self.model, now.masks(self.model, data, seed))
            return
        self.units = now.units(self.channels, data, seed, self.whole, self.units)
        masks = self.channels.masks(self.channels.channels(self.units))
        attach(self.model, self.before & masks)

    def finish(self) -> nn.Module:
        """The pruned model: masked channels are taken out."""
        if self.spec.shape is None:
            _dense_again(self.model, self.before)
            self.model = self.channels.remove(self.channels.channels(self.units))
        return self.model.eval()


def _dense_again(model: nn.Module, masks: Masks) -> None:
    model.masks = masks  # type: ignore[assignment]
    model.sparse = bool(masks.keep)  # type: ignore[assignment]


def _at(cut: Cut, change: Change) -> Cut:
    """`cut` at another amount, where its structure leaves a choice."""
    if cut.amount is None or (cut.shape is not None and cut.shape.share is not None):
        return cut
    return cut.at(portion(cut.amount, change))


def _train(
    model: nn.Module,
    training: Training,
    lr: float,
    on_step: Callable[[], None] | None = None,
    epochs: int | None = None,
) -> None:
    finetune(
        model,
        training.data,
        training.epochs if epochs is None else epochs,
        lr=training.lr or lr,
        seed=training.seed,
        progress=training.progress,
        what="prune",
        on_step=on_step,
    )
