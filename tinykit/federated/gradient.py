"""`torch.func.grad_and_value` without the wait.

torch's own imports its compiler on the first call, to switch one thing off in it: seconds, where a
first round is to take less than two. It also keeps a graph for the derivative of the gradient,
which only a customisation needs. The bits are the same; a torch that has other insides gets its own
function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: (parameters, …) → the loss (), and tensors besides
Function = Callable[..., tuple[Tensor, Any]]

try:
    from torch._functorch.eager_transforms import (
        _create_differentiable,
        _undo_create_differentiable,
        _wrap_all_tensors,
        grad_increment_nesting,
    )
except ImportError:
    LIGHT = False
else:
    LIGHT = True


def grad_and_value(
    function: Function, w: Tensor, *rest: Any, further: bool = False
) -> tuple[Tensor, tuple[Tensor, Any]]:
    """The gradient of ``function(w, *rest)[0]`` at `w`, and what `function` returned.

    Parameters
    ----------
    rest : tensors that `function` is given besides; constants
    further : whether the gradient will be differentiated in its turn
    """
    if not LIGHT:
        found: tuple[Tensor, tuple[Tensor, Any]] = torch.func.grad_and_value(
            function, has_aux=True
        )(w, *rest)
        return found
    with grad_increment_nesting() as level:
        # as torch.func.grad: whether gradients are on outside does not matter
        with torch.enable_grad():
            wrapped = _wrap_all_tensors((w, *rest), level)
            leaf = wrapped[0]
            _create_differentiable(leaf, level)
            loss, besides = function(*wrapped)
            gradient: Tensor | None = None
            if loss.requires_grad:
                (gradient,) = torch.autograd.grad(
                    loss, leaf, create_graph=further, allow_unused=True
                )
            if gradient is None:
                gradient = torch.zeros_like(leaf)
            made: Any = (gradient, (loss, besides))
            undone: tuple[Tensor, tuple[Tensor, Any]] = _undo_create_differentiable(made, level)
        return undone
