"""The layers whose weights are pruned, by name, and their weights as the engine lays them out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tinykit.graph.errors import TinykitError

KINDS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
#: torch's order of a weight's dimensions → the engine's (OHWI, OI; depthwise filters 1HWO)
_ORDERS: dict[type[nn.Module], tuple[int, ...]] = {
    nn.Linear: (0, 1),
    nn.Conv1d: (0, 2, 1),
    nn.Conv2d: (0, 2, 3, 1),
    nn.ConvTranspose2d: (1, 2, 3, 0),
}
_DEPTHWISE: dict[type[nn.Module], tuple[int, ...]] = {
    nn.Conv1d: (1, 2, 0),
    nn.Conv2d: (1, 2, 3, 0),
}


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution or linear layer and its name in the model.

    Parameters
    ----------
    flat : (C, H, W) where a linear layer reads an image laid out in a row; the engine's images,
        and so its columns, are (H, W, C)
    """

    name: str
    module: nn.Module
    flat: tuple[int, ...] = ()

    @property
    def weight(self) -> Tensor:
        """As torch has it."""
        weight: Tensor = self.module.weight  # type: ignore[assignment]
        return weight

    @property
    def key(self) -> str:
        """The weight's name in the model's state."""
        return f"{self.name}.weight" if self.name else "weight"

    @property
    def depthwise(self) -> bool:
        """Whether each filter sees one channel of its own."""
        groups = getattr(self.module, "groups", 1)
        return groups > 1 and groups == getattr(self.module, "in_channels", 0)

    @property
    def order(self) -> tuple[int, ...]:
        """Torch's dimensions in the order in which the engine lays them out."""
        if self.flat:
            return (0, 2, 3, 1)
        kind = next(k for k in KINDS if isinstance(self.module, k))
        return _DEPTHWISE[kind] if self.depthwise and kind in _DEPTHWISE else _ORDERS[kind]

    @property
    def shape(self) -> tuple[int, ...]:
        """The weight's shape in torch's order, images in a row spread out."""
        weight = tuple(self.weight.shape)
        return (*weight[:1], *self.flat) if self.flat else weight

    @property
    def inputs(self) -> int:
        """Length of the weights' input axis: channels that one filter sees."""
        if isinstance(self.module, nn.Linear):
            return self.module.in_features
        return 1 if self.depthwise else self.shape[self.order[-1]]

    @property
    def kernel(self) -> tuple[int, ...]:
        """(height, width) of a convolution's kernel; () of a linear layer."""
        return tuple(getattr(self.module, "kernel_size", ()))

    def matrix(self, values: Tensor) -> Tensor:
        """`values`, of the weight's shape, as the engine's matrix (rows, columns).

        (O, H·W·I) for convolutions, (O, I) for linear layers; (H·W, O) for depthwise filters.
        """
        laid = values.reshape(self.shape).permute(self.order)
        return laid.reshape(-1, laid.shape[-1]) if self.depthwise else laid.flatten(1)

    def unmatrix(self, matrix: Tensor) -> Tensor:
        """The reverse of `matrix`."""
        shape = [self.shape[d] for d in self.order]
        back = sorted(range(len(shape)), key=lambda d: self.order[d])
        return matrix.reshape(shape).permute(back).reshape(self.weight.shape)


def layers_of(model: nn.Module, example: Tensor | None = None) -> list[Layer]:
    """All convolutions and linear layers of `model`; a weight that layers share counts once.

    With an `example` of the input, linear layers know what images they read (`Layer.flat`).

    Raises
    ------
    TinykitError
        There are none, one is empty, or one's weights are not finite; the text names it.
    """
    found: list[Layer] = []
    seen: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, KINDS) and id(module.weight) not in seen:
            seen.add(id(module.weight))
            found.append(Layer(name, module))
    if not found:
        raise TinykitError(
            "there is nothing to prune: the model has no convolution or linear layer"
        )
    for layer in found:
        if layer.weight.numel() == 0:
            raise TinykitError(f"layer {layer.name!r} has no weights; take it out of the model")
        if not bool(torch.isfinite(layer.weight).all()):
            raise TinykitError(
                f"the weights of layer {layer.name!r} are not all finite (NaN or infinite): there "
                "is no order among them to prune by; train again with a lower lr"
            )
    if example is None:
        return found
    flat = flattened(model, example)
    return [Layer(layer.name, layer.module, flat.get(layer.name, ())) for layer in found]


def flattened(model: nn.Module, example: Tensor) -> dict[str, tuple[int, ...]]:
    """Linear layer → (C, H, W) of the image whose numbers it reads in a row; others are absent.

    Found by what passes through the modules when noise goes in, so however the model reshapes.
    """
    images: list[Tensor] = []
    found: dict[str, tuple[int, ...]] = {}
    named = {module: name for name, module in model.named_modules()}

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        images.extend(t for t in inputs if isinstance(t, Tensor) and t.ndim == 4)
        if isinstance(module, nn.Linear):
            row = inputs[0].flatten()
            for image in images:
                if image[0, 0].numel() > 1 and torch.equal(image.flatten(), row):
                    found[named[module]] = tuple(image.shape[1:])

    def after(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            images.append(output)

    was = model.training
    hooks = [m.register_forward_pre_hook(before) for m in named]
    hooks += [m.register_forward_hook(after) for m in named]
    try:
        model.eval()
        noise = torch.rand(example.shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            model(noise)
    finally:
        model.train(was)
        for hook in hooks:
            hook.remove()
    return found


def check_names(wanted: Iterable[str], there: Iterable[str], what: str = "layer") -> None:
    """Raise `TinykitError` for a name that is not `there`, listing those that are."""
    there = list(there)
    if unknown := [name for name in wanted if name not in there]:
        raise TinykitError(
            f"amount names {what} {', '.join(map(repr, unknown))}, which cannot be pruned here; "
            f"there are {', '.join(map(repr, there))}"
        )


def parameters(model: nn.Module) -> int:
    """Number of parameters, zeros included."""
    return sum(p.numel() for p in model.parameters())


def nonzero(model: nn.Module) -> int:
    """Number of parameters that are not zero: what a format without zeros would store."""
    return sum(int(torch.count_nonzero(p)) for p in model.parameters())
