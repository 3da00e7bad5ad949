"""The arena over time: which tensor lives when, where, and how that sits under the board's SRAM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tinykit.plots.style import OKABE_ITO, figure, kib

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.engine.arrange import Program
    from tinykit.graph.ir import Graph

# A limit further above the peak than this many times is told in words: drawn to scale, it would
# squeeze the tensors into a line.
_FAR = 3.0
#: numbers that fit below the axis of an explorer's figure
_MOST_TICKS = 32
_SHADES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")


@dataclass(frozen=True)
class Life:
    """A tensor's place in the arena (bytes from `offset`) from op `first` to op `last`."""

    name: str
    offset: int
    size: int
    first: int
    last: int


def lives(
    model: Graph | Program, *, by_step: bool = False, layers: Sequence[int | None] | None = None
) -> list[Life]:
    """The planned life of every activation; what shares memory is told once.

    A graph is laid out for the kernels that all shapes share; a program says its own layout, and
    has the memory that its kernels work in.

    Parameters
    ----------
    by_step : whether time is counted in a program's functions, and not in the ops of its graph
    layers : for each op the number that people know it by, None for one that only cuts the input;
        its position by default
    """
    from tinykit.engine.arrange import Program
    from tinykit.engine.plan import plan

    if isinstance(model, Program):
        graph, layout, steps = model.graph, model.plan, model.steps
    else:
        graph, layout, steps = model, plan(model), ()
    number = {k: k for k in range(len(graph.ops))}
    if by_step:
        number = {k: n for n, step in enumerate(steps) for k in step.positions}
    known = range(len(graph.ops)) if layers is None else layers
    made = {i: k for k, op in enumerate(graph.ops) for i in op.outputs}
    by_place: dict[tuple[int, int], list[Life]] = {}
    for i, offset in layout.offsets.items():
        first, last = (number.get(k, k) for k in layout.lifetimes[i])
        of = known[made[i]] if i in made else None
        name = "input" if of is None else f"output of layer {of}"
        life = Life(name, offset, graph.tensors[i].nbytes, first, last)
        by_place.setdefault((offset, life.size), []).append(life)
    merged: list[Life] = []
    for group in by_place.values():
        group.sort(key=lambda t: (t.first, t.last))
        for life in group:
            previous = merged[-1] if merged else None
            # the same bytes under another name: a reshape, or a layer that works in place
            same = previous and (previous.offset, previous.size) == (life.offset, life.size)
            if previous and same and life.first <= previous.last:
                merged[-1] = replace(
                    previous,
                    name=_both(previous.name, life.name),
                    last=max(previous.last, life.last),
                )
            else:
                merged.append(life)
    for step in steps:
        if step.needs.scratch:
            first, last = number[step.positions[0]], number[step.positions[-1]]
            place = layout.scratch[step.positions[-1]]
            named = [str(known[k]) for k in step.positions if known[k] is not None]
            name = f"working memory of layer {' and '.join(dict.fromkeys(named))}"
            merged.append(Life(name, place, step.needs.scratch, first, last))
    return sorted(merged, key=lambda t: (t.first, t.offset))


def _both(one: str, other: str) -> str:
    if one == other:
        return one
    number = other.rpartition(" ")[2]
    if not one.startswith("output"):
        return f"{one}, {other}"
    return one if number in one.split(", ")[-1].split() else f"{one}, {number}"


def memory_map(
    tensors: Sequence[Life],
    layers: Sequence[str],
    *,
    limit_bytes: int | None = None,
    limit_name: str = "SRAM limit",
    extra_bytes: int = 0,
    title: str = "SRAM: which tensor lives when",
    subtitle: str = "",
    x_title: str = "number of the layer that runs",
    numbers: Sequence[str] | None = None,
    **layout: Any,
) -> go.Figure:
    """Tensors as boxes: across, the layers during which one lives; up, the bytes that it takes.

    Parameters
    ----------
    layers : names in execution order
    limit_bytes : memory of the board; a line, or words where it is far above
    extra_bytes : what SRAM holds besides the arena (stack, static data), drawn below it
    numbers : of the layers, below the axis; 0, 1, 2 … by default
    """
    count = max(len(layers), 1)
    ticks = [str(i) for i in range(count)] if numbers is None else list(numbers)
    steps = (1, 2, 5, 10, 20, 50, 100, count)
    every = next(n for n in steps if count / n <= _MOST_TICKS)
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
            "title": x_title,
            "range": [-0.5, count - 0.5],
            "tickvals": list(range(0, count, every)),
            "ticktext": ticks[::every],
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
        "text": [f"{_short(t.name)}: {kib(t.size)}" for t in tensors],
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


def _short(name: str) -> str:
    name = name.replace("output of layer", "out").replace("working memory of layer", "work")
    return name.replace(" and ", "+")
