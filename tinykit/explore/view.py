"""The widgets of an explorer: its knobs, and one `FigureView` for everything that answers."""

from __future__ import annotations

import logging
from typing import Any

import ipywidgets as widgets

from tinykit.explore.explorer import Choice, Control, Explorer, File, Settings, Tick, Upload
from tinykit.explore.figure_view import FigureView, plain
from tinykit.explore.turns import Turns
from tinykit.graph.errors import TinykitError

log = logging.getLogger(__name__)

_LABEL = "7em"


class ExplorerView(widgets.VBox):
    """Knobs above, readout and figures below. Keyboard: Tab moves between knobs, arrows turn them.

    Attributes
    ----------
    knobs : name -> widget
    figures : the `FigureView`
    """

    def __init__(self, explorer: Explorer[Any], changes: Settings | None = None) -> None:
        self.explorer = explorer
        self.figures = FigureView()
        self.knobs: dict[str, widgets.Widget] = {}
        self._files: dict[str, File | None] = {}
        self._turns = Turns(self)
        self._live = 0  # the turn that is drawn while it runs
        start = explorer.settings(changes)
        rows = [self._knob(control, start[control.name]) for control in explorer.controls]
        knobs = widgets.GridBox(
            rows,
            layout={
                "grid_template_columns": "repeat(auto-fit, minmax(min(42em, 100%), 1fr))",
                "grid_gap": "2px 24px",
                "align_items": "center",
                "width": "100%",
            },
        )
        super().__init__([knobs, self.figures], layout={"width": "100%"})
        self.add_class("tinykit-explorer")
        self.update()

    @property
    def settings(self) -> dict[str, Any]:
        """What the knobs say now."""
        return {
            control.name: self._files.get(control.name)
            if isinstance(control, Upload)
            else self.knobs[control.name].value
            for control in self.explorer.controls
        }

    def update(self) -> None:
        """Begin a turn with what the knobs say now."""
        settings = self.settings
        self._label(settings)
        try:
            instant = self.explorer.instant(settings)
        except TinykitError:
            instant = True  # compute will say what is wrong
        if not instant:
            self.figures.status = {"work": "working", "fraction": None}

        explorer = self.explorer

        def picture(result: Any) -> Any:
            return explorer.figures(result), explorer.text(result), explorer.panels(result)

        def work(tick: Tick) -> Any:
            def watched(share: float | None, what: str, partial: Any = None, /) -> None:
                tick(share, what, None if partial is None else lambda: explorer.figures(partial))

            return picture(explorer.compute(settings, watched))

        self._turns.start(work, instant=instant)

    def _label(self, settings: Settings) -> None:
        """Name the knobs, and show those that do something."""
        wanted = self.explorer.labels(settings)
        for control in self.explorer.controls:
            if isinstance(control, Upload):
                continue
            label, knob = wanted.get(control.name, control.label), self.knobs[control.name]
            # a trait that is set to what it is sends no message
            knob.layout.display = "none" if label is None else None
            if label is not None:
                knob.description = label

    def join(self, timeout: float = 60.0) -> None:
        """Wait for slow work (tests, scripts)."""
        self._turns.join(timeout)

    # -- told by Turns --------------------------------------------------------------------------

    def done(self, turn: int, result: Any) -> None:
        figures, text, panels = result
        self.figures.show(figures, text, turn, panels)
        explorer, settings = self.explorer, self.settings
        self._label(settings)  # what was computed may be what names come from
        if type(explorer).prepare is not Explorer.prepare:
            self._turns.prepare(lambda tick: explorer.prepare(settings, tick))

    def failed(self, turn: int, error: Exception) -> None:
        if isinstance(error, TinykitError):
            words = str(error)
        else:
            log.error("explorer %s failed", self.explorer.name, exc_info=error)
            words = (
                f"Something went wrong inside tinykit ({type(error).__name__}: {error}). The "
                "figures below are those of the settings before; turn a knob to go on."
            )
        with self.figures.hold_sync():
            self.figures.status = {"error": words}
            self.figures.turn = turn

    def progress(self, turn: int, share: float | None, what: str) -> None:
        live = {"live": True} if self._live == turn else {}
        self.figures.status = {"work": what, "fraction": share, **live}

    def partial(self, turn: int, result: Any) -> None:
        self._live = turn
        # words wait for the end: read aloud several times a second they would help nobody
        with self.figures.hold_sync():
            self.figures.figures = plain(result)
            self.figures.status = {**self.figures.status, "live": True}

    # -- knobs ----------------------------------------------------------------------------------

    def _knob(self, control: Control, value: Any) -> widgets.Widget:
        if isinstance(control, Upload):
            return self._upload(control, value)
        knob = _choice(control, value)
        knob.observe(lambda _: self.update(), "value")
        self.knobs[control.name] = knob
        return knob

    def _upload(self, control: Upload, value: File | None) -> widgets.Widget:
        chooser = widgets.FileUpload(
            accept=control.accept,
            multiple=False,
            description=control.label,
            tooltip=control.help,
            layout={"width": "auto"},
        )
        remove = widgets.Button(
            description="Remove the file", icon="times", layout={"width": "auto"}
        )
        note = widgets.Label(control.help)
        self.knobs[control.name] = chooser
        self._files[control.name] = value

        def show() -> None:
            file = self._files[control.name]
            remove.layout.display = "none" if file is None else ""
            note.value = control.help if file is None else f"{file.name}, {len(file.content):,} B"

        def chosen(_: Any) -> None:
            if not chooser.value:
                return
            taken = chooser.value[0]
            self._files[control.name] = File(taken["name"], bytes(taken["content"]))
            # emptied so that the same file, repaired, can be chosen again
            chooser.value = ()
            show()
            self.update()

        def removed(_: Any) -> None:
            self._files[control.name] = None
            show()
            self.update()

        chooser.observe(chosen, "value")
        remove.on_click(removed)
        show()
        return widgets.HBox([chooser, remove, note])


def _choice(control: Choice, value: Any) -> widgets.Widget:
    options = [(text, option) for option, text in control.options]
    common = {"options": options, "value": value, "description": control.label}
    if control.style == "slider":
        return widgets.SelectionSlider(
            **common,
            style={"description_width": _LABEL},
            continuous_update=True,
            tooltip=control.help,
            layout={"width": "98%"},
        )
    if control.style == "buttons":
        return widgets.ToggleButtons(
            **common,
            style={"description_width": _LABEL, "button_width": "auto"},
            tooltips=[control.help] * len(options),
            layout={"width": "98%"},
        )
    return widgets.Dropdown(
        **common,
        style={"description_width": _LABEL},
        tooltip=control.help,
        layout={"width": "98%"},
    )
