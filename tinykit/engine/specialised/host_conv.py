"""conv_2d and fully_connected on this machine.

Products of int16 are added in pairs (PMADDWD): a vector holds two weights of each of several output
channels, and meets a pair of inputs, repeated for each. Eight channels of a few pixels are summed
side by side, so that each weight that is loaded is used for every pixel of the block.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.layer import Layer
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.host_weights import call, computable, leaving, wide_bytes, widened

#: output channels that are computed side by side
BLOCK = 8


@register
class HostConv(Kernel):
    """Knob pixels: how many are computed side by side."""

    name = "host_conv"
    kinds = (frozenset({"conv_2d", "fully_connected"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if core is not None or not options.simd or not computable(layer):
            return []
        if layer.kind == "conv_2d" and (
            layer.in_hwc[2] != layer.weights.shape[3] or layer.batches != 1
        ):
            return []  # groups
        count = _Walk.of(layer).columns
        # fewest turns first, and of these the most even
        sizes = sorted(range(1, min(count, 5) + 1), key=lambda n: (-(-count // n), count % n))
        return [Schedule.of(self.name, pixels=n) for n in sizes]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        (layer,) = layers
        if layer.kind == "conv_2d":
            return Needs(wide_bytes(layer))
        return Needs(2 * layer.data.size + 16)

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("host_dot")
        walk = _Walk.of(layer)
        if layer.kind == "conv_2d":
            lines, _ = widened(layer)
        else:
            lines = [
                "int16_t *wide = (int16_t *)(void *)scratch;",
                f"tk_host_widen(in, wide, 1, {layer.data.size}, 0, 0, 0, 0, 0);",
            ]
        channels = layer.channels
        padded = -(-channels // BLOCK) * BLOCK
        bias = np.zeros(padded, np.int32)
        bias[:channels] = layer.bias
        weights = ctx.array(_arranged(layer, walk), "int16_t", "weights, eight channels at a time")
        ends = leaving(layer, ctx, padded)
        pixels = schedule["pixels"]
        blocks, rest = divmod(walk.columns, pixels)
        size = BLOCK * walk.taps * 2 * walk.pairs
        lines += [
            f"for (int32_t c = 0; c < {channels}; c += {BLOCK}) {{",
            f"    const int16_t *const filters = {weights} + c / {BLOCK} * {size};",
            *(
                f"    const double *const {name} = {end} + c;"
                for name, end in zip(("factor", "half", "below"), ends, strict=True)
            ),
            f"    const int32_t *const bias = {ctx.array(bias, 'int32_t', 'biases')} + c;",
            *(
                [f"    const int32_t some = c + {BLOCK} <= {channels} ? {BLOCK} : {channels} - c;"]
                if padded > channels
                else []
            ),
            "    int8_t *y = out + c;",
            f"    for (int32_t row = 0; row < {walk.rows}; row++) {{",
            f"        const int16_t *from = wide + row * {walk.row};",
        ]
        if blocks:
            lines.append(f"        for (int32_t block = 0; block < {blocks}; block++) {{")
            lines += ["            " + line for line in _pixels(layer, walk, pixels)]
            lines.append("        }")
        if rest:
            lines.append("        {")
            lines += ["            " + line for line in _pixels(layer, walk, rest)]
            lines.append("        }")
        return call(ctx, [*lines, "    }", "}"])


@dataclass(frozen=True)
class _Walk:
    """How windows lie in the wide input: `rows` times `columns` pixels, `row` and `column` elements
    apart, each of `taps_h` times `taps_w` runs of `length` elements."""

    rows: int
    columns: int
    row: int
    column: int
    taps_h: int
    taps_w: int
    tap_row: int
    tap_column: int
    length: int

    @property
    def taps(self) -> int:
        return self.taps_h * self.taps_w

    @property
    def pairs(self) -> int:
        return -(-self.length // 2)

    @classmethod
    def of(cls, layer: Layer) -> _Walk:
        if layer.kind == "fully_connected":
            depth = layer.weights.shape[1]
            return cls(1, layer.data.size // depth, 0, depth, 1, 1, 0, 0, depth)
        (h, w), (stride_h, stride_w) = layer.window, layer.strides
        dilation_h, dilation_w = layer.dilations
        _, _, left, right = layer.pads
        _, in_w, c = layer.in_hwc
        out_h, out_w, _ = layer.out_hwc
        width = (in_w + left + right) * c
        if (h, w, stride_h, stride_w) == (1, 1, 1, 1):
            out_h, out_w = 1, out_h * out_w  # rows lie end to end
        if dilation_w == 1 or w == 1:
            runs, length = 1, w * c
        else:
            runs, length = w, c
        return cls(
            out_h, out_w, stride_h * width, stride_w * c,
            h, runs, dilation_h * width, dilation_w * c, length,
        )  # fmt: skip


def _arranged(layer: Layer, walk: _Walk) -> np.ndarray:
    """int16 (blocks, taps, pairs, 8 channels, 2), with zeros where channels or pairs run out."""
    channels = layer.channels
    padded = -(-channels // BLOCK) * BLOCK
    made = np.zeros((padded, walk.taps, 2 * walk.pairs), np.int16)
    made[:channels, :, : walk.length] = layer.weights.reshape(channels, walk.taps, walk.length)
    made = made.reshape(-1, BLOCK, walk.taps, walk.pairs, 2)
    return made.transpose(0, 2, 3, 1, 4)


def _pixels(layer: Layer, walk: _Walk, count: int) -> Iterator[str]:
    """C statements for the next `count` pixels of a row."""
    ends = ", ".join(f"{limit}.0" for limit in layer.limits)
    yield "const int16_t *w = filters;"
    names = [f"sum{p}" for p in range(count)]
    yield f"tk_sum8 {', '.join(names)};"
    yield f"{' = '.join(names)} = tk_sum8_at(bias);"
    indent = ""
    at = []
    for name, times, step in (
        ("i", walk.taps_h, walk.tap_row),
        ("j", walk.taps_w, walk.tap_column),
    ):
        if times > 1:
            yield f"{indent}for (int32_t {name} = 0; {name} < {times}; {name}++)"
            indent += "    "
            at.append(f" + {name} * {step}")
    yield f"{indent}for (int32_t k = 0; k < {walk.pairs}; k++, w += 16) {{"
    yield f"{indent}    const int16_t *x = from{''.join(at)} + 2 * k;"
    for p, name in enumerate(names):
        yield f"{indent}    {name} = tk_sum8_add({name}, x + {p * walk.column}, w);"
    yield indent + "}"
    yield f"int32_t sums[{BLOCK * count}];"
    yield f"int8_t made[{BLOCK * count}];"
    for n, name in enumerate(names):
        yield f"tk_sum8_to(sums + {BLOCK * n}, {name});"
    yield f"for (int32_t p = 0; p < {count}; p++)"
    yield f"    for (int32_t n = 0; n < {BLOCK}; n++)"
    yield f"        made[{BLOCK} * p + n] ="
    yield f"            tk_host_leave(sums[{BLOCK} * p + n], factor[n], half[n], below[n], {ends});"
    yield f"for (int32_t p = 0; p < {count}; p++, y += {layer.channels})"
    if layer.channels % BLOCK:
        yield "    for (int32_t n = 0; n < some; n++)"
        yield f"        y[n] = made[{BLOCK} * p + n];"
    else:
        yield f"    __builtin_memcpy(y, made + {BLOCK} * p, {BLOCK});"
    yield f"from += {count * walk.column};"
