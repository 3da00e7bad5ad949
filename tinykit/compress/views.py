"""Weights as matrices: how compression that works on a matrix (low rank) looks at a layer.

A convolution has no one natural matrix. Two shapings are in use (Idelbayev and Carreira-Perpiñán,
"Low-rank compression of neural nets: learning the rank of each layer", CVPR 2020); each, when its
matrix is of low rank, is two smaller convolutions in a row (`slim.split_conv`).
"""

from __future__ import annotations

from math import prod
from typing import Literal

from torch import Tensor

from tinykit.graph.errors import TinykitError

#: 1: one row for each filter, n × (m·d1·d2); 2: rows also for the kernel's rows, (n·d1) × (m·d2)
Shaping = Literal[1, 2]


def matrix_shape(shape: tuple[int, ...], shaping: Shaping = 1) -> tuple[int, int]:
    """Rows and columns that `to_matrix` gives a weight of `shape`.

    Raises
    ------
    TinykitError
        A weight of fewer than two dimensions, shaping 2 on what is neither (out, in) nor a 2-D
        convolution's weight, or a shaping that does not exist.
    """
    if shaping not in (1, 2):
        raise TinykitError(f"no shaping {shaping!r} to see a weight as a matrix: take 1 or 2")
    if len(shape) < 2:
        raise TinykitError(
            f"a tensor of shape {tuple(shape)} is no matrix: take weights of linear layers and "
            "convolutions, not biases"
        )
    if len(shape) == 2 or shaping == 1:
        return shape[0], prod(shape[1:])
    if len(shape) != 4:
        raise TinykitError(
            f"shaping 2 is for weights (n, m, d1, d2) of 2-D convolutions, not for {tuple(shape)}: "
            "take shaping 1"
        )
    n, m, d1, d2 = shape
    return n * d1, m * d2


def to_matrix(weight: Tensor, shaping: Shaping = 1) -> Tensor:
    """A layer's weight as a matrix.

    Parameters
    ----------
    weight : (out, in) of a linear layer, which stays as it is; (n, m, d1, d2) of a convolution
    shaping : 1 gives n × (m·d1·d2), 2 gives (n·d1) × (m·d2)

    Returns
    -------
    Tensor
        (rows, columns), of the same dtype and differentiable; it may share memory with `weight`.

    Raises
    ------
    TinykitError
        As in `matrix_shape`.
    """
    rows, columns = matrix_shape(tuple(weight.shape), shaping)
    if weight.dim() == 4 and shaping == 2:
        weight = weight.permute(0, 2, 1, 3)
    return weight.reshape(rows, columns)


def from_matrix(matrix: Tensor, shape: tuple[int, ...], shaping: Shaping = 1) -> Tensor:
    """The weight of `shape` that `to_matrix` made `matrix` of: its exact inverse.

    Raises
    ------
    TinykitError
        `matrix` is not of the size that `shape` gives in this shaping; else as in `matrix_shape`.
    """
    shape = tuple(shape)
    if tuple(matrix.shape) != matrix_shape(shape, shaping):
        raise TinykitError(
            f"a weight of shape {shape} is a matrix of {matrix_shape(shape, shaping)} in shaping "
            f"{shaping}, not of {tuple(matrix.shape)}"
        )
    if len(shape) == 4 and shaping == 2:
        n, m, d1, d2 = shape
        return matrix.reshape(n, d1, m, d2).permute(0, 2, 1, 3)
    return matrix.reshape(shape)
