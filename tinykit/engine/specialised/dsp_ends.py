"""Where the sums of the DSP kernels start and how they leave: pairs of channels in one word.

A word of weights holds two taps of two neighbouring output channels: bytes ``(a0, b0, a1, b1)``.
SXTB16 takes the even bytes out, the halfwords ``(a0, a1)`` that SMLAD wants. The odd bytes need no
instruction: the word is stored as the halfwords ``(256 b0 + a0, 256 b1 + a1)`` and multiplied as it
stands, so its sum is 256 times that of `b` plus that of `a`, which is known and subtracted at the
end. All of this is arithmetic modulo 2**32 and exact as long as the last result fits.

Inputs come as halfwords ``(x + 128) * 2**t``: a mask does for the sign extension, and the factor
spares a shift of every sum before its multiplication (`tinykit.engine.requant`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tinykit.engine.layer import Layer
from tinykit.engine.requant import Requant, exact

_LIMIT = 1 << 31


@dataclass(frozen=True, eq=False)
class Ends:
    """How the channels of one layer start and leave. Channels 0, 2, 4... are `a`, 1, 3, 5... `b`.

    Attributes
    ----------
    times : t, the power of two in the inputs: 2, or 1 where the sums have to come doubled
    raw : whether the words of weights are multiplied as they stand, for the `b` channels
    mantissa, add, right : int64 (channels,): of the last multiplication and shift
    merged : both roundings in one (`Requant.raised`), else one after the other
    """

    requant: Requant
    times: int
    raw: bool
    merged: bool
    mantissa: np.ndarray
    add: np.ndarray
    right: np.ndarray

    @classmethod
    def of(cls, layer: Layer) -> Ends | None:
        """The cheapest way that is exact for `layer`; None where there is none."""
        requant = exact(layer)
        if requant is None:
            return None
        odd = np.arange(layer.channels) % 2
        weights = layer.weights.reshape(layer.channels, -1).astype(np.int64)
        a, b = weights[0::2], weights[1::2]
        fits = not np.any(256 * b + a[: len(b)] < -(1 << 15))
        for raw, merged in ((True, True), (True, False), (False, True), (False, False)):
            if raw and not fits:
                continue
            t = 2 if merged else 1
            scaled = layer.reach << (t + 8 * raw * odd)
            if np.any(scaled >= _LIMIT):
                continue
            if not merged:
                return cls(requant, t, raw, False, requant.mantissa, requant.add, requant.right)
            times = t + 8 * raw * odd
            add = requant.raised(times)
            if add is not None:
                right = requant.right + times - 1
                return cls(requant, t, raw, True, requant.mantissa, add, right)
        return None

    def halves(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The halfwords, as int64 in 0..65535, that hold taps of `a` and of `b` channels."""
        return 256 * b + a & 0xFFFF if self.raw else (b & 0xFF) << 8 | a & 0xFF

    def shift(self, which: int) -> int | None:
        """The shift of all `a` (0) or all `b` (1) channels; None where they differ."""
        found = np.unique(self.right[which::2])
        return int(found[0]) if len(found) == 1 else 0 if not len(found) else None

    @property
    def words(self) -> tuple[int, int]:
        """Words of constants that an `a` and a `b` channel leave with."""
        return 2 + (self.shift(0) is None), 2 + (self.shift(1) is None)

    def starts(self, layer: Layer) -> np.ndarray:
        """int64 (channels,): what each sum starts from, modulo 2**32."""
        weights = layer.weights.astype(np.int64)
        total = weights.reshape(layer.channels, -1).sum(axis=1)
        starts = (layer.bias - 128 * total) << self.times
        if self.raw:
            odd = starts[1::2]
            starts[1::2] = 256 * odd + starts[0::2][: len(odd)]
        return starts

    def constants(self, channel: int) -> list[int]:
        """The words that a channel leaves with."""
        made = [int(self.mantissa[channel]), int(self.add[channel])]
        if self.shift(channel % 2) is None:
            made.append(int(self.right[channel]))
        return made

    def lines(self, which: int, accs: list[str], at: int, targets: list[str]) -> Iterator[str]:
        """C statements from the sums of one channel (`a`: 0, `b`: 1, freed of what they hold of
        `a`) to stored outputs; its constants start at ``w[at]``."""
        shift: int | str | None = self.shift(which)
        yield f"const int32_t m = (int32_t)w[{at}], k = (int32_t)w[{at + 1}];"
        if shift is None:
            yield f"const int32_t s = (int32_t)w[{at + 2}];"
            shift = "s"
        for acc, target in zip(accs, targets, strict=True):
            if self.merged:
                yield f"{acc} = {self.requant.limited(f'tk_smmla({acc}, m, k)', shift)};"
                yield from self.requant.clips(acc)
                yield f"{target} = (int8_t){acc};"
                continue
            if self.raw and which:
                yield f"{acc} >>= 8;"
            name = f"y{acc}"
            yield from self.requant.text(acc, "m", "k", shift, name)
            yield f"{target} = (int8_t){name};"
