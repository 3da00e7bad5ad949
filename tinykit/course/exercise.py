"""Self-checks that explain: an exercise knows the answer and the mistakes people make.

A known mistake is a function that makes it. When a student's results equal a mistake's results on
every case that tells them apart, the report explains that mistake; otherwise it shows the first
case that differs, with numbers. All of this is plain Python; a notebook only displays the report.
"""

from __future__ import annotations

import html
import importlib
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinykit.graph.errors import TinykitError


class CheckFailed(TinykitError, AssertionError):
    """A self-check that had to pass did not; the text explains why."""


@dataclass(frozen=True)
class Mistake:
    """A mistake that people make.

    Attributes
    ----------
    function : callable
        Solves the exercise as somebody who makes the mistake would.
    explanation : str
        What was overlooked and how to see it; not the corrected line.
    """

    function: Callable[..., Any]
    explanation: str


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes
    ----------
    passed : bool
    verdict : str
        One sentence.
    explanation : str
        Why, and what to look at; empty when passed.
    """

    passed: bool
    verdict: str
    explanation: str = ""

    def require(self) -> Report:
        """This report, or CheckFailed when it did not pass (for grading)."""
        if not self.passed:
            raise CheckFailed(str(self))
        return self

    def __str__(self) -> str:
        return f"{self.verdict}\n{self.explanation}".rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        mark, edge = ("✓", "#0072b2") if self.passed else ("✗", "#d55e00")
        body = "".join(f"<div>{html.escape(s)}</div>" for s in self.explanation.splitlines())
        return (
            f'<div role="status" style="border-left:4px solid {edge};padding:.4em .8em">'
            f"<b>{mark} {html.escape(self.verdict)}</b>{body}</div>"
        )


@dataclass(frozen=True)
class Exercise:
    """A function for the student to write, and what is needed to judge it.

    Attributes
    ----------
    name : str
    task : str
        What the function does, in one sentence.
    solve : callable
        The right answer, computed by the library.
    cases : sequence of tuple
        Arguments to call it with.
    mistakes : sequence of Mistake
    stops : sequence of tuple
        Words of an exception that such code ends in, and what was overlooked.
    tolerance : float
        Largest absolute difference that still counts as right (and why, in `task`).
    play : callable, optional
        ``play(function, *case)`` tries a function on a case and returns numbers to compare, where
        what it takes or returns is no array; by default ``function(*case)``.
    """

    name: str
    task: str
    solve: Callable[..., Any]
    cases: Sequence[tuple[Any, ...]]
    mistakes: Sequence[Mistake] = ()
    stops: Sequence[tuple[str, str]] = ()
    tolerance: float = 0.0
    play: Callable[..., Any] = lambda function, *case: function(*case)

    def _played(self, function: Callable[..., Any], case: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.play(function, *_copies(case)))

    def check(self, attempt: Callable[..., Any]) -> Report:
        """Judge an attempt; never raises for what the attempt does wrong."""
        if not callable(attempt):
            return Report(
                False, f"{self.name}: a function is needed, this is {type(attempt).__name__}."
            )
        results = []
        for case in self.cases:
            try:
                results.append(self._played(attempt, case))
            except NotImplementedError:
                return Report(
                    False,
                    f"{self.name}: not written yet.",
                    f"Replace the line that raises NotImplementedError. {self.task}",
                )
            except Exception as error:  # whatever the student's code does is a finding
                said = _where(error, attempt)
                hint = next((why for part, why in self.stops if part in said), "")
                return Report(False, f"{self.name}: your code stopped.", f"{said}\n{hint}".rstrip())
        wanted = [self._played(self.solve, case) for case in self.cases]
        if all(self._same(r, w) for r, w in zip(results, wanted, strict=True)):
            return Report(True, f"{self.name}: right, on all {len(self.cases)} cases.")
        for mistake in self.mistakes:
            if self._makes(mistake, results):
                return Report(False, f"{self.name}: not yet.", mistake.explanation)
        return Report(False, f"{self.name}: not yet.", self._difference(results, wanted))

    def _same(self, got: np.ndarray, want: np.ndarray) -> bool:
        if got.shape != want.shape or not _numeric(got):
            return False
        if np.issubdtype(want.dtype, np.integer) and got.dtype != want.dtype and want.ndim:
            return False
        return bool(np.all(np.abs(got.astype(float) - want.astype(float)) <= self.tolerance))

    def _makes(self, mistake: Mistake, results: list[np.ndarray]) -> bool:
        for case, result in zip(self.cases, results, strict=True):
            with np.errstate(all="ignore"):
                wrong = self._played(mistake.function, case)
            if wrong.shape != result.shape or not _numeric(result):
                return False
            a, b = wrong.astype(float), result.astype(float)
            with np.errstate(invalid="ignore"):
                near = np.abs(a - b) <= self.tolerance
            # what is not finite is the same mistake where it stands in the same places
            if not np.all(near | (a == b) | (np.isnan(a) & np.isnan(b))):
                return False
        return True

    def _difference(self, results: list[np.ndarray], wanted: list[np.ndarray]) -> str:
        for number, (got, want) in enumerate(zip(results, wanted, strict=True), 1):
            if self._same(got, want):
                continue
            called = _call(self.name, self.cases[number - 1])
            where = f"Case {number} of {len(wanted)}{called}: "
            if not _numeric(got):
                return where + f"numbers are needed, your function returned {got.item()!r}."
            if got.shape != want.shape:
                return where + f"shape {want.shape} is needed, yours is {got.shape}."
            gap = np.abs(got.astype(float) - want.astype(float))
            if np.all(gap <= self.tolerance):
                return (
                    where
                    + f"the values are right, but dtype {want.dtype} is needed, not {got.dtype}."
                )
            at = np.unravel_index(int(np.argmax(np.nan_to_num(gap, nan=np.inf))), gap.shape)
            place = f" at {tuple(int(i) for i in at)}" if want.ndim else ""
            wrong = int(np.sum(~(gap <= self.tolerance)))
            return where + (
                f"{wrong} of {want.size} values differ; the largest difference is{place}: "
                f"{_shown(want[at], want)} is right, yours is {_shown(got[at], want)}."
            )
        return "The results differ."


def check(name: str, attempt: Callable[..., Any]) -> Report:
    """Judge `attempt` at the exercise `name`; display the report or ``.require()`` it.

    Parameters
    ----------
    name : str
        A module of ``tinykit.course.exercises``.
    attempt : callable
        The student's function.

    Raises
    ------
    TinykitError
        There is no such exercise.
    """
    return load_exercise(name).check(attempt)


def load_exercise(name: str) -> Exercise:
    """The exercise that the module ``tinykit.course.exercises.NAME`` defines as EXERCISE."""
    place = f"tinykit.course.exercises.{name}"
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name != place:
            raise
        raise TinykitError(f"there is no exercise {name!r}") from None
    exercise: Exercise = module.EXERCISE
    return exercise


def _copies(case: tuple[Any, ...]) -> tuple[Any, ...]:
    # A student who writes into an argument must not change the next judgement.
    return tuple(a.copy() if isinstance(a, np.ndarray) else a for a in case)


def _call(name: str, case: tuple[Any, ...]) -> str:
    """What was called, where it is short enough to be tried by hand."""
    if sum(np.size(a) for a in case) > 8:
        return ""
    said = ", ".join(repr(a.tolist() if isinstance(a, np.ndarray) else a) for a in case)
    return f", {name}({said})" if len(said) <= 60 else ""


def _shown(value: np.generic, want: np.ndarray) -> str:
    """For people: integers in full, and in hexadecimal where words of bits are wanted."""
    if value.dtype.kind not in "iu":
        return f"{value.item():g}"
    return f"0x{value.item():08X}" if want.dtype == np.uint32 else str(value.item())


def _numeric(array: np.ndarray) -> bool:
    return bool(np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_)


def _where(error: Exception, attempt: Callable[..., Any]) -> str:
    """The error and the line of the student's own function that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    code = getattr(attempt, "__code__", None)
    own = [f for f in frames if code and (f.filename, f.name) == (code.co_filename, code.co_name)]
    if not own:  # it could not even be called, or the result could not be used
        return f"{type(error).__name__}: {error}"
    line = own[0]
    said = f", at line {line.lineno}: {line.line}" if line.line else f", at line {line.lineno}"
    return f"{type(error).__name__}: {error}{said}"
