"""Whether two graphs are the same: structure, attributes, quantization and constants."""

from __future__ import annotations

import numpy as np

from tinykit.graph import Graph, Quantization, Tensor


def difference(a: Graph, b: Graph) -> str | None:
    """The first difference in words, or None. Op names, which the file has no room for, may differ.

    One scale along an axis of length one and one scale for the whole tensor count as the same.
    """
    for what in ("inputs", "outputs", "name"):
        if getattr(a, what) != getattr(b, what):
            return f"{what}: {getattr(a, what)} and {getattr(b, what)}"
    if len(a.tensors) != len(b.tensors) or len(a.ops) != len(b.ops):
        return f"{len(a.tensors)}, {len(a.ops)} and {len(b.tensors)}, {len(b.ops)} tensors, ops"
    for i, (s, t) in enumerate(zip(a.tensors, b.tensors, strict=True)):
        if found := _tensors(s, t):
            return f"tensor {i} ({s.name!r}): {found}"
    for i, (p, q) in enumerate(zip(a.ops, b.ops, strict=True)):
        if (p.kind, p.inputs, p.outputs) != (q.kind, q.inputs, q.outputs):
            return f"op {i}: {p} and {q}"
        if _attrs(p.attrs) != _attrs(q.attrs):
            return f"op {i} ({p.kind}): {dict(p.attrs)} and {dict(q.attrs)}"
    return None


def _tensors(s: Tensor, t: Tensor) -> str | None:
    if (s.name, s.shape, s.dtype) != (t.name, t.shape, t.dtype):
        return f"{s.name!r} {s.shape} {s.dtype} and {t.name!r} {t.shape} {t.dtype}"
    if _quant(s.quant) != _quant(t.quant):
        return f"{_quant(s.quant)} and {_quant(t.quant)}"
    if s.is_const != t.is_const or (s.is_const and not np.array_equal(s.data, t.data, True)):
        return "different data"
    return None


def _quant(quant: Quantization | None) -> object:
    if quant is None:
        return None
    axis = quant.axis if quant.scale.size > 1 else None
    return quant.scale.tolist(), quant.zero_point.tolist(), axis


def _attrs(attrs: object) -> dict[str, object]:
    """float32 attributes as the file keeps them; lists as tuples."""
    return {
        k: float(np.float32(v)) if isinstance(v, float) else tuple(v) if isinstance(v, list) else v
        for k, v in dict(attrs).items()  # type: ignore[call-overload]
    }
