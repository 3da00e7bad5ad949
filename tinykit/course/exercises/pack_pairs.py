"""Weights of two channels packed into words, so that one SMLAD does two multiply-accumulates.

Arguments: `a`, `b`, int8 (n,), the weights of two output channels, n even, values from -127 to 127.
The result is uint32 (n / 2,): word i holds two halfwords, the low one for tap 2i and the high one
for tap 2i + 1, and a halfword is ``256 b + a`` as 16 bits. The right answer is what the engine's
convolution kernel for cores with DSP instructions stores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinykit.course.exercise import Exercise, Mistake
from tinykit.engine.layer import Layer
from tinykit.engine.specialised.dsp_ends import Ends
from tinykit.graph import GraphBuilder, Quantization

Array = np.ndarray


def solve(a: Array, b: Array) -> Array:
    """The words of the engine's kernel for a layer with these two channels."""
    build = GraphBuilder("two_channels")
    source = build.input("x", (1, a.size), "int8", Quantization.per_tensor(0.02, -128))
    weights = build.const(np.stack([a, b]), Quantization.per_tensor(0.01, 0))
    out = Quantization.per_tensor(0.02 * 0.01 * 2 * a.size, 0)
    layer = Layer(
        build.finish([build.op("fully_connected", [source, weights, None], (1, 2), "int8", out)]), 0
    )
    ends = Ends.of(layer)
    assert ends is not None
    assert ends.raw
    halves = ends.halves(a.astype(np.int64), b.astype(np.int64))
    return (halves[0::2] | halves[1::2] << 16).astype(np.uint32)


def _variant(
    *,
    swap: bool = False,
    upside_down: bool = False,
    bytes_only: bool = False,
    sign: bool = False,
    narrow: bool = False,
    ends: bool = False,
    short: bool = False,
    added: bool = False,
) -> Any:
    """The packing, as somebody who makes the named mistake writes it."""

    def pack(a: Array, b: Array) -> Array:
        if narrow:
            with np.errstate(all="ignore"):
                halves = ((b << 8) + a).astype(np.int64) & 0xFFFF
        else:
            first, second = (b, a) if swap else (a, b)
            halves = 256 * second.astype(np.int64) + first
            if bytes_only:
                halves = (second.astype(np.int64) & 0xFF) << 8 | (first.astype(np.int64) & 0xFF)
            if not sign and not added:
                halves &= 0xFFFF
        low, high = halves[0::2], halves[1::2]
        if ends:
            low, high = halves[: halves.size // 2], halves[halves.size // 2 :]
        if upside_down:
            low, high = high, low
        if added:
            return (low + (high << 16)).astype(np.uint32)
        return (low | (0 if short else high << 16)).astype(np.uint32)

    return pack


def _cases() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(4)
    made: list[tuple[Any, ...]] = [
        (np.array([1, -2, 3, -4], np.int8), np.array([5, 6, -7, -8], np.int8))
    ]
    for taps in (10, 32):
        made.append(tuple(rng.integers(-127, 128, taps).astype(np.int8) for _ in range(2)))
    return made


_ROOM = (
    "256·b does not fit into int8, and numpy does not widen by itself. Which type has room for "
    "256·b + a?"
)
_SIGN = (
    "A uint32 is never negative. Keep the low 16 bits of each half, and only these, before they "
    "become a word."
)

EXERCISE = Exercise(
    name="pack_pairs",
    task="Return one uint32 for every two taps, each a halfword 256·b + a; the earlier one is low.",
    solve=solve,
    cases=_cases(),
    stops=(
        ("out of bounds for int8", _ROOM),
        ("out of bounds for uint8", _ROOM),
        ("out of bounds for uint32", _SIGN),
    ),
    mistakes=(
        Mistake(
            _variant(narrow=True),
            "The channel `b` has gone: b is int8, and an int8 shifted by eight bits is 0 (and a "
            "product with 256 does not fit either). Which type has room for 256·b + a?",
        ),
        Mistake(
            _variant(short=True),
            "The upper halfwords are empty: shifted by 16 bits, a type of 16 bits holds 0. Widen "
            "before the shift.",
        ),
        Mistake(
            _variant(sign=True),
            "A negative low halfword has filled the upper one with ones: −1 in a wide integer is "
            "…FFFFFFFF, and OR keeps every one of these bits. Keep only the low 16 of it.",
        ),
        Mistake(
            _variant(added=True),
            "Where the low half is negative, adding it takes one from the upper half. Keep the low "
            "16 bits of each half before they are put together.",
        ),
        Mistake(
            _variant(bytes_only=True),
            "The two bytes were put side by side. Where a is negative its byte stands for 256 + a, "
            "so the halfword is 256 too large: 256·b + a borrows one from the upper byte.",
        ),
        Mistake(
            _variant(swap=True),
            "The channels are exchanged: b belongs into the upper byte of each halfword (256·b), a "
            "into the lower one, which SXTB16 takes out.",
        ),
        Mistake(
            _variant(upside_down=True),
            "The taps are exchanged: the core loads inputs 2i and 2i + 1 as one word, the earlier "
            "one in its low half (a Cortex-M is little-endian), and SMLAD multiplies low by low.",
        ),
        Mistake(
            _variant(ends=True),
            "The first half of the taps went into the low halves and the second into the high "
            "ones. A word meets two inputs that lie beside each other: taps 0 and 1, then 2 and 3.",
        ),
    ),
)
