"""Training by AdamW on a one-cycle schedule; the same seed gives the same weights on a machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from tinykit.data.types import Dataset
from tinykit.graph.errors import TinykitError
from tinykit.nn.progress import bar

#: label smoothing (Szegedy et al. 2016): keeps logits, and so their quantization step, small
SMOOTHING = 0.1


class TrainingError(TinykitError, RuntimeError):
    """Training that cannot start or has diverged."""


@dataclass
class History:
    """What happened in each epoch.

    Parameters
    ----------
    loss : mean training cross-entropy with smoothed labels, nats
    accuracy : on the validation split, in [0, 1]
    seconds : wall time of the whole run
    """

    loss: list[float] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.loss)

    def __repr__(self) -> str:
        if not self.loss:
            return "History(0 epochs)"
        return (
            f"History({len(self)} epochs, loss {self.loss[-1]:.4f}, validation accuracy "
            f"{self.accuracy[-1]:.2%}, {self.seconds:.1f} s)"
        )


def default_epochs(data: Dataset) -> int:
    """As many passes as make about 50,000 examples, between 5 and 60."""
    return min(60, max(5, round(50_000 / len(data.train))))


def default_batch(data: Dataset) -> int:
    """64 for small sets (they need the steps), 128 from 10,000 examples on."""
    return 64 if len(data.train) < 10_000 else 128


def fit(
    model: nn.Module,
    data: Dataset,
    epochs: int | None = None,
    *,
    seed: int = 0,
    lr: float = 1e-2,
    batch_size: int | None = None,
    weight_decay: float = 0.1,
    progress: bool | None = None,
    what: str = "fit",
    on_step: Callable[[], None] | None = None,
    on_epoch: Callable[[int, History], None] | None = None,
) -> History:
    """Train `model` in place to classify `data`; it is left in eval mode.

    Parameters
    ----------
    epochs : passes over the training split; None chooses by its size, 0 leaves the weights alone
    seed : of the order of examples and of dropout
    lr : the peak of the one-cycle schedule (10 % warm-up, cosine down to 0)
    progress : True or False; None shows a bar on terminals and in notebooks
    what : the bar's label
    on_step : called after each optimizer step (pruning masks hold their zeros there)
    on_epoch : called with (epoch from 0, history so far); whatever it raises stops training

    Raises
    ------
    TrainingError
        Arguments out of range, or the loss has become infinite or NaN.
    """
    epochs = default_epochs(data) if epochs is None else epochs
    batch = batch_size or default_batch(data)
    if epochs < 0 or not lr > 0 or batch < 1:
        raise TrainingError(
            f"fit needs epochs >= 0, lr > 0 and batch_size >= 1, got {epochs}, {lr}, {batch}"
        )
    if epochs and not (len(data.train) and len(data.val)):
        raise TrainingError(
            f"fit needs examples to train on and to validate with, got {len(data.train)} and "
            f"{len(data.val)}"
        )
    x, y = tensors(data.train.x, data.train.y)
    order = torch.Generator().manual_seed(seed)
    parameters = [p for p in model.parameters() if p.requires_grad]
    history, started = History(), time.perf_counter()
    if not epochs or not parameters:
        model.eval()
        return history
    # weights decay, but not biases, batch norm's factors, or learned quantization steps
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], lr=lr)
    # a last batch of one would have no variance for batch norm
    per_epoch = max(1, len(x) // batch)
    steps, done = epochs * per_epoch, 0
    with torch.random.fork_rng(devices=[]), bar(steps, what, progress) as shown:
        torch.manual_seed(seed)
        for epoch in range(epochs):
            model.train()
            total = 0.0
            shuffled = torch.randperm(len(x), generator=order)
            for index in shuffled.split(batch)[:per_epoch]:
                for group in optimizer.param_groups:
                    group["lr"] = lr * one_cycle((done + 1) / steps)
                optimizer.zero_grad(set_to_none=True)
                loss = F.cross_entropy(model(x[index]), y[index], label_smoothing=SMOOTHING)
                loss.backward()
                optimizer.step()
                if on_step:
                    on_step()
                total += loss.item()
                done += 1
                shown.update()
            if not math.isfinite(total):
                raise TrainingError(
                    f"training diverged in epoch {epoch + 1} of {epochs} (loss {total}): "
                    f"lower lr (it was {lr})"
                )
            history.loss.append(total / per_epoch)
            history.accuracy.append(accuracy(model, data.val.x, data.val.y))
            history.seconds = time.perf_counter() - started
            shown.set_postfix_str(f"validation {history.accuracy[-1]:.2%}")
            if on_epoch:
                on_epoch(epoch, history)
    optimizer.zero_grad(set_to_none=True)
    model.eval()
    return history


def one_cycle(done: float, warmup: float = 0.1) -> float:
    """Share of the peak learning rate after `done` (0 to 1) of the training."""
    if done < warmup:
        return done / warmup
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


def tensors(x: np.ndarray, y: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """NHWC images and labels as torch wants them: NCHW (strides of channels-last), int64."""
    return torch.from_numpy(x).permute(0, 3, 1, 2), torch.from_numpy(y)


def predict(model: nn.Module, x: np.ndarray, batch: int = 512) -> np.ndarray:
    """Logits (N, classes) of NHWC images `x`, in eval mode; the model's mode is put back."""
    was = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [
                model(torch.from_numpy(part).permute(0, 3, 1, 2)) for part in _batches(x, batch)
            ]
    finally:
        model.train(was)
    return torch.cat(parts).numpy()


def accuracy(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Share of NHWC images `x` whose largest logit is at label `y`.

    Raises
    ------
    TinykitError
        There are no images.
    """
    if not len(x):
        raise TinykitError("accuracy needs at least one example, got none")
    return float((predict(model, x).argmax(1) == y).mean())


def _batches(x: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(x), size):
        yield x[start : start + size]
