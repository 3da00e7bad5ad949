"""The inner kernel of the DSP convolutions: a few pixels times all output channels.

Inputs stand in scratch memory as halfwords (`tinykit.engine.specialised.dsp_ends` says why).
Weights are one stream of words that is read from front to end: for every group of channels what
their sums start from, their weights step by step, and what they leave with. A step is two taps: one
load and one SXTB16 bring them for two channels, one load brings the inputs of a pixel, two SMLAD
multiply.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinykit.engine.codegen import OpContext
from tinykit.engine.layer import Layer
from tinykit.engine.specialised.dsp_ends import Ends

#: no more steps are written out without a loop
WHOLE = 40


@dataclass(frozen=True)
class Walk:
    """Where the taps of a pixel lie in the halfwords in scratch.

    Attributes
    ----------
    levels : (count, distance in halfwords) of the loops over taps, the outermost first
    run : halfwords that lie together in the innermost one
    order : int64 (run,): which of the run's elements each halfword is
    pixel : distance in halfwords from pixel to pixel
    """

    levels: tuple[tuple[int, int], ...]
    run: int
    order: tuple[int, ...]
    pixel: int

    @property
    def steps(self) -> int:
        """Steps of two taps in a run; the last may have one tap only."""
        return -(-self.run // 2)

    @property
    def starts(self) -> list[int]:
        """Where each run begins, in halfwords from a pixel's first."""
        found = [0]
        for count, step in self.levels:
            found = [start + n * step for start in found for n in range(count)]
        return found

    @property
    def whole(self) -> bool:
        """Whether all runs can be written out, without a loop."""
        return len(self.starts) * self.steps <= WHOLE

    @property
    def aligned(self) -> bool:
        """Whether all steps begin at whole words."""
        return self.pixel % 2 == 0 and all(step % 2 == 0 for _, step in self.levels)

    @property
    def reach(self) -> int:
        """Halfwords from a pixel's first to the end of the last word that is read."""
        return sum((count - 1) * step for count, step in self.levels) + 2 * self.steps


def stream(layer: Layer, ends: Ends, walk: Walk, words: int, first: int, last: int) -> np.ndarray:
    """uint32: the stream for output channels `first` to `last`, in groups of twice `words`; a
    single channel at the end has no partner."""
    runs = layer.weights.reshape(layer.channels, -1, walk.run).astype(np.int64)
    taps = np.zeros((last - first + (last - first) % 2, runs.shape[1], 2 * walk.steps), np.int64)
    taps[: last - first, :, : walk.run] = runs[first:last][:, :, list(walk.order)]
    starts = ends.starts(layer)
    made: list[np.ndarray] = []
    for group in range(first, last, 2 * words):
        stop = min(group + 2 * words, last)
        channels = range(group, stop)
        rows = taps[group - first : group - first + 2 * -(-len(channels) // 2)]
        halves = ends.halves(rows[0::2], rows[1::2])  # (pairs, runs, taps)
        packed = halves[..., 0::2] | halves[..., 1::2] << 16
        made.append(np.array([starts[c] for c in channels], np.int64))
        made.append(packed.transpose(1, 2, 0).ravel())
        made.append(np.array([v for c in channels for v in ends.constants(c)], np.int64))
    return (np.concatenate(made) & 0xFFFFFFFF).astype(np.uint32)


@dataclass(frozen=True)
class Block:
    """`pixels` pixels times groups of ``2 * words`` output channels (1 where `single`).

    Attributes
    ----------
    steps : how many are written out in the innermost loop; 0 for all steps of a run
    wide : words are loaded two at a time: inputs of two steps, or weights of four channels
    pitch : bytes from a pixel's outputs to the next one's
    """

    walk: Walk
    ends: Ends
    pixels: int
    words: int
    steps: int
    wide: bool
    pitch: int
    single: bool = False

    @property
    def channels(self) -> int:
        return 1 if self.single else 2 * self.words

    def function(self, ctx: OpContext) -> str:
        """Name of the C function ``(w, end, x, out)``: the stream, its end, inputs, outputs."""
        ctx.use("simd")
        count = f"{self.channels} channel{'s' * (self.channels > 1)}"
        return ctx.function(
            f"dot{self.pixels}x{self.channels}",
            "const uint32_t *w, const uint32_t *end, const int16_t *rows, int8_t *out",
            "\n".join(self._lines()) + "\n",
            f"{self.pixels} pixel{'s' * (self.pixels > 1)}, all channels of a stream, {count} a "
            "turn",
        )

    # -- the body -------------------------------------------------------------------------------

    def _names(self, word: int, which: int) -> list[str]:
        return [f"{'ab'[which]}{word}{p}" for p in range(self.pixels)]

    @property
    def _kinds(self) -> Sequence[int]:
        return (0,) if self.single else (0, 1)

    def _lines(self) -> Iterator[str]:
        yield "do {"
        n = 0
        for word in range(self.words):
            for which in self._kinds:
                accs = self._names(word, which)
                rest = "".join(f", {acc} = {accs[0]}" for acc in accs[1:])
                yield f"    int32_t {accs[0]} = (int32_t)w[{n}]{rest};"
                n += 1
        yield f"    w += {n};"
        yield from _in(self._taps())
        yield from _in(self._leave())
        yield "} while (w != end);"

    def _taps(self) -> Iterator[str]:
        levels = [level for level in self.walk.levels if level[0] > 1]
        if levels and self.steps == 0 and self.walk.whole:
            yield "const int16_t *x = rows;"
            steps = self.walk.steps
            for n, start in enumerate(self.walk.starts):
                yield from self._written(steps, n * steps, start)
            yield f"w += {len(self.walk.starts) * steps * self.words};"
            return
        source = "rows"
        for depth, (count, step) in enumerate(levels):
            pad = "    " * depth
            yield f"{pad}const int16_t *row{depth} = {source};"
            yield f"{pad}const int16_t *const stop{depth} = {source} + {count * step};"
            yield f"{pad}do {{"
            source = f"row{depth}"
        pad = "    " * len(levels)
        yield from (pad + line for line in self._run(source, bool(levels)))
        for depth, (_, step) in reversed(list(enumerate(levels))):
            pad = "    " * depth
            yield f"{pad}    row{depth} += {step};"
            yield f"{pad}    TK_KEEP(row{depth});"
            yield f"{pad}}} while (row{depth} != stop{depth});"

    def _run(self, source: str, looped: bool) -> Iterator[str]:
        total = self.walk.steps
        written = self.steps or total
        turns, rest = divmod(total, written)
        if turns == 1:
            yield f"const int16_t *x = {source};"
            yield from self._written(total)
            yield f"w += {total * self.words};"
            if looped:
                yield "TK_KEEP(w);"
            return
        yield f"const int16_t *x = {source};"
        yield f"const int16_t *const last = x + {2 * turns * written};"
        yield "do {"
        yield from _in(self._written(written))
        yield f"    w += {written * self.words};"
        yield f"    x += {2 * written};"
        yield "    TK_KEEP(w);"
        yield "    TK_KEEP(x);"
        yield "} while (x != last);"
        if rest:
            yield from self._written(rest)
            yield f"w += {rest * self.words};"

    def _written(self, steps: int, first: int = 0, start: int = 0) -> Iterator[str]:
        """`steps` steps, from word of weights number `first` (for one word a step) and halfword
        `start` of inputs on."""
        # accumulators pass through TK_ORDER, so that no load of the next step is done before
        twos = steps // 2 if self.wide and self.words == 1 else 0
        for step in range(0, 2 * twos, 2):
            yield from _braces(self._two_steps(first + step, start + 2 * step))
        for step in range(2 * twos, steps):
            yield from _braces(self._step(first + step, start + 2 * step))

    def _two_steps(self, step: int, at: int) -> Iterator[str]:
        yield "uint32_t w0, w1;"
        yield f"TK_LOAD64(w0, w1, w, {4 * step});"
        odd = []
        for n in (0, 1):
            yield f"const uint32_t e{n} = tk_sxtb16(w{n});"
            odd.append(f"w{n}")
            if not self.single and not self.ends.raw:
                yield f"const uint32_t o{n} = tk_sxtb16_ror8(w{n});"
                odd[n] = f"o{n}"
        for p in range(self.pixels):
            yield f"uint32_t x{p}, z{p};"
            yield f"TK_LOAD64(x{p}, z{p}, x, {2 * (p * self.walk.pixel + at)});"
            yield from self._products(0, p, f"x{p}", "e0", odd[0])
            yield from self._products(0, p, f"z{p}", "e1", odd[1])
            yield self._order(0, p)

    def _step(self, step: int, start: int) -> Iterator[str]:
        if self.words > 1:
            yield from (self._load(p, start) for p in range(self.pixels))
        for word in range(self.words):
            at = step * self.words + word
            if self.pixels == 1 and self.words == 1:
                yield self._load(0, start)
            if self.wide and word + 1 < self.words and word % 2 == 0:
                yield f"uint32_t w{word}, w{word + 1};"
                yield f"TK_LOAD64(w{word}, w{word + 1}, w, {4 * at});"
            elif not (self.wide and word % 2):
                yield f"const uint32_t w{word} = w[{at}];"
            if self.pixels == 1 and not self.single and self.ends.raw:
                # one after the other, in the same register
                a, b = self._names(word, 0)[0], self._names(word, 1)[0]
                yield f"{b} = tk_smlad(x0, w{word}, {b});"
                yield f"TK_ORDER1({b});"
                yield f"{a} = tk_smlad(x0, tk_sxtb16(w{word}), {a});"
                yield f"TK_ORDER1({a});"
                continue
            yield f"const uint32_t e{word} = tk_sxtb16(w{word});"
            odd = f"w{word}"
            if not self.single and not self.ends.raw:
                yield f"const uint32_t o{word} = tk_sxtb16_ror8(w{word});"
                odd = f"o{word}"
            for p in range(self.pixels):
                if self.words == 1 and self.pixels > 1:
                    yield self._load(p, start)
                yield from self._products(word, p, f"x{p}", f"e{word}", odd)
                yield self._order(word, p)

    def _products(self, word: int, pixel: int, x: str, even: str, odd: str) -> Iterator[str]:
        for which in self._kinds:
            acc = self._names(word, which)[pixel]
            yield f"{acc} = tk_smlad({x}, {odd if which else even}, {acc});"

    def _order(self, word: int, pixel: int) -> str:
        kept = [self._names(word, which)[pixel] for which in self._kinds]
        return f"TK_ORDER{len(kept)}({', '.join(kept)});"

    def _load(self, pixel: int, start: int) -> str:
        offset = pixel * self.walk.pixel + start
        at = f"x + {offset}" if offset else "x"
        return f"const uint32_t x{pixel} = tk_load32({at});"

    def _leave(self) -> Iterator[str]:
        at = 0
        for word in range(self.words):
            a, b = self._names(word, 0), self._names(word, 1)
            if self.ends.raw and not self.single:
                yield from (f"{y} = tk_sub32({y}, {x});" for x, y in zip(a, b, strict=True))
            for which in self._kinds:
                accs = (a, b)[which]
                targets = [f"out[{p * self.pitch + 2 * word + which}]" for p in range(self.pixels)]
                yield "{"
                yield from _in(self.ends.lines(which, accs, at, targets))
                yield "}"
                at += self.ends.words[which]
        yield f"w += {at};"
        yield f"out += {self.channels};"


def _braces(lines: Iterator[str]) -> Iterator[str]:
    yield "{"
    yield from _in(lines)
    yield "}"


def _in(lines: Iterator[str]) -> Iterator[str]:
    return ("    " + line for line in lines)
