"""The figures of "Prune": what a cut costs in accuracy, and what gets smaller by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tinykit.explore._prune_words import size_rows
from tinykit.plots import Curve, kept_weights, sensitivity_curves, shares, weight_histogram

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from tinykit.explore.prune import Pruned


def figures(result: Pruned) -> dict[str, go.Figure]:
    return {
        "accuracy": _accuracy(result),
        "size": _size(result),
        "sensitivity": _sensitivity(result),
        "kept": _kept(result),
        "weights": _weights(result),
    }


def _accuracy(result: Pruned) -> go.Figure:
    rows = [("whole", result.dense), ("cut", result.trial.accuracy)]
    if result.trained is not None:
        rows.append(("retrained", result.trained))
    return shares(
        [name for name, _ in rows],
        [value for _, value in rows],
        [f"{value:.1%}" for _, value in rows],
        title=f"Accuracy: {rows[-1][1]:.1%}, of the whole network {result.dense:.1%}",
        subtitle=f"{result.network.title}; measured now on the {result.examples} test images",
        unit="test accuracy in %",
        y_title="network",
        emphasis=[False, *[True] * (len(rows) - 1)],
        height=250,
    )


def _size(result: Pruned) -> go.Figure:
    rows = size_rows(result)
    return shares(
        [row.name for row in rows],
        [row.share for row in rows],
        [f"{row.share:.0%}: {row.count}" for row in rows],
        title="What gets smaller: what is left of each",
        subtitle="counted from the shapes and the masks; vermillion: what a chip without support "
        "for zeros sees",
        unit="of the whole network, in %",
        y_title="what",
        emphasis=[row.chip for row in rows],
        height=250,
    )


def _sensitivity(result: Pruned) -> go.Figure:
    scan = result.scan
    curves = []
    for row, name in enumerate(scan.layers):
        removed, first = np.unique(scan.removed[row], return_index=True)
        inside = removed > 0
        curves.append(
            Curve(
                result.parts[name],
                [0.0, *removed[inside]],
                [scan.baseline, *scan.accuracy[row][first[inside]]],
                result.trial.removed[name],
            )
        )
    shown = next(
        (result.parts[n] for n, makers in result.bench.together.items() if result.shown in makers),
        None,
    )
    return sensitivity_curves(
        curves,
        title="How much each layer can lose: accuracy when it alone is pruned",
        subtitle="measured on the validation images, without training; diamonds: removed now",
        thick=shown,
        height=430,
    )


def _kept(result: Pruned) -> go.Figure:
    kept = [int(result.trial.kept[name].sum()) for name in result.layers]
    total = [result.trial.kept[name].size for name in result.layers]
    return kept_weights(
        list(result.layers.values()),
        kept,
        total,
        title=f"Weights of each layer: {sum(kept):,} of {sum(total):,} stay",
        subtitle="counted; convolutions and linear layers, without biases",
        height=430,
    )


def _weights(result: Pruned) -> go.Figure:
    kept = result.trial.kept[result.shown]
    return weight_histogram(
        result.bench.weights[result.shown],
        kept,
        title=f"Weights of layer {result.layers[result.shown]}, by value",
        subtitle=f"counted; {int(kept.sum()):,} of {kept.size:,} stay",
        bins=41 if kept.size > 400 else 21,
        height=300,
    )
