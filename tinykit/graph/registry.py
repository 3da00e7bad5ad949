"""The opset: one entry an op (its rule), and one table a backend (its function).

An op's rule is what the graph needs to know about it whatever runs it: how many inputs, which
attributes, which output shapes follow, how many multiply-accumulates it costs. A backend is a
`Backend`, a table from op kind to function; `reference` is the first of them, the C generator
another. A backend that lacks an op says so by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.ir import Tensor

Shape = tuple[int, ...]
#: (inputs, attrs) -> output shapes; raises GraphError when the inputs cannot be combined.
#: None stands for a shape that depends on a value nobody knows yet (see `passes.fold`).
InferShapes = Callable[[Sequence["Tensor | None"], Mapping[str, Any]], "Sequence[Shape | None]"]
#: (inputs, outputs, attrs) -> multiply-accumulates of one inference
CountMacs = Callable[[Sequence[Tensor | None], Sequence[Tensor], Mapping[str, Any]], int]


@dataclass(frozen=True)
class OpSpec:
    kind: str
    arity: tuple[int, int]  # fewest and most inputs, absent optional ones included
    attrs: Mapping[str, Any]  # every attribute with its default
    infer: InferShapes
    macs: CountMacs


#: the ops that files may hold
OPSET: dict[str, OpSpec] = {}
#: ops that only rewrites of the engine put into a graph; no file has them
INTERNAL: dict[str, OpSpec] = {}


def spec_of(kind: str) -> OpSpec | None:
    """The rule of an op, be it of the opset or internal; None for one that nobody knows."""
    return OPSET.get(kind) or INTERNAL.get(kind)


def define_op(
    kind: str,
    *,
    arity: tuple[int, int],
    attrs: Mapping[str, Any] | None = None,
    macs: CountMacs | None = None,
    internal: bool = False,
) -> Callable[[InferShapes], InferShapes]:
    """Decorator: the function below is the shape rule of `kind`, which joins the opset (or, where
    `internal`, the ops that no file has)."""

    def join(infer: InferShapes) -> InferShapes:
        if spec_of(kind) is not None:
            raise ValueError(f"op {kind} is defined twice")
        spec = OpSpec(kind, arity, dict(attrs or {}), infer, macs or (lambda *_: 0))
        (INTERNAL if internal else OPSET)[kind] = spec
        return infer

    return join


F = TypeVar("F", bound=Callable[..., Any])


class Backend:
    """A named table from op kind to the function by which this backend runs (or writes) it."""

    all: dict[str, Backend] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self._table: dict[str, Callable[..., Any]] = {}
        self._internal: dict[str, Callable[..., Any]] = {}
        Backend.all[name] = self

    def register(self, *kinds: str, internal: bool = False) -> Callable[[F], F]:
        """Decorator: the function below serves `kinds`. Iteration leaves out `internal` ones."""

        def join(function: F) -> F:
            for kind in kinds:
                if kind in self._table or kind in self._internal:
                    raise ValueError(f"{self.name} has {kind} twice")
                (self._internal if internal else self._table)[kind] = function
            return function

        return join

    def __contains__(self, kind: str) -> bool:
        return kind in self._table

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._table))

    def get(self, kind: str, position: int | None = None) -> Callable[..., Any]:
        found = self._table.get(kind) or self._internal.get(kind)
        if found is None:
            raise UnsupportedOpError(kind, position, self.name)
        return found


#: (op, input tensors, output tensors, input arrays) -> output arrays
reference = Backend("the reference interpreter")


def known_attrs(kind: str, attrs: Mapping[str, Any]) -> None:
    """Raise GraphError when `attrs` has a name that `kind` does not take, or lacks one."""
    spec = spec_of(kind)
    assert spec is not None
    if unknown := sorted(set(attrs) - set(spec.attrs)):
        raise GraphError(f"{kind} has no attribute {', '.join(unknown)}")
    if missing := sorted(set(spec.attrs) - set(attrs)):
        raise GraphError(f"{kind} needs attribute {', '.join(missing)}")
