"""A real factor as an integer of 31 bits and a power of two.

Argument: `real`, a positive float below 2. The result is two ints, m and n: real ≈ m / 2**n, m from
2**30 to 2**31 - 1 and as near as it can be.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake
from tinykit.graph.fixedpoint import quantize_multiplier


def solve(real: float) -> np.ndarray:
    """By the function that the interpreter and the generated C are made with."""
    mantissa, shift = quantize_multiplier(real)
    return np.array([int(mantissa), 31 - int(shift)])


def _variant(
    *,
    bits: int = 31,
    cut: bool = False,
    carry: bool = True,
    single: bool = False,
    fixed: bool = False,
    shift: bool = False,
    added: bool = False,
    short: bool = False,
    wrong_way: bool = False,
    clamped: bool = False,
    half_done: bool = False,
    swapped: bool = False,
    ceil: bool = False,
) -> Any:
    """The function, as somebody who makes the named mistake writes it."""

    def fixed_point(real: float) -> tuple[int, int]:
        if single:
            real = float(np.float32(real))
        fraction, exponent = math.frexp(real)
        if fixed:
            return round(real * 2**31), 31
        if ceil:
            exponent = math.ceil(math.log2(real))
            fraction = real / 2.0**exponent
        m = math.trunc(fraction * 2**bits) if cut else round(fraction * 2**bits)
        if m == 2**bits and clamped:
            m -= 1
        elif m == 2**bits and carry:
            m = m // 2
            exponent += 0 if half_done else -1 if wrong_way else 1
        n = exponent if shift else bits - exponent
        if added:
            n = bits + exponent
        if short:
            n = -exponent
        return (n, m) if swapped else (m, n)

    return fixed_point


def _either(why: str, **wrong: Any) -> tuple[Mistake, Mistake]:
    """A mistake of every case, by somebody who met the rare one and by somebody who did not."""
    return Mistake(_variant(**wrong), why), Mistake(_variant(**wrong, carry=False), why)


EXERCISE = Exercise(
    name="fixed_point",
    task="Find m, from 2**30 to 2**31 - 1, and n so that m / 2**n is as near to real as it can be; "
    "return (m, n) as ints.",
    solve=solve,
    cases=[
        (0.0042,),
        (0.7071067811865476,),
        (1.3e-5,),
        (0.25,),
        (1.0,),
        (1.618033988749895,),
        (0.49999999999,),
        (3.0e-3 / 7,),
    ],
    mistakes=(
        Mistake(
            _variant(cut=True),
            "The fraction was cut off: int() and // drop it, and the factor comes out too small by "
            "up to one part in 2**30. Round to the nearest integer.",
        ),
        Mistake(
            _variant(carry=False),
            "One case is missing: 0.49999999999 is so near to one half that its m rounds up to "
            "2**31, and int32 ends at 2**31 - 1. 2**30 with n one smaller is the same number.",
        ),
        Mistake(
            _variant(cut=True, carry=False, bits=30),
            "m has 30 bits, and its fraction was cut off. An int32 has room for 31 beside its "
            "sign, and the nearest integer is nearer.",
        ),
        *_either(
            "m lies between 2**29 and 2**30: one bit of the int32 stays empty, and the factor is "
            "only half as exact as it could be. Where does m have to start?",
            bits=30,
        ),
        *_either(
            "m lies between 2**31 and 2**32: that needs 32 bits and the sign. As an int32 it is "
            "negative.",
            bits=32,
        ),
        Mistake(
            _variant(fixed=True),
            "n is 31 whatever the factor: 1.3e-5 keeps 15 of its 31 bits then, and factors of 1 "
            "and more have no room. Let n grow until m is 2**30 or more.",
        ),
        Mistake(
            _variant(single=True),
            "The factor went through float32, which keeps 24 bits: the lower ones of m are lost. "
            "Python's float has 53.",
        ),
        *_either(
            "n is the exponent of the fraction, real = fraction · 2**n. But m is the fraction "
            "times 2**31: by how much does m have to be divided to give real again?",
            shift=True,
        ),
        *_either(
            "n is 31 plus the exponent. real = f · 2**e and f = m / 2**31, so real is "
            "m · 2**(e - 31): which power of two divides m?",
            added=True,
        ),
        *_either(
            "n undoes the exponent of the fraction, but not the 31 bits by which the fraction was "
            "multiplied to become m.",
            short=True,
        ),
        Mistake(
            _variant(clamped=True),
            "0.49999999999 is so near to one half that its m rounds up to 2**31. Cutting it off at "
            "2**31 - 1 fits into an int32, but 2**30 with n one smaller is nearer.",
        ),
        Mistake(
            _variant(wrong_way=True),
            "Where m becomes 2**31 and is halved, n goes the wrong way: m / 2**n stays the same "
            "when n becomes one *smaller*.",
        ),
        Mistake(
            _variant(half_done=True),
            "Where m becomes 2**31 it is halved, but n stays: m / 2**n is then half of what it "
            "should be.",
        ),
        *_either(
            "m and n are in the wrong order: return the large one first.",
            swapped=True,
        ),
        Mistake(
            _variant(ceil=True, carry=False),
            "Powers of two go wrong: log2(0.25) is -2 exactly, so that its fraction is 1 and not "
            "1/2. math.frexp gives a fraction from 1/2 to below 1 for every number.",
        ),
    ),
    stops=(
        ("math domain error", "log2 of 0? Every factor here is positive."),
        ("OverflowError", "A number left the integers' range: m is below 2**31."),
    ),
)
