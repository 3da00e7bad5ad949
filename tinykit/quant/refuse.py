"""Layers that a graph cannot hold as integers: refused before anything is trained."""

from __future__ import annotations

from torch import fx, nn

from tinykit.graph.errors import TinykitError
from tinykit.quant.fold import LAYERS, kind_of


def refuse_unroundable(traced: fx.GraphModule) -> None:
    """Raise where a layer of `traced` (`folded`) has weights that would not become integers.

    Raises
    ------
    TinykitError
        Its name, and what to put in its place.
    """
    for node in traced.graph.nodes:
        kind = kind_of(traced, node)
        if not isinstance(kind, type) or not issubclass(kind, nn.Module):
            continue
        layer = traced.get_submodule(str(node.target))
        if isinstance(layer, nn.ConvTranspose2d):
            _check_transposed(node, layer)
        # a vector is a bias, or a factor per channel, which a graph has as a constant
        elif kind not in LAYERS and any(p.ndim > 1 for p in layer.parameters()):
            instead = {
                nn.Conv1d: "nn.Conv2d with a kernel of (1, k), on images of height 1",
                nn.ConvTranspose1d: "nn.ConvTranspose2d with a kernel of (1, k)",
            }.get(kind, "nn.Conv2d, nn.ConvTranspose2d or nn.Linear")  # type: ignore[call-overload]
            raise TinykitError(
                f"layer {node.target!r} is nn.{kind.__name__}, whose weights a graph cannot hold "
                f"as integers: use {instead}"
            )


def _check_transposed(node: fx.Node, layer: nn.ConvTranspose2d) -> None:
    """TFLite's transposed convolution has neither groups nor dilation, and SAME or VALID edges."""
    if layer.groups != 1 or layer.dilation != (1, 1):
        raise TinykitError(
            f"layer {node.target!r} is a transposed convolution with groups={layer.groups} and "
            f"dilation={layer.dilation}, and TFLite has it with groups=1 and dilation=1 alone"
        )
    if len(node.args) > 1 or node.kwargs:  # the output's size is said in the call
        return
    valid = same = True
    assert not isinstance(layer.padding, str)  # torch refuses words here
    sizes = layer.kernel_size, layer.stride, layer.padding, layer.output_padding
    for axis in (0, 1):
        k, s, p, more = (each[axis] for each in sizes)
        valid = valid and p == more == 0
        # SAME makes s pixels of each; torch's (size - 1)·s - 2·p + k + more have to be as many
        same = same and more == s - k + 2 * p and p == max(0, k - s) // 2
    if not valid and not same:
        raise TinykitError(
            f"layer {node.target!r} is a transposed convolution with padding={layer.padding} and "
            f"output_padding={layer.output_padding}, which is neither TFLite's VALID (both 0) nor "
            f"its SAME: take padding = (k - s) / 2 and output_padding=0, for an even difference of "
            f"the kernel k and the stride s"
        )
