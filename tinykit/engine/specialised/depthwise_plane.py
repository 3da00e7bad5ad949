"""Geometry of the depthwise kernels: planes of one channel, and which products meet in a word."""

from __future__ import annotations

from dataclasses import dataclass

from tinykit.engine.layer import Layer


@dataclass(frozen=True)
class Row:
    """How two outputs (or one) are computed from one row of filter taps.

    Attributes
    ----------
    words : the taps in words of two (low, high), -1 for none
    terms : for each output, the products: (index of the word of inputs, instruction, index of the
        word of taps)
    """

    words: tuple[tuple[int, int], ...]
    terms: tuple[tuple[tuple[int, str, int], ...], ...]

    @property
    def loads(self) -> range:
        """Words of inputs that are read, counted from the first output's first input."""
        return range(1 + max(word for terms in self.terms for word, _, _ in terms))


def row_of(taps: int, stride: int, dilation: int, outputs: int = 2) -> Row:
    """Products of a row of `taps`; pairs of taps on pairs of inputs where both lie in one word."""
    words: list[tuple[int, int]] = []
    plans = []
    for output in range(outputs):
        at = [output * stride + tap * dilation for tap in range(taps)]
        tap, plan = 0, []
        while tap < taps:
            paired = dilation == 1 and tap + 1 < taps and at[tap] % 2 == 0
            plan.append((at[tap], tap, paired))
            if paired and (tap, tap + 1) not in words:
                words.append((tap, tap + 1))
            tap += 2 if paired else 1
        plans.append(plan)
    alone = [tap for plan in plans for _, tap, paired in plan if not paired]
    lacking = [t for t in dict.fromkeys(alone) if all(t not in word for word in words)]
    words += [(t, u) for t, u in zip(lacking[::2], [*lacking[1::2], -1], strict=False)]
    terms = []
    for plan in plans:
        found = []
        for at_input, tap, paired in plan:
            if paired:
                found.append((at_input // 2, "smlad", words.index((tap, tap + 1))))
                continue
            home = next(i for i, word in enumerate(words) if tap in word)
            halves = "bt"[at_input % 2] + "bt"[words[home].index(tap)]
            found.append((at_input // 2, "smla" + halves, home))
        terms.append(tuple(found))
    return Row(tuple(words), tuple(terms))


@dataclass(frozen=True)
class Plane:
    """The geometry of a layer whose outputs are computed in runs along one axis.

    Attributes
    ----------
    axis : 0 for runs along the width, 1 for runs along the height. "Along" and "across" say the
        direction of a run and the other one.
    """

    layer: Layer
    axis: int

    def _pair(self, hw: tuple[int, int]) -> tuple[int, int]:
        return (hw[1], hw[0]) if self.axis == 0 else (hw[0], hw[1])

    @property
    def inputs(self) -> tuple[int, int]:
        """Along and across, as all of these."""
        return self._pair(self.layer.in_hwc[:2])

    @property
    def outputs(self) -> tuple[int, int]:
        return self._pair(self.layer.out_hwc[:2])

    @property
    def taps(self) -> tuple[int, int]:
        return self._pair(self.layer.window)

    @property
    def strides(self) -> tuple[int, int]:
        return self._pair(self.layer.strides)

    @property
    def dilations(self) -> tuple[int, int]:
        return self._pair(self.layer.dilations)

    @property
    def before(self) -> tuple[int, int]:
        return self._pair((self.layer.pads[0], self.layer.pads[2]))

    @property
    def multiplier(self) -> int:
        return self.layer.channels // self.layer.in_hwc[2]

    def steps(self, width: int, channels: int) -> tuple[int, int]:
        """Elements from a pixel of an HWC image to the next along and across."""
        return (channels, width * channels) if self.axis == 0 else (width * channels, channels)

    @property
    def reach(self) -> tuple[int, int]:
        """Inputs, padding included, that the windows cover."""
        return tuple(
            (n - 1) * stride + (taps - 1) * dilation + 1
            for n, stride, taps, dilation in zip(
                self.outputs, self.strides, self.taps, self.dilations, strict=True
            )
        )  # type: ignore[return-value]

    @property
    def copied(self) -> tuple[int, int]:
        """Inputs that are copied: windows may leave some at the end aside."""
        return tuple(
            min(n, reach - before)
            for n, reach, before in zip(self.inputs, self.reach, self.before, strict=True)
        )  # type: ignore[return-value]

    @property
    def pitch(self) -> int:
        """Halfwords from line to line of the plane: even, so that words are aligned."""
        return -(-self.reach[0] // 2) * 2

    @property
    def halfwords(self) -> int:
        return self.pitch * self.reach[1]

    @property
    def padded(self) -> bool:
        return self.reach != self.copied

    def row(self, outputs: int = 2) -> Row:
        return row_of(self.taps[0], self.strides[0], self.dilations[0], outputs)
