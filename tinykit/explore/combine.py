"""Combine: single weights, low rank and a codebook added on the same network, by three methods.

Every combination was trained beforehand (`tinykit.explore.sweep.lc_digits` and `lc_mnist`): a knob
looks up, nothing is trained when it is turned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tinykit.explore import _lc_table
from tinykit.explore._combine_words import name_of, words
from tinykit.explore._lc_table import (
    METHODS,
    PUBLISHED,
    PUBLISHED_REFERENCE,
    PUBLISHED_SOURCE,
    REFERENCE,
    Result,
    Table,
    label,
)
from tinykit.explore.explorer import Choice, Control, Explorer, Settings, Tick, quiet
from tinykit.plots import Point, by_step, file_parts, pareto_front, size_error

if TYPE_CHECKING:
    import plotly.graph_objects as go

#: of the knob for seeds; not None, which a row of buttons shows as "nothing pressed"
MEAN = "mean"


@dataclass(frozen=True)
class Combined:
    """What a turn of the knobs comes to.

    Attributes
    ----------
    methods : whose points are shown
    seed : None is the mean of all
    points : what is drawn: each sum by each of `methods`
    chosen : the chosen sum by every method; only the reference, where nothing is compressed
    shown : of these, the one that the knobs choose: LC where all methods are shown
    better : another sum that is smaller and at least as accurate as `shown`, of `points`
    published : name → error in %, where others published results for this network
    missing : a seed that was asked for and that this table lacks: the mean is shown
    """

    table: Table
    methods: tuple[str, ...]
    seed: int | None
    points: tuple[Result, ...]
    reference: Result
    chosen: dict[str, Result]
    shown: Result
    better: Result | None
    published: dict[str, float]
    missing: int | None

    @property
    def compressed(self) -> bool:
        return self.shown.method != REFERENCE


class Combine(Explorer[Combined]):
    """The explorer; the tables are the shipped ones unless others are given.

    Parameters
    ----------
    digits, mnist : tables of sums by knobs, and of a few sums by name
    """

    name = "combine"
    title = "Combine"
    summary = "What adding up compressions does to a file's size and a network's error"

    def __init__(self, digits: Table | None = None, mnist: Table | None = None) -> None:
        self.digits = digits or _lc_table.load("lc_digits")
        self.mnist = mnist or _lc_table.load("lc_mnist")
        self._knobs = _knobs(self.digits)

    @property
    def controls(self) -> tuple[Control, ...]:
        nets = [("digits", f"digits, {_net(self.digits)}: the sum of the knobs below")]
        nets += [(s, f"MNIST, LeNet300: {s}") for s in self.mnist.schemes]
        keeps, ranks, levels = self._knobs
        return (
            Choice(
                "network", "Network", tuple(nets), "digits", "menu",
                "The network, and on MNIST also what is compressed how",
            ),
            Choice(
                "keep", "Weights kept",
                tuple((k, f"{100 * k:g} %" if k else "none") for k in keeps), 0.0, "slider",
                "Share of each layer's weights that are kept on their own, as float32",
            ),
            Choice(
                "rank", "Rank", tuple((r, str(r) if r else "none") for r in ranks), 0, "slider",
                "A product of two thin matrices for each layer",
            ),
            Choice(
                "levels", "Levels", tuple((n, str(n) if n else "none") for n in levels),
                2 if 2 in levels else levels[-1], "slider",
                "A codebook for each layer: every weight one of a few values",
            ),
            Choice(
                "method", "Method", (("all", "all"), *METHODS.items()), "all", "buttons",
                "Which networks are shown: compressed directly, retrained after that, or by LC",
            ),
            Choice(
                "seed", "Seeds",
                ((MEAN, "mean"), *((s, str(s)) for s in self.digits.seeds)), MEAN, "buttons",
                "One training run, or the mean of all",
            ),
        )  # fmt: skip

    def labels(self, settings: Settings) -> Mapping[str, str | None]:
        # on MNIST the menu says what is added
        hidden = () if settings["network"] == "digits" else ("keep", "rank", "levels")
        return dict.fromkeys(hidden)

    def compute(self, settings: Settings, tick: Tick = quiet) -> Combined:
        settings = self.settings(settings)
        own = settings["network"] != "digits"
        table = self.mnist if own else self.digits
        scheme = (
            settings["network"]
            if own
            else label(settings["keep"], settings["rank"], settings["levels"])
        )
        wanted = None if settings["seed"] == MEAN else settings["seed"]
        seed = wanted if wanted in table.seeds else None
        method = settings["method"]
        methods = tuple(METHODS) if method == "all" else (method,)
        reference = table.result(REFERENCE, REFERENCE, seed)
        points = tuple(table.result(s, m, seed) for s in table.schemes for m in methods)
        chosen = {m: table.result(scheme, m, seed) for m in METHODS} if scheme != REFERENCE else {}
        shown = chosen["lc" if method == "all" else method] if chosen else reference
        return Combined(
            table=table,
            methods=methods,
            seed=seed,
            points=points,
            reference=reference,
            chosen=chosen,
            shown=shown,
            better=_better(shown, points),
            published=PUBLISHED if own else {},
            missing=wanted if wanted != seed else None,
        )

    # -- figures and words ----------------------------------------------------------------------

    def figures(self, result: Combined) -> dict[str, go.Figure]:
        about = result.table.about
        finest = 50 / about["test_examples"]
        seeds = len(result.shown.seeds)
        runs = f"mean of {seeds} seeds" if seeds > 1 else f"seed {result.shown.seeds[0]}"
        made = f"error measured on {about['test_examples']:,} {name_of(about)} images ({runs})"
        figures = {
            "tradeoff": size_error(
                [_point(p) for p in result.points],
                methods=list(METHODS.values()),
                title="Test error against the size of the file: lower left is better",
                subtitle=f"{made}, bytes counted; from a table made beforehand",
                finest=finest,
                chosen=[_point(p) for p in result.chosen.values()],
                ring=_point(result.shown),
                reference=_point(result.reference),
                published=result.published,
                published_of_ring=result.shown.scheme,
                height=430,
            ),
            "parts": _parts(result, runs),
        }
        if result.compressed:
            lc, sum_ = result.chosen["lc"], result.shown.scheme
            start, end = lc.history[0], lc.history[-1]
            others = {METHODS[m]: result.chosen[m].error for m in ("direct", "retrained")}
            figures["error"] = by_step(
                [error for _, error in lc.history],
                name="LC",
                title=f"The run: test error from {start[1]:.3g} % to {end[1]:.3g} %",
                subtitle=f"{sum_}; w set to Δ(Θ) after each step; measured ({runs})",
                unit="test error in %",
                levels={**others, "not compressed": result.reference.error},
                finest=finest,
            )
            figures["gap"] = by_step(
                [100 * gap for gap, _ in lc.history],
                name="gap",
                title=f"The run: the gap closes from {start[0]:.0%} to {end[0]:.2%}",
                subtitle=f"{sum_}; ‖w − Δ(Θ)‖ / ‖w‖ over all layers, after each step; measured",
                unit="gap in %",
            )
        return figures

    def text(self, result: Combined) -> str:
        return words(result, PUBLISHED_REFERENCE, PUBLISHED_SOURCE)


def _knobs(table: Table) -> tuple[tuple[float, ...], tuple[int, ...], tuple[int, ...]]:
    """The values of keep, rank and levels whose sums are all in the table."""
    knobs = table.about["knobs"]
    return tuple(knobs["keep"]), tuple(knobs["rank"]), tuple(knobs["levels"])


def _net(table: Table) -> str:
    return str(table.about["network"]).replace("mlp: ", "MLP ")


@lru_cache(maxsize=4096)
def _point(result: Result) -> Point:
    method = METHODS.get(result.method, "")
    what = f"{result.scheme}, {method}" if method else "not compressed, float32"
    spread = (
        f" (seeds {min(result.errors):.3g} to {max(result.errors):.3g})"
        if len(result.errors) > 1
        else ""
    )
    return Point(
        result.bytes,
        result.error,
        method,
        f"{what}<br>error {result.error:.3g} %{spread}<br>{result.bytes:,.0f} B",
    )


def _better(shown: Result, points: tuple[Result, ...]) -> Result | None:
    """Of what is shown, the most accurate that is smaller and no less accurate."""
    rivals = [p for p in points if p.bytes < shown.bytes and p.error <= shown.error]
    if not rivals:
        return None
    front = pareto_front([p.bytes for p in rivals], [-p.error for p in rivals])
    return rivals[front[-1]]


def _parts(result: Combined, runs: str) -> go.Figure:
    shown = result.shown
    rest = "biases, names, checksum"
    if not shown.parts:
        rows = {METHODS[r.method]: r.bytes for r in result.chosen.values()}
        about = f"{shown.scheme}; counted ({runs}); by layer only for digits"
        if not result.compressed:
            rows, about = {"none": shown.bytes}, "not compressed: all numbers as float32; counted"
        return file_parts(
            list(rows),
            {"file": list(rows.values())},
            title=f"The file: {shown.bytes:,.0f} bytes",
            subtitle=about,
            y_title="method",
            height=430,
        )
    layers = sorted({layer for layer, _, _ in shown.parts})
    terms = list(dict.fromkeys(term for _, term, _ in shown.parts))
    sizes: dict[str, Any] = {
        term: [sum(b for n, t, b in shown.parts if (n, t) == (layer, term)) for layer in layers]
        + [0.0]
        for term in terms
    }
    left = shown.bytes - sum(b for _, _, b in shown.parts)
    sizes[rest] = [0.0] * len(layers) + [left]
    return file_parts(
        [str(layer) for layer in layers] + ["rest"],
        sizes,
        title=f"What the file is made of: {shown.bytes:,.0f} bytes",
        subtitle=f"{shown.scheme}, {METHODS[shown.method]}; counted ({runs})",
        y_title="layer",
        height=430,
    )
