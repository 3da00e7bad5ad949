"""How often one inference uses each weight: what turns weights into multiply-accumulates."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def uses(model: nn.Module, layers: Mapping[str, nn.Module], example: Tensor) -> dict[str, int]:
    """Name of each of `layers` → how often a weight of it is used for one input.

    A convolution's is used once for each of its output pixels, a transposed one's for each input
    pixel, a linear layer's for each vector; of a layer that is called several times, the sum. A
    layer that does not run counts 0.

    Parameters
    ----------
    example : one input with its batch dimension (1, ...)
    """
    found = dict.fromkeys(layers, 0)

    def note(name: str) -> Callable[..., None]:
        def after(module: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
            turned = isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d))
            image = (inputs[0] if turned else out)[0]
            linear = isinstance(module, nn.Linear)
            found[name] += image[..., 0].numel() if linear else image[0].numel()

        return after

    hooks = [layer.register_forward_hook(note(name)) for name, layer in layers.items()]
    modes = [(m, m.training) for m in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            model(example)
    finally:
        for module, training in modes:
            module.training = training
        for hook in hooks:
            hook.remove()
    return found
