"""Layers of low rank as two smaller layers, which any runtime runs and stores as they are.

A matrix of rank r stored as its factors saves bytes only in a file; a layer in two saves them, and
multiplications, on the device. The shapings of a convolution are those of
`tinykit.compress.views`; shaping 2 is the separable one of Jaderberg, Vedaldi, Zisserman ("Speeding
up Convolutional Neural Networks with Low Rank Expansions", BMVC 2014).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tinykit.compress.csteps.theta import Factors
from tinykit.compress.views import Shaping, from_matrix, matrix_shape
from tinykit.graph.errors import TinykitError


def saves(rows: int, columns: int, rank: int) -> bool:
    """Whether two factors of this rank hold fewer numbers than their product."""
    return max(rank, 1) * (rows + columns) < rows * columns


def split_linear(linear: nn.Linear, left: Tensor, right: Tensor) -> nn.Module:
    """`linear` with the weight left @ right: in two, or dense where two would be no smaller.

    Parameters
    ----------
    linear : gives the bias, which the second layer keeps; its own weight is not used
    left, right : (out, r) and (r, in); of rank 0, the layers have one channel between them that
        carries zeros, since runtimes have no layer of none

    Returns
    -------
    nn.Module
        ``Sequential(Linear(in, r, bias=False), Linear(r, out))`` or a Linear; new parameters.

    Raises
    ------
    TinykitError
        Factors of other shapes than the layer's weight takes.
    """
    left, right = _factors(linear.weight, left, right, 1)
    if not saves(linear.out_features, linear.in_features, left.shape[1]):
        return _with(copy.deepcopy(linear), left @ right)
    rank = left.shape[1]
    bias = linear.bias is not None
    first = nn.Linear(linear.in_features, rank, bias=False, device="meta")
    second = nn.Linear(rank, linear.out_features, bias=bias, device="meta")
    return _pair(linear, _with(first, right), _with(second, left))


def split_conv(conv: nn.Conv2d, left: Tensor, right: Tensor, shaping: Shaping = 1) -> nn.Module:
    """`conv` with the weight that left @ right is the matrix of: in two, or dense if no smaller.

    Parameters
    ----------
    conv : (n, m, d1, d2), without groups; gives strides, padding, dilation and the bias
    left, right : shaping 1: (n, r) and (r, m·d1·d2); shaping 2: (n·d1, r) and (r, m·d2)
    shaping : 1: a convolution d1×d2 to r channels, then one 1×1. 2: a convolution 1×d2 along the
        rows to r channels, then one d1×1 along the columns

    Returns
    -------
    nn.Module
        Sequential of two convolutions, the first without bias, or a Conv2d; new parameters.

    Raises
    ------
    TinykitError
        A convolution with groups (each group is a matrix of its own, and small), or factors of
        other shapes than the weight takes in this shaping.
    """
    if type(conv) is not nn.Conv2d or conv.groups != 1:
        raise TinykitError(
            f"{conv} cannot be split in two: only Conv2d with groups=1 can; leave it dense"
        )
    left, right = _factors(conv.weight, left, right, shaping)
    shape: Any = tuple(conv.weight.shape)
    n, m, d1, d2 = shape
    rank = left.shape[1]
    if not saves(left.shape[0], right.shape[1], rank):
        return _with(copy.deepcopy(conv), from_matrix(left @ right, shape, shaping))
    padding: Any = conv.padding  # "same", "valid" or the size of both sides
    stride: Any = conv.stride
    dilation: Any = conv.dilation
    how: dict[str, Any] = {"padding_mode": conv.padding_mode, "device": "meta"}
    bias = conv.bias is not None
    if shaping == 1:
        first = nn.Conv2d(m, rank, (d1, d2), stride, padding, dilation, bias=False, **how)
        second = nn.Conv2d(rank, n, 1, bias=bias, device="meta")
        weights = right.reshape(rank, m, d1, d2), left.reshape(n, rank, 1, 1)
    else:
        (sh, sw), (dh, dw) = stride, dilation
        words = isinstance(padding, str)
        along, across = (padding,) * 2 if words else ((0, padding[1]), (padding[0], 0))
        # without a bias a row of padding stays what it is through the first convolution
        first = nn.Conv2d(m, rank, (1, d2), (1, sw), along, (1, dw), bias=False, **how)
        second = nn.Conv2d(rank, n, (d1, 1), (sh, 1), across, (dh, 1), bias=bias, **how)
        weights = (
            right.reshape(rank, m, 1, d2),
            left.reshape(n, d1, 1, rank).permute(0, 3, 1, 2),
        )
    return _pair(conv, _with(first, weights[0]), _with(second, weights[1]))


def replace_layers(
    model: nn.Module, layers: Mapping[str, Factors | tuple[Factors, Shaping]]
) -> nn.Module:
    """A copy of `model` whose layers of low rank are two layers each, where that is smaller.

    Parameters
    ----------
    model : any module; it is left alone
    layers : name of a Linear or Conv2d ("features.0"), or of its weight ("features.0.weight") →
        its factors, with the shaping that made the weight a matrix; 1 where none is given. Where
        two layers would hold more numbers than one, it stays one with the product as its weight.

    Returns
    -------
    nn.Module
        The same modules by the same names; a replaced one is an `nn.Sequential` of two, so that
        its bias is found at ``NAME.1.bias``.

    Raises
    ------
    TinykitError
        No such layer, one of another kind, or factors of the wrong shape; names the layer.
    """
    model = copy.deepcopy(model)
    for given, value in layers.items():
        name = given.removesuffix("weight").removesuffix(".")
        theta, shaping = value if isinstance(value, tuple) else (value, 1)
        try:
            layer = model.get_submodule(name)
        except AttributeError:
            known = [n for n, m in model.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
            raise TinykitError(f"{given}: no such layer; there are {', '.join(known)}") from None
        try:
            if type(layer) is nn.Linear:
                made = split_linear(layer, theta.left, theta.right)
            elif isinstance(layer, nn.Conv2d):
                made = split_conv(layer, theta.left, theta.right, shaping)
            else:
                raise TinykitError(f"a {type(layer).__name__}, not a Linear or Conv2d")
        except TinykitError as error:
            raise TinykitError(f"{given}: {error}") from None
        if layer is model:
            return made
        for parent in list(model.modules()):  # a layer that is used in several places, in all
            for key, child in list(parent._modules.items()):
                if child is layer:
                    setattr(parent, key, made)
    return model


def _factors(
    weight: Tensor, left: Tensor, right: Tensor, shaping: Shaping
) -> tuple[Tensor, Tensor]:
    """Factors as the weight's dtype and device, checked, of rank 1 at least."""
    rows, columns = matrix_shape(tuple(weight.shape), shaping)
    rank = left.shape[-1]
    if left.shape != (rows, rank) or right.shape != (rank, columns):
        raise TinykitError(
            f"factors {tuple(left.shape)} and {tuple(right.shape)} where the weight's matrix is "
            f"{rows} × {columns} in shaping {shaping}"
        )
    left, right = left.detach().to(weight), right.detach().to(weight)
    if rank == 0:
        left, right = left.new_zeros(rows, 1), right.new_zeros(1, columns)
    return left, right


def _with(layer: Any, weight: Tensor) -> nn.Module:
    """`layer`, made without numbers, with this weight; so no random number is drawn."""
    layer.weight = nn.Parameter(weight.detach().clone(memory_format=torch.contiguous_format))
    made: nn.Module = layer
    return made


def _pair(layer: Any, first: nn.Module, second: Any) -> nn.Module:
    """Both in a row, with the bias and the mode of the layer that they stand for."""
    if layer.bias is not None:
        second.bias = nn.Parameter(layer.bias.detach().clone())
    pair = nn.Sequential(first, second).train(layer.training)
    # a weight that is not trained is not trained in two either
    for made in pair:
        made.weight.requires_grad_(layer.weight.requires_grad)  # type: ignore[union-attr, operator]
    if layer.bias is not None:
        second.bias.requires_grad_(layer.bias.requires_grad)
    return pair
