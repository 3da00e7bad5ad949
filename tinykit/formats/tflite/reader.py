"""Reading a TFLite file from anyone: checked before it is believed.

Bounds, for a file of n bytes: at most `MAX_FILE`, memory allocated while reading at most
`ALLOCATION_FACTOR` · n + `ALLOCATION_BASE` (weights are views of the file), time proportional
to n; the activations of a graph take at most `MAX_ACTIVATIONS` bytes together.
"""

from __future__ import annotations

import os
from dataclasses import replace

from tinykit.formats.tflite.flatbuffer import Budget, Table, root
from tinykit.formats.tflite.options import read_options
from tinykit.formats.tflite.schema import (
    BUILTINS,
    CONTROL_FLOW,
    CUSTOM,
    FILE_IDENTIFIER,
    VERSION,
    Slot,
)
from tinykit.formats.tflite.tensors import TensorReader
from tinykit.graph.errors import GraphError, ModelFormatError
from tinykit.graph.ir import Graph, Op, Tensor
from tinykit.graph.passes import compact, fold_parts
from tinykit.graph.rewrites import for_micro

MAX_FILE = 512 << 20
MAX_ACTIVATIONS = 1 << 30
ALLOCATION_FACTOR = 16
ALLOCATION_BASE = 64 << 20
#: tensors, and ops, of one model
MAX_PARTS = 20_000


def read_file(path: str | os.PathLike[str], fold: bool = True) -> Graph:
    """Read the model at `path`; see `read`.

    Raises
    ------
    FileNotFoundError
    ModelFormatError
        The file cannot be read, or is not a sound model; the text starts with the file's name.
    """
    name = os.path.basename(os.fspath(path))
    try:
        if os.path.getsize(path) > MAX_FILE:
            raise ModelFormatError(f"{name}: larger than {MAX_FILE >> 20} MiB")
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelFormatError(f"{name}: cannot be read: {error.strerror}") from None
    try:
        return read(data, fold)
    except ModelFormatError as error:
        raise ModelFormatError(f"{name}: {error}") from None


def read(data: bytes, fold: bool = True) -> Graph:
    """The graph in a ``.tflite`` file.

    Ops outside the opset keep their TFLite name in lower case (custom ones ``custom:NAME``, with
    their bytes as the attribute ``custom_options``), so that the rest can be profiled. An open
    batch size becomes 1. Constants in float16 are widened to float32. A quantization scale of 0
    on a constant becomes the smallest normal float32, which TFLite's arithmetic treats alike.

    Parameters
    ----------
    data : the file's bytes
    fold : evaluate what does not depend on the input, drop what no output depends on, and
        rewrite what TFLite Micro lacks or gets wrong; see `tinykit.graph.passes` and
        `tinykit.graph.rewrites`. False gives the ops of the file as they are.

    Raises
    ------
    ModelFormatError
        Damaged, truncated, not a TFLite model, or one that a Graph cannot express (control flow,
        variable or sparse tensors); says what is wrong, and where.
    """
    data = bytes(data)
    try:
        return _read(data, fold)
    except GraphError as error:
        raise ModelFormatError(str(error)) from None


def _read(data: bytes, fold: bool) -> Graph:
    if len(data) > MAX_FILE:
        raise ModelFormatError(f"the file is larger than {MAX_FILE >> 20} MiB")
    if not data:
        raise ModelFormatError("not a TFLite model: the file is empty")
    if data[4:8] != FILE_IDENTIFIER:
        raise ModelFormatError(
            f"not a TFLite model: bytes 4 to 7 are {data[4:8]!r}, they should be "
            f"{FILE_IDENTIFIER!r}"
        )
    budget = Budget(len(data))
    model = root(data, budget)
    version = model.scalar(Slot.MODEL_VERSION, "I")
    if version != VERSION:
        raise ModelFormatError(f"schema version {version}; only version {VERSION} is known")
    subgraphs = model.tables(Slot.MODEL_SUBGRAPHS, "subgraph", 16)
    if not subgraphs:
        raise ModelFormatError("the model has no subgraph")
    codes = [_kind(c) for c in model.tables(Slot.MODEL_OPERATOR_CODES, "operator code", 12)]
    main = subgraphs[0]
    tables = main.tables(Slot.SUBGRAPH_TENSORS, "tensor", 64, MAX_PARTS)
    numbers = list(range(len(tables)))
    ops = [
        _op(table, position, codes, numbers, len(subgraphs))
        for position, table in enumerate(main.tables(Slot.SUBGRAPH_OPERATORS, "op", 32, MAX_PARTS))
    ]
    inputs = _indices(main, Slot.SUBGRAPH_INPUTS, "inputs", numbers)
    outputs = _indices(main, Slot.SUBGRAPH_OUTPUTS, "outputs", numbers)
    if not outputs:
        raise main.error("it has no outputs")
    reader = TensorReader(model.tables(Slot.MODEL_BUFFERS, "buffer", 8), budget)
    tensors, ops, inputs, outputs, dynamic = _tensors(reader, tables, ops, inputs, outputs)
    if fold:
        tensors, ops = fold_parts(tensors, ops, outputs, dynamic)
        tensors, ops, *ends = compact(tensors, ops, inputs, outputs)
        inputs, outputs = map(tuple, ends)
    live = sum(t.nbytes for t in tensors if not t.is_const)
    if live > MAX_ACTIVATIONS:
        raise ModelFormatError(
            f"the activations take {live} bytes together, more than {MAX_ACTIVATIONS >> 30} GiB"
        )
    name = main.string(Slot.SUBGRAPH_NAME, "its name") or "model"
    graph = Graph(tuple(tensors), tuple(ops), tuple(inputs), tuple(outputs), name)
    return for_micro(graph) if fold else graph


def _kind(code: Table) -> str:
    """An operator code's name: TFLite's in lower case, or ``custom:NAME``."""
    number = max(code.scalar(Slot.CODE_DEPRECATED, "b"), code.scalar(Slot.CODE_BUILTIN, "i"))
    if number == CUSTOM:
        name = code.string(Slot.CODE_CUSTOM, "its name")
        if not name:
            raise code.error("a custom op without a name")
        return f"custom:{name}"
    if number < 0:
        raise code.error(f"builtin op {number}")
    return BUILTINS[number] if number < len(BUILTINS) else f"builtin:{number}"


def _op(table: Table, position: int, codes: list[str], numbers: list[int], subgraphs: int) -> Op:
    code = table.scalar(Slot.OPERATOR_CODE, "I")
    if code >= len(codes):
        raise table.error(f"operator code {code}; there are {len(codes)}")
    kind = codes[code]
    table.where = f"op {position} ({kind})"
    if kind in CONTROL_FLOW and subgraphs > 1:
        raise table.error("it runs another subgraph; control flow is not supported")
    inputs = _indices(table, Slot.OPERATOR_INPUTS, "inputs", numbers, optional=True)
    outputs = _indices(table, Slot.OPERATOR_OUTPUTS, "outputs", numbers)
    if kind.startswith("custom:"):
        raw = table.vector(Slot.OPERATOR_CUSTOM_OPTIONS, "u1", "custom options")
        attrs: dict = {} if raw is None else {"custom_options": raw.tobytes()}
        if raw is not None:
            table.budget.allocate(raw.size, table.where)
    else:
        options = table.table(Slot.OPERATOR_OPTIONS, "options")
        attrs = read_options(kind, options)
        if kind == "fully_connected" and options is not None and options.scalar(1, "b"):
            raise table.error("its weights are shuffled (weights_format); only the default is read")
    return Op(kind, inputs, outputs, attrs)


def _indices(
    table: Table, slot: int, what: str, numbers: list[int], optional: bool = False
) -> tuple[int, ...]:
    """A list of tensor indices; -1 stands for an absent optional one and becomes None.

    The integers are those of `numbers`, so that long lists cost no more than their pointers.
    """
    found = table.vector(slot, "<i4", f"the list of {what}")
    if found is None or not found.size:
        return ()
    wrong = (found >= len(numbers)) | (found < (-1 if optional else 0))
    if wrong.any():
        raise table.error(f"its {what} name tensor {found[wrong][0]}; there are {len(numbers)}")
    return tuple(None if i == -1 else numbers[i] for i in found.tolist())  # type: ignore[misc]


def _tensors(
    reader: TensorReader,
    tables: list[Table],
    ops: list[Op],
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
) -> tuple[list[Tensor], list[Op], tuple[int, ...], tuple[int, ...], set[int]]:
    """The tensors in use, and ops, inputs, outputs and open shapes in terms of those."""
    made = {i for op in ops for i in op.outputs} | set(inputs)
    used = made.union(outputs, (i for op in ops for i in op.inputs if i is not None))
    tensors = {i: reader.tensor(tables[i], i, made=i in made) for i in sorted(used)}
    # float16 weights came out as float32: the op that would have widened them is a mere alias.
    source: dict[int, int] = {}
    ends = {*inputs, *outputs}
    rest = []
    for op in ops:
        widens = op.kind == "dequantize" and len(op.inputs) == len(op.outputs) == 1
        out = op.outputs[0] if widens else None
        if (
            out is not None
            and op.inputs[0] in reader.widened
            and out not in source
            and out not in ends
            and not tensors[out].is_const
        ):
            source[out] = op.inputs[0]  # type: ignore[assignment]
        else:
            rest.append(op)
    place = {old: new for new, old in enumerate(i for i in tensors if i not in source)}
    place.update({old: place[new] for old, new in source.items()})
    return (
        [tensors[i] for i in tensors if i not in source],
        [
            replace(
                op,
                inputs=tuple(None if i is None else place[i] for i in op.inputs),
                outputs=tuple(place[i] for i in op.outputs),
            )
            for op in rest
        ],
        tuple(place[i] for i in inputs),
        tuple(place[i] for i in outputs),
        {place[i] for i in reader.dynamic},
    )
