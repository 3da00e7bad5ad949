"""Two weights in the plane: a loss, what compression allows, and the way between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.plots.style import GREY, OKABE_ITO, figure

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from numpy.typing import NDArray


def plane(
    hessian: NDArray[np.float64],
    optimum: NDArray[np.float64],
    *,
    feasible: Sequence[tuple[float, float]],
    paths: Mapping[str, NDArray[np.float64]],
    points: Mapping[str, tuple[float, float]],
    losses: Sequence[float],
    title: str,
    subtitle: str,
    reach: float,
    **layout: Any,
) -> go.Figure:
    """Contours of ½ (w − c)ᵀ H (w − c), lines through 0 that are allowed, and paths of points.

    Parameters
    ----------
    hessian, optimum : H, positive definite (2, 2), and c (2,)
    feasible : directions (w₁, w₂) of the lines
    paths : name → (steps, 2)
    points : name → (w₁, w₂), marked and named
    losses : of the contours
    reach : half the side of the square that is drawn, from −reach/2 to the right
    """
    traces: list[dict[str, Any]] = []
    values, vectors = np.linalg.eigh(hessian)
    turn = np.linspace(0, 2 * np.pi, 90)
    circle = np.stack([np.cos(turn), np.sin(turn)])
    for n, loss in enumerate(losses):
        # where the loss is this: axes √(2 loss / eigenvalue)
        ring = optimum[:, None] + vectors @ (np.sqrt(2 * loss / values)[:, None] * circle)
        traces.append(
            {
                "type": "scatter", "mode": "lines", "x": ring[0].tolist(), "y": ring[1].tolist(),
                "line": {"color": GREY, "width": 1}, "hoverinfo": "skip",
                "name": "same loss: " + ", ".join(f"{v:g}" for v in losses), "showlegend": n == 0,
            }
        )  # fmt: skip
    for n, (one, two) in enumerate(feasible):
        far = 2 * reach / max(abs(one), abs(two))
        traces.append(
            {
                "type": "scatter", "mode": "lines", "x": [-far * one, far * one],
                "y": [-far * two, far * two], "line": {"color": "#000000", "width": 2},
                "name": "what compression allows", "showlegend": n == 0, "hoverinfo": "skip",
            }
        )  # fmt: skip
    looks = ((OKABE_ITO["blue"], "circle", ""), (OKABE_ITO["vermillion"], "square-open", "dot"))
    for (name, path), (color, symbol, dash) in zip(paths.items(), looks, strict=False):
        traces.append(
            {
                "type": "scatter", "mode": "lines+markers", "name": name,
                "x": path[:, 0].tolist(), "y": path[:, 1].tolist(),
                "line": {"color": color, "width": 1.5, "dash": dash or "solid"},
                "marker": {"color": color, "symbol": symbol, "size": 7},
                "hovertext": [f"{name}, step {k}: ({x:.3f}, {y:.3f})"
                              for k, (x, y) in enumerate(path)],
                "hoverinfo": "text",
            }
        )  # fmt: skip
    for name, (x, y) in points.items():
        traces.append(
            {
                "type": "scatter", "mode": "markers+text", "x": [x], "y": [y], "text": [name],
                "textposition": "middle right", "showlegend": False, "hoverinfo": "skip",
                "marker": {"color": "#000000", "symbol": "diamond", "size": 9},
            }
        )  # fmt: skip
    return figure(
        traces,
        title=title,
        subtitle=subtitle,
        x={"title": "w₁ (no unit)", "range": [-reach / 2, 1.5 * reach]},
        y={"title": "w₂ (no unit)", "range": [-reach, reach]},
        **layout,
    )
