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
from tinykit.nn.train import TrainingError


def retrain(
    compressed: Compressed,
    sgd: SGD,
    steps: int,
    *,
    seed: int = 0,
    progress: bool | None = None,
    what: str = "retrain",
) -> Compressed:
    """`compressed` after as many passes over the data as `steps` L steps of `sgd` take.

    The learning rate decays as it does there. Parameters without a task are trained as well.
    The gradient of a number that many weights share, a codebook's level, is the sum of theirs: it
    is divided by how many they are, so that a step is that of the weights, projected on what the
    codes allow. Without that a learning rate that suits weights is thousands of times too large.

    Raises
    ------
    TrainingError
        The loss has become infinite or NaN.
    """
    y = sgd.examples[1]
    model = copy.deepcopy(compressed.model).train()
    named = dict(model.named_parameters())
    compressed_names = {name for task in compressed.tasks for name in task.parameters}
    free = [p for name, p in named.items() if name not in compressed_names]
    numbers = [
        {name: t.detach().clone().requires_grad_(True) for name, t in theta.continuous().items()}
        for theta in compressed.thetas
    ]
    trained = [*free, *(t for group in numbers for t in group.values() if t.numel())]
    if not trained:
        return compressed
    shared = [
        (group[name], users)
        for theta, group in zip(compressed.thetas, numbers, strict=True)
        for name, users in theta.users().items()
    ]
    shapes = compressed.shapes
    optimizer = torch.optim.SGD(trained, sgd.lr, sgd.momentum, nesterov=sgd.momentum > 0)

    def weights() -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for task, theta, values in zip(compressed.tasks, compressed.thetas, numbers, strict=True):
            found |= task.decompressed(theta.with_continuous(values), shapes)
        return found

    batches = sum(map(sgd.batches, range(steps)))
    per_epoch = sgd.batches(1) // sgd.epochs
    with torch.random.fork_rng(devices=[]), bar(batches, what, progress) as shown:
        for number in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = sgd.lr * sgd.decay**number
            order = torch.Generator().manual_seed(seed * 100_003 + number)
            torch.manual_seed(seed * 100_003 + number)
            for _ in range(sgd.passes(number)):
                shuffled = torch.randperm(len(y), generator=order).split(sgd.batch_size)
                for index in shuffled[:per_epoch]:
                    optimizer.zero_grad(set_to_none=True)
                    loss = sgd.loss(functools.partial(functional_call, model, weights()), index)
                    loss.backward()
                    for number_of_many, users in shared:
                        if number_of_many.grad is not None:
                            number_of_many.grad.div_(users)
                    optimizer.step()
                    shown.update()
                if not torch.isfinite(loss):
                    raise TrainingError(
                        f"retraining diverged (loss {float(loss.detach())}): lower lr (it was "
                        f"{sgd.lr:.3g})"
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
