"""Which rows of its input an op needs for which rows of its output."""

from __future__ import annotations

from dataclasses import dataclass

from tinykit.engine.layer import Layer
from tinykit.graph.ir import Graph, Op, Tensor

#: row by row, whatever the tensors hold
SAME_ROWS = frozenset(
    {"add", "sub", "mul", "relu", "relu6", "relu_n1_to_1", "leaky_relu", "logistic", "tanh",
     "hard_swish", "quantize", "dequantize"}
)  # fmt: skip
WINDOWED = frozenset({"conv_2d", "depthwise_conv_2d", "average_pool_2d", "max_pool_2d"})
PADS = frozenset({"pad", "padv2"})

Rows = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Output row r of an op reads `reach` input rows from row ``r * stride - top`` on.

    Attributes
    ----------
    size, out : rows of the input and of the output
    pads : the op adds rows of padding that are output rows by themselves (pad ops)
    """

    size: int
    out: int
    stride: int = 1
    reach: int = 1
    top: int = 0
    pads: bool = False

    def needs(self, low: int, high: int) -> Rows:
        """The input rows from which output rows `low` to `high` (exclusive) follow."""
        first = max(low * self.stride - self.top, 0)
        return first, min((high - 1) * self.stride - self.top + self.reach, self.size)

    def padding(self, low: int, high: int) -> Rows:
        """Rows of padding above and below the rows that `needs` gives."""
        end = (high - 1) * self.stride - self.top + self.reach
        return max(self.top - low * self.stride, 0), max(end - self.size, 0)

    def ready(self, rows: int) -> int:
        """How many output rows follow from the first `rows` input rows."""
        if rows >= self.size:
            return self.out
        if rows == 0:
            return 0
        return min(max((rows + self.top - self.reach) // self.stride + 1, 0), self.out)

    def grown(self, low: int, high: int) -> Rows:
        """Output rows `low` to `high`, with more where those alone would read no input row."""
        if not self.pads or low >= high:
            return low, high
        if high - self.top >= self.size:
            high = self.out  # the padding below comes with the last row
        return min(low, self.top + self.size - 1), max(high, self.top + 1)


def row_inputs(graph: Graph, op: Op) -> list[int]:
    """The inputs of an op that are computed, each once."""
    made = (i for i in op.inputs if i is not None and not graph.tensors[i].is_const)
    return list(dict.fromkeys(made))


def window_of(graph: Graph, position: int) -> Window | None:
    """The window of op `position`; None where the op does not work row by row."""
    op = graph.ops[position]
    sources = [graph.tensors[i] for i in row_inputs(graph, op)]
    if len(op.outputs) != 1 or not sources:
        return None
    out = graph.tensors[op.outputs[0]]
    if any(len(t.shape) != 4 or t.shape[0] != 1 or not t.size for t in (*sources, out)):
        return None
    size, rows = sources[0].shape[1], out.shape[1]
    if op.kind in WINDOWED:
        return _sliding(graph, position, size, rows) if len(sources) == 1 else None
    if any(t.shape[1] != size for t in sources):
        return None
    if op.kind in PADS:
        pads = graph.ins(op)[1]
        if pads is None or pads.data is None or pads.data.reshape(-1, 2)[0].any():
            return None
        return Window(size, rows, top=int(pads.data.reshape(-1, 2)[1][0]), pads=True)
    if size != rows:
        return None
    constants = [t for t in graph.ins(op) if t is not None and t.is_const]
    if op.kind in SAME_ROWS:
        return Window(size, rows) if all(map(_same_for_all_rows, constants)) else None
    if op.kind == "concatenation" and op.attrs["axis"] % 4 in (2, 3) and not constants:
        return Window(size, rows)
    return None


def _sliding(graph: Graph, position: int, size: int, rows: int) -> Window | None:
    layer = Layer(graph, position)
    if any(t is not None and not t.is_const for t in layer.ins[1:]):
        return None  # weights that are computed
    reach = (layer.window[0] - 1) * layer.dilations[0] + 1
    return Window(size, rows, layer.strides[0], reach, layer.pads[0])


def _same_for_all_rows(tensor: Tensor) -> bool:
    return len(tensor.shape) < 3 or tensor.shape[-3] == 1
