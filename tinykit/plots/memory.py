"""The arena over time: which tensor lives when, where, and how that sits under the board's SRAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tinykit.plots.style import OKABE_ITO, figure, kib

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.graph.ir import Graph

# A limit further above the peak than this many times is told in words: drawn to scale, it would
# squeeze the tensors into a line.
_FAR = 3.0
_SHADES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")


@dataclass(frozen=True)
class Life:
    """A tensor's place in the arena (bytes from `offset`) from op `first` to op `last`."""

    name: str
    offset: int
    size: int
    first: int
    last: int


def lives(graph: Graph) -> list[Life]:
    """The planned life of every activation of `graph`; what shares memory is told once."""
    from tinykit.engine.plan import plan

    layout = plan(graph)
    names = {i: f"output of layer {k}" for k, op in enumerate(graph.ops) for i in op.outputs}
    by_place: dict[tuple[int, int], list[Life]] = {}
    for i, offset in layout.offsets.items():
        first, last = layout.lifetimes[i]
        life = Life(names.get(i, "input"), offset, graph.tensors[i].nbytes, first, last)
        by_place.setdefault((offset, life.size), []).append(life)
    merged: list[Life] = []
    for group in by_place.values():
        group.sort(key=lambda t: (t.first, t.last))
        for life in group:
            previous = merged[-1] if merged else None
            # a reshape's output overlaps its input: the same bytes under another name
            same = previous and (previous.offset, previous.size) == (life.offset, life.size)
            if previous and same and life.first <= previous.last:
                merged[-1] = Life(
                    previous.name,
                    life.offset,
                    life.size,
                    previous.first,
                    max(previous.last, life.last),
                )
            else:
                merged.append(life)
    return sorted(merged, key=lambda t: (t.first, t.offset))


def memory_map(
    tensors: Sequence[Life],
    layers: Sequence[str],
    *,
    limit_bytes: int | None = None,
    limit_name: str = "SRAM limit",
    extra_bytes: int = 0,
    title: str = "SRAM: which tensor lives when",
    subtitle: str = "",
    **layout: Any,
) -> go.Figure:
    """Tensors as boxes: across, the layers during which one lives; up, the bytes that it takes.

    Parameters
    ----------
    layers : names in execution order
    limit_bytes : memory of the board; a line, or words where it is far above
    extra_bytes : what SRAM holds besides the arena (stack, static data), drawn below it
    """
    count = max(len(layers), 1)
    boxes = [
        (Life(t.name, t.offset + extra_bytes, t.size, t.first, t.last), _SHADES[k % len(_SHADES)])
        for k, t in enumerate(tensors)
    ]
    if extra_bytes:
        boxes.insert(0, (Life("stack and static data", 0, extra_bytes, 0, count - 1), "#BBBBBB"))
    top = max((t.offset + t.size for t in tensors), default=0) + extra_bytes
    shapes: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []
    reach = top * 1.12 / 1024 or 1.0
    if limit_bytes is not None:
        over = top > limit_bytes
        words = f"{limit_name}: {kib(limit_bytes)}"
        color = OKABE_ITO["vermillion"] if over else "#222222"
        note = {"xref": "paper", "x": 0.99, "xanchor": "right", "showarrow": False}
        if limit_bytes > _FAR * top:
            used = f"{top / limit_bytes:.0%}" if top >= 0.01 * limit_bytes else "under 1 %"
            notes.append(
                {**note, "yref": "paper", "y": 0.99, "yanchor": "top", "font": {"color": color},
                 "text": f"{words}, far above (the peak uses {used})"}
            )  # fmt: skip
        else:
            at = limit_bytes / 1024
            reach = max(reach, at * 1.12)
            shapes.append(
                {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": at, "y1": at,
                 "line": {"color": color, "width": 3, "dash": "dash"}}
            )  # fmt: skip
            notes.append(
                {**note, "y": at, "yanchor": "bottom", "text": words,
                 "font": {"color": color}}
            )  # fmt: skip
    return figure(
        [_bars(boxes, layers)],
        title=title,
        subtitle=subtitle,
        x={
            "title": "number of the layer that runs",
            "range": [-0.5, count - 0.5],
            "tickvals": list(range(count)),
            "ticktext": [str(i) for i in range(count)],
            "showgrid": False,
        },
        y={"title": "SRAM address in KiB", "range": [0, reach]},
        barmode="overlay",
        shapes=shapes,
        annotations=notes,
        showlegend=False,
        **layout,
    )


def _bars(boxes: Sequence[tuple[Life, str]], layers: Sequence[str]) -> dict[str, Any]:
    """All boxes as one trace: a redraw is faster by far than with a trace for each."""

    def at(i: int) -> str:
        return layers[i] if i < len(layers) else str(i)

    tensors = [life for life, _ in boxes]
    return {
        "type": "bar",
        "x": [(t.first + t.last) / 2 for t in tensors],
        "y": [t.size / 1024 for t in tensors],
        "base": [t.offset / 1024 for t in tensors],
        "width": [t.last - t.first + 0.92 for t in tensors],
        "text": [f"{t.name.replace('output of layer', 'out')}: {kib(t.size)}" for t in tensors],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "textfont": {"color": "#000000"},
        "marker": {
            "color": [color for _, color in boxes],
            "opacity": 0.75,
            "line": {"color": "#333333", "width": 0.5},
        },
        "hovertext": [
            f"{t.name}<br>{t.size:,} B from address {t.offset:,}<br>lives from {at(t.first)} to "
            f"{at(t.last)}"
            for t in tensors
        ],
        "hoverinfo": "text",
    }
