"""Predict first: a structured answer that unlocks the knobs and is compared with the outcome."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any

from tinykit.graph.errors import TinykitError


class PredictionError(TinykitError, ValueError):
    """An answer that the question does not allow."""


class Prediction:
    """A question with a structured answer: one of several options, or a number.

    Parameters
    ----------
    question : str
    options : mapping of str to float, optional
        What can be chosen, and the number that each choice stands for. Without options the answer
        is a number.
    unit : str
        Of the outcome, e.g. ``"×"`` or ``"kB"``.
    low, high : float
        Limits of a number.
    """

    def __init__(
        self,
        question: str,
        options: Mapping[str, float] | None = None,
        *,
        unit: str = "",
        low: float = 0.0,
        high: float = 100.0,
    ) -> None:
        self.question, self.unit = question, unit
        self.options = dict(options) if options else None
        self.low, self.high = low, high
        self.answer: str | float | None = None
        self._waiting: list[Callable[[], None]] = []

    @property
    def value(self) -> float | None:
        """The number that the answer stands for; None while there is no answer."""
        if self.answer is None:
            return None
        return self.options[str(self.answer)] if self.options else float(self.answer)

    def commit(self, answer: str | float) -> None:
        """Give the answer; what it unlocks is unlocked now. The first answer stays.

        Raises
        ------
        PredictionError
            Not one of the options, not a number, or out of range.
        """
        if self.options is not None and answer not in self.options:
            raise PredictionError(
                f"{answer!r} is not one of the answers: {', '.join(map(repr, self.options))}"
            )
        if self.options is None:
            try:
                answer = float(answer)
            except (TypeError, ValueError):
                raise PredictionError(f"a number is needed, not {answer!r}") from None
            if not self.low <= answer <= self.high:
                raise PredictionError(
                    f"{answer:g} is outside {self.low:g} to {self.high:g} {self.unit}".rstrip()
                )
        if self.answer is None:
            self.answer = answer
            for call in self._waiting:
                call()

    def when_committed(self, call: Callable[[], None]) -> None:
        """Run `call` once there is an answer: now, or when it is given."""
        if self.answer is None:
            self._waiting.append(call)
        else:
            call()

    def compare(self, outcome: float, meaning: str = "") -> Comparison:
        """Set the outcome beside the prediction; `meaning` says in words what it shows."""
        return Comparison(self, float(outcome), meaning)

    def gate(self, make: Callable[[], Any]) -> Any:
        """A widget that shows what `make()` returns as soon as there is an answer."""
        from tinykit.course._widgets import gate

        return gate(self, make)

    def _ipython_display_(self) -> None:
        from tinykit.course._widgets import show_question

        show_question(self)

    def __repr__(self) -> str:
        return f"{self.question} Answer: {'none yet' if self.answer is None else self.answer}"


class Comparison:
    """An outcome beside what was predicted. Shown in a notebook, it follows a later answer."""

    def __init__(self, prediction: Prediction, outcome: float, meaning: str = "") -> None:
        self.prediction, self.outcome, self.meaning = prediction, outcome, meaning

    @property
    def right(self) -> bool | None:
        """Is the answer the nearest option, or a number within 10 % of the outcome?"""
        value, options = self.prediction.value, self.prediction.options
        if value is None:
            return None
        if options:
            nearest = min(options.values(), key=lambda v: abs(v - self.outcome))
            return value == nearest
        return abs(value - self.outcome) <= 0.1 * abs(self.outcome)

    def __str__(self) -> str:
        unit = self.prediction.unit
        space = "" if unit in {"", "×", "%"} else " "
        outcome = f"{self.outcome:.3g}{space}{unit}"
        if self.right is None:
            return f"It is {outcome}. You made no prediction: answer the question above first."
        said = self.prediction.answer
        said = said if self.prediction.options else f"{said:g}{space}{unit}"
        verdict = "You were right" if self.right else "A surprise"
        return f"{verdict}: you said {said}, it is {outcome}. {self.meaning}".rstrip()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f'<div role="status"><b>{html.escape(str(self))}</b></div>'

    def _ipython_display_(self) -> None:
        from tinykit.course._widgets import show_comparison

        show_comparison(self)


def predict(
    question: str,
    options: Mapping[str, float] | None = None,
    *,
    unit: str = "",
    low: float = 0.0,
    high: float = 100.0,
    answer: str | float | None = None,
) -> Prediction:
    """Ask before the knob: a `Prediction`, committed at once when `answer` is given.

    See `Prediction` for the parameters. Displayed in a notebook it is a row of radio buttons or a
    number field, and a button; all of it works from the keyboard.
    """
    prediction = Prediction(question, options, unit=unit, low=low, high=high)
    if answer is not None:
        prediction.commit(answer)
    return prediction
