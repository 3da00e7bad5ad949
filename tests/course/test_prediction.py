"""Predictions unlock knobs, keep the first answer, and are compared with the outcome."""

from __future__ import annotations

import pytest

from tinykit.course import predict
from tinykit.course._widgets import gate, question_box
from tinykit.course.prediction import PredictionError

OPTIONS = {"2×": 2.0, "4×": 4.0, "8×": 8.0}


def test_choice_right_and_wrong() -> None:
    asked = predict("How much smaller?", OPTIONS, unit="×", answer="4×")
    assert asked.compare(3.4).right is True
    assert asked.compare(7.0).right is False
    assert str(asked.compare(7.0, "Code.")) == "A surprise: you said 4×, it is 7×. Code."


def test_number_within_a_tenth_is_right() -> None:
    asked = predict("How many?", unit="kB", answer=95)
    assert asked.compare(100).right is True
    assert asked.compare(120).right is False
    assert "you said 95 kB, it is 120 kB" in str(asked.compare(120))


def test_without_answer_the_outcome_asks_for_one() -> None:
    comparison = predict("How much?", OPTIONS).compare(4)
    assert comparison.right is None
    assert "You made no prediction" in str(comparison)


@pytest.mark.parametrize(
    ("options", "answer", "part"),
    [
        (OPTIONS, "3×", "not one of the answers"),
        (None, "x", "a number"),
        (None, 101, "outside 0 to"),
    ],
)
def test_answers_that_the_question_does_not_allow(options, answer, part) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(PredictionError, match=part):
        predict("?", options, answer=answer)


def test_first_answer_stays() -> None:
    asked = predict("?", OPTIONS, answer="2×")
    asked.commit("8×")
    assert asked.answer == "2×"


def test_gate_opens_with_the_answer() -> None:
    import ipywidgets as widgets

    asked = predict("?", OPTIONS)
    made = []

    def make() -> widgets.Widget:
        made.append(widgets.IntSlider())
        return made[-1]

    box = gate(asked, make)
    assert made == []
    assert "unlock" in box.children[0].value
    asked.commit("2×")
    assert box.children == (made[0],)


def test_question_box_by_hand() -> None:
    asked = predict("?", OPTIONS)
    box = question_box(asked)
    _, field, row = box.children
    button, said = row.children
    button.click()
    assert said.value == "Choose an answer first."
    field.value = "4×"
    button.click()
    assert asked.answer == "4×"
    assert field.disabled
    assert button.disabled
    assert "4×" in said.value


def test_number_box_tells_a_bad_number_and_takes_the_next() -> None:
    asked = predict("?", unit="kB", high=10)
    _, field, row = question_box(asked).children
    button, said = row.children
    field.value = "many"
    button.click()
    assert "a number is needed" in said.value
    field.value = "7.5"
    button.click()
    assert asked.value == 7.5
