"""The schedule search: it finds the best, rejects what is wrong, and remembers."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from tests.engine.nets import residual
from tests.search.conftest import Toy, relus
from tinykit.engine import Options, arrange, emulate
from tinykit.engine.arrange import read_table
from tinykit.engine.cores import find_core
from tinykit.engine.flash import FlashTiming
from tinykit.engine.schedule import NONE, Schedule
from tinykit.graph import TinykitError
from tinykit.search import CostModel, Trial, tune
from tinykit.search import schedules as search
from tinykit.search.sites import Site, isolate, sites
from tinykit.search.trials import count


def only(tuning):  # type: ignore[no-untyped-def]
    (choice,) = tuning.choices.values()
    return choice


def test_the_best_of_the_candidates_is_kept_and_used(toy: Toy) -> None:
    toy.knobs = [{"step": 1}, {"step": 8}, {"step": 2}]
    graph = relus(64)
    tuning = tune(graph)
    choice = only(tuning)
    counts = {str(t.schedule): t.instructions for t in choice.trials}
    assert set(counts) == {"toy:step=1", "toy:step=2", "toy:step=8", "none"}
    assert choice.best == Schedule.of("toy", step=8)
    assert choice.instructions == min(counts.values()) < choice.default_instructions
    assert choice.default == Schedule.of("toy", step=1)
    # the whole graph with the table costs what the search said
    run = emulate(graph, [np.arange(-32, 32, dtype=np.int8).reshape(1, 64)],
                  options=tuning.options(Options(use_table=False)))  # fmt: skip
    assert run.per_op == [choice.instructions]


def test_the_plain_kernel_is_kept_where_it_is_faster(toy: Toy) -> None:
    toy.knobs = [{"step": 1, "waste": 100_000}]
    tuning = tune(relus(16))
    assert only(tuning).best == NONE
    program = arrange(relus(16), "cortex-m4", tuning.options())
    assert program.steps[0].schedule is None


@pytest.mark.parametrize(
    ("fault", "why"), [(1, "3 outputs differ"), (2, "0x4"), (3, "failed on generated code")]
)
def test_a_schedule_that_fails_is_rejected_loudly(
    toy: Toy, fault: int, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    toy.knobs = [{"step": 1}, {"step": 8, "fault": fault}, {"step": 4}]
    with caplog.at_level(logging.ERROR, "tinykit.search"):
        tuning = tune(relus(64))
    ((key, trial),) = tuning.rejected
    assert key == only(tuning).key
    assert trial.schedule == Schedule.of("toy", step=8, fault=fault)
    assert why in trial.error
    assert only(tuning).best == Schedule.of("toy", step=4)
    assert len(caplog.records) == 1
    assert str(trial.schedule) in caplog.text


def test_of_equally_fast_schedules_the_leanest_is_chosen(toy: Toy) -> None:
    toy.knobs = [{"step": 8, "extra": 64}, {"step": 8}, {"step": 8, "extra": 16}]
    choice = only(tune(relus(64)))
    assert choice.best == Schedule.of("toy", step=8)
    assert choice.best != choice.default


def test_a_chain_is_fused_where_that_is_faster(toy: Toy, fused: Toy) -> None:
    toy.knobs, fused.knobs = [{"step": 4}], [{"step": 4}]
    graph = relus(64, ops=2)
    tuning = tune(graph)
    assert [str(s) for s in tuning.schedules.values()] == ["toy:step=4", "fused:step=4"]
    assert len(arrange(graph, "cortex-m4", tuning.options()).steps) == 1


def test_a_chain_that_is_slower_fused_stays_apart(toy: Toy, fused: Toy) -> None:
    toy.knobs, fused.knobs = [{"step": 4}], [{"step": 4, "waste": 1000}]
    graph = relus(64, ops=2)
    tuning = tune(graph)
    assert [str(s) for s in tuning.schedules.values()] == ["toy:step=4", "none"]
    single, chain = tuning.choices.values()
    assert chain.instructions == 2 * single.instructions
    assert len(arrange(graph, "cortex-m4").steps) == 1
    assert len(arrange(graph, "cortex-m4", tuning.options()).steps) == 2


def test_layers_of_one_shape_are_counted_once_and_not_again(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.knobs = [{"step": 1}, {"step": 4}]
    told: list[tuple[int, int, str]] = []
    first = tune(relus(64, 64, 32), progress=lambda *now: told.append(now))
    assert [(done, total) for done, total, _ in told] == [(0, 2), (1, 2), (2, 2)]
    monkeypatch.setattr(search, "count", lambda *_: pytest.fail("counted again"))
    assert tune(relus(32, 64)).schedules == first.schedules
    with pytest.raises(pytest.fail.Exception):
        tune(relus(64), core="cortex-m7")
    with pytest.raises(pytest.fail.Exception):
        tune(relus(64), options=Options(unroll=False))


def test_only_what_is_new_is_counted(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.knobs = [{"step": 1}]
    tune(relus(64))
    toy.knobs = [{"step": 1}, {"step": 4}]
    counted: list[Schedule] = []
    real = search.count
    monkeypatch.setattr(search, "count", lambda *a: counted.extend(a[1]) or real(*a))
    assert only(tune(relus(64))).best == Schedule.of("toy", step=4)
    assert counted == [Schedule.of("toy", step=4)]


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", '{"trials": 3}', '{"trials": [{}]}', '{"trials": [[1]]}',
     '{"trials": [{"schedule": "x:y", "instructions": 1, "arena": 1, "flash": 1, "error": "",'
     ' "cycles": 1}]}'],
)  # fmt: skip
def test_a_damaged_cache_entry_is_counted_again(
    toy: Toy, cache: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    toy.knobs = [{"step": 1}, {"step": 4}]
    first = tune(relus(64))
    (file,) = cache.iterdir()
    whole = file.read_text()
    file.write_text(damage)
    assert tune(relus(64)).choices == first.choices
    assert "damaged" in caplog.text
    assert file.read_text() == whole


def test_a_model_without_tunable_layers_gives_an_empty_table(toy: Toy, tmp_path: Path) -> None:
    tuning = tune(relus(64))
    assert tuning.schedules == {}
    tuning.write(tmp_path / "table.json")
    assert read_table((tmp_path / "table.json").read_text(), "table") == {}


def test_an_unknown_core_or_toolchain_is_told(toy: Toy) -> None:
    with pytest.raises(TinykitError, match="no core is called 'cortex-m99'"):
        tune(relus(8), core="cortex-m99")
    with pytest.raises(TinykitError, match="unknown toolchain 'tcc'"):
        tune(relus(8), toolchain="tcc")


def test_tables_grow_and_are_read_by_the_engine(toy: Toy, tmp_path: Path) -> None:
    toy.knobs = [{"step": 1}, {"step": 4}]
    path = tmp_path / "schedules" / "cortex-m4.json"
    one, other = tune(relus(64)), tune(relus(32))
    one.write(path)
    other.write(path)
    table = read_table(path.read_text(), str(path))
    assert table == {**one.schedules, **other.schedules}
    assert json.loads(path.read_text())["made_with"]["toolchain"] == "zig"
    path.write_text("{")  # perhaps something else of the user's
    with pytest.raises(TinykitError, match="is no table of schedules"):
        one.write(path)
    assert path.read_text() == "{"


@pytest.mark.parametrize(
    ("text", "rows"),
    [("", 0), ("[1]", 0), ("{}", 0), ('{"schedules": 1}', 0),
     ('{"schedules": {"a": "toy:step=1", "b": "toy:step", "c": 7}}', 1)],
)  # fmt: skip
def test_a_damaged_table_is_told_and_left_out(
    text: str, rows: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(read_table(text, "the file")) == rows
    assert "the file" in caplog.text
    assert "damaged" in caplog.text


def test_rows_that_no_kernel_offers_are_passed_over(toy: Toy) -> None:
    toy.knobs = [{"step": 1}]
    graph = relus(16)
    key = sites([graph], find_core("cortex-m4"), Options())[0].key
    stale = Options(schedules={key: Schedule.of("toy", step=3)})
    (step,) = arrange(graph, "cortex-m4", stale).steps
    assert step.schedule == Schedule.of("toy", step=1)


def test_a_part_of_a_graph_alone_computes_the_same() -> None:
    graph = residual()
    sample = np.random.default_rng(0).integers(-128, 128, graph.input.shape, dtype=np.int8)
    whole = dict(enumerate(_activations(graph, sample)))
    for start, stop in [(0, 1), (1, 3), (3, 4), (4, 6), (6, 8)]:
        part = isolate(graph, range(start, stop))
        made = {i for op in graph.ops[start:stop] for i in op.outputs}
        reads = [i for op in graph.ops[start:stop] for i in op.inputs if i not in made]
        inputs = [whole[i] for i in dict.fromkeys(reads) if not graph.tensors[i].is_const]
        (out,) = part.run(*inputs)
        assert np.array_equal(out, whole[graph.ops[stop - 1].outputs[0]])


def _activations(graph, sample):  # type: ignore[no-untyped-def]
    """Every tensor's value, None for constants."""
    made = [i for op in graph.ops for i in op.outputs]
    values = graph.replace(outputs=tuple(made)).run(sample)
    known = {graph.inputs[0]: sample, **dict(zip(made, values, strict=True))}
    return [known.get(i) for i in range(len(graph.tensors))]


def test_cycles_can_be_what_counts(toy: Toy) -> None:
    toy.knobs = [{"step": 1}, {"step": 8}, {"step": 4}]
    by_count, by_cycles = tune(relus(64)), tune(relus(64), objective="cycles")
    assert by_cycles.counted == 0 < by_count.counted  # both were had in one run
    choice = only(by_cycles)
    best = min(choice.trials, key=lambda t: t.cost("cycles"))
    assert choice.best == best.schedule
    assert choice.cycles == best.cycles > choice.instructions
    run = emulate(relus(64), [np.zeros((1, 64), np.int8)], timing=True,
                  options=by_cycles.options(Options(use_table=False)))  # fmt: skip
    assert run.cycles is not None
    assert abs(sum(c.middle for c in run.cycles) / choice.cycles - 1) < 0.1


def test_waits_for_flash_are_part_of_the_cycles(toy: Toy) -> None:
    """Written out, 1,500 turns are 30 KB of code that no cache of 1 KB holds: few instructions,
    and slow on a board."""
    toy.knobs = [{"step": 1500}, {"step": 4}]
    graph, slow = relus(1500), FlashTiming(8, 8, 1024, 256)
    by_count = only(tune(graph))
    by_cycles = only(tune(graph, objective="cycles"))
    on_board = only(tune(graph, objective="cycles", flash=slow))
    assert [c.best["step"] for c in (by_count, by_cycles, on_board)] == [1500, 1500, 4]
    assert on_board.instructions > by_count.instructions
    assert on_board.trials[0].cost("cycles") > 2 * by_cycles.trials[0].cost("cycles")


def test_the_objective_decides() -> None:
    few = Trial(Schedule.of("toy", step=1), 100, 64, 10, cycles=300.0)
    fast = Trial(Schedule.of("toy", step=2), 110, 64, 10, cycles=200.0)
    site = Site("relu", relus(8), (few.schedule, fast.schedule))
    assert search.choose(site, [few, fast], {}).best == few.schedule
    assert search.choose(site, [few, fast], {}, objective="cycles").best == fast.schedule


def test_cycles_that_lack_waits_do_not_win() -> None:
    slow = Trial(Schedule.of("toy", step=1), 100, 64, 10, cycles=300.0)
    bare = Trial(Schedule.of("toy", step=2), 110, 64, 10, cycles=200.0, waits_lacking=True)
    site = Site("relu", relus(8), (slow.schedule, bare.schedule))
    choice = search.choose(site, [slow, bare], {}, bare.schedule, "cycles")
    assert choice.best == slow.schedule
    assert choice.default_cost("cycles") is None
    assert search.choose(site, [bare], {}, objective="cycles").best == bare.schedule
    assert Trial.from_dict(bare.to_dict()) == bare


def test_a_board_whose_waits_the_emulator_cannot_model_is_noted(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.knobs = [{"step": 1}, {"step": 4}]
    monkeypatch.setattr("tinykit.engine.emulator._runs_alike", lambda *_: False)
    flash = FlashTiming(5, 16, 1024, 128)
    lacking = only(tune(relus(64), objective="cycles", flash=flash)).trials
    assert all(trial.waits_lacking for trial in lacking)
    without = only(tune(relus(64), objective="cycles")).trials
    assert not any(trial.waits_lacking for trial in without)


def test_an_objective_that_cannot_be_had_is_told(toy: Toy) -> None:
    with pytest.raises(TinykitError, match="no objective 'joules'; there are instructions, cycles"):
        tune(relus(8), objective="joules")
    with pytest.raises(TinykitError, match="cycles are modelled for cortex-m4 only"):
        tune(relus(8), core="cortex-m7", objective="cycles")
    with pytest.raises(TinykitError, match="a budget is 1 schedule"):
        tune(relus(8), budget=0)


def test_a_budget_counts_what_the_model_ranks_first(toy: Toy) -> None:
    toy.knobs = [{"step": step} for step in (1, 2, 16, 4, 8)]
    model = CostModel.fit(tune(relus(64)).trials)
    tuning = tune(relus(96), budget=2, model=model)
    choice = only(tuning)
    tried = [t.schedule for t in choice.trials]
    # the engine's own guess, what the model thinks best, and the plain kernel
    assert tried == [Schedule.of("toy", step=1), Schedule.of("toy", step=16), NONE]
    assert choice.offered == 5
    assert tuning.counted == 3
    assert choice.best == Schedule.of("toy", step=16)
    assert "2/5" in str(tuning)


def test_without_a_model_a_search_learns_as_it_goes(toy: Toy) -> None:
    """The first layer is counted in the order that the kernel offers, the second by what that
    taught: with a budget of three of six, the best of both is met all the same."""
    toy.knobs = [{"step": step} for step in (4, 1, 8, 2, 16, 32)]
    first, second = tune(relus(128, 160), budget=3).choices.values()
    assert [t.schedule["step"] for t in first.trials[:-1]] == [4, 1, 8]
    assert second.trials[0].schedule["step"] == 4
    assert 8 in [t.schedule["step"] for t in second.trials[:-1]]


def test_what_a_search_found_in_words_and_values(toy: Toy) -> None:
    toy.knobs = [{"step": 1}, {"step": 8, "fault": 1}, {"step": 4}]
    tuning = tune(relus(64))
    row = tuning.to_dict()
    assert json.loads(json.dumps(row)) == row
    assert [layer["best"] for layer in row["layers"]] == ["toy:step=4"]
    assert [r["schedule"] for r in row["rejected"]] == ["toy:fault=1,step=8"]
    assert row["counted"] == 4
    text = str(tuning)
    choice = only(tuning)
    gain = f"{1 - choice.instructions / choice.default_instructions:.1%}"
    for word in ("relu 1x64", "toy:step=4", f"{choice.instructions:,}", gain, "3/3", "REJECTED"):
        assert word in text
    toy.knobs = []
    assert str(tune(relus(64))) == "No layer has schedules to choose from on cortex-m4."


def test_constants_that_candidates_share_are_in_the_flash_of_each() -> None:
    graph, core, options = isolate(residual(), [1]), find_core("cortex-m4"), Options()
    (site,) = sites([graph], core, options)
    offered = list(site.candidates)
    together = count(site, offered, core, "zig", options)
    assert len(offered) > 2
    for trial in together:
        (alone,) = count(site, [trial.schedule], core, "zig", options)
        assert trial.flash == alone.flash
