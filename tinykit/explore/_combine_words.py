"""The readout of "Combine": what the figures show, in words and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tinykit.explore._lc_table import METHODS, Result

if TYPE_CHECKING:
    from tinykit.explore.combine import Combined


def name_of(about: Mapping[str, Any]) -> str:
    """The data set, as people write it."""
    return {"mnist": "MNIST"}.get(about["data"], about["data"])


def words(result: Combined, published_reference: float, source: str) -> str:
    """Lines of text: errors of the methods, the file, what would be better, the run."""
    about = result.table.about
    network = str(about["network"]).replace("mlp: ", "MLP ")
    seeds = len(about["seeds"])
    lines = [
        f"{_capital(name_of(about))}, {network}. Nothing is trained now: the numbers are from a "
        f"table made beforehand ({seeds} seed{'s' if seeds > 1 else ''}; {about['training']})."
    ]
    if result.compressed:
        lines += [_errors(result), _file(result), _front(result), _run(result)]
    else:
        lines.append(
            f"Nothing is compressed: test error {_percent(result.reference)}, "
            f"{result.reference.bytes:,.0f} B of float32. Keep weights, take a rank or levels."
        )
    if result.published:
        lines.append(_published(result, published_reference, source))
    if result.missing is not None:
        lines.append(f"This table has no seed {result.missing}: the mean of all is shown.")
    return "\n".join(lines)


def _percent(found: Result) -> str:
    return f"{found.error:.2f} %"


def _errors(result: Combined) -> str:
    chosen = result.chosen
    parts = ", ".join(f"{METHODS[m]} {_percent(chosen[m])}" for m in METHODS)
    lc, retrained = chosen["lc"], chosen["retrained"]
    gain = retrained.error - lc.error
    noise = max(lc.spread, retrained.spread)
    if abs(gain) < 0.005:
        verdict = "LC and retraining come to the same"
    else:
        verdict = f"LC has {abs(gain):.2f} points {'less' if gain > 0 else 'more'} than retraining"
        if len(lc.errors) > 1:
            within = "no more than" if abs(gain) <= noise else "more than"
            verdict += f", {within} the seeds differ ({noise:.2f})"
    return (
        f"{_capital(result.shown.scheme)}: test error {parts}; before compression "
        f"{_percent(result.reference)} (measured). {verdict}."
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _file(result: Combined) -> str:
    shown = result.shown
    ratio = result.reference.bytes / shown.bytes
    size = f"{ratio:.1f}× smaller than" if ratio >= 1 else f"{1 / ratio:.2f} times as large as"
    text = (
        f"File ({METHODS[shown.method]}): {shown.bytes:,.0f} B, counted, {size} the float32 "
        f"numbers ({result.reference.bytes:,.0f} B)"
    )
    totals: dict[str, float] = {}
    for _, term, size_ in shown.parts:
        totals[term] = totals.get(term, 0.0) + size_
    if totals:
        totals["biases, names and checksum"] = shown.bytes - sum(totals.values())
        text += ": " + ", ".join(f"{name} {size_:,.0f} B" for name, size_ in totals.items())
    if shown.ranks:
        text += "; ranks learned: " + " / ".join("–".join(map(str, r)) for r in shown.ranks)
    return text + "."


def _front(result: Combined) -> str:
    better = result.better
    if better is None:
        return "None of the networks shown is smaller and at least as accurate: it is on the front."
    return (
        f"Smaller and at least as accurate: {better.scheme} ({METHODS[better.method]}), "
        f"{_percent(better)} in {better.bytes:,.0f} B."
    )


def _run(result: Combined) -> str:
    history = result.chosen["lc"].history
    return (
        f"The run of LC: in {len(history) - 1} steps the gap between the weights and what "
        f"compression allows went from {history[0][0]:.0%} to {history[-1][0]:.2%}."
    )


def _published(result: Combined, reference: float, source: str) -> str:
    name = result.shown.scheme
    known = result.published.get(name)
    start = (
        f"Published, not ours ({source}; before compression {reference:g} %, file sizes unknown)"
    )
    if known is None:
        return f"{start}: nothing for this sum; the marks on the left are of other sums."
    return f"{start}: {name} {known:g} %. Ours starts from {_percent(result.reference)}."
