"""Leaving out ops that a backend lacks: what remains computes what it computed before."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import graphs
from tests.targets.small import small_int8
from tinykit.engine import generate
from tinykit.graph import Graph, UnsupportedOpError
from tinykit.graph.interpreter import run
from tinykit.targets.counts import sample_inputs
from tinykit.targets.partial import runnable_part, without


@pytest.mark.parametrize("gone", [{0}, {1}, {2}, {3}, {0, 2}, {1, 2}, {0, 1, 3}])
def test_what_remains_computes_the_same(gone: set[int]) -> None:
    whole = small_int8()
    values: dict[int, np.ndarray] = {}
    run(whole, sample_inputs(whole), observe=values.__setitem__)
    part = without(whole, gone)
    assert part is not None
    assert len(part.ops) == len(whole.ops) - len(gone)
    results = part.run(*(values[i] for i in part.inputs))
    assert part.outputs
    for index, result in zip(part.outputs, results, strict=True):
        assert np.array_equal(result, values[index])


@settings(max_examples=60)
@given(data=st.data())
def test_random_graphs_without_random_ops(data: st.DataObject) -> None:
    whole = data.draw(graphs())
    gone = data.draw(st.sets(st.integers(0, len(whole.ops) - 1), max_size=len(whole.ops) - 1))
    values: dict[int, np.ndarray] = {}
    run(whole, sample_inputs(whole), observe=values.__setitem__)
    part = without(whole, gone)
    assert part is not None
    assert [op.kind for op in part.ops] == [
        op.kind for i, op in enumerate(whole.ops) if i not in gone
    ]
    results = part.run(*(values[i] for i in part.inputs))
    for index, result in zip(part.outputs, results, strict=True):
        assert np.array_equal(result, values[index])


def test_nothing_left() -> None:
    assert without(small_int8(), {0, 1, 2, 3}) is None


def test_whole_graph_when_nothing_is_missing() -> None:
    graph = small_int8()
    part = runnable_part(graph, generate)
    assert part.graph is graph
    assert part.missing == {}


def test_variants_that_a_backend_lacks_are_found_one_by_one() -> None:
    whole = small_int8()

    def picky(graph: Graph) -> None:
        for position, op in enumerate(graph.ops):
            if op.kind in ("softmax", "conv_2d"):
                raise UnsupportedOpError(op.kind, position, "a picky backend", "on principle")

    part = runnable_part(whole, picky)
    assert part.positions == (1, 2)
    assert set(part.missing) == {0, 3}
    assert "on principle" in part.missing[0]
