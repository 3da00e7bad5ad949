"""Profiles: their numbers against independent counts, their JSON, their text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tinykit as tk
from tests.targets.small import small_float, small_int8, with_unknown_op
from tinykit.engine import arrange, emulate, plan
from tinykit.engine.cycles import NOTHING
from tinykit.graph import GraphBuilder, Quantization
from tinykit.targets import Column, Layer, Profile, load
from tinykit.targets.counts import constant_bytes_by_op, sample_inputs
from tinykit.targets.profile import PROVENANCES, Target

KEYS = {
    "model", "target", "macs", "flash_bytes", "sram_bytes", "tflm_arena_bytes", "instructions",
    "estimated_ms", "layers", "provenance",
}  # fmt: skip
ROW_KEYS = {"name", "op", "macs", "instructions", "sram_bytes"}


@pytest.fixture(scope="module")
def profile() -> Profile:
    return tk.profile(small_int8(), "stm32f446")


def test_json_has_the_promised_keys_and_provenance(profile: Profile) -> None:
    data = json.loads(profile.to_json())
    assert data.keys() >= KEYS
    assert all(row.keys() >= ROW_KEYS for row in data["layers"])
    numbers = KEYS - {"model", "target", "layers", "provenance"}
    assert data["provenance"].keys() >= numbers
    assert set(data["provenance"].values()) <= set(PROVENANCES)
    assert data["provenance"]["estimated_ms"] == "modelled"
    assert data["provenance"]["tflm_arena_bytes"] == "measured"
    assert data["provenance"]["instructions"] == "counted"


def test_macs_are_those_of_the_formula(profile: Profile) -> None:
    # conv: out h*w*c * kernel * in channels; depthwise: out * kernel; fully connected: in * out
    by_hand = [6 * 6 * 8 * 9 * 1, 6 * 6 * 8 * 9, 6 * 6 * 8 * 4, 0]
    assert [row.macs for row in profile.layers] == by_hand
    assert profile.macs == sum(by_hand)


def test_instructions_are_what_the_emulator_counts_and_layers_sum_up(profile: Profile) -> None:
    graph = small_int8()
    run = emulate(graph, [sample_inputs(graph)], core="cortex-m4")
    assert profile.instructions == run.instructions
    assert [row.instructions for row in profile.layers] == run.per_op
    entry = profile.instructions - sum(row.instructions for row in profile.layers)
    assert 0 <= entry < 100  # the entry function's own calls


def test_memory_is_that_of_the_plan_and_image(profile: Profile) -> None:
    graph = small_int8()
    layout = arrange(graph, "cortex-m4").plan
    assert [row.sram_bytes for row in profile.layers] == layout.live_bytes
    assert profile.sram_bytes > layout.arena_bytes >= max(layout.live_bytes)
    assert profile.flash_bytes > graph.weight_bytes
    assert sum(row.flash_bytes for row in profile.layers) == graph.weight_bytes


def test_time_is_the_stated_model(profile: Profile) -> None:
    """On a Cortex-M4 the modelled cycles, waits for its flash included."""
    board = load("stm32f446")
    graph = small_int8()
    run = emulate(graph, [sample_inputs(graph)], timing=True, board_flash=board.flash_timing)
    assert run.cycles is not None
    assert run.waits is not None
    total = sum(run.cycles, NOTHING) + sum(run.waits, NOTHING)
    assert profile.estimated_ms == pytest.approx(total.middle / (board.mhz * 1e3))
    low, high = profile.ranges["estimated_ms"]
    assert (low, high) == pytest.approx((total.low / 180e3, total.high / 180e3))
    assert low < profile.estimated_ms < high
    assert profile.estimated_ms == pytest.approx(sum(r.estimated_ms for r in profile.layers))
    how = profile.column("estimated_ms").how
    for word in ("DDI 0439", "5 wait states", "Error", "1.5 to 1.77"):
        assert word in how
    assert any("waits for flash" in note for note in profile.notes)


def test_time_without_published_timings_is_instructions_times_a_factor() -> None:
    board = load("samd21")
    core = board.core
    profile = tk.profile(small_int8(), "samd21")
    low, high = profile.ranges["estimated_ms"]
    assert profile.estimated_ms == pytest.approx(
        profile.instructions * core.cpi / (board.mhz * 1e6) * 1e3
    )
    assert low < profile.estimated_ms < high
    assert low / profile.estimated_ms == pytest.approx(core.cpi_low / core.cpi)
    assert str(core.cpi) in profile.column("estimated_ms").how


def test_a_board_whose_flash_is_not_known_says_so() -> None:
    profile = tk.profile(small_int8(), "nrf52840")
    assert "real time is longer" in profile.column("estimated_ms").how
    assert any("without waits for flash" in note for note in profile.notes)
    slower = tk.profile(small_int8(), "stm32l4r5")
    assert slower.estimated_ms * 120 > profile.estimated_ms * 64  # in cycles


def test_tflm_arena_holds_at_least_the_live_tensors(profile: Profile) -> None:
    assert profile.tflm_arena_bytes >= max(plan(small_int8()).live_bytes)


def test_other_cores_are_counted_on_their_own_emulator() -> None:
    graph = small_int8()
    counts = {n: tk.profile(graph, n).instructions for n in ("stm32f446", "samd21", "stm32f103")}
    assert counts["samd21"] > counts["stm32f103"], "Armv6-M has fewer instructions to choose from"
    assert len(set(counts.values())) > 1
    assert tk.profile(graph, "stm32f411").instructions == counts["stm32f446"]


def test_text_and_html_show_unit_and_provenance_of_every_column(profile: Profile) -> None:
    text, html = str(profile), profile._repr_html_()
    for column in profile.columns:
        assert column.name in text
        assert column.unit in text
        assert column.provenance in text
        assert f"({column.unit}, {column.provenance})" in html
    assert "first" in text
    assert "http" not in html


def test_html_escapes_names() -> None:
    column = Column("macs", "MAC", "counted", "how")
    evil = Profile("<b>", "t", (column,), {"macs": 1}, (Layer("<script>", "x", {"macs": 1}),))
    assert "<script>" not in evil._repr_html_()
    assert "<b></b>" not in evil._repr_html_()
    assert "&lt;script&gt;" in evil._repr_html_()


def test_a_model_that_does_not_fit_says_by_how_much_and_where() -> None:
    graph = small_int8(channels=200, size=14)
    profile = tk.profile(graph, "samd21")
    fit = {b.memory: b for b in profile.fit.budgets}
    assert not profile.fits
    assert fit["sram"].over == profile.sram_bytes - 32768 > 0
    assert fit["sram"].peak_layer == "second"  # both 12x12x200 activations are alive there
    text = str(profile)
    assert "does NOT fit Arduino Zero" in text
    assert f"{fit['sram'].over:,} B too many" in text
    assert "'second'" in text
    data = profile.to_dict()
    assert data["fits"] is False
    assert data["fit"]["memories"]["sram"]["over_bytes"] == fit["sram"].over
    assert tk.profile(graph, "stm32h743").fits


def test_peak_flash_layer_is_the_one_with_most_constants() -> None:
    graph = small_int8()
    budget = tk.profile(graph, "stm32f446").fit.budgets[0]
    sizes = constant_bytes_by_op(graph)
    assert (budget.memory, budget.peak_layer) == ("flash", graph.op_name(int(np.argmax(sizes))))
    assert budget.peak_bytes == max(sizes)


def test_an_unknown_op_leaves_the_rest_profiled() -> None:
    whole = tk.profile(small_int8(), "stm32f446")
    part = tk.profile(with_unknown_op(small_int8(), 1), "stm32f446")
    assert not part.complete
    row = part.layers[1]
    assert (row.op, row.instructions, row.macs) == ("frobnicate", None, None)
    assert "frobnicate" in row.note
    # the ops around it run on other values, so that counts may move a little, not more
    for i in (0, 2):
        assert part.layers[i].macs == whole.layers[i].macs
        assert part.layers[i].instructions == pytest.approx(whole.layers[i].instructions, rel=0.05)
    # an op that is not known is given memory of its own
    assert part.layers[1].sram_bytes >= whole.layers[1].sram_bytes
    for i in (0, 2):
        assert part.layers[i].sram_bytes == whole.layers[i].sram_bytes
    assert part.tflm_arena_bytes is None
    assert "lower bounds" in str(part)
    assert all(b.at_least for b in part.fit.budgets)
    assert "as far as it could be profiled, fits ST NUCLEO-F446RE" in str(part)
    json.loads(part.to_json())


def test_an_op_whose_tensors_do_not_fit_leaves_the_rest_profiled() -> None:
    quant = Quantization.per_tensor(0.1)
    b = GraphBuilder("unquantized")
    x = b.input("x", (1, 4), "int8", quant)
    y = b.op("add", [x, x], (1, 4), "int8", quant)
    z = b.input("z", (1, 4), "int8")
    w = b.op("add", [z, z], (1, 4), "int8")
    graph = b.finish([y, w])
    part = tk.profile(graph, "stm32f446")
    assert part.layers[0].instructions > 0
    assert part.layers[1].instructions is None
    assert "add (op number 1): tensor 'z' needs one quantization" in part.layers[1].note
    # positions are those in the whole graph, also when ops before have been left out
    part = tk.profile(with_unknown_op(graph, 0), "stm32f446")
    assert "add (op number 1): tensor 'z' needs" in part.layers[1].note


def test_constants_of_an_unknown_op_need_flash_all_the_same() -> None:
    graph = with_unknown_op(small_int8(channels=200, size=12), 2)  # 115,200 weights of 116,800
    part = tk.profile(graph, "stm32f446")
    assert part.flash_bytes > graph.weight_bytes > 100_000
    assert not tk.profile(graph, "stm32f103").fits


def test_a_graph_of_unknown_ops_alone_still_has_its_memory() -> None:
    graph = small_int8()
    for i in range(len(graph.ops)):
        graph = with_unknown_op(graph, i)
    profile = tk.profile(graph, "stm32f446")
    assert profile.instructions is None
    assert [row.sram_bytes for row in profile.layers] == plan(small_int8()).live_bytes
    assert str(profile)


def test_a_graph_too_big_to_emulate_still_has_macs_memory_and_a_verdict(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = small_int8(channels=200, size=14)
    monkeypatch.setattr("tinykit.targets.counts.MOST_WORK", graph.macs)
    profile = tk.profile(graph, "samd21")
    assert (profile.instructions, profile.macs) == (None, graph.macs)
    assert not profile.complete
    assert not profile.fits
    assert "not run on the emulator" in str(profile)
    assert all(b.at_least for b in profile.fit.budgets)
    json.loads(profile.to_json())


def test_an_emulator_that_fails_leaves_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinykit.engine.errors import EmulationError
    from tinykit.graph.errors import MissingToolError

    def broken(*_: object, **__: object) -> None:
        raise EmulationError("the arena does not fit the emulated memory")

    monkeypatch.setattr("tinykit.engine.emulate", broken)
    profile = tk.profile(small_int8(), "stm32f446")
    assert profile.instructions is None
    assert profile.tflm_arena_bytes > 0
    assert "emulated memory" in str(profile)

    def absent(*_: object, **__: object) -> None:
        raise MissingToolError("the compiler zig is missing: pip install ziglang")

    monkeypatch.setattr("tinykit.engine.emulate", absent)
    with pytest.raises(MissingToolError, match="pip install"):
        tk.profile(small_int8(), "stm32f446")


def test_float_graphs_profile_too() -> None:
    profile = tk.profile(small_float(), "stm32f446")
    assert profile.complete
    assert profile.instructions > profile.macs


def test_numbers_without_a_column_are_refused() -> None:
    with pytest.raises(ValueError, match="without a column"):
        Profile("m", "t", (), {"macs": 1}, ())
    with pytest.raises(ValueError, match="provenance"):
        Column("macs", "MAC", "guessed", "x")  # type: ignore[arg-type]


def test_any_target_will_do() -> None:
    class Nowhere:
        name = "nowhere"

        def profile(self, graph: tk.Graph, model: str | None = None) -> Profile:
            column = Column("macs", "MAC", "counted", "shapes")
            return Profile(model or "", self.name, (column,), {"macs": graph.macs}, ())

    target = Nowhere()
    assert isinstance(target, Target)
    assert tk.profile(small_int8(), target).macs == small_int8().macs


def test_profile_takes_a_file_and_says_what_else_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tk.profile("no/such.tflite", "stm32f446")
    with pytest.raises(tk.TinykitError, match="no format is known"):
        tk.profile("model.onnx", "stm32f446")
    with pytest.raises(tk.TinykitError, match="is a folder"):
        tk.profile(tmp_path, "stm32f446")
    with pytest.raises(tk.TinykitError, match="to_graph"):
        tk.profile(3, "stm32f446")  # type: ignore[arg-type]
