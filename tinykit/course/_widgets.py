"""How predictions look in a notebook. Everything worth testing is in `prediction`."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from tinykit.course.prediction import Comparison, Prediction, PredictionError


def show_question(prediction: Prediction) -> None:
    display(question_box(prediction))


def question_box(prediction: Prediction) -> widgets.VBox:
    """The question, a way to answer it, and a button that commits the answer."""
    title = widgets.HTML(f"<b>{html.escape(prediction.question)}</b>")
    field: Any
    if prediction.options:
        field = widgets.RadioButtons(
            options=list(prediction.options),
            value=None,
            layout=widgets.Layout(width="auto"),
        )
    else:
        field = widgets.Text(placeholder=f"a number {prediction.unit}".strip())
    button = widgets.Button(
        description="This is my prediction", layout=widgets.Layout(width="auto")
    )
    said = widgets.HTML()

    def committed() -> None:
        field.disabled = button.disabled = True
        said.value = f"Your prediction: <b>{html.escape(str(prediction.answer))}</b>"

    def press(_: widgets.Button) -> None:
        if not field.value:
            said.value = "Choose an answer first."
            return
        try:
            prediction.commit(field.value)
        except PredictionError as error:
            said.value = html.escape(str(error))

    button.on_click(press)
    prediction.when_committed(committed)
    return widgets.VBox([title, field, widgets.HBox([button, said])])


def gate(prediction: Prediction, make: Callable[[], Any]) -> widgets.VBox:
    """A box that asks for the prediction first and holds ``make()`` afterwards."""
    box = widgets.VBox(
        [widgets.HTML("<i>The knobs unlock when you have committed your prediction above.</i>")]
    )

    def unlock() -> None:
        box.children = (make(),)

    prediction.when_committed(unlock)
    return box


def show_comparison(comparison: Comparison) -> None:
    text = widgets.HTML(comparison._repr_html_())

    def follow() -> None:
        text.value = comparison._repr_html_()

    comparison.prediction.when_committed(follow)
    display(text)
