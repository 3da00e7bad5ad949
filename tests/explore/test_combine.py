"""Combine: the table's numbers reach figures and words; what the file is made of adds up."""

from __future__ import annotations

import itertools
import re
from typing import Any

import plotly.graph_objects as go
import pytest

from tinykit.explore import _lc_table
from tinykit.explore._lc_table import METHODS, REFERENCE, label, parse
from tinykit.explore._shipped import TableError
from tinykit.explore.combine import PUBLISHED, Combine
from tinykit.explore.sweep import lc_digits, lc_mnist

#: 64-60-20-10
SHAPES = ((60, 64), (20, 60), (10, 20))


def raw() -> dict[str, Any]:
    """A small table whose numbers can be told apart."""
    rows: list[dict[str, Any]] = []
    for seed in (0, 1):
        rows.append(
            {"keep": 0.0, "rank": 0, "levels": 0, "method": "reference", "seed": seed,
             "error": 3.0 + seed, "bytes": 20_000}
        )  # fmt: skip
        for n, (keep, levels) in enumerate([(0.0, 2), (0.1, 0), (0.1, 2)]):
            for m, method in enumerate(METHODS):
                rows.append(
                    {"keep": keep, "rank": 0, "levels": levels, "method": method, "seed": seed,
                     "error": 40.0 - 15 * m - 5 * n + seed, "bytes": 1000 + 100 * n + 10 * seed,
                     "gap": 0.5 / (m + 1), "numbers": 6,
                     "parts": [[1, "codebook", 400 + 100 * n], [2, "codebook", 100]]}
                )  # fmt: skip
                if method == "lc":
                    rows[-1]["history"] = [[0, 0.5, 40.0], [0.001, 0.2, 10.0 + seed]]
    about = {
        "data": "digits", "test_examples": 360, "network": "mlp: 64-60-20-10", "seeds": [0, 1],
        "training": "some", "knobs": {"keep": [0.0, 0.1], "rank": [0], "levels": [0, 2]},
    }  # fmt: skip
    return {"format": 1, "about": about, "rows": rows}


def raw_mnist() -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {"scheme": "reference", "method": "float32", "seed": s, "error": 1.6, "bytes": 1_066_440}
        for s in (0, 1)
    ]
    for seed, (n, scheme), method in itertools.product(
        (0, 1), enumerate(lc_mnist.SCHEMES), METHODS
    ):
        rows.append(
            {"scheme": scheme, "method": method, "seed": seed, "error": 2.0 + n,
             "bytes": 30_000 + n, "gap": 0.1, "numbers": 6,
             "ranks": [5, 4] if scheme == "rank selection" else [],
             "history": [[0, 0.5, 40.0], [0.001, 0.2, 2.5]]}
        )  # fmt: skip
    about = {
        "data": "mnist", "test_examples": 10_000, "network": "mlp: 784-300-100-10",
        "seeds": [0, 1], "training": "some",
    }  # fmt: skip
    return {"format": 1, "about": about, "rows": rows}


@pytest.fixture(scope="module")
def explorer() -> Combine:
    return Combine(parse(raw()), parse(raw_mnist()))


def all_settings(explorer: Combine) -> list[dict[str, Any]]:
    names = [c.name for c in explorer.controls]
    values = [c.values for c in explorer.controls]  # type: ignore[union-attr]
    found = [dict(zip(names, v, strict=True)) for v in itertools.product(*values)]
    # the other networks know no sums
    return [s for s in found if s["network"] == "digits" or s["keep"] == s["levels"] == 0]


def test_every_position_of_the_knobs_has_figures_and_words(explorer: Combine) -> None:
    for settings in all_settings(explorer):
        result = explorer.compute(settings)
        for figure in explorer.figures(result).values():
            go.Figure(figure.to_plotly_json())
            assert figure.layout.title.text
            assert "measured" in figure.layout.title.subtitle.text or (
                "counted" in figure.layout.title.subtitle.text
            )
        text = explorer.text(result)
        assert "Nothing is trained now" in text
        assert f"{result.shown.bytes:,.0f} B" in text
        assert "nan" not in text


def test_means_are_those_of_the_rows(explorer: Combine) -> None:
    result = explorer.compute({"keep": 0.1, "levels": 2})
    assert result.shown.method == "lc"
    assert result.shown.error == pytest.approx(0.5 * (0.0 + 1.0))
    assert result.shown.bytes == pytest.approx(1205)
    assert result.shown.history[-1] == pytest.approx((0.2, 10.5))
    assert result.shown.history[0] == pytest.approx((0.5, 40.0))
    one = explorer.compute({"keep": 0.1, "levels": 2, "seed": 1, "method": "direct"})
    assert one.shown.error == 31.0
    assert one.shown.bytes == 1210
    assert {p.method for p in one.points} == {"direct"}
    assert len(one.points) == 3


def test_a_better_network_is_one_by_definition(explorer: Combine) -> None:
    for settings in all_settings(explorer):
        result = explorer.compute(settings)
        rivals = [
            p
            for p in result.points
            if p.bytes < result.shown.bytes and p.error <= result.shown.error
        ]
        if result.better is None:
            assert not rivals
        else:
            assert result.better.bytes < result.shown.bytes
            assert result.better.error == min(p.error for p in rivals)
    # five points less, at ten percent more bytes: nobody is better than the last
    assert explorer.compute({"keep": 0.1, "levels": 2}).better is None


def test_a_seed_that_the_other_table_lacks_is_told(explorer: Combine) -> None:
    rows = [r for r in raw_mnist()["rows"] if r["seed"] == 0]
    one = Combine(parse(raw()), parse({**raw_mnist(), "rows": rows, "about": {
        **raw_mnist()["about"], "seeds": [0]}}))  # fmt: skip
    result = one.compute({"network": "rank selection", "seed": 1})
    assert result.shown.seeds == (0,)
    assert "no seed 1" in one.text(result)
    assert "no seed" not in explorer.text(explorer.compute({"seed": 1}))


def test_one_button_of_each_row_is_pressed(explorer: Combine) -> None:
    view = explorer.view()
    view.join()
    assert all(knob.index is not None for knob in view.knobs.values())


def test_nothing_compressed_is_told_so(explorer: Combine) -> None:
    result = explorer.compute({"levels": 0})
    assert result.shown.method == REFERENCE
    assert "Nothing is compressed" in explorer.text(result)
    assert "gap" not in explorer.figures(result)
    (bar,) = explorer.figures(result)["parts"].data
    assert list(bar.x) == [result.reference.bytes]
    # a run appears as soon as there is one
    assert "gap" in explorer.figures(explorer.compute({"levels": 2}))


def test_published_results_are_marked_as_such_and_have_no_size(explorer: Combine) -> None:
    for scheme in lc_mnist.SCHEMES:
        result = explorer.compute({"network": scheme})
        marks = [t for t in explorer.figures(result)["tradeoff"].data if "published" in str(t.name)]
        drawn = [(x, y) for t in marks for x, y in zip(t.x, t.y, strict=True)]
        assert sorted(y for _, y in drawn) == sorted(PUBLISHED.values())
        assert all(x < p.bytes for x, _ in drawn for p in result.points), "at the axis, not ours"
        own = [list(t.y) for t in marks if "your sum" in t.name]
        assert own == ([[PUBLISHED[scheme]]] if scheme in PUBLISHED else [])
        text = explorer.text(result)
        assert "arXiv:2005.07786" in text
        assert "not ours" in text
        hidden = explorer.labels(explorer.settings({"network": scheme}))
        assert hidden == {"keep": None, "rank": None, "levels": None}, "the menu names the sum"
        if scheme in PUBLISHED:
            assert f"{scheme} {PUBLISHED[scheme]:g} %" in text
    assert "ranks learned: 5–4 / 5–4" in explorer.text(
        explorer.compute({"network": "rank selection"})
    )
    digits = explorer.compute({})
    assert "published" not in explorer.text(digits).lower()
    assert explorer.labels(explorer.settings()) == {}


def test_the_parts_of_the_file_add_up_in_the_figure(explorer: Combine) -> None:
    result = explorer.compute({"levels": 2})
    bars = explorer.figures(result)["parts"].data
    assert sum(sum(bar.x) for bar in bars) == pytest.approx(result.shown.bytes)


def test_tables_of_another_format_and_rows_that_are_missing_are_told_in_words() -> None:
    with pytest.raises(TableError, match="make sweeps"):
        parse({**raw(), "format": 99})
    with pytest.raises(TableError, match=r"digits has no '9 levels' by 'lc' of seed 0"):
        parse(raw()).result("9 levels", "lc", 0)
    with pytest.raises(TableError, match=r"not installed \(there are: .*lc_digits"):
        _lc_table.load("lc_nothing")


# -- the table that ships ------------------------------------------------------------------------


def test_the_shipped_table_has_every_sum_of_the_knobs() -> None:
    table = _lc_table.load("lc_digits")
    assert table.schemes == [label(*key) for key in lc_digits.grid()]
    for scheme, method in itertools.product(table.schemes, METHODS):
        assert set(table.rows[scheme, method]) == set(table.seeds)
    assert len(table.rows) == len(METHODS) * len(lc_digits.grid()) + 1


def test_the_shipped_bytes_are_what_each_term_needs() -> None:
    """By counting: float32 factors and values, at most ⌈log₂ K⌉ bits a code, and little else."""
    table = _lc_table.load("lc_digits")
    biases = 4 * sum(rows for rows, _ in SHAPES)
    for results in table.rows.values():
        for r in results.values():
            if r.method == REFERENCE:
                assert r.bytes == 4 * sum(rows * (columns + 1) for rows, columns in SHAPES)
                continue
            found = re.match(r"(?:(\d+) % of the weights)?(?: \+ )?(?:rank (\d))?", r.scheme)
            assert found
            for layer, term, size in r.parts:
                rows, columns = SHAPES[layer - 1]
                if term == "low rank":
                    numbers = 4 * min(int(found[2]), rows, columns) * (rows + columns)
                    assert numbers < size < numbers + 20
                elif term == "single weights":
                    kept = int(found[1]) / 100 * rows * columns
                    # values, and at most a bitmap
                    assert 4 * (kept - 1) < size < 4 * (kept + 1) + rows * columns / 8 + 20
                else:
                    levels = int(r.scheme.split(" levels")[0].split(" ")[-1])
                    bits = (levels - 1).bit_length()
                    assert size < bits * rows * columns / 8 + 4 * levels + 30
            rest = r.bytes - sum(size for *_, size in r.parts)
            assert biases < rest < biases + 200


def test_lc_of_the_shipped_table_ends_where_compression_allows() -> None:
    table = _lc_table.load("lc_digits")
    for scheme in table.schemes:
        lc = table.result(scheme, "lc")
        assert lc.gap < 0.1 * lc.history[0][0], scheme
        assert lc.history[-1][1] == pytest.approx(lc.error, abs=0.1)


def test_a_row_of_the_shipped_table_can_be_made_again() -> None:
    from tinykit import data

    digits = data.load("digits")
    model = lc_digits.reference(digits, 0)
    table = _lc_table.load("lc_digits")
    for row in lc_digits.methods((0.0, 0, 2), model, digits, 0):
        shipped = table.result("2 levels", row["method"], 0)
        # another processor rounds otherwise, and training follows: some images, some bits
        assert row["error"] == pytest.approx(shipped.error, abs=4), row["method"]
        assert row["bytes"] == pytest.approx(shipped.bytes, rel=0.1)


@pytest.mark.parametrize("name", ["lc_digits", "lc_mnist"])
def test_a_run_starts_as_direct_compression(name: str) -> None:
    table = _lc_table.load(name)
    for scheme in table.schemes:
        for seed in table.seeds:
            start = table.result(scheme, "lc", seed).history[0][1]
            assert start == pytest.approx(table.result(scheme, "direct", seed).error, abs=0.011)
