"""From an accumulator to a stored int8 output in two to five instructions, with proof of exactness.

TFLite rounds twice: ``x = (2 a m + 2**31) >> 32`` (SMMULR on the doubled accumulator), then
``y = x / 2**s`` rounded half away from zero, plus the zero point, clipped. Half away from zero is
``(x + (x >> 31) + 2**(s-1)) >> s``, so rounding constant and zero point are one addend, which
SMMLAR adds for free, and SSAT shifts for free:

    y = ssat8((smmlar(2a, m, add) [+ (2a >> 31)]) >> s),    add = 2**(s-1) + (zero << s)

- The sign of ``a`` does as well as that of ``x``: they differ only where x = 0, and then
  ``(0 - 1 + 2**(s-1)) >> s`` is still 0 for s >= 1.
- A fused activation that clips at the zero point or above makes every negative x the lowest
  output, with or without that term: it is left out.
- Both floors are one: ``y = (a m 2**t + K 2**t) >> (31 + s + t)`` for any t, with
  ``K = 2**30 + add * 2**31``. Accumulators that come times ``2**t`` (t >= 2) need no shift of their
  own; the low word of ``K 2**t`` is then 0, and SMMLA without rounding adds the high one. This
  holds without the sign term only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinykit.engine.layer import Layer

_LIMIT = 1 << 31


@dataclass(frozen=True, eq=False)
class Requant:
    """The constants of one layer's requantization; made by `exact`, which proves them.

    Attributes
    ----------
    mantissa : int64 (channels,): second factor of the high multiplication
    right : int64 (channels,): shift to the right, 0..30; at least 1 where `signed`
    zero, low, high : zero point and limits of the stored output
    signed : whether the sign term is needed
    reach : int64 (channels,): bound of the accumulator, see `Layer.reach`
    """

    mantissa: np.ndarray
    right: np.ndarray
    zero: int
    low: int
    high: int
    signed: bool
    reach: np.ndarray

    @property
    def add(self) -> np.ndarray:
        """int64 (channels,): rounding constant and zero point, for SMMLAR."""
        return ((1 << self.right) >> 1) + (self.zero << self.right)

    @property
    def shift(self) -> int | None:
        """The shift of all channels; None where they differ."""
        first = int(self.right[0])
        return first if np.all(self.right == first) else None

    def at(self, channel: int) -> tuple[int, int, int]:
        """Mantissa, addend and shift of one channel."""
        return int(self.mantissa[channel]), int(self.add[channel]), int(self.right[channel])

    def raised(self, times: np.ndarray | int) -> np.ndarray | None:
        """Addends of SMMLA for accumulators times ``2**times`` (2 or more, by channel).

        The result is then to be shifted by ``right + times - 1``. None where the sign term is
        needed, or something leaves int32 or a shift 31.
        """
        times = np.broadcast_to(np.asarray(times, np.int64), self.right.shape)
        if self.signed or np.any(times < 2) or np.any(times > 20):
            return None
        add = (1 << (times - 2)) + (self.add << (times - 1))
        scaled = self.reach << times
        if np.any(scaled >= _LIMIT) or np.any(np.abs(add) + scaled // 2 + 1 >= _LIMIT):
            return None
        return None if np.any(self.right + times - 1 > 31) else add

    def text(
        self, acc: str, mantissa: int | str, add: int | str, shift: int | str, name: str = "y"
    ) -> list[str]:
        """C statements that define ``int32_t name`` from a doubled accumulator.

        Parameters
        ----------
        acc : a C variable that holds twice the accumulator
        mantissa, add, shift : of the channel, numbers or C expressions; a shift that is a number
            costs nothing
        """
        sum_ = f"tk_smmlar({acc}, {mantissa}, {add})"
        if self.signed:
            sum_ = f"tk_add32({sum_}, {acc} >> 31)"
        return [f"int32_t {name} = {self.limited(sum_, shift)};", *self.clips(name)]

    @staticmethod
    def limited(sum_: str, shift: int | str) -> str:
        """C expression: `sum_` shifted and saturated to int8."""
        if isinstance(shift, str):
            return f"tk_ssat8_asr({sum_} >> {shift}, 0)"
        return f"tk_ssat8_asr({sum_}, {shift})"

    def clips(self, name: str) -> list[str]:
        """C statements for limits narrower than int8's."""
        made = []
        if self.low > -128:
            made.append(f"{name} = {name} < {self.low} ? {self.low} : {name};")
        if self.high < 127:
            made.append(f"{name} = {name} > {self.high} ? {self.high} : {name};")
        return made


def exact(layer: Layer) -> Requant | None:
    """The requantization of `layer` in these few instructions, or None where it is not provably
    exact: an int8 output, no shift to the left, and nothing may leave int32."""
    if layer.out.dtype != "int8":
        return None
    mantissa, shift = (a.astype(np.int64) for a in layer.multipliers)
    right, reach, zero = -shift, layer.reach, layer.out_zero
    low, high = layer.limits
    signed = low < zero
    if low > high or np.any(right < int(signed)) or np.any(right > 23):
        return None
    made = Requant(mantissa, right, zero, low, high, signed, reach)
    # |2a| and |x + add - 1|; x is no larger than a, as the mantissa is below 2**31
    if np.any(2 * reach >= _LIMIT) or np.any(reach + np.abs(made.add) + 1 >= _LIMIT):
        return None
    return made
