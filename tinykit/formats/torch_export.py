"""torch → Graph through `torch.export`: batch norm folded, activations fused, layouts sorted out.

What depends on parameters alone is computed by torch itself and becomes a constant. Fake-quantize
nodes leave no op: their scales are noted beside the graph and kept to the last bit.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from tinykit.formats.torch_ops import HANDLERS, Call, Const, Tracer, Value
from tinykit.formats.torch_ops.elementwise import CLAMPS
from tinykit.formats.torch_ops.tracer import NAME
from tinykit.graph.builder import GraphBuilder
from tinykit.graph.errors import GraphError, UnsupportedOpError
from tinykit.graph.ir import Graph, Quantization


@dataclass(frozen=True, eq=False)
class TracedGraph:
    """A float graph, and the quantization that fake-quantize nodes asked for.

    Parameters
    ----------
    graph : float32, NHWC
    activations : tensor index → quantization of what is computed
    weights : tensor index → quantization of constants, along the axis of the graph's layout; the
        constant already holds the fake-quantized numbers
    weight_bits : tensor index → bits of its integers, 2 to 8, for the same constants
    full_range : those of them whose integers go down to -2^(bits-1), not only to one above
    """

    graph: Graph
    activations: Mapping[int, Quantization]
    weights: Mapping[int, Quantization]
    weight_bits: Mapping[int, int]
    full_range: frozenset[int] = frozenset()


def from_torch(module: nn.Module, example: torch.Tensor, name: str = "model") -> TracedGraph:
    """The float Graph of `module` in eval mode; the module is left as it was.

    Parameters
    ----------
    module : takes one tensor, returns one
    example : float32, usually (1, C, H, W); only its shape matters. Tensors of rank 4 go into the
        graph and come out of it as NHWC, all others as they are.

    Raises
    ------
    UnsupportedOpError
        An operator without a counterpart: its name, number and module.
    GraphError
        A module that `torch.export` cannot trace, or with other than one input and output.
    """
    modes = {m: m.training for m in module.modules()}
    module.eval()
    try:
        program = torch.export.export(module, (example,), strict=False)
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise GraphError(f"torch.export cannot trace {type(module).__name__}: {first}") from error
    finally:
        for part, training in modes.items():
            part.training = training
    with torch.no_grad():
        return _Walk(program, name).run()


_FQ = {
    "aten.fake_quantize_per_tensor_affine.default",
    "aten.fake_quantize_per_tensor_affine.tensor_qparams",
    "aten.fake_quantize_per_channel_affine.default",
}
_FOLD_INTO = {"aten.conv2d.default", "aten.conv2d.padding", "aten.linear.default"}
_FOLD_INTO |= {"aten.conv_transpose2d.input"}
_FUSE_INTO = _FOLD_INTO | {f"aten.{k}.Tensor" for k in ("add", "sub", "mul", "add_", "mul_")}
_RELUS = {"relu": "relu", "relu_": "relu", "relu6": "relu6", "relu6_": "relu6"}
_CLAMPING = {"hardtanh", "hardtanh_", "clamp", "clamp_", "clamp_min"}
_FLATTENS = {"flatten.using_ints", "view.default", "reshape.default", "squeeze.dims"}


class _Walk:
    """One pass over an exported program."""

    def __init__(self, program: torch.export.ExportedProgram, name: str) -> None:
        self.program = program
        self.t = Tracer(GraphBuilder(name))
        self.nodes = list(program.graph.nodes)
        self.const: dict[fx.Node, Any] = {}
        self.noted: dict[fx.Node, tuple[Quantization, int, bool]] = {}
        self.env: dict[fx.Node, Any] = {}
        self.merged: dict[fx.Node, fx.Node] = {}  # node -> the one that does its work
        self.extra: dict[fx.Node, dict[str, Any]] = {}

    def run(self) -> TracedGraph:
        self._placeholders()
        calls = [n for n in self.nodes if n.op == "call_function"]
        for node in calls:
            self._fold_constant(node)
        live = [n for n in calls if n not in self.const]
        for node in live:
            self._merge(node)
        for position, node in enumerate(live):
            if node in self.merged:
                self.env[node] = self.env[self.merged[node]]
            else:
                self.env[node] = self._emit(node, position)
        (output,) = (n for n in self.nodes if n.op == "output")
        results = [r for r in output.args[0] if r is not None]
        if len(results) != 1 or not isinstance(self.env.get(results[0]), Value):
            raise GraphError(f"the module returns {len(results)} results; it has to compute one")
        value = self.env[results[0]]
        last = Call("output", "output", len(live), value.shape)
        to_store = self.t.nhwc if len(value.shape) == 4 else self.t.plain
        index = to_store(value, last)
        graph = self.t.build.finish([index])
        return TracedGraph(
            graph,
            self.t.activations,
            self.t.weights,
            self.t.weight_bits,
            frozenset(self.t.full_range),
        )

    # -- constants ------------------------------------------------------------------------------

    def _placeholders(self) -> None:
        from torch.export.graph_signature import InputKind

        specs = self.program.graph_signature.input_specs
        holders = [n for n in self.nodes if n.op == "placeholder"]
        given = []
        for node, spec in zip(holders, specs, strict=True):
            if spec.kind == InputKind.USER_INPUT:
                given.append(node)
                continue
            store = self.program.state_dict
            self.const[node] = (
                store[spec.target] if spec.target in store else self.program.constants[spec.target]
            )
        if len(given) != 1:
            raise GraphError(f"the module takes {len(given)} inputs; it has to take one")
        shape = tuple(int(d) for d in given[0].meta["val"].shape)
        if len(shape) == 4:
            n, c, h, w = shape
            index = self.t.build.input("input", (n, h, w, c), "float32")
            self.env[given[0]] = Value(index, shape, "nhwc")
        else:
            index = self.t.build.input("input", shape, "float32")
            self.env[given[0]] = Value(index, shape)

    def _fold_constant(self, node: fx.Node) -> None:
        sources = node.all_input_nodes
        if any(s not in self.const for s in sources):
            return
        args = fx.node.map_arg(node.args, self.const.__getitem__)
        kwargs = fx.node.map_arg(node.kwargs, self.const.__getitem__)
        self.const[node] = node.target(*args, **kwargs)  # type: ignore[operator]
        if str(node.target) in _FQ:
            self.noted[node] = _note(args)

    def _norm(self, node: fx.Node) -> tuple[np.ndarray, np.ndarray]:
        """Batch norm as a factor and an offset per channel, in double precision."""
        _, weight, bias, mean, var, *_ = node.args
        eps = node.args[7]
        get = lambda a, d: d if a is None else self.const[a].detach().double().numpy()  # noqa: E731
        scale = get(weight, 1.0) / np.sqrt(get(var, None) + eps)
        return scale, get(bias, 0.0) - get(mean, None) * scale

    # -- what is merged into what ---------------------------------------------------------------

    def _merge(self, node: fx.Node) -> None:
        target = str(node.target)
        short = target.removeprefix("aten.").split(".")[0]
        source = node.args[0] if node.args and isinstance(node.args[0], fx.Node) else None
        into = self.merged.get(source, source) if source is not None else None
        alone = source is not None and len(source.users) == 1
        if target == "aten.batch_norm.default":
            if node.args[5]:
                raise UnsupportedOpError(target, None, NAME, "batch norm on the batch's statistics")
            if alone and source is into and str(source.target) in _FOLD_INTO:  # type: ignore[union-attr]
                self._absorb(node, source, norm=self._norm(node))  # type: ignore[arg-type]
            else:
                self._extra(node)["norm"] = self._norm(node)
        elif act := _activation(short, node):
            free = into is not None and "act" not in self.extra.get(into, {})
            if alone and free and str(into.target) in _FUSE_INTO:  # type: ignore[union-attr]
                self._absorb(node, into, act=act)  # type: ignore[arg-type]
        elif target == "aten.conv2d.default" and alone and _zero_pad(source):  # type: ignore[arg-type]
            left, right, top, bottom = source.args[1]  # type: ignore[union-attr,misc]
            self._extra(node)["pads"] = (top, bottom, left, right)
            self.merged[source] = source.args[0]  # type: ignore[index,union-attr,assignment]
        elif short in ("adaptive_avg_pool2d", "mean") and _is_flattened(node):
            self._extra(node)["drop_spatial"] = True

    def _extra(self, node: fx.Node) -> dict[str, Any]:
        return self.extra.setdefault(node, {})

    def _absorb(self, node: fx.Node, into: fx.Node, **what: Any) -> None:
        self._extra(into).update(what)
        self.merged[node] = into

    # -- emission -------------------------------------------------------------------------------

    def _emit(self, node: fx.Node, position: int) -> Any:
        target = str(node.target)
        if node.target is operator.getitem:
            return self.env[node.args[0]][node.args[1]]  # type: ignore[index]
        call = Call(_path(node), target, position, _shape(node), **self.extra.get(node, {}))
        args = fx.node.map_arg(node.args, self._value)
        kwargs = fx.node.map_arg(node.kwargs, self._value)
        if target in _FQ:
            return self._note_activation(call, node, args[0])  # type: ignore[arg-type]
        if target not in HANDLERS:
            raise call.unsupported("no counterpart among TFLite's ops")
        return HANDLERS[target](self.t, call, *args, **kwargs)

    def _value(self, node: fx.Node) -> Any:
        if node not in self.const:
            return self.env[node]
        quant, bits, full = self.noted.get(node, (None, 8, False))
        held = self.const[node]
        if not isinstance(held, torch.Tensor):
            return held
        data = held.detach().cpu().numpy()
        if data.dtype.kind == "f":
            data = data.astype(np.float32)
        return Const(data, quant, bits, full)

    def _note_activation(self, call: Call, node: fx.Node, value: Value) -> Value:
        held = fx.node.map_arg(node.args[1:], lambda n: self.const[n])
        quant, bits, _ = _note((None, *held))
        if quant.axis is not None:
            raise call.unsupported("activations quantized per channel")
        if bits not in (8, 16):
            raise call.unsupported(
                f"activations of {bits} bits: TFLite's integer kernels saturate at the ends of "
                f"int8 and int16 alone"
            )
        before = self.t.activations.setdefault(value.index, quant)
        if not before.same_as(quant):
            raise call.unsupported("one tensor fake-quantized in two ways")
        return value


def _note(args: Any) -> tuple[Quantization, int, bool]:
    """Quantization, bits, whether the range is full, of fake_quantize_per_..._affine's arguments.

    Levels that no width has exactly (three, or fifteen of them) count as the next wider.
    """
    scale, zero = (np.atleast_1d(np.asarray(a)) for a in args[1:3])
    axis = int(args[3]) if len(args) == 6 else None
    low, high = args[-2:]
    bits = max(int(-low - 1 if low < -high else high).bit_length() + 1, 2)
    full = low == -(2 ** (bits - 1))
    if not low < 0 < high + full or bits > 16 or not (full or -low <= high):
        raise UnsupportedOpError(
            "fake_quantize", None, NAME, f"levels {low}..{high}; signed ones of 2 to 16 bits do"
        )
    return Quantization(scale, zero.astype(np.int64), axis), bits, full


def _activation(short: str, node: fx.Node) -> str | None:
    if short in _RELUS:
        return _RELUS[short]
    if short not in _CLAMPING:
        return None
    bounds = [None if b is None else float(b) for b in node.args[1:]]  # type: ignore[arg-type]
    if short.startswith("hardtanh"):
        bounds += [-1.0, 1.0][len(bounds) :]
    low, high = (*bounds, None, None)[:2]
    return CLAMPS.get((low, high))


def _zero_pad(node: fx.Node) -> bool:
    if str(node.target) not in ("aten.pad.default", "aten.constant_pad_nd.default"):
        return False
    pads = node.args[1]
    rest = [a for a in node.args[2:] if a not in (None, "constant", 0)]
    return len(pads) == 4 and min(pads) >= 0 and not rest and not node.kwargs  # type: ignore[arg-type,type-var]


def _is_flattened(node: fx.Node) -> bool:
    """Whether (N, C, 1, 1) from `node` is next wanted as (N, C), and nowhere else as it is."""
    shape = _shape(node)
    if len(shape) != 4 or shape[2:] != (1, 1):
        return False
    while len(node.users) == 1:
        (node,) = node.users
        target = str(node.target)
        if target.removeprefix("aten.") in _FLATTENS:
            return _shape(node) == shape[:2]
        if target not in _FQ and "dropout" not in target:
            return False
    return False


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        value = value[0]
    return tuple(int(d) for d in getattr(value, "shape", ()))


def _path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1] if paths and paths[-1] else node.name
