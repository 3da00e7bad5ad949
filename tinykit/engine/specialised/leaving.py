"""The way out of small ops: from a sum, by a constant factor, to a stored int8.

TFLite scales an accumulator with two roundings: a doubling high multiply that rounds half up,
``(a * m + 2**30) >> 31``, then a right shift that rounds half away from zero. The first is SMMULR
of ``2 * a``; zero point and the half of the second become one constant that SMMLAR adds for
nothing; the fix-up for negative numbers is one addition of the sign; SSAT shifts and limits.
"""

from __future__ import annotations

from dataclasses import dataclass

from tinykit.engine.cores import Core

#: cores without SMLAD, SMMULR and their kin
WITHOUT_DSP = frozenset({"cortex-m0plus", "cortex-m3"})


def has_dsp(core: Core | None) -> bool:
    """Whether `core` is a Cortex-M with the DSP instructions (this machine is not)."""
    return core is not None and core.name not in WITHOUT_DSP


@dataclass(frozen=True)
class Leaving:
    """The constants of one way out.

    Attributes
    ----------
    mantissa, right : the factor is ``mantissa * 2**(-31 - right)``
    zero : zero point of the output
    low, high : lowest and highest stored output
    """

    mantissa: int
    right: int
    zero: int
    low: int
    high: int

    @property
    def constant(self) -> int:
        """What is added before the last shift: half a unit and the zero point."""
        return (1 << self.right >> 1) + self.zero * (1 << self.right)

    def exact(self, reach: int) -> bool:
        """Whether `lines` is exact for every accumulator from ``-reach`` to ``reach``."""
        scaled = (reach * abs(self.mantissa) >> 31) + 1
        return (
            0 <= self.right <= 30
            and reach < 1 << 30
            and self.mantissa >= 0
            and scaled + abs(self.constant) + 1 < 1 << 31
        )

    @property
    def signed(self) -> bool:
        """Whether negative accumulators need rounding of their own: not where they all end at the
        lower limit, and not without a shift."""
        return self.right > 0 and self.low < self.zero

    def lines(self, doubled: str, result: str) -> list[str]:
        """C statements that set the declared `result` from `doubled`, the name of a variable that
        holds twice the accumulator. For the functions of simd.h."""
        made = [f"{result} = tk_smmlar({doubled}, {self.mantissa}, {self.constant});"]
        if self.signed:
            made.append(f"{result} += {doubled} >> 31;")
        made.append(f"{result} = tk_ssat8_asr({result}, {self.right});")
        if self.low > -128:
            made.append(f"{result} = {result} < {self.low} ? {self.low} : {result};")
        if self.high < 127:
            made.append(f"{result} = {result} > {self.high} ? {self.high} : {result};")
        return made
