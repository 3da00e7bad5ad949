"""FigureView: several figures, a text readout and progress in one widget, redrawn in one message.

A Plotly ``FigureWidget`` a figure costs one message and one full plotly.js redraw each; four of
them miss the 100 ms that a knob may take. This view sends all figures of a turn at once and draws
plain ones (scatter, bar, shapes, annotations) as SVG itself (``static/draw.js``). Any other Plotly
figure is drawn by plotly.js, which the kernel hands over from the installed package.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets

_STATIC = files("tinykit.explore") / "static"


def plain(value: Any) -> Any:
    """`value` as JSON types: arrays become lists; what is not finite becomes None."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if -np.inf < value < np.inf else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        kinds = set(map(type, value))
        if kinds <= {int, str, bool} or (kinds <= {int, float} and math.isfinite(sum(value))):
            return list(value)  # plain already: most of what a figure holds
        return [plain(v) for v in value]
    if hasattr(value, "to_plotly_json"):
        return plain(value.to_plotly_json())
    return value


class FigureView(anywidget.AnyWidget):
    """Figures by name, a readout and a status; see `show`.

    Attributes
    ----------
    figures : name -> figure as JSON
    readout : what the figures show, in words; announced by screen readers when it changes
    status : {"work": text, "fraction": 0..1 or None} while something runs, and "live": True once
        figures show it; {"error": text} when something went wrong, both may stand together
    panels : title -> text shown as it stands, in a fixed-width font
    turn : number of the turn of the knobs that is shown
    """

    _esm = (_STATIC / "draw.js").read_text("utf-8") + (_STATIC / "view.js").read_text("utf-8")
    _css = (_STATIC / "view.css").read_text("utf-8")

    figures = traitlets.Dict().tag(sync=True)
    readout = traitlets.Unicode("").tag(sync=True)
    status = traitlets.Dict().tag(sync=True)
    panels = traitlets.Dict().tag(sync=True)
    turn = traitlets.Int(0).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(self._answer)

    def show(
        self,
        figures: Mapping[str, Any],
        readout: str,
        turn: int,
        panels: Mapping[str, str] | None = None,
    ) -> None:
        """Show the outcome of a turn: one message, whatever the number of figures."""
        with self.hold_sync():
            self.figures = plain(figures)
            self.readout = readout
            self.panels = dict(panels or {})
            self.status = {}
            self.turn = turn

    def _answer(self, _: Any, message: Any, __: Any) -> None:
        if isinstance(message, dict) and message.get("type") == "plotly.js":
            self.send({"type": "plotly.js"}, [plotly_js()])


def plotly_js() -> bytes:
    """The plotly.js that the installed plotly package carries."""
    spec = importlib.util.find_spec("plotly")
    folder = Path(spec.origin if spec and spec.origin else "").parent
    return (folder / "package_data" / "plotly.min.js").read_bytes()
