"""The way out on cores without DSP instructions, exact: with a long multiplication (Cortex-M3) or,
on a Cortex-M0+, which multiplies 32 bits by 32 into 32, with four short ones.

Both of TFLite's roundings together are one floor, ``(a m + K) >> (31 + s)`` with
``K = 2**30 + (2**(s-1) + (zero << s)) * 2**31``, less 2**31 where a is negative and its rounding
shows (`tinykit.engine.requant`). On the M0+, ``a + 2**30`` is never negative, which takes
``2**30 m`` off K; with a and m in halves of 16 bits nothing leaves 32 bits, and what is below
2**14 in K is 0, so that no bit is lost before the last shift.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.cores import Core
from tinykit.engine.layer import Layer
from tinykit.engine.requant import Requant, exact
from tinykit.engine.specialised.leaving import has_dsp

#: what accumulators are raised by, to be never negative
RAISE = 1 << 30
#: bound of their magnitude: the sum of the middle products has to fit 32 bits
MOST = RAISE - (1 << 18)


def narrow(mantissa: Any, add: Any, signed: bool) -> tuple[Any, Any]:
    """What ``tk_scale_narrow`` adds, high and low, for accumulators that `RAISE` is added to.

    Parameters
    ----------
    mantissa, add : integers or int64 arrays; add as `Requant.add`
    signed : whether negative accumulators lack 2**31; bit 30 of the raised accumulator, times
        2**15, is then to be added to the low one
    """
    whole = (1 << 30) + (add << 31) - RAISE * mantissa - (1 << 31) * int(signed)
    return whole >> 32, whole >> 16 & 0xFFFF


class PlainWay:
    """What every accumulator of `layer` goes through, on a `core`, without DSP instructions."""

    def __init__(self, layer: Layer, requant: Requant, core: Core, extra: np.ndarray | int = 0):
        self.layer, self.requant, self.extra = layer, requant, extra
        self.short = core.name == "cortex-m0plus"
        raised = None if self.short else requant.raised(2)
        self.raised = raised is not None
        add = requant.add if raised is None else raised
        mantissa, right = requant.mantissa, requant.right
        bias = layer.bias + np.asarray(extra, np.int64)
        if self.short:
            high, low = narrow(mantissa, requant.add, requant.signed)
            self.columns = [bias + RAISE, mantissa, high, low, right - 1]
        else:
            self.columns = [bias, mantissa, add, right + int(self.raised)]
        self.shift = int(self.columns[-1][0]) if len(set(self.columns[-1].tolist())) == 1 else None
        if self.shift is not None:
            self.columns.pop()

    @classmethod
    def of(cls, layer: Layer, core: Core | None, simd: bool = False) -> PlainWay | None:
        """None where the layer is not int8 throughout with constants, or what leaves it is not
        provably exact.

        Parameters
        ----------
        simd : whether DSP instructions may be used: then None on cores that have them
        """
        if core is None or core.mve or (simd and has_dsp(core)) or not layer.constant_int8:
            return None
        requant = exact(layer)
        if requant is None:
            return None
        if core.name == "cortex-m0plus" and (
            np.any(requant.reach >= MOST) or np.any(requant.right < 1)
        ):
            return None
        return cls(layer, requant, core)

    @property
    def words(self) -> int:
        """Of the table, for each channel."""
        return len(self.columns)

    def table(self, ctx: OpContext, channels: int) -> str:
        """Name of the array with what each channel needs, its bias first; zeros for channels that
        the layer does not have."""
        ctx.use("plain" if self.short else "simd")
        rows = np.zeros((channels, self.words), np.int64)
        rows[: self.layer.channels] = np.stack(self.columns, axis=1)
        note = "a channel a row: bias, multiplier, addend" + (" (high, low)" if self.short else "")
        if self.shift is None:
            note += ", shift"
        return ctx.array(rows.astype(np.int32), "int32_t", note)

    def lines(self, acc: str, row: str, name: str) -> Iterator[str]:
        """C statements that define ``int32_t name``, a stored output, from a sum without its bias.

        Parameters
        ----------
        acc : C expression of the sum
        row : C expression: pointer to the channel's row of the table
        """
        requant = self.requant
        shift = f"{row}[{self.words - 1}]" if self.shift is None else str(self.shift)
        if self.short:
            low = f"(uint32_t){row}[3]"
            yield f"const uint32_t {name}a = (uint32_t)({acc} + {row}[0]);"
            if requant.signed:
                low += f" + ({name}a >> 30 << 15)"
            yield f"int32_t {name} = tk_scale_narrow({name}a, (uint32_t){row}[1], {row}[2], {low}, "
            yield f"                                 {shift});"
            yield f"{name} = {name} < {requant.low} ? {requant.low} : {name};"
            yield f"{name} = {name} > {requant.high} ? {requant.high} : {name};"
            return
        times = 4 if self.raised else 2
        yield f"const int32_t {name}a = ({acc} + {row}[0]) * {times};"
        number: int | str = shift if self.shift is None else self.shift
        if self.raised:
            scaled = f"tk_smmla({name}a, {row}[1], {row}[2])"
            yield f"int32_t {name} = {requant.limited(scaled, number)};"
            yield from requant.clips(name)
        else:
            yield from requant.text(f"{name}a", f"{row}[1]", f"{row}[2]", number, name)
