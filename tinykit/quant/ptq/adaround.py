"""AdaRound: learn whether each weight rounds up or down (Nagel et al. 2020, arXiv:2004.10568).

To nearest is best for each weight alone; a layer's output sums many, and errors can be made to
cancel. Layer by layer, a soft choice h(V) in [0, 1] for each weight is trained to reproduce the
float layer's output, while a regularizer, at first nearly flat, drives it to 0 or 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from tinykit.graph.errors import TinykitError
from tinykit.quant.fold import kind_of
from tinykit.quant.layers import Weighted, weighted
from tinykit.quant.ptq.record import plain_activations, record
from tinykit.quant.quantizers.uniform import Uniform

#: stretch of the rectified sigmoid (Louizos et al. 2018), eq. 23
ZETA, GAMMA = 1.1, -0.1
#: the regularizer's exponent goes from the first to the second after a fifth of the steps, eq. 24
BETA, WARM = (20.0, 2.0), 0.2
#: weight of the regularizer's mean against the error relative to that of rounding to nearest (the
#: paper weighs sums, 0.01 to 1, in which the size of outputs and the number of weights matter)
REGULARIZER = 1.0
RELUS = {nn.ReLU, F.relu, torch.relu, "relu"}


def round_adaptively(
    small: nn.Module,
    plain: nn.Module,
    x: Tensor,
    *,
    steps: int = 1000,
    batch: int = 32,
    lr: float = 3e-2,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Set the weights of `small`, in place, to the neighbours on its grid that do best together.

    Each layer sees inputs from the layers before it as they are by now, and is to reproduce what
    the float layer made of the float inputs, behind the ReLU if one follows. Where that gains
    nothing on `x`, weights round to nearest.

    Parameters
    ----------
    small : prepared with equal steps (clipped, identity, stochastic, lsq), weights rounding
    plain : the float network that `small` was prepared from (folded: the same layers and names)
    x : examples, NCHW float32
    steps, batch, lr, seed : of the training of each layer, by Adam

    Returns
    -------
    errors : layer → (to nearest, as set), mean squared errors of its output on `x`
    """
    errors = {}
    generator = torch.Generator().manual_seed(seed)
    with plain_activations(small):
        for name, layer in weighted(small).items():
            if not isinstance(layer.quantizer, Uniform) or layer.quantizer.grid.group is not None:
                raise TinykitError(
                    f"layer {name!r}: adaround needs equal steps with a scale per tensor or "
                    f"channel, not {layer.quantizer.name!r}"
                )
            act = _activation(small, name)
            inputs = torch.cat(record(small, x, name, lambda i, _: i))
            target = act(torch.cat(record(plain, x, name, lambda _, o: o)))
            errors[name] = _fit(layer, inputs, target, act, steps, batch, lr, generator)
    return errors


def _fit(
    layer: Weighted,
    inputs: Tensor,
    target: Tensor,
    act: Callable[[Tensor], Tensor],
    steps: int,
    batch: int,
    lr: float,
    generator: torch.Generator,
) -> tuple[float, float]:
    q = layer.quantizer
    assert isinstance(q, Uniform)
    weight, low, high = layer.weight.detach(), q.grid.low, q.grid.high
    scale = q.scale.detach()
    if q.axis is not None:
        scale = scale.reshape([-1 if a == q.axis else 1 for a in range(weight.ndim)])
    below = (weight / scale).floor()
    alive = weight != 0  # what was pruned stays 0
    share = (weight / scale - below).clamp(0.01, 0.99)
    soft = (-torch.log((ZETA - GAMMA) / (share - GAMMA) - 1)).requires_grad_()
    optimizer = torch.optim.Adam([soft], lr=lr)

    def output(whole: Tensor, part: Tensor) -> Tensor:
        return act(layer.with_weight(part, whole.clamp(low, high) * scale))

    nearest = (weight / scale).round()
    with torch.no_grad():
        before = float(((output(nearest, inputs) - target) ** 2).mean())
    unit = before or 1.0
    with torch.enable_grad():
        for step in range(steps):
            some = torch.randint(0, len(inputs), (batch,), generator=generator)
            up = rectified_sigmoid(soft) * alive
            apart = output(below + up, inputs[some]) - target[some]
            loss = (apart**2).mean() / unit
            done = (step / steps - WARM) / (1 - WARM)
            if done > 0:
                beta = BETA[1] + (BETA[0] - BETA[1]) * (1 - done)
                loss = loss + REGULARIZER * (1 - (2 * up - 1).abs() ** beta).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        chosen = below + (soft >= 0) * alive
        after = float(((output(chosen, inputs) - target) ** 2).mean())
        best = chosen if after < before else nearest
        layer.weight.data = best.clamp(low, high) * scale
    return before, min(before, after)


def rectified_sigmoid(soft: Tensor) -> Tensor:
    """h(V) = clip(sigmoid(V)·(zeta - gamma) + gamma, 0, 1), eq. 23; h(0) = 1/2."""
    return (soft.sigmoid() * (ZETA - GAMMA) + GAMMA).clamp(0, 1)


def _activation(small: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    """ReLU where one alone reads the layer's output, else nothing."""
    assert isinstance(small, fx.GraphModule)
    for node in small.graph.nodes:
        if node.op != "call_module" or node.target != name or len(node.users) != 1:
            continue
        if kind_of(small, next(iter(node.users))) in RELUS:
            return torch.relu
    return lambda y: y
