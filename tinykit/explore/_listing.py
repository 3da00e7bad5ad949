"""The code of one step of a program, for people: its C, what the compiler made of that, and what
kinds of instructions that runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tinykit.engine.elf import Elf

if TYPE_CHECKING:
    import numpy as np

    from tinykit.engine.trace import Trace

#: longer listings are cut: nobody scrolls through them, and each travels to the browser
MOST_LINES = 600
#: instructions that run at least this often, relative to the one that runs most, are marked
HOT = 0.5

#: kinds of instructions, by how their names begin; the first that fits
KINDS = (
    (
        "multiplications",
        ("mla", "mls", "mul", "sml", "smm", "smu", "umu", "uml", "uma", "vml", "vmul", "vfm"),
    ),
    ("loads", ("ldr", "ldm", "pop", "vldr", "vldm", "vpop")),
    ("stores", ("str", "stm", "push", "vstr", "vstm", "vpush")),
    ("jumps, comparisons", ("b", "cb", "cmp", "cmn", "tst", "teq", "it", "tb")),
)
#: of the branches' names, bitwise operations
_BITWISE = ("bic", "bfi", "bfc")
REST = "all else"
INSTRUCTION_KINDS = (*(kind for kind, _ in KINDS), REST)

_WORD = re.compile(r"\b(?:model|tk)_\w+\b")
#: a branch to an address: its mnemonic, what comes before the address, the address
_BRANCH = re.compile(r"^(b|bl|b[a-z]{2}|cbn?z)(\.w)?$")
#: registers by number, as Arm's manuals have them
_NUMBERED = {"sb": "r9", "sl": "r10", "fp": "r11", "ip": "r12"}
_NAMED = re.compile(r"\b(sb|sl|fp|ip)\b")
#: the definition of a function: its line starts in the first column and has no semicolon
_HEAD = re.compile(
    r"^(?:(?:__attribute__\(\(\w+\)\)|[\w*]+)[ \n*]+)+?(\w+)\([^;{]*\)\n\{\n", re.MULTILINE
)


class CSource:
    """The functions of generated C, by name."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.bodies: dict[str, str] = {}
        for text in files.values():
            for head in _HEAD.finditer(text):
                end = text.find("\n}", head.end() - 1)
                self.bodies.setdefault(head[1], text[head.start() : end + 2])

    def listing(self, symbol: str) -> str:
        """Function `symbol`, and under it those it calls, directly or not."""
        found, waiting = [], [symbol]
        while waiting:
            name = waiting.pop(0)
            if name in found or name not in self.bodies:
                continue
            found.append(name)
            waiting += _WORD.findall(self.bodies[name])
        return cut("\n\n".join(self.bodies[name] for name in found))


class Assembly:
    """The machine code of an image, with how often each instruction ran."""

    def __init__(self, elf: Elf, trace: Trace) -> None:
        import capstone

        self.elf, self.trace, self.runs = elf, trace, trace.runs
        mode = capstone.CS_MODE_THUMB | capstone.CS_MODE_MCLASS
        self.reader = capstone.Cs(capstone.CS_ARCH_ARM, mode)
        self.reader.skipdata = True
        self._read: dict[str, list[tuple[int, str, str]]] = {}
        self.names = {at: name for name, (at, _) in elf.functions.items()}

    def listing(self, row: int, symbol: str) -> str:
        """What ran in the step of trace row `row`: its function, then the busiest others."""
        runs = self.runs[row]
        most = int(runs.max(initial=0))
        totals = {name: self._total(name, runs) for name in self.elf.functions}
        busy = [name for name, total in totals.items() if total and name != symbol]
        busy.sort(key=lambda name: -totals[name])
        parts = [
            "\n".join([f"{name}: {totals[name]:,} instructions", *self._lines(name, runs, most)])
            for name in [symbol, *busy]
            if totals.get(name)
        ]
        return cut("\n\n".join(parts))

    def loop(self, row: int) -> tuple[int, list[str]]:
        """How often the busiest stretch of code ran in the step of trace row `row`, and its lines.

        The first stretch of instructions in a row that ran equally often, and none more often.
        """
        runs = self.runs[row]
        most = int(runs.max(initial=0))
        found: list[str] = []
        for name in self.elf.functions:
            if not self._total(name, runs):
                continue
            code = zip(self._code(name), self._lines(name, runs, most), strict=True)
            for (at, _, _), line in code:
                if int(runs[(at - self.trace.base) // 2]) == most:
                    found.append(line)
                elif found:
                    return most, found
            if found:
                break
        return most, found

    def kinds(self, row: int) -> dict[str, int]:
        """How many instructions of each kind ran in the step of trace row `row`."""
        runs = self.runs[row]
        found = dict.fromkeys(INSTRUCTION_KINDS, 0)
        for name in self.elf.functions:
            if self._total(name, runs):
                for at, mnemonic, _ in self._code(name):
                    found[_kind(mnemonic)] += int(runs[(at - self.trace.base) // 2])
        return found

    def _code(self, name: str) -> list[tuple[int, str, str]]:
        """Address, mnemonic and operands of each instruction of a function."""
        start, size = self.elf.functions[name]
        if name not in self._read:
            code = self.trace.code[max(start - self.trace.base, 0) :][:size]
            self._read[name] = [
                (at, mnemonic, _NAMED.sub(lambda m: _NUMBERED[m[0]], operands))
                for at, _, mnemonic, operands in self.reader.disasm_lite(code, start)
            ]
        return self._read[name]

    def _total(self, name: str, runs: np.ndarray) -> int:
        """Instructions run; a wide one has two halfwords, of which only the first counts."""
        start, size = self.elf.functions[name]
        first = max((start - self.trace.base) // 2, 0)
        if not runs[first : first + size // 2].any():
            return 0
        return sum(int(runs[(at - self.trace.base) // 2]) for at, _, _ in self._code(name))

    def _lines(self, name: str, runs: np.ndarray, most: int) -> Iterator[str]:
        code = self._code(name)
        inside = {at for at, _, _ in code}
        targets = sorted({t for line in code if (t := _target(line)) in inside and t is not None})
        labels = {at: f".{n}" for n, at in enumerate(targets, 1)}
        for line in code:
            at, mnemonic, operands = line
            target = _target(line)
            if target is not None:
                before = operands[: operands.rindex("#")]
                operands = before + labels.get(target, self.names.get(target, hex(target)))
            ran = int(runs[(at - self.trace.base) // 2])
            times = f"{ran:,}" if ran else ""
            mark = "▌" if ran and ran >= HOT * most else " "
            yield f"{times:>9} {mark}{labels.get(at, ''):>4} {mnemonic:<8} {operands}".rstrip()


def _kind(mnemonic: str) -> str:
    if mnemonic.startswith(_BITWISE):
        return REST
    return next((kind for kind, names in KINDS if mnemonic.startswith(names)), REST)


def _target(line: tuple[int, str, str]) -> int | None:
    """Where a branch leads."""
    _, mnemonic, operands = line
    if not _BRANCH.match(mnemonic) or "#" not in operands:
        return None
    return int(operands[operands.rindex("#") + 1 :], 16)


def cut(text: str) -> str:
    """`text`, or its first `MOST_LINES` lines and how many follow."""
    lines = text.split("\n")
    if len(lines) <= MOST_LINES:
        return text
    return "\n".join([*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES:,} more lines"])
