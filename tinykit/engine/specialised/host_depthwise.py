"""depthwise_conv_2d on this machine: along the channels, which compilers turn into vectors."""

from __future__ import annotations

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.kernel import Kernel, Layers, Needs, register
from tinykit.engine.options import Options
from tinykit.engine.schedule import Schedule
from tinykit.engine.specialised.host_weights import call, computable, leaving, wide_bytes, widened

#: filters of at most so many taps are written out
WRITTEN_OUT = 49


@register
class HostDepthwise(Kernel):
    """For one output channel an input channel."""

    name = "host_depthwise"
    kinds = (frozenset({"depthwise_conv_2d"}),)

    def schedules(self, layers: Layers, core: Core | None, options: Options) -> list[Schedule]:
        (layer,) = layers
        if (
            core is not None
            or not options.simd
            or not computable(layer)
            or layer.in_hwc[2] != layer.channels
            or layer.batches != 1
            or layer.window[0] * layer.window[1] > WRITTEN_OUT
        ):
            return []
        return [Schedule.of(self.name)]

    def needs(self, layers: Layers, schedule: Schedule) -> Needs:
        return Needs(wide_bytes(layers[0]))

    def write(self, layers: Layers, schedule: Schedule, ctx: OpContext) -> str:
        (layer,) = layers
        ctx.use("host_dot")
        lines, (_, width, c) = widened(layer)
        (h, w), (stride_h, stride_w) = layer.window, layer.strides
        dilation_h, dilation_w = layer.dilations
        out_h, out_w, _ = layer.out_hwc
        weights = layer.weights.reshape(h * w, c).astype(np.int16)
        terms = [
            f"x[{(i * dilation_h * width + j * dilation_w) * c} + c] * w[{(i * w + j) * c} + c]"
            for i in range(h)
            for j in range(w)
        ]
        limits = ", ".join(f"{limit}.0" for limit in layer.limits)
        way = ", ".join(f"{name}[c]" for name in leaving(layer, ctx, c))
        lines += [
            f"const int16_t *const w = {ctx.array(weights, 'int16_t', 'weights')};",
            f"const int32_t *const bias = {ctx.array(layer.bias.astype(np.int32), 'int32_t')};",
            f"for (int32_t row = 0; row < {out_h}; row++) {{",
            f"    const int16_t *x = wide + row * {stride_h * width * c};",
            f"    for (int32_t column = 0; column < {out_w}; column++, x += {stride_w * c}) {{",
            f"        int32_t sums[{c}];",
            f"        for (int32_t c = 0; c < {c}; c++)",
            "            sums[c] = bias[c]",
            *(f"                      + {term}" for term in terms[:-1]),
            f"                      + {terms[-1]};",
            f"        for (int32_t c = 0; c < {c}; c++)",
            f"            out[c] = tk_host_leave(sums[c], {way}, {limits});",
            f"        out += {c};",
            "    }",
            "}",
        ]
        return call(ctx, lines)
