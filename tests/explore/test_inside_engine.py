"""Inside the engine: what it says was counted, and every technique does what it promises."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from importlib.resources import files

import plotly.graph_objects as go
import pytest

from tinykit.engine import PLAIN, Options, arrange, emulate
from tinykit.explore import inside_engine
from tinykit.explore._engine_build import Built, Techniques, build
from tinykit.explore._engine_words import words
from tinykit.explore._listing import MOST_LINES, cut
from tinykit.explore.explorer import Cancelled, File, quiet
from tinykit.explore.inside_engine import Inside, InsideEngine
from tinykit.graph import Graph, GraphBuilder
from tinykit.graph.errors import TinykitError
from tinykit.targets.counts import sample_inputs

MODELS = inside_engine.shipped()


@pytest.fixture(scope="module")
def explorer() -> InsideEngine:
    return InsideEngine()


@pytest.fixture(scope="module")
def whole(explorer: InsideEngine) -> Inside:
    return explorer.compute({})


def test_the_networks_that_ship_are_those_of_the_record() -> None:
    folder = files("tinykit.explore") / "models"
    record = json.loads((folder / "models.json").read_text("utf-8"))
    assert [about["title"] for about in record["models"].values()] == list(MODELS)
    for name, about in record["models"].items():
        assert len((folder / f"{name}.tflite").read_bytes()) == about["bytes"]
        assert MODELS[about["title"]].macs == about["macs"]
        assert about["test_accuracy"] > 0.9


@pytest.mark.parametrize("model", list(MODELS))
def test_every_technique_pays_somewhere_and_none_changes_a_bit(
    explorer: InsideEngine, model: str
) -> None:
    best = explorer.compute({"model": model}).built
    assert best.exact
    shared = explorer.compute({"model": model, "specialise": False}).built
    no_simd = explorer.compute({"model": model, "simd": False}).built
    assert best.total < no_simd.total < shared.total, "each has a part of its own"
    for name in ("specialise", "simd", "unroll", "fuse", "in_place"):
        without = explorer.compute({"model": model, name: False}).built
        assert without.exact
        # working in place saves memory, not time: addresses may take an instruction more
        assert without.total >= best.total * (0.98 if name == "in_place" else 0.999), name
        if name in ("specialise", "simd"):
            assert without.total > 1.5 * best.total
        if name == "in_place":
            assert without.arena_bytes > best.arena_bytes
    arenas = []
    for patches in ("recompute-4", "keep-4"):
        strips = explorer.compute({"model": model, "patches": patches}).built
        assert strips.exact
        assert strips.arena_bytes < best.arena_bytes
        assert (strips.recomputed > 0) == (patches == "recompute-4")
        assert len(strips.layers) == len(best.layers), "strips are added up by layer"
        arenas.append(strips.arena_bytes)
    if model.startswith("DS-CNN"):
        told = explorer.text(explorer.compute({"model": model, "patches": "smallest"}))
        smallest = explorer.compute({"model": model, "patches": "smallest"}).built
        assert smallest.exact
        assert smallest.arena_bytes <= min(arenas)
        assert f"Patches: {smallest.patches}, {smallest.recomputed:.1%} of all mult" in told


@pytest.mark.parametrize("options", [Options(), PLAIN])
def test_the_counts_are_the_emulators(options: Options) -> None:
    graph = next(iter(MODELS.values()))
    built = build(graph, "cortex-m4", Techniques(options))
    run = emulate(graph, [sample_inputs(graph)], options=options)
    assert built.total == run.instructions == sum(run.per_op or [])
    assert list(built.instructions) == run.per_op
    assert built.arena_bytes == arrange(graph, "cortex-m4", options).plan.arena_bytes
    assert built.flash_bytes == run.flash.total
    assert built.macs == tuple(graph.op_macs(i) for i in range(len(graph.ops)))
    for kinds, count in zip(built.kinds, built.instructions, strict=True):
        assert sum(kinds.values()) == count
    for life in built.tensors:
        assert 0 <= life.first <= life.last < len(built.steps)
        assert life.offset + life.size <= built.arena_bytes


def test_a_listing_accounts_for_every_instruction(whole: Inside) -> None:
    for step in whole.plain.code:
        lines = step.assembly.split("\n")
        if len(lines) > MOST_LINES:
            continue
        times = [int(m[1].replace(",", "")) for x in lines if (m := re.match(r" *([\d,]+) ", x))]
        assert sum(times) == step.instructions, step.name


def test_the_busiest_stretch_is_in_the_listing(whole: Inside) -> None:
    for step in whole.plain.code:
        assert step.loop_runs * len(step.loop) <= step.instructions
        assert all(f"{step.loop_runs:,} ▌" in line for line in step.loop)
        assert "\n".join(step.loop) in step.assembly


def test_the_code_is_that_of_the_layer_and_the_technique(
    explorer: InsideEngine, whole: Inside
) -> None:
    own = "\n".join(explorer.panels(whole).values())
    assert "dsp_conv" in own
    assert "smlad" in own
    assert "▌" in own
    shared = explorer.panels(explorer.compute({"specialise": False}))
    assert "tk_conv" in "\n".join(shared.values())
    assert "smlad" not in "\n".join(shared.values())
    for layer in range(len(whole.built.layers)):
        panels = explorer.panels(explorer.compute({"layer": layer}))
        code, assembly = panels.values()
        # a layer that is computed together with later ones is in the function of the last
        last = whole.built.fused[layer]
        name = f"model_op{layer if last is None else last}_"
        assert name in code
        assert name in assembly


def test_labels_and_names_stand_for_addresses(whole: Inside) -> None:
    text = whole.plain.code[2].assembly
    assert re.search(r"bl +tk_", text)
    targets = set(re.findall(r" b\w* +(\.\d+)$", text, re.MULTILINE))
    assert targets
    for label in targets:
        assert re.search(rf"^.{{10,12}} *{re.escape(label)} ", text, re.MULTILINE), label
    assert not re.search(r"\b(sb|sl|fp|ip)\b", text)


def test_figures_are_valid_and_say_what_the_numbers_are(
    explorer: InsideEngine, whole: Inside
) -> None:
    figures = explorer.figures(whole)
    for figure in figures.values():
        go.Figure(figure.to_dict())
        assert figure.layout.xaxis.title.text
        assert figure.layout.yaxis.title.text
        assert "counted" in figure.layout.title.subtitle.text
    bars, marks, _ = figures["instructions"].data
    assert sum(bars.x) * 1e6 == pytest.approx(whole.built.total)
    assert sum(marks.x) * 1e6 == pytest.approx(whole.plain.total)
    kinds, before, _ = figures["kinds"].data
    layer = whole.shown
    assert sum(kinds.x) == pytest.approx(whole.built.instructions[layer] / whole.built.macs[layer])
    assert sum(before.x) == pytest.approx(whole.plain.instructions[layer] / whole.plain.macs[layer])


def test_layers_computed_together_are_told_so(explorer: InsideEngine) -> None:
    fused = explorer.compute({"fuse": "always", "layer": 1})
    built = fused.built
    assert built.exact
    assert built.fused[1:3] == (2, None)
    assert built.instructions[1] == 0
    assert len(built.steps) < len(built.layers)
    assert built.code[1] == built.code[2]
    figures = explorer.figures(fused)
    assert "with layer 2" in figures["instructions"].data[2].text, "right of the mark"
    title = figures["kinds"].layout.title.text
    assert title.startswith("1:depthwise_conv_2d and 2:conv_2d: ")
    ours, macs = sum(built.instructions[1:3]), sum(built.macs[1:3])
    assert sum(figures["kinds"].data[0].x) == pytest.approx(ours / macs)
    before = sum(fused.plain.instructions[1:3])
    assert sum(figures["kinds"].data[1].x) == pytest.approx(before / macs)
    assert "Fuse does nothing" not in explorer.text(fused)
    residual = explorer.compute({"model": list(MODELS)[1], "fuse": "always"})
    assert "no kernel computes two of these layers" in explorer.text(residual)


def test_the_words_are_right_for_the_numbers(explorer: InsideEngine, whole: Inside) -> None:
    text = explorer.text(whole)
    built, plain = whole.built, whole.plain
    assert f"{plain.total / built.total:.2f}× fewer" in text
    assert f"Arena {built.arena_bytes:,} B" in text
    assert "bit for bit" in text
    nothing = explorer.compute(dict.fromkeys(("specialise", "in_place"), False))
    assert nothing.built.total == nothing.plain.total
    text = explorer.text(nothing)
    assert "as many as with no technique" in text
    assert "as much as with no technique" in text
    assert "SIMD, Unroll and Fuse do nothing while Own kernels is off" in text


def test_the_words_admit_what_is_worse(whole: Inside) -> None:
    def told(built: Built, plain: Built) -> str:
        return words("m", "Cortex-M4", whole.chosen, whole.techniques, built, plain)

    assert "fewer" not in told(whole.plain, whole.built)
    assert "× as many as with no technique" in told(whole.plain, whole.built)
    assert "% more than with no technique" in told(whole.plain, whole.built)
    wrong = replace(whole.built, exact=False)
    assert "DIFFER" in told(wrong, whole.plain)
    assert "bit for bit" not in told(wrong, whole.plain)


def test_what_cannot_matter_is_built_once(explorer: InsideEngine) -> None:
    settings = explorer.settings({"specialise": False})
    same = [
        inside_engine.effective({**settings, "simd": simd, "unroll": unroll, "fuse": fuse})
        for simd, unroll, fuse in itertools.product((True, False), repeat=3)
    ]
    assert len(set(same)) == 1
    small = explorer.settings({"core": "cortex-m0plus"})
    assert not inside_engine.effective(small).options.simd
    assert inside_engine.effective(explorer.settings()).options.simd
    told = explorer.text(explorer.compute(small))
    assert "SIMD does nothing here: a Cortex-M0+ has no such instructions" in told


def turned(share: float | None, what: str) -> None:
    """The `Tick` of work that nobody waits for any more."""
    raise Cancelled


def test_neighbours_are_built_ahead_and_a_turn_stops_that() -> None:
    explorer = InsideEngine({"small": small_net()})
    settings = explorer.settings()
    assert not explorer.instant(settings)
    with pytest.raises(Cancelled):
        explorer.compute(settings, turned)
    explorer.compute(settings)
    assert explorer.instant(settings)
    assert not explorer.instant({**settings, "simd": False})

    with pytest.raises(Cancelled):
        explorer.prepare(settings, turned)
    assert not explorer.instant({**settings, "simd": False})
    explorer.prepare(settings, quiet)
    for name in ("specialise", "simd", "unroll", "fuse", "in_place"):
        assert explorer.instant({**settings, name: False})
    assert explorer.instant({**settings, "patches": "keep-2"})
    assert not explorer.instant({**settings, "core": "cortex-m7"})


def small_net() -> Graph:
    """The last layers of a network that ships."""
    from tinykit.search.sites import isolate

    graph = next(iter(MODELS.values()))
    return isolate(graph, range(7, len(graph.ops)))


def test_a_file_of_ones_own(explorer: InsideEngine) -> None:
    content = (files("tinykit.explore") / "models" / "resnet8.tflite").read_bytes()
    settings = explorer.settings({"file": File("mine.tflite", content)})
    assert not explorer.instant(settings)
    result = explorer.compute(settings)
    assert explorer.instant(settings)
    assert explorer.text(result).startswith("mine.tflite: ")
    assert result.built == explorer.compute({"model": list(MODELS)[1]}).built


def test_patches_where_none_can_be_are_told_in_words() -> None:
    import numpy as np

    b = GraphBuilder("flat")
    x = b.input("x", (1, 8), "float32")
    w = b.const(np.ones((4, 8), np.float32))
    flat = b.finish([b.op("fully_connected", [x, w, None], (1, 4), "float32")])
    explorer = InsideEngine({"flat": flat})
    with pytest.raises(TinykitError, match="can be computed in 2 strips"):
        explorer.compute({"patches": "keep-2"})
    result = explorer.compute({"patches": "smallest"})
    assert "Patches: none; the arena is smallest without" in explorer.text(result)


def test_files_that_do_not_do_are_told_in_words(explorer: InsideEngine) -> None:
    from tinykit.formats import tflite

    content = (files("tinykit.explore") / "models" / "ds_cnn.tflite").read_bytes()
    with pytest.raises(TinykitError):
        explorer.compute({"file": File("half.tflite", content[: len(content) // 2])})
    b = GraphBuilder("large")
    x = b.input("x", (1, 4000, 10_000), "float32")
    import numpy as np

    w = b.const(np.zeros((1, 10_000), np.float32))
    y = b.op("fully_connected", [x, w, None], (1, 4000, 1), "float32", keep_num_dims=True)
    large = tflite.write(b.finish([y]))
    with pytest.raises(TinykitError, match="40,000,000 multiply-accumulates; at most 30,000,000"):
        explorer.compute({"file": File("large.tflite", large)})


def test_long_listings_are_cut_and_say_so() -> None:
    assert cut("a\nb") == "a\nb"
    lines = cut("\n".join(["x"] * (MOST_LINES + 7))).split("\n")
    assert len(lines) == MOST_LINES + 1
    assert lines[-1] == "... and 7 more lines"


def test_floats_are_compared_to_rounding() -> None:
    content = (files("tinykit.course") / "models" / "cnn_float32.tflite").read_bytes()
    explorer = InsideEngine()
    result = explorer.compute({"file": File("floats.tflite", content)})
    text = explorer.text(result)
    assert result.built.floats
    assert result.built.exact
    assert "to rounding" in text
    assert "bit for bit" not in text
    assert "DIFFER" not in text


def test_why_no_layers_are_fused(explorer: InsideEngine) -> None:
    for change in ({"simd": False}, {"core": "cortex-m0plus"}):
        assert "no kernel without SIMD computes two" in explorer.text(explorer.compute(change))
    strips = explorer.compute({"patches": "recompute-4", "fuse": "always"})
    assert strips.built.fusible
    assert "no kernel" not in explorer.text(strips)
    assert "Fuse joins no layers in these patches" in explorer.text(strips)


def test_memory_and_code_go_by_the_numbers_of_the_layers(explorer: InsideEngine) -> None:
    fused = explorer.compute({"fuse": "always", "layer": 4})
    named = {life.name for life in fused.built.tensors}
    assert "working memory of layer 3 and 4" in named
    assert not any("layer 3," in name for name in named), "its output is never in memory"
    assert "3+4" in explorer.figures(fused)["sram"].layout.xaxis.ticktext
    strips = explorer.compute({"patches": "recompute-4", "layer": 2})
    assert "Layer 2: C of 2:conv_2d" in explorer.panels(strips)
    assert explorer.shown(explorer.compute({"patches": "recompute-4", "layer": 0})).name == (
        "0:conv_2d, strip 1/4"
    )


def test_a_knob_that_saves_no_memory_is_told_so(explorer: InsideEngine, whole: Inside) -> None:
    shared = explorer.compute({"specialise": False})
    assert shared.built.arena_bytes == shared.plain.arena_bytes
    assert "In place saves no memory here" in explorer.text(shared)
    off = explorer.compute({"specialise": False, "in_place": False})
    assert "In place" not in explorer.text(off)
    assert "In place" not in explorer.text(whole)
