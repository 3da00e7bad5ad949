"""A module as a flat graph of its layers, batch norm folded into the layer before."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from tinykit.graph.errors import TinykitError
from tinykit.quant.quantizer import Quantizer

#: a module's class, a function, or a method's name: what a node does
Does = type[nn.Module] | Callable | str | None
Plain = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
#: the kinds of layers that get integer weights
LAYERS: tuple[Does, ...] = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class Folded(fx.GraphModule):
    """A traced module that keeps what was attached to it (`input_shape`, `masks`, `sparse`).

    torch.fx copies only what the graph refers to, and unpickles as the plain class.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> Folded:
        made: Folded = super().__deepcopy__(memo)  # type: ignore[assignment]
        return _attached(self, made, memo)

    def __copy__(self) -> Folded:
        made = Folded(self, self.graph)
        made.meta = self.meta
        return _attached(self, made)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, super().__reduce__()


def _attached(source: nn.Module, made: Folded, memo: dict[int, Any] | None = None) -> Folded:
    """`made` with whatever attributes `source` has beyond it; copied, where there is a `memo`."""
    for name, value in vars(source).items():
        if name not in vars(made):
            vars(made)[name] = value if memo is None else copy.deepcopy(value, memo)
    return made


def _unpickled(make: Callable[..., fx.GraphModule], given: tuple[Any, ...]) -> Folded:
    plain = make(*given)
    return _attached(plain, Folded(plain, plain.graph))


def folded(model: nn.Module) -> Folded:
    """A copy of `model`, traced, in eval mode, its batch norms folded into weights and biases.

    Layers keep their names. What is traced already (a folded module) is copied and folded again,
    which changes nothing.

    Raises
    ------
    TinykitError
        Its forward cannot be traced by torch.fx, or it is quantized already.
    """
    if any(isinstance(m, Quantizer) for m in model.modules()):
        raise TinykitError("the model is quantized already; start from the float model")
    try:
        own = copy.deepcopy(model).eval()
        traced = Folded(own, fx.Tracer().trace(own), type(model).__name__)
    except Exception as error:  # torch.fx raises many kinds
        raise TinykitError(
            f"{type(model).__name__}.forward cannot be traced ({error}): keep Python control flow "
            f"that depends on values out of it, or use tk.to_graph(model, calibrate=data)"
        ) from error
    if hasattr(model, "input_shape"):
        traced.input_shape = model.input_shape
    if getattr(model, "sparse", False):
        traced.sparse = True  # type: ignore[assignment]
    uses: dict[str, int] = {}
    for node in traced.graph.nodes:
        if node.op == "call_module":
            uses[str(node.target)] = uses.get(str(node.target), 0) + 1
    for node in list(traced.graph.nodes):
        if kind_of(traced, node) not in (nn.BatchNorm2d, nn.BatchNorm1d):
            continue
        before = node.args[0]
        kind = kind_of(traced, before)
        if kind not in LAYERS or len(before.users) > 1:
            continue
        if uses[str(before.target)] > 1:
            continue
        layer = traced.get_submodule(str(before.target))
        norm = traced.get_submodule(str(node.target))
        put(traced, str(before.target), _fused(layer.eval(), norm.eval()))
        node.replace_all_uses_with(before)
        traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()  # batch norms that nothing calls any more
    traced.graph.lint()
    traced.recompile()
    return traced.eval()


def _fused(layer: nn.Module, norm: nn.Module) -> nn.Module:
    """`layer` with the batch norm behind it in its weights and bias."""
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)  # type: ignore[arg-type,type-var]
    return fuse_conv_bn_eval(layer, norm, isinstance(layer, nn.ConvTranspose2d))  # type: ignore[arg-type,type-var]


def kind_of(traced: fx.GraphModule, node: fx.Node) -> Does:
    """What `node` does; None for inputs, outputs and attributes."""
    if node.op == "call_module":
        return type(traced.get_submodule(str(node.target)))
    if node.op in ("call_function", "call_method"):
        return node.target
    return None


def put(traced: fx.GraphModule, name: str, module: nn.Module) -> None:
    """`module` in the place of the submodule `name`."""
    parent, _, own = name.rpartition(".")
    setattr(traced.get_submodule(parent), own, module)


def plain_layers(model: nn.Module) -> dict[str, Plain]:
    """The layers that quantization gives integer weights, by name."""
    return {n: m for n, m in model.named_modules() if type(m) in LAYERS}  # type: ignore[misc]
