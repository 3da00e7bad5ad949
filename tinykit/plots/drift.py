"""Two parameters in the plane: where devices walk in a round, and where their mean ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.plots.style import GREY, OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from numpy.typing import NDArray

#: colour and dash of the first, second … device
LOOKS = (
    (OKABE_ITO["blue"], "solid"),
    (OKABE_ITO["vermillion"], "dash"),
    (OKABE_ITO["green"], "dot"),
)
#: side of a text, by turns
_SIDES = ("top right", "bottom left", "bottom right")


def local_paths(
    local: Sequence[Mapping[int, NDArray[np.float64]]],
    shared: NDArray[np.float64],
    *,
    hessian: NDArray[np.float64],
    optimum: NDArray[np.float64],
    points: Mapping[str, NDArray[np.float64]],
    losses: Sequence[float],
    window: tuple[tuple[float, float], tuple[float, float]],
    title: str,
    subtitle: str,
    **layout: Any,
) -> go.Figure:
    """Contours of ½ (w − c)ᵀ H (w − c), each device's local steps, and the shared model.

    Parameters
    ----------
    local : for each round, device → its models from the first step to the last, (steps + 1, 2)
    shared : after 0, 1 … rounds, (rounds + 1, 2)
    hessian, optimum : H (2, 2) and c (2,) of all devices together
    points : name → (2,), marked and named
    losses : of the contours
    window : what is shown of w₁ and of w₂, from and to
    """
    traces: list[dict[str, Any]] = []
    values, vectors = np.linalg.eigh(hessian)
    turn = np.linspace(0, 2 * np.pi, 90)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    for n, loss in enumerate(losses):
        ring = optimum[:, None] + vectors @ (np.sqrt(2 * loss / values)[:, None] * circle)
        traces.append(
            {
                "type": "scatter", "mode": "lines", "x": ring[0].tolist(), "y": ring[1].tolist(),
                "line": {"color": GREY, "width": 1}, "hoverinfo": "skip",
                "name": "same loss of all", "showlegend": n == 0,
            }
        )  # fmt: skip
    named: set[int] = set()
    for number, paths in enumerate(local, 1):
        for device, path in sorted(paths.items()):
            color, dash = LOOKS[device % len(LOOKS)]
            traces.append(
                {
                    "type": "scatter", "mode": "lines+markers", "name": f"device {device}",
                    "x": path[:, 0].tolist(), "y": path[:, 1].tolist(),
                    "line": {"color": color, "width": 1.5, "dash": dash},
                    "marker": {"color": color, "size": 4},
                    "hovertext": [f"device {device}, round {number}, step {k}: ({x:.3f}, {y:.3f})"
                                  for k, (x, y) in enumerate(path)],
                    "hoverinfo": "text", "showlegend": device not in named,
                }
            )  # fmt: skip
            named.add(device)
    traces.append(
        {
            "type": "scatter", "mode": "lines+markers", "name": "shared model",
            "x": shared[:, 0].tolist(), "y": shared[:, 1].tolist(),
            "line": {"color": "#000000", "width": 2},
            "marker": {"color": "#000000", "symbol": "square", "size": 8},
            "hovertext": [f"shared, {k} rounds: ({x:.3f}, {y:.3f})"
                          for k, (x, y) in enumerate(shared)],
            "hoverinfo": "text",
        }
    )  # fmt: skip
    for number, (name, (x, y)) in enumerate(points.items()):
        traces.append(
            {
                "type": "scatter", "mode": "markers+text", "x": [float(x)], "y": [float(y)],
                "text": [name], "textposition": _SIDES[number % len(_SIDES)], "showlegend": False,
                "hoverinfo": "skip",
                "marker": {"color": OKABE_ITO["purple"], "symbol": "diamond", "size": 11},
            }
        )  # fmt: skip
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "w₁ (no unit)", "range": list(window[0])},
        y={"title": "w₂ (no unit)", "range": list(window[1])},
        **layout,
    )
