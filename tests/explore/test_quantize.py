""" "Quantize": it shows what the network's numbers give, and answers every knob in words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinykit as tk
from tinykit.explore._quantize_figures import OBSERVERS, marks
from tinykit.explore._quantize_words import obstacles
from tinykit.explore.quantize import FLOAT, NETWORKS, Quantize, Quantized, study
from tinykit.graph.errors import TinykitError
from tinykit.quant.exportable import exportable
from tinykit.quant.prepare import calibrated, prepare
from tinykit.quant.quantizer import Grid
from tinykit.quant.quantizers.uniform import Uniform

EXPLORER = Quantize()


def turn(**changes: Any) -> Quantized:
    return EXPLORER.compute(changes)


def figures(result: Quantized) -> dict[str, go.Figure]:
    """Validated by Plotly."""
    return {k: go.Figure(f.to_plotly_json()) for k, f in EXPLORER.figures(result).items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_networks_that_ship_are_what_their_card_says(name: str) -> None:
    import json
    from importlib.resources import files

    record = json.loads((files("tinykit.explore") / "models" / "quantize.json").read_text())
    about = record["networks"][name]
    assert study(name).float_accuracy == pytest.approx(about["test_accuracy"], abs=0.003)
    assert about["bytes"] < 40_000
    assert len(study(name).layers) <= 6


def test_it_starts_where_one_scale_is_not_enough() -> None:
    """What the lesson says of 4 bits: the depthwise layer needs a scale a channel."""
    tensor, channel = turn(), turn(scales="channel")
    assert tensor.accuracies[1] < 0.75
    assert channel.accuracies[1] > 0.9
    assert turn(bits=8).accuracies[1] > 0.96
    assert turn(bits=FLOAT, others=FLOAT).accuracies == (tensor.study.float_accuracy,) * 2


def test_bits_of_one_layer_are_its_own() -> None:
    result = turn(bits=8, bits_1=2, bits_4=FLOAT)
    assert [f and f.bits for f in result.formats] == [8, 2, 8, 8, None, 8]
    sizes = [layer.size for layer in result.study.layers]
    want = [
        n * b / 8 + (4 if b < 32 else 0) for n, b in zip(sizes, (8, 2, 8, 8, 32, 8), strict=True)
    ]
    assert [result.bytes_of(n) for n in range(6)] == want
    assert f"{sum(want):,.0f} B (counted)" in EXPLORER.text(result)
    bars = figures(result)["bytes"].data[0]
    assert list(bars.x) == want


def test_figures_show_the_numbers() -> None:
    result = turn(observer="hand", share=0.5, layer=3)
    drawn = figures(result)
    levels = list(drawn["values"].data[0].x[::3])
    weights = result.study.values(3, "weights")
    largest = float(np.abs(weights).max())
    assert levels == pytest.approx(np.linspace(-0.5, 0.5, 15) * largest, rel=1e-5)
    kept, cut = drawn["values"].data[1:]
    assert sum(kept.y) + sum(cut.y) == pytest.approx(100)
    assert sum(cut.y) == pytest.approx(100 * (np.abs(weights) > 0.5 * largest).mean())
    curve = {t.name: t for t in drawn["error"].data}
    chosen = curve["your choice"]
    at = list(curve["both"].x).index(50)
    assert chosen.x[0] == pytest.approx(50, abs=0.1)
    assert chosen.y[0] == pytest.approx(curve["both"].y[at], rel=1e-4)
    assert {n for t in curve for n in t.split(", ")} >= set(OBSERVERS.values()) - {"moving average"}
    bars = drawn["accuracy"].data[0]
    assert list(bars.x) == pytest.approx(
        [100 * a for a in (result.study.float_accuracy, *result.accuracies)]
    )
    low, high = result.study.channels(3, "weights")
    ranges = drawn["channels"].data[0]
    assert list(ranges.base) == pytest.approx(low)
    assert list(ranges.y) == pytest.approx(high - low)


def test_every_observer_lands_where_the_curve_is() -> None:
    """One scale: the least squares are least, and min-max clips nothing."""
    for what in ("weights", "activations"):
        result = turn(what=what, symmetric=what == "weights")
        found = marks(result)
        assert found["min-max"][0] == pytest.approx(1)
        assert all(share <= 1 + 1e-6 for share, _ in found.values())
        assert found["least squares"][1] <= min(e for _, e in found.values()) * 1.05


SETTINGS = st.fixed_dictionaries(
    {
        c.name: st.sampled_from(c.values)  # type: ignore[union-attr]
        for c in EXPLORER.controls
    }
)


@given(SETTINGS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_knobs_give_figures_and_words(chosen: dict[str, Any]) -> None:
    result = turn(**chosen)
    assert set(figures(result)) == {"values", "channels", "error", "accuracy", "bytes"}
    text = EXPLORER.text(result)
    assert f"{result.accuracies[1]:.1%}" in text
    assert "measured now on 360 images" in text
    assert not re.search(r"nan|inf\b|None|e-1\d", text)
    assert ("TFLite cannot hold" in text) != ("TFLite can hold" in text)
    # what is hidden changes nothing
    hidden = [name for name, label in EXPLORER.labels(chosen).items() if label is None]
    assert [n for n in hidden if n.startswith("bits")] == [
        f"bits_{n}" for n in range(len(result.study.layers), 6)
    ]
    start = EXPLORER.settings()
    other = turn(**{**chosen, **{name: start[name] for name in hidden}})
    assert EXPLORER.text(other) == text


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("scales", ["tensor", "channel", "group"])
@pytest.mark.parametrize("symmetric", [True, False])
def test_what_tflite_can_hold_is_what_the_exporter_says(
    scales: str, symmetric: bool, bits: int
) -> None:
    result = turn(network="lenet", bits=bits, scales=scales, symmetric=symmetric)
    data = tk.data.load("digits")
    module = calibrated(prepare(NETWORKS["lenet"].build(data.spec), 8, weights="clipped"), data, 8)
    from tinykit.quant.layers import weighted

    for n, layer in enumerate(weighted(module).values()):
        levels = result.study.levels(n, "weights", result.formats[n])  # type: ignore[arg-type]
        axis = None if levels.per == "tensor" else 0
        group = 8 if levels.per == "group" else None
        layer.quantizer = Uniform(Grid(bits, symmetric, symmetric, axis, group)).start(layer.weight)
    try:
        exportable(module)
        held = True
    except TinykitError:
        held = False
    assert held == (obstacles(result) == [])


def test_words_say_what_does_nothing() -> None:
    assert "layers 0 to 4" in EXPLORER.text(turn(network="lenet", layer=5))
    assert "moving average is min-max" in EXPLORER.text(turn(observer="ema"))
    assert "half of the levels are never used" in EXPLORER.text(turn(what="activations"))
    assert "1.0×" not in EXPLORER.text(turn(bits=FLOAT))


def test_knobs_are_named_for_what_they_do() -> None:
    def named(**changes: Any) -> dict[str, str | None]:
        turn(**changes)
        return dict(EXPLORER.labels(EXPLORER.settings(changes)))

    assert named()["others"] == "Activations"
    assert named()["share"] is None
    assert named(observer="hand")["share"] == "By hand"
    assert named(what="activations")["others"] == "Weights"
    assert named(what="activations")["scales"] is None
    assert named(network="lenet")["bits_5"] is None


def test_min_max_says_why_it_clips() -> None:
    affine = EXPLORER.text(turn(symmetric=False, scales="channel"))
    clipped = re.search(r"rounding [\d.]+ %; (\d+) % of the values are clipped, by half a", affine)
    assert clipped
    assert "clipped, by" not in EXPLORER.text(turn())
    assert "< 0.01 %" in EXPLORER.text(turn(observer="hand", share=0.05, scales="channel"))
