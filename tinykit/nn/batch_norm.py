"""Batch norm's statistics, measured anew: they belong to weights, and those were changed."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tinykit.data.types import Dataset
from tinykit.nn.train import tensors


def recalibrate(model: nn.Module, data: Dataset, examples: int = 1024, batch: int = 128) -> None:
    """Set the running mean and variance of every batch norm to those over training images.

    The plain mean over batches, all with the weights as they are; nothing else of `model` changes.
    Without batch norm it does nothing.

    Parameters
    ----------
    examples : training images to look at, classes in proportion
    batch : images at once; each batch counts alike
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    part = data.train.take(examples)
    x, _ = tensors(part.x, part.y)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    momenta = [m.momentum for m in norms]
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        for m in norms:
            m.reset_running_stats()
            m.momentum = None  # the mean of all batches
            m.train()
        with torch.no_grad():
            for index in order.split(batch):
                if len(index) > 1 or len(order) == 1:
                    model(x[index])
    finally:
        for m, momentum in zip(norms, momenta, strict=True):
            m.momentum = momentum
        for module, training in modes:
            module.training = training
