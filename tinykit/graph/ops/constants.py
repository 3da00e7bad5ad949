"""Constants that shape rules read: axes, permutations, sizes, paddings."""

from __future__ import annotations

from collections.abc import Sequence

from tinykit.graph.errors import GraphError
from tinykit.graph.ir import Tensor


def given(tensor: Tensor | None) -> Tensor:
    """`tensor`, which is not optional here."""
    if tensor is None:
        raise GraphError("an input that is not optional is missing")
    return tensor


def values(tensor: Tensor | None, count: int | None = None) -> list[int] | None:
    """The integers of a constant, flattened; None when the tensor is computed."""
    tensor = given(tensor)
    if tensor.data is None:
        return None
    if tensor.dtype not in ("int32", "int64"):
        raise GraphError(f"{tensor.name!r} should hold int32 or int64, it holds {tensor.dtype}")
    found = [int(v) for v in tensor.data.ravel()]
    if count is not None and len(found) != count:
        raise GraphError(f"{tensor.name!r} should hold {count} values, it holds {len(found)}")
    return found


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front; GraphError when there is no such axis."""
    if not -rank <= axis < rank:
        raise GraphError(f"there is no axis {axis} among {rank}")
    return axis % rank


def pairs(flat: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
