"""Who holds what in a federation: classes, sizes, own labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinykit.data.errors import DataError
from tinykit.plots.style import OKABE_ITO, figure
from tinykit.plots.views import own_views

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.data.federation import Federation

#: up to so many devices keep their numbers; more are sorted, and stand side by side without any
FEW = 30
#: more columns than this cannot be told apart
MOST = 400
#: white to dark blue; small shares are spread out, since a device of ten classes has them
BLUES = [
    [0.0, "#FFFFFF"], [0.02, "#E3EFF7"], [0.1, "#B5D5EA"], [0.3, "#56A3D0"], [0.6, "#0072B2"],
    [1.0, "#00324F"],
]  # fmt: skip


def partition(federation: Federation, **layout: Any) -> go.Figure:
    """The figure that shows what is particular about `federation`.

    Own labels where devices have them, else own views; else sizes where these differ more than
    classes do, else classes.
    """
    if federation.label_maps is not None:
        return own_labels(federation, **layout)
    if federation.shifted:
        return own_views(federation, **layout)
    return (device_sizes if _sizes_differ_most(federation) else device_classes)(
        federation, **layout
    )


def _sizes_differ_most(federation: Federation) -> bool:
    """Whether sizes spread by half and more, and the mix of classes little beyond chance."""
    counts = federation.counts(federation.holdings()).astype(float)
    sizes = counts.sum(axis=1)
    expected = np.outer(sizes, counts.sum(axis=0)) / max(counts.sum(), 1)
    there = expected > 0
    # the chi-square statistic over its degrees of freedom is 1 where classes are dealt by chance
    freedom = (len(sizes) - 1) * (np.count_nonzero(counts.sum(axis=0)) - 1)
    uneven = np.sum((counts[there] - expected[there]) ** 2 / expected[there]) / max(freedom, 1)
    return bool(sizes.std() > 0.5 * sizes.mean() and uneven < 2)


def _names(federation: Federation) -> list[str]:
    """What the devices are called: by their users where each has one, else by number."""
    groups = federation.groups
    if groups and not federation.shifted and len(set(groups)) == len(groups):
        return list(groups)
    return [f"{number}" for number in range(len(federation))]


def _held(federation: Federation) -> str:
    return "training and test parts" if federation.test else "no test parts"


def _main_by_chance(counts: np.ndarray) -> float:
    """How large a device's main class is on average if examples of the same pool are dealt out."""
    sizes = counts.sum(axis=1)
    overall = counts.sum(axis=0) / max(counts.sum(), 1)
    rng = np.random.default_rng(0)
    dealt = rng.multinomial(np.tile(sizes, -(-2000 // len(sizes))), overall)
    dealt = dealt[dealt.sum(axis=1) > 0]
    return float(np.mean(dealt.max(axis=1) / dealt.sum(axis=1)))


def device_classes(
    federation: Federation, *, title: str = "", subtitle: str = "", **layout: Any
) -> go.Figure:
    """Devices by classes: the darker a cell, the more of the device's examples are of that class.

    Few devices are named and their examples counted in the cells; many are sorted by their main
    class, so that the width of a dark block says how many devices have it.
    """
    counts = federation.counts(federation.holdings())
    sizes = counts.sum(axis=1)
    share = counts / np.maximum(sizes, 1)[:, None]
    names = _names(federation)
    classes = list(federation.spec.classes)
    main = share.argmax(axis=1)
    few = len(federation) <= FEW
    chosen = np.arange(len(federation)) if few else np.lexsort((-share.max(axis=1), main))
    if len(chosen) > MOST:
        chosen = chosen[np.linspace(0, len(chosen) - 1, MOST).round().astype(int)]
    note = "" if len(chosen) == len(federation) else f", {MOST} of them drawn"
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": [names[d] for d in chosen] if few else list(range(len(chosen))),
        "y": classes,
        "z": share[chosen].T.tolist(),
        "zmin": 0, "zmax": 1, "colorscale": BLUES, "hoverinfo": "text",
        "text": [
            [f"{counts[d, c]:,}" if few and counts[d, c] else "" for d in chosen]
            for c in range(len(classes))
        ],
        "hovertext": [
            [
                f"device {names[d]}<br>{classes[c]}: {counts[d, c]:,} of {sizes[d]:,} examples"
                for d in chosen
            ]
            for c in range(len(classes))
        ],
        "texttemplate": "%{text}" if few else "",
        "xgap": 1 if len(chosen) <= 2 * FEW else 0, "ygap": 1,
        "colorbar": {
            "title": {"text": "share of the<br>device's<br>examples"}, "tickformat": ".0%",
            "tickvals": [0, 0.25, 0.5, 0.75, 1], "thickness": 14,
        },
    }  # fmt: skip
    largest = float(np.mean(share[sizes > 0].max(axis=1))) if sizes.any() else 0.0
    x_axis = "device" if few else f"devices, sorted by their main class{note}"
    return figure(
        [trace],
        title=title or f"{federation.name}: what {len(federation):,} devices hold",
        subtitle=subtitle
        or f"a device's main class is {largest:.0%} of its examples on average, dealt by chance it "
        f"would be {_main_by_chance(counts):.0%}; counted, {_held(federation)}",
        x={"title": x_axis, "type": "category" if few else "linear", "showgrid": False,
           "showticklabels": few, "ticks": "outside" if few else ""},
        y={"title": "class", "type": "category", "autorange": "reversed", "showgrid": False},
        **layout,
    )  # fmt: skip


def device_sizes(
    federation: Federation, *, title: str = "", subtitle: str = "", **layout: Any
) -> go.Figure:
    """How many examples each device holds, the largest first, beside the mean."""
    train = federation.sizes
    test = np.array([len(part) for part in federation.test] or [0] * len(train))
    sizes = train + test
    order = np.argsort(-sizes, kind="stable")
    drawn = order
    if len(order) > MOST:
        drawn = order[np.linspace(0, len(order) - 1, MOST).round().astype(int)]
    names = _names(federation)
    few = len(order) <= FEW
    tips = [
        f"device {names[d]}<br>{train[d]:,} to learn from, {test[d]:,} to be tested with"
        for d in drawn
    ]
    common = {
        "type": "bar", "x": [names[d] for d in drawn] if few else list(range(len(drawn))),
        "hovertext": tips, "hoverinfo": "text",
    }  # fmt: skip
    traces: list[dict[str, Any]] = [
        {**common, "name": "to learn from", "y": train[drawn].tolist(),
         "marker": {"color": OKABE_ITO["blue"], "line": {"width": 0}}}
    ]  # fmt: skip
    if test.any():
        traces.append(
            {**common, "name": "to be tested with", "y": test[drawn].tolist(),
             "marker": {"color": OKABE_ITO["orange"], "line": {"width": 0}}}
        )  # fmt: skip
    mean = float(sizes.mean())
    fifth = max(1, round(len(order) / 5))
    share = sizes[order[:fifth]].sum() / max(sizes.sum(), 1)
    note = "" if len(drawn) == len(order) else f" ({MOST} of {len(order):,} drawn)"
    return figure(
        traces,
        title=title or f"{federation.name}: how much {len(federation):,} devices hold",
        subtitle=subtitle
        or f"{sizes.min():,} to {sizes.max():,} examples a device, mean {mean:.3g} (dotted); the "
        f"largest fifth of the devices hold {share:.0%}; counted",
        x={"title": f"devices, the largest first{note}",
           "type": "category" if few else "linear", "showticklabels": few,
           "ticks": ""},
        y={"title": "examples", "rangemode": "tozero"},
        barmode="stack",
        margin={"t": 110},
        legend={"traceorder": "normal"},
        bargap=0.15 if len(drawn) <= 2 * FEW else 0,
        shapes=[
            {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": mean, "y1": mean,
             "line": {"color": "#000000", "width": 1.5, "dash": "dot"}}
        ],
        **layout,
    )  # fmt: skip


def own_labels(
    federation: Federation,
    *,
    devices: int = 12,
    title: str = "",
    subtitle: str = "",
    **layout: Any,
) -> go.Figure:
    """Which label a device gives to each class that it holds; blank where it holds none.

    Parameters
    ----------
    devices : how many are drawn, from the first

    Raises
    ------
    DataError
        All devices use the same labels.
    """
    if federation.label_maps is None:
        raise DataError(f"{federation.name}: all devices use the same labels; see PermutedLabels")
    maps = federation.label_maps[:devices]
    seen = federation.counts(federation.holdings()[:devices])
    # by the original classes
    counts = np.take_along_axis(seen, maps, axis=1)
    classes = list(federation.spec.classes)
    numbers = [str(d) for d in range(len(maps))]
    rows, columns = range(len(maps)), range(len(classes))
    kept = np.mean(maps == np.arange(len(classes)))
    trace = {
        "type": "heatmap",
        "x": classes,
        "y": numbers,
        "z": (counts / np.maximum(counts.sum(axis=1), 1)[:, None]).tolist(),
        "zmin": 0, "zmax": 1, "colorscale": BLUES, "showscale": True, "hoverinfo": "text",
        "text": [[classes[maps[d, c]] if counts[d, c] else "" for c in columns] for d in rows],
        "texttemplate": "%{text}",
        "textfont": {"size": 14},
        "hovertext": [
            [
                f"device {d} calls {classes[c]} “{classes[maps[d, c]]}”, holds {counts[d, c]:,}"
                for c in columns
            ]
            for d in rows
        ],
        "xgap": 1, "ygap": 1,
        "colorbar": {
            "title": {"text": "share of the<br>device's<br>examples"}, "tickformat": ".0%",
            "tickvals": [0, 0.25, 0.5, 0.75, 1], "thickness": 14,
        },
    }  # fmt: skip
    note = f", the first {len(maps)} of {len(federation):,}" if len(maps) < len(federation) else ""
    return figure(
        [trace],
        title=title or f"{federation.name}: what each device calls the classes it holds",
        subtitle=subtitle
        or f"in a cell stands the device's own label; {kept:.0%} of the labels are the original "
        "ones; counted",
        x={"title": "class", "type": "category", "showgrid": False},
        y={"title": f"device{note}", "type": "category", "autorange": "reversed",
           "showgrid": False},
        **layout,
    )  # fmt: skip
