"""Models side by side."""

from __future__ import annotations

import pytest

import tinykit as tk
from tests.targets.small import small_float, small_int8
from tinykit.targets import Column


def test_rows_are_the_profiles_totals() -> None:
    graphs = {"int8": small_int8(), "float": small_float()}
    table = tk.compare(graphs, "stm32f446")
    for name, graph in graphs.items():
        assert dict(table.rows[name]) == dict(tk.profile(graph, "stm32f446").totals)
    text = str(table)
    for column in table.columns:
        assert column.provenance in text
        assert column.unit in text
    assert table.to_dict()["provenance"]["instructions"] == "counted"


def test_a_further_column_and_ready_profiles() -> None:
    profile = tk.profile(small_int8(), "stm32f446")
    table = tk.compare([profile], "stm32f446")
    more = table.with_column(Column("accuracy", "%", "measured", "by hand"), {"small": 97.5})
    assert more.rows["small"]["accuracy"] == 97.5
    assert "accuracy" not in table.rows["small"]
    assert "97.5" in str(more)
    assert "97.5" in more._repr_html_()


def test_what_does_not_fit_is_said() -> None:
    table = tk.compare({"big": small_int8(channels=200, size=14)}, "samd21")
    assert "does NOT fit" in str(table)


def test_mistakes_are_explained() -> None:
    graph = small_int8()
    with pytest.raises(tk.TinykitError, match="several models"):
        tk.compare(graph)
    with pytest.raises(tk.TinykitError, match="two models are called 'small'"):
        tk.compare([graph, graph])
    with pytest.raises(tk.TinykitError, match="no model"):
        tk.compare([])
    with pytest.raises(tk.TinykitError, match="profiled on stm32f446"):
        tk.compare([tk.profile(graph, "stm32f446")], "samd21")
