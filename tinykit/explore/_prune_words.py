"""What "Prune" shows, in words and in Python."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tinykit.explore.prune import Pruned

#: structure as `tinykit.Prune` calls it → what people read
STRUCTURES = {
    "unstructured": "single weights",
    "2:4": "2 of every 4",
    "1x4": "blocks of 1×4",
    "pattern": "3×3 patterns",
    "channel": "channels",
}
HOWS = {
    "uniform": "the same for each layer",
    "ranked": "ranked together",
    "scan": "by the scan",
    "hand": "by hand",
}
#: accuracy from which on a layer counts as hurt
HURT = 0.05


@dataclass(frozen=True)
class Row:
    """Something that may get smaller: the share that is left, the count, and whether it is what a
    chip without support for zeros sees."""

    name: str
    share: float
    count: str
    chip: bool


def size_rows(result: Pruned) -> list[Row]:
    """What is left of the numbers, of what a chip stores and does, and of a file."""
    bench, trial = result.bench, result.trial
    smaller = result.structure == "channel"
    stored = trial.parameters if smaller else bench.parameters
    file = file_bytes(result)
    return [
        Row(
            "kept",
            trial.parameters / bench.parameters,
            f"{trial.parameters:,} parameters",
            False,
        ),
        Row(
            "file" if smaller else "file, bitmap",
            file / (4 * bench.parameters),
            f"{file:,} B",
            False,
        ),
        Row("stored on chip", stored / bench.parameters, f"{stored:,} parameters", True),
        Row("MACs on chip", trial.macs / bench.macs, f"{trial.macs:,}", True),
    ]


def file_bytes(result: Pruned) -> int:
    """Float32 values of what stays, and a bit for each weight of a layer that has lost some."""
    stays = 4 * result.trial.parameters
    if result.structure == "channel":
        return stays
    # a layer that lost little is written whole: its bitmap would take more than it saves
    kept = [k for k in result.trial.kept.values() if not k.all()]
    return stays + sum(min(-(-k.size // 8), 4 * int((~k).sum())) for k in kept)


def words(result: Pruned) -> str:
    """The readout: accuracy, size, which layer minds most, and what a knob cannot do here."""
    lines = [_accuracy(result), _smaller(result), _sensitive(result), *_notes(result)]
    return "\n".join(lines)


def _accuracy(result: Pruned) -> str:
    bench, trial = result.bench, result.trial
    gone = 1 - trial.parameters / bench.parameters
    text = (
        f"{result.network.title}: {gone:.1%} of its {bench.parameters:,} parameters are removed. "
        f"Accuracy {trial.accuracy:.1%} on the {result.examples} test images (measured now, "
        f"without training), of the whole network {result.dense:.1%}"
    )
    if result.trained is None:
        return f"{text}."
    return f"{text}; trained again, {result.trained:.1%}."


def _smaller(result: Pruned) -> str:
    bench, trial = result.bench, result.trial
    if trial.parameters == bench.parameters:
        return "Nothing is removed."
    if result.structure == "channel":
        return (
            "Whole channels leave a smaller dense network: every runtime stores "
            f"{trial.parameters:,} parameters and does {trial.macs:,} multiply-accumulates (MACs), "
            f"of {bench.macs:,} (counted)."
        )
    return (
        f"{STRUCTURES[result.structure].capitalize()} become zeros in place: a runtime that "
        f"does not look for zeros stores and multiplies them as before, {bench.macs:,} "
        "multiply-accumulates (MACs). Only a file that leaves them out is smaller: "
        f"{file_bytes(result):,} B with a bitmap, {4 * bench.parameters:,} B without (float32, "
        "counted)."
    )


def _sensitive(result: Pruned) -> str:
    """Which layer loses most when it alone is pruned, which least."""
    scan, drop = result.scan, result.scan.drop
    order = np.argsort(-drop.mean(1), kind="stable")
    most, least = int(order[0]), int(order[-1])

    def of(row: int) -> str:
        makers = result.bench.together[scan.layers[row]]
        size = sum(result.bench.weights[name].size for name in makers)
        all_ = sum(w.size for w in result.bench.weights.values())
        return f"{result.parts[scan.layers[row]]} ({size / all_:.1%} of the weights)"

    def when(row: int) -> str:
        if result.bench.fixed is not None:
            points = 100 * float(drop[row][0])
            return f"{'loses' if points > -0.05 else 'gains'} {abs(points):.1f} points"
        hurt = np.flatnonzero(drop[row] > HURT)
        if not len(hurt):
            most = scan.removed[row].max()
            return f"loses no more than {100 * HURT:.0f} points, even at {most:.0%}"
        return f"loses {100 * drop[row, hurt[0]]:.0f} points at {scan.removed[row, hurt[0]]:.0%}"

    if most == least:
        return f"Alone and without training, {of(most)} {when(most)} (validation split)."
    return (
        f"Alone and without training, most sensitive is {of(most)}: it {when(most)}. Least is "
        f"{of(least)}: it {when(least)} (measured on the validation split)."
    )


def _notes(result: Pruned) -> list[str]:
    bench, notes = result.bench, []
    if bench.fixed is not None:
        removes = f"This structure removes {bench.fixed:.0%} of a layer"
        notes.append(
            f"{removes}; by hand, any share but 0 % means that."
            if result.how == "hand"
            else f"{removes}, so there is no share to set."
        )
    if result.structure == "channel":
        tied = [n for n, makers in bench.together.items() if len(makers) > 1]
        if tied:
            notes.append(
                "Layers with a + between their numbers lose the same channels: their outputs are "
                "added, or one filters the other's."
            )
        notes.append("The last layer keeps its outputs, one for each class, and loses inputs only.")
    else:
        dense = [result.layers[n] for n in bench.weights if n not in bench.together]
        if dense:
            notes.append(f"Cannot have this structure, and stay as they are: {', '.join(dense)}.")
    if result.criterion == "lamp" and result.how != "ranked":
        notes.append("LAMP compares layers; within each it ranks as magnitude does.")
    if result.how == "scan" and not result.amount:
        notes.append("No layer stays within this drop: allow more.")
    return notes


def python(result: Pruned) -> str:
    """Lines that make the same cut of a model, and train it."""
    what = [f'structure="{result.structure}"']
    criterion = result.criterion
    if isinstance(result.amount, float) and result.structure != "channel":
        amount = f"{result.amount:g}"
    else:
        # within a layer LAMP ranks as magnitude does
        criterion = "magnitude" if criterion == "lamp" else criterion
        # rounded down, as counts of channels that stay are
        rounded = {n: math.floor(1e4 * r) / 1e4 for n, r in result.trial.removed.items() if r}
        if isinstance(result.amount, dict) and result.structure != "channel":
            rounded = {n: round(r, 4) for n, r in result.amount.items() if r}
        amount = "{" + ", ".join(f'"{n}": {r:g}' for n, r in rounded.items()) + "}"
    what.append(f'criterion="{criterion}"')
    if result.structure == "channel":
        what.append("multiple=1")
    if result.trained is not None:
        what.append("epochs=10")
    return (
        f"cut = tk.Prune(\n    {amount},\n    {', '.join(what)},\n)\n"
        "small = tk.compress(model, data, cut)"
    )
