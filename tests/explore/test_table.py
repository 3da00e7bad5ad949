"""The shipped table: whole, honest about its making, and in step with today's engine."""

from __future__ import annotations

import itertools
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from tinykit import data, targets
from tinykit.explore import _table
from tinykit.explore._deployment import from_graph, from_table
from tinykit.explore._shipped import TableError
from tinykit.explore.sweep.compress_digits import KINDS, PRUNINGS, WIDTHS, costs
from tinykit.formats import tflite
from tinykit.graph import Graph
from tinykit.targets.accuracy import evaluate


@pytest.fixture(scope="module")
def table() -> _table.Table:
    return _table.load()


@pytest.fixture(scope="module")
def sample() -> Graph:
    """The sweep's smallest unpruned int8 network."""
    content = (files("tinykit.explore") / "tables" / "compress_digits.tflite").read_bytes()
    return tflite.read(content)


def test_every_position_of_the_knobs_has_a_network(table: _table.Table) -> None:
    keys = {(w, p, *kind) for w, p, kind in itertools.product(WIDTHS, PRUNINGS, KINDS)}
    assert set(table.nets) == keys


def test_every_network_is_whole(table: _table.Table) -> None:
    cores = {board.core.name for board in targets.boards()}
    for net in table.nets.values():
        assert set(net.cores) == cores
        assert len(net.accuracies) == len(table.seeds)
        assert all(0.1 < a <= 1 for a in net.accuracies)
        count = len(net.layers)
        assert len(net.macs) == len(net.constant_bytes) == count
        for cost in net.cores.values():
            assert len(cost.per_op) == len(cost.live_bytes) == count
            assert 0 < sum(cost.per_op) <= cost.instructions
            assert cost.constants >= sum(net.constant_bytes) * 0.95
            assert cost.arena_bytes >= max(cost.live_bytes)
            assert cost.arena_bytes >= max(t.offset + t.size for t in cost.tensors)


def test_accuracies_are_multiples_of_one_image(table: _table.Table) -> None:
    images = table.about["test_examples"]
    assert images == len(data.load("digits").test)
    for net in table.nets.values():
        for accuracy in net.accuracies:
            assert accuracy * images == pytest.approx(round(accuracy * images), abs=1e-3)


def test_it_says_how_it_was_made(table: _table.Table) -> None:
    assert {"torch", "numpy", "ziglang", "unicorn", "python"} <= set(table.about["versions"])
    assert "epochs" in table.about["training"]
    assert len(set(table.seeds)) == len(table.seeds) >= 1


def test_it_is_small() -> None:
    path = files("tinykit.explore") / "tables" / "compress_digits.json.gz"
    assert len(path.read_bytes()) < 2_000_000


def test_the_published_trends_hold(table: _table.Table) -> None:
    def flash(net: _table.Net) -> int:
        return net.cores["cortex-m4"].flash_bytes

    for width in WIDTHS:
        whole = table.nets[width, 0.0, 32, ""]
        eight = table.nets[width, 0.0, 8, "ptq"]
        assert whole.accuracy - eight.accuracy <= 0.01, "int8 costs at most a point"
        # code written for each layer's shape weighs more than the weights of the smallest network
        assert flash(eight) < flash(whole) or width == min(WIDTHS)
        cores = zip(eight.cores.values(), whole.cores.values(), strict=True)
        assert all(a.instructions < b.instructions for a, b in cores)
        for kind in KINDS:
            sizes = [flash(table.nets[width, p, *kind]) for p in PRUNINGS]
            assert sizes == sorted(sizes, reverse=True)


def test_counts_are_those_of_todays_engine(table: _table.Table, sample: Graph) -> None:
    """When this fails, the engine has changed: count the table again, see the README of
    ``datasets/compress_digits``."""
    net = table.nets[min(WIDTHS), 0.0, 8, "ptq"]
    row = {
        "width": net.width, "pruning": net.pruning, "bits": net.bits, "method": net.method,
        "accuracies": net.accuracies, **costs(sample),
    }  # fmt: skip
    again = _table.parse({"format": _table.FORMAT, "about": {}, "nets": [row]})
    assert again.nets[net.key] == net


def test_the_samples_accuracy_is_the_tables(table: _table.Table, sample: Graph) -> None:
    measured = evaluate(sample, data.load("digits"))
    assert table.nets[min(WIDTHS), 0.0, 8, "ptq"].accuracies[0] == pytest.approx(measured, abs=1e-6)


def test_a_row_of_the_table_says_what_a_profile_says(table: _table.Table, sample: Graph) -> None:
    """The explorer's short way (table and arithmetic) and the long way (profile) agree."""
    row = {
        "width": 1, "pruning": 0, "bits": 8, "method": "ptq", "accuracies": [0.5], **costs(sample),
    }  # fmt: skip
    made = _table.parse({"format": _table.FORMAT, "about": {"seeds": [0]}, "nets": [row]})
    (net,) = made.nets.values()
    for name in ("stm32f446", "samd21"):
        board = targets.load(name)
        short, long = from_table(net, board), from_graph(sample, board, net.label)
        renamed = replace(
            long.fit, budgets=tuple(
                replace(b, peak_layer=s.peak_layer)
                for b, s in zip(long.fit.budgets, short.fit.budgets, strict=True)
            ),
        )  # fmt: skip
        assert short == replace(long, fit=renamed, notes=())


def test_a_table_of_another_format_is_refused() -> None:
    with pytest.raises(TableError, match="format 99"):
        _table.parse({"format": 99})
    with pytest.raises(TableError, match="make sweeps"):
        _table.load("nothing")


def test_accuracy_of_a_net_is_the_mean_of_its_seeds(table: _table.Table) -> None:
    for net in table.nets.values():
        assert net.accuracy == pytest.approx(float(np.mean(net.accuracies)))


def test_time_comes_from_cycles_and_without_them_from_a_mean(table: _table.Table) -> None:
    cost = table.nets[min(WIDTHS), 0.0, 8, "ptq"].cores["cortex-m4"]
    board = targets.load("stm32f446")
    middle, low, high = cost.milliseconds(board)
    assert low < middle < high
    assert middle == pytest.approx(cost.cycles[_table.flash_key(board)][0] / board.mhz / 1000)
    without = replace(cost, cycles={})
    assert without.milliseconds(board) == board.milliseconds(cost.instructions)
