"""Prune: what it shows was measured on the network that is cut, and the words are true."""

from __future__ import annotations

import itertools
import json
import re
from importlib.resources import files
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

import tinykit as tk
from tinykit.compress.encoded import Part, encode, raw
from tinykit.compress.pruning import parameters
from tinykit.explore._prune_words import HOWS, HURT, STRUCTURES, file_bytes, size_rows
from tinykit.explore.explorer import Cancelled
from tinykit.explore.prune import LAYERS, Prune, Pruned
from tinykit.graph.errors import TinykitError


@pytest.fixture(scope="module")
def explorer() -> Prune:
    return Prune()


@pytest.fixture(scope="module")
def half(explorer: Prune) -> Pruned:
    return explorer.compute({})


def test_the_networks_that_ship_are_those_of_the_record(explorer: Prune) -> None:
    text = (files("tinykit.explore") / "models" / "prune.json").read_text("utf-8")
    record = json.loads(text)["networks"]
    assert list(record) == list(explorer.networks)
    for name, about in record.items():
        model = explorer.networks[name].build(explorer.data)
        assert parameters(model) == about["parameters"]
        # sums may be in another order on another machine
        for split in ("val", "test"):
            now = tk.evaluate(model, explorer.data, split=split)
            assert now == pytest.approx(about[f"{split}_accuracy"], abs=0.006)
        assert about["test_accuracy"] > 0.97


def settings_of_all(explorer: Prune) -> list[dict[str, Any]]:
    small = next(iter(explorer.networks))
    return [
        {"network": small, "structure": s, "how": h, "criterion": c, "ratio": 0.4, "drop": 0.05,
         "ratio0": 0.0, "layer": 9}
        for s, h, c in itertools.product(STRUCTURES, HOWS, ("magnitude", "lamp"))
        if not (c == "lamp" and s in ("2:4", "pattern"))
    ]  # fmt: skip


def test_every_position_answers_and_what_it_says_is_so(explorer: Prune) -> None:
    for settings in settings_of_all(explorer):
        result = explorer.compute(settings)
        assert explorer.instant(explorer.settings(settings))
        for figure in explorer.figures(result).values():
            checked = go.Figure(figure.to_plotly_json())
            assert checked.layout.title.text
            assert checked.layout.xaxis.title.text
        text, trial, bench = explorer.text(result), result.trial, result.bench
        assert f"Accuracy {trial.accuracy:.1%} on the 360 test images" in text
        assert f"of the whole network {result.dense:.1%}" in text
        smaller = settings["structure"] == "channel"
        assert ("smaller dense network" in text) == smaller
        assert (trial.macs < bench.macs) == smaller
        for row in size_rows(result):
            assert row.share == 1 or row.share < 1
            if row.chip and not smaller:
                assert row.share == 1, "zeros are stored and multiplied as before"
        if settings["how"] == "hand":
            assert trial.removed[bench.layers[0]] == 0


def test_the_lines_of_python_make_the_same_cut(explorer: Prune) -> None:
    for settings in settings_of_all(explorer):
        result = explorer.compute(settings)
        code = explorer.panels(result)["The same in Python"]
        names: dict[str, Any] = {"tk": tk}
        exec(code.split("small =")[0], names)
        cut = names["cut"]
        model = result.network.build(explorer.data)
        untrained = tk.compress(
            model, explorer.data, tk.Prune(**{**vars(cut), "epochs": 0}), progress=False
        )
        assert tk.evaluate(untrained, explorer.data) == pytest.approx(
            result.trial.accuracy, abs=1 / 360 if settings["structure"] == "channel" else 1e-9
        ), code
        if settings["structure"] == "channel":
            assert parameters(untrained) == result.trial.parameters, code


def test_a_file_with_a_bitmap_is_no_wishful_thinking(half: Pruned) -> None:
    """The kit's own format, which reads back, takes no more than what is said."""
    from tinykit.compress.csteps.theta import Sparse

    parts = []
    masks = half.trial.masks
    model = half.network.build(Prune().data)
    for name, p in model.named_parameters():
        values = p.detach()
        if name in masks.keep:
            index = masks.keep[name].flatten().nonzero().flatten()
            theta = Sparse(tuple(values.shape), index, values.flatten()[index])
            parts.append(Part((name,), (tuple(values.shape),), theta))
        else:
            parts.append(raw(name, values))
    encoded = encode(parts)
    said = file_bytes(half)
    assert encoded.total - encoded.header <= said + 8 * len(parts)
    assert said < 4 * half.bench.parameters


def test_the_sensitive_layer_is_named_rightly(half: Pruned, explorer: Prune) -> None:
    drops = {half.parts[n]: d.mean() for n, d in zip(half.scan.layers, half.scan.drop, strict=True)}
    most, least = max(drops, key=drops.get), min(drops, key=drops.get)  # type: ignore[arg-type]
    assert re.search(
        rf"most sensitive is {re.escape(most)} .* Least is {re.escape(least)} ",
        explorer.text(half),
    )


def test_what_a_layer_loses_is_what_the_scan_measured(explorer: Prune) -> None:
    for structure in STRUCTURES:
        result = explorer.compute({"structure": structure})
        text, scan = explorer.text(result), result.scan
        row = int(np.argsort(-scan.drop.mean(1), kind="stable")[-1])  # the last of equals
        name = re.escape(result.parts[scan.layers[row]])
        if result.bench.fixed is not None:
            points = 100 * scan.drop[row][0]
            verb = "loses" if points > -0.05 else "gains"
            assert re.search(rf"Least is {name} .* it {verb} {abs(points):.1f} points \(", text)
            assert " -" not in text
        elif scan.drop[row].max() <= HURT:
            assert re.search(
                rf"Least is {name} .* it loses no more than 5 points, even at 95%", text
            )
        assert ("one for each class" in text) == (structure == "channel")


def test_curves_start_at_the_whole_network_and_marks_lie_on_them(
    half: Pruned, explorer: Prune
) -> None:
    figure = explorer.figures(half)["sensitivity"]
    *curves, marks = figure.data
    assert [c.name for c in curves] == list(half.parts.values())
    assert marks.name == "removed now"
    for curve, x, y, name in zip(curves, marks.x, marks.y, half.scan.layers, strict=True):
        assert (curve.x[0], curve.y[0]) == (0, pytest.approx(100 * half.scan.baseline))
        assert x == pytest.approx(100 * half.trial.removed[name])
        assert y == pytest.approx(np.interp(x, curve.x, curve.y))


def test_only_knobs_that_do_something_are_shown(explorer: Prune) -> None:
    def shown(**changes: Any) -> list[str]:
        explorer.compute(changes)
        labels = explorer.labels(explorer.settings(changes))
        return [
            c.name for c in explorer.controls
            if c.name.startswith(("ratio", "drop")) and labels.get(c.name, "") is not None
        ]  # fmt: skip

    assert shown() == ["ratio"]
    assert shown(how="ranked") == ["ratio"]
    assert shown(how="scan") == ["drop"]
    assert shown(how="hand") == [f"ratio{i}" for i in range(5)]
    assert shown(how="hand", structure="channel") == [f"ratio{i}" for i in range(4)]
    assert shown(structure="2:4") == []
    tied = explorer.settings({"network": "resnet8", "structure": "channel", "how": "hand"})
    explorer.compute(tied)
    assert explorer.labels(tied)["ratio0"] == "Layers 1+3", "their outputs are added"
    for name in explorer.networks:
        assert len(explorer.compute({"network": name}).layers) <= LAYERS
    # a knob that is not shown changes nothing
    first = explorer.compute({"ratio3": 0.1, "drop": 0.3})
    assert first.trial.accuracy == explorer.compute({}).trial.accuracy


def test_training_makes_up_for_much_and_is_remembered(explorer: Prune) -> None:
    settings = {"how": "ranked", "ratio": 0.8, "train": 10}
    assert not explorer.instant(explorer.settings(settings))
    told: list[str] = []
    result = explorer.compute(settings, lambda share, what: told.append(what))
    assert "training what is left, 10 epochs" in told
    assert result.trained is not None
    assert result.trained > result.trial.accuracy
    assert f"trained again, {result.trained:.1%}" in explorer.text(result)
    assert explorer.instant(explorer.settings(settings))
    assert "epochs=10" in explorer.panels(result)["The same in Python"]


def test_a_scan_that_nobody_waits_for_stops() -> None:
    explorer = Prune()

    def tick(share: float | None, what: str) -> None:
        if share:
            raise Cancelled

    with pytest.raises(Cancelled):
        explorer.compute({}, tick)
    assert not explorer.instant(explorer.settings({}))


def test_what_makes_no_sense_is_told_in_words(explorer: Prune) -> None:
    with pytest.raises(TinykitError, match="whole filters"):
        explorer.compute({"criterion": "fpgm"})
    with pytest.raises(TinykitError, match="'magnitude'"):
        explorer.compute({"criterion": "lamp", "structure": "2:4"})
    tight = explorer.compute({"how": "scan", "drop": 0.0, "structure": "pattern"})
    assert "allow more" in explorer.text(tight)
    assert "Nothing is removed" in explorer.text(tight)
