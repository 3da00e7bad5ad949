"""Training a compressed network in its own few numbers: codebook levels, kept values, factors.

Codes and indices stay as they are. After direct compression this is what is usually done instead
of the LC algorithm (trained quantization of Han et al. 2016, arXiv:1510.00149; fine-tuning after
pruning; fine-tuning of factors), and so what the LC algorithm has to be compared with.
"""

from __future__ import annotations

import copy
import functools

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tinykit.compress.lc.compressed import Compressed
from tinykit.compress.lc.learn import SGD
from tinykit.nn.progress import bar
from tinykit.nn.train import TrainingError, one_cycle


def retrain(
    compressed: Compressed,
    sgd: SGD,
    steps: int,
    *,
    lr: float = 1e-3,
    seed: int = 0,
    progress: bool | None = None,
    what: str = "retrain",
) -> Compressed:
    """`compressed` after as many passes over the data as `steps` L steps of `sgd` take.

    By Adam on a one-cycle schedule, not by SGD: one level of a codebook stands for 100,000 weights
    and gets the sum of their gradients, a kept weight only its own, and no one step size of SGD
    suits both. Parameters without a task are trained as well.

    Parameters
    ----------
    sgd : its data, batches and passes are used
    lr : the peak learning rate

    Raises
    ------
    TrainingError
        The loss has become infinite or NaN.
    """
    y = sgd.examples[1]
    model = copy.deepcopy(compressed.model).train()
    named = dict(model.named_parameters())
    compressed_names = {name for task in compressed.tasks for name in task.parameters}
    free = [p for n, p in named.items() if n not in compressed_names and p.requires_grad]
    numbers = [
        {name: t.detach().clone().requires_grad_(True) for name, t in theta.continuous().items()}
        for theta in compressed.thetas
    ]
    trained = [*free, *(t for group in numbers for t in group.values() if t.numel())]
    if not trained:
        return compressed
    shapes = compressed.shapes
    optimizer = torch.optim.Adam(trained, lr)

    def weights() -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for task, theta, values in zip(compressed.tasks, compressed.thetas, numbers, strict=True):
            found |= task.decompressed(theta.with_continuous(values), shapes)
        return found

    batches = sum(map(sgd.batches, range(steps)))
    per_epoch = sgd.batches(1) // sgd.epochs
    done = 0
    with torch.random.fork_rng(devices=[]), bar(batches, what, progress) as shown:
        torch.manual_seed(seed)
        order = torch.Generator().manual_seed(seed)
        while done < batches:
            shuffled = torch.randperm(len(y), generator=order).split(sgd.batch_size)[:per_epoch]
            for index in shuffled:
                for group in optimizer.param_groups:
                    group["lr"] = lr * one_cycle((done + 1) / batches)
                optimizer.zero_grad(set_to_none=True)
                loss = sgd.loss(functools.partial(functional_call, model, weights()), index)
                loss.backward()
                optimizer.step()
                done += 1
                shown.update()
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"retraining diverged (loss {float(loss.detach())}): lower lr (it was {lr:.3g})"
                )
    thetas = tuple(
        theta.with_continuous({k: v.detach() for k, v in values.items()})
        for theta, values in zip(compressed.thetas, numbers, strict=True)
    )
    return _with(compressed, model.eval(), thetas)


def _with(compressed: Compressed, model: nn.Module, thetas: tuple) -> Compressed:  # type: ignore[type-arg]
    from dataclasses import replace

    for p in model.parameters():
        p.grad = None
    return replace(compressed, model=model).with_thetas(thetas)
