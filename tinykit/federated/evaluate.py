"""How good the shared model is, and how good each device's own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.func import vmap

from tinykit.federated.customise import Customise, Examples, Identity
from tinykit.federated.engines.engine import Pool
from tinykit.federated.net import Net

#: devices that are evaluated together; with convolutions, whose activations are large
CHUNK, CHUNK_CONVOLVING = 64, 8


def shared_accuracy(
    net: Net, w: Tensor, statistics: Tensor, x: Tensor, y: Tensor, batch: int = 1024
) -> float:
    """Share of examples x (N, C, H, W), y (N,) that the model with parameters `w` gets right."""
    with torch.inference_mode():
        right = sum(
            int((net.logits(w, statistics, part)[0].argmax(1) == labels).sum())
            for part, labels in zip(x.split(batch), y.split(batch), strict=True)
        )
    return right / len(y)


def device_accuracies(
    net: Net,
    customise: Customise,
    pool: Pool,
    models: Sequence[tuple[Tensor, Tensor]],
    train: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
) -> list[float]:
    """For each device the share of its test examples that its own model gets right.

    Parameters
    ----------
    models : parameters (P,) and statistics (S,) of each device, before it customises them
    train, test : positions of each device's examples; it customises with all of `train`, and uses
        the model as it is where that is empty
    """
    accuracies = np.zeros(len(models))
    # batch norm would count padding where a device trains the model on its own examples
    size = 1 if net.normalises else CHUNK_CONVOLVING if net.convolves else CHUNK
    for how, own in ((Identity(), False), (customise, True)):
        those = [k for k, part in enumerate(train) if bool(len(part)) == own]
        for start in range(0, len(those), size):
            part = those[start : start + size]
            accuracies[part] = _together(
                net,
                how,
                pool,
                [models[k] for k in part],
                [train[k] for k in part],
                [test[k] for k in part],
            )
    return accuracies.tolist()


def _together(
    net: Net,
    customise: Customise,
    pool: Pool,
    models: Sequence[tuple[Tensor, Tensor]],
    train: Sequence[np.ndarray],
    test: Sequence[np.ndarray],
) -> list[float]:
    own, own_weight = _padded(train, net.device)
    held_out, counts = _padded(test, net.device)
    w = torch.stack([model for model, _ in models])
    statistics = torch.stack([stats for _, stats in models])

    def right(
        w: Tensor, statistics: Tensor, own: Tensor, weight: Tensor, index: Tensor, counts: Tensor
    ) -> Tensor:
        support = Examples(pool.x[own], pool.y[own], weight)
        logits = customise.predict(net, w, statistics, support, pool.x[index])
        return ((logits.argmax(1) == pool.y[index]) * counts).sum()

    with torch.no_grad(), torch.random.fork_rng(devices=[], enabled=net.random):
        if net.random:
            torch.manual_seed(0)  # devices customise in training mode, where dropout draws
        found = vmap(right, randomness="different")(
            w, statistics, own, own_weight, held_out, counts
        )
    sizes = torch.tensor([max(1, len(part)) for part in test], device=found.device)
    return (found.double() / sizes).tolist()


def _padded(parts: Sequence[np.ndarray], device: torch.device) -> tuple[Tensor, Tensor]:
    """Positions (devices, most) and 1 where they count, 0 where they pad."""
    width = max(1, max(len(part) for part in parts))
    index = np.zeros((len(parts), width), dtype=np.int64)
    weight = np.zeros((len(parts), width), dtype=np.float32)
    for row, part in enumerate(parts):
        index[row, : len(part)] = part
        weight[row, : len(part)] = 1
    return torch.from_numpy(index).to(device), torch.from_numpy(weight).to(device)
