"""Bias correction: rounding weights shifts a layer's outputs on average; take the shift off.

The empirical form of Nagel et al. 2019 (arXiv:1906.04721, section 4.2 and appendix D).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tinykit.quant.layers import weighted
from tinykit.quant.ptq.record import plain_activations, record


def correct_biases(small: nn.Module, plain: nn.Module, x: Tensor) -> dict[str, float]:
    """Move the biases of `small`, in place, so that channel means are those of `plain` on `x`.

    Layers come in the network's order, each seen with all before it corrected. Activations are not
    rounded meanwhile. A layer without a bias gets one.

    Parameters
    ----------
    small : prepared, its weight quantizers rounding
    plain : the float network that `small` was prepared from (folded: the same layers and names)
    x : examples, NCHW float32

    Returns
    -------
    shifts : layer → the largest shift of a channel's mean, in the unit of its output
    """
    shifts = {}
    with plain_activations(small), torch.no_grad():
        for name, layer in weighted(small).items():
            want, have = (_mean(model, x, name) for model in (plain, small))
            shift = want - have
            if layer.bias is None:
                layer.bias = nn.Parameter(shift.clone())
            else:
                layer.bias += shift
            shifts[name] = float(shift.abs().max())
    return shifts


def _mean(model: nn.Module, x: Tensor, name: str) -> Tensor:
    """Mean output of each channel of the layer `name`, over examples and places."""

    def total(_: Tensor, output: Tensor) -> Tensor:
        by_channel = output.movedim(1 if output.ndim == 4 else -1, 0).flatten(1).double()
        return torch.stack([by_channel.sum(1), torch.full((len(by_channel),), by_channel.shape[1])])

    both = torch.stack(record(model, x, name, total)).sum(0)
    return (both[0] / both[1]).float()
