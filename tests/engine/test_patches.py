"""Networks in strips: the same outputs bit for bit, in less memory, and the limit is met."""

from __future__ import annotations

import functools
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.engine.nets import collect, residual
from tests.engine.plan_oracle import check_plan
from tests.engine.variants import Case, run_on_host
from tests.image_graphs import image_graphs
from tests.layer_graphs import layer_graphs
from tests.strategies import inputs_for
from tinykit.engine import Options, arrange, emulate_many, generate
from tinykit.engine.patches import HALOS, Chooser, NoFit, Patched, apply
from tinykit.engine.patches.configuration import configurations, rewrite
from tinykit.engine.patches.region import regions
from tinykit.formats import tflite
from tinykit.graph import Graph, GraphBuilder, TinykitError


@functools.cache
def networks(count: int) -> list[Graph]:
    return collect(count, strategy=image_graphs())


def every(graph: Graph, strips: tuple[int, ...] = (2, 3, 5, 16)) -> list[Patched]:
    return [rewrite(p) for p in configurations(graph, strips)]


@functools.cache
def cases(count: int, core: str | None, most: int) -> list[Case]:
    """Up to `most` ways to compute each of some networks in strips."""
    rng = np.random.default_rng(3)
    found = []
    for graph in networks(count):
        samples = inputs_for(graph, rng, random=2)
        expected = [graph.run(*s) for s in samples]
        patched = every(graph)
        picked = rng.permutation(len(patched))[:most]
        found += [Case(arrange(patched[n].graph, core), samples, expected) for n in picked]
    return found


def test_the_interpreter_proves_strips_exact() -> None:
    rng = np.random.default_rng(0)
    seen = dict.fromkeys(HALOS, 0)
    means = 0
    others = collect(40, dtype="int8", max_ops=6) + collect(40, strategy=layer_graphs())
    for graph in networks(80) + others:
        samples = inputs_for(graph, rng, random=2)
        expected = [graph.run(*s) for s in samples]
        for patched in every(graph):
            seen[patched.patches.halo] += 1
            means += patched.patches.region.mean is not None
            for sample, want in zip(samples, expected, strict=True):
                for a, b in zip(want, patched.graph.run(*sample), strict=True):
                    assert np.array_equal(a, b), patched.patches
    assert min(seen.values()) > 100
    assert means > 15


def test_strips_of_other_types() -> None:
    rng = np.random.default_rng(1)
    found = []
    for dtype in ("float32", "int16", "int4"):
        kinds = ("conv_2d", "depthwise_conv_2d", "max_pool_2d", "add", "pad", "relu")
        for graph in collect(40, kinds=kinds, dtype=dtype, max_ops=7):
            samples = inputs_for(graph, rng, random=1)
            expected = [graph.run(*s) for s in samples]
            for patched in every(graph, (2, 3)):
                found.append(Case(arrange(patched.graph, "cortex-m4"), samples, expected))
                found[-1].check([patched.graph.run(*s) for s in samples])
    assert len(found) > 20
    for case, outputs in run_on_host(found):
        case.check(outputs)


def test_every_op_of_the_strips_has_its_origin() -> None:
    for graph in networks(120):
        for patched in every(graph):
            assert len(patched.origin) == len(patched.graph.ops)
            macs = [0] * len(graph.ops)
            for position, old in enumerate(patched.origin):
                macs[old] += patched.graph.op_macs(position)
            whole = [graph.op_macs(n) for n in range(len(graph.ops))]
            assert sum(macs) - sum(whole) == patched.recompute_macs
            if patched.patches.halo == "keep":
                assert macs == whole, "rows that are kept are made once"
            assert all(a >= b for a, b in zip(macs, whole, strict=True))
            outside = set(range(len(graph.ops))) - set(patched.patches.positions)
            assert outside == {n for n in outside if patched.origin.count(n) == 1}


def test_plans_of_strips_keep_every_value() -> None:
    for graph in networks(60):
        for patched in every(graph, (3, 16)):
            for options in (Options(), Options(in_place=False)):
                check_plan(arrange(patched.graph, "cortex-m4", options))


@pytest.mark.parametrize("core", [None, "cortex-m4", "cortex-m0plus", "cortex-m55"])
def test_strips_on_this_machine(core: str | None) -> None:
    for case, outputs in run_on_host(cases(40, core, 1)):
        case.check(outputs)


def test_strips_emulated() -> None:
    found = cases(40, "cortex-m4", 2)
    runs = emulate_many([c.program for c in found], [c.samples[:4] for c in found], "cortex-m4")
    for case, run in zip(found, runs, strict=True):
        Case(case.program, case.samples[:4], case.expected[:4]).check(run.outputs)


def test_chosen_patches_emulated() -> None:
    """As `Chooser` makes them, with one schedule for the strips of a layer."""
    rng = np.random.default_rng(4)
    found = []
    for graph in networks(40):
        chooser = Chooser(graph, "cortex-m4")
        for halo in HALOS:
            try:
                program = chooser.apply(3, halo).program
            except TinykitError:
                continue  # too few rows
            check_plan(program)
            samples = inputs_for(graph, rng, random=1)
            found.append(Case(program, samples, [graph.run(*s) for s in samples]))
    assert len(found) > 20
    runs = emulate_many([c.program for c in found], [c.samples for c in found], "cortex-m4")
    for case, run in zip(found, runs, strict=True):
        case.check(run.outputs)


def test_regions_of_a_residual_network() -> None:
    graph = residual()
    found = list(regions(graph))
    assert {r.start for r in found} == {0}
    kinds = [op.kind for op in graph.ops]
    pool = kinds.index("average_pool_2d")
    assert any(r.mean == pool for r in found)
    inner = next(r for r in found if r.stop == 2)
    # the first convolution's output is read by the addition as well
    assert set(inner.results) == {graph.ops[0].outputs[0], graph.ops[1].outputs[0]}


# -- which patches ---------------------------------------------------------------------------------


def tall() -> Graph:
    """The first layers of a network on a 32 x 24 image, of which the middle is the largest."""
    rng = np.random.default_rng(0)
    from tests.engine.nets import weights
    from tinykit.graph import Quantization

    b = GraphBuilder("tall")
    quant = Quantization.per_tensor(0.1, 0)
    at = b.input("image", (1, 32, 24, 2), "int8", quant)
    for kind, channels, size, stride in [
        ("conv_2d", 8, 3, 1), ("depthwise_conv_2d", 8, 3, 1), ("conv_2d", 16, 1, 1),
        ("depthwise_conv_2d", 16, 3, 2), ("conv_2d", 16, 1, 1), ("conv_2d", 16, 3, 2),
    ]:  # fmt: skip
        _, height, width, depth = b.tensors[at].shape
        deep = kind == "conv_2d"
        shape = (channels, size, size, depth) if deep else (1, size, size, depth)
        w = weights(b, rng, shape, 0 if deep else 3)
        made = (1, -(-height // stride), -(-width // stride), channels)
        attrs = {"padding": "same", "stride_h": stride, "stride_w": stride}
        at = b.op(kind, [at, w], made, "int8", quant, **attrs)
    return b.finish([at])


def test_no_limit_no_patches() -> None:
    chooser = Chooser(tall(), "cortex-m4")
    whole = chooser.fit()
    assert whole.patched is None
    assert whole.origin == tuple(range(6))
    assert chooser.fit(whole.arena_bytes) is whole


def test_the_cheapest_that_fits() -> None:
    graph = tall()
    chooser = Chooser(graph, "cortex-m4")
    whole, smallest = chooser.fit(), chooser.smallest()
    assert smallest.arena_bytes < whole.arena_bytes / 3
    before = 0
    for limit in range(smallest.arena_bytes, whole.arena_bytes, whole.arena_bytes // 12):
        choice = chooser.fit(limit)
        assert choice.arena_bytes <= limit
        assert choice.patched is not None
        check_plan(choice.program)
        assert before == 0 or choice.patched.work <= before, "a larger limit never costs more"
        before = choice.patched.work
    sample = inputs_for(graph, np.random.default_rng(0), random=1)[-1]
    (want,), (have,) = graph.run(*sample), smallest.program.graph.run(*sample)
    assert np.array_equal(want, have)


def test_a_limit_that_cannot_be_met_says_what_can() -> None:
    chooser = Chooser(tall(), "cortex-m4")
    with pytest.raises(NoFit) as caught:
        chooser.fit(1000)
    text = str(caught.value)
    assert "tall does not fit an arena of 1,000 bytes" in text
    assert re.search(r"\d:\w+ needs most", text)
    best = int(re.search(r"smallest arena that works is ([\d,]+) bytes", text)[1].replace(",", ""))
    assert best == caught.value.best.arena_bytes == chooser.smallest().arena_bytes
    assert chooser.fit(best).arena_bytes == best
    with pytest.raises(NoFit):
        chooser.fit(best - 1)


@pytest.mark.parametrize("halo", HALOS)
def test_apply_gives_about_as_many_strips(halo: str) -> None:
    graph = tall()
    whole = arrange(graph, "cortex-m4").plan.arena_bytes
    patched = apply(graph, 4, halo)
    assert 3 <= patched.patches.strips <= 6
    assert arrange(patched.graph, "cortex-m4").plan.arena_bytes < whole
    assert (patched.recompute_macs > 0) == (halo == "recompute")


def test_what_makes_no_sense_is_said() -> None:
    with pytest.raises(TinykitError, match="halo is one of recompute, keep, not 'both'"):
        apply(tall(), 4, "both")
    with pytest.raises(TinykitError, match="two strips at least"):
        apply(tall(), 1)
    b = GraphBuilder("flat")
    x = b.input("x", (1, 8), "float32")
    flat = b.finish([b.op("tanh", [x], (1, 8), "float32")])
    with pytest.raises(TinykitError, match="no part of flat can be computed in 4 strips"):
        apply(flat, 4)
    with pytest.raises(NoFit, match="without patches"):
        Chooser(flat, "cortex-m4").fit(16)


def test_choices_are_the_same_each_time() -> None:
    first, second = (Chooser(tall(), "cortex-m4").fit(6000) for _ in range(2))
    assert first.program.plan == second.program.plan
    assert str(first.patched.patches) == str(second.patched.patches)  # type: ignore[union-attr]


def test_strips_of_a_layer_share_their_weights() -> None:
    """The schedules of most strips of a layer are one, so that its weights are stored once."""
    chooser = Chooser(tall(), "cortex-m4")
    choice = chooser.apply(6)
    program = choice.program
    found: dict[int, Counter[str]] = {}
    for step in program.steps:
        if step.schedule is not None:
            layer = choice.origin[step.positions[-1]]
            found.setdefault(layer, Counter())[str(step.schedule)] += 1
    assert any(counts.total() > 2 for counts in found.values())
    for layer, counts in found.items():
        (_, often), *others = counts.most_common()
        assert sum(n for _, n in others) * 2 < often, (layer, counts)
    flash = [
        len(generate(p).files["model_data.h"])
        for p in (program, chooser.whole.program, arrange(program.graph, "cortex-m4"))
    ]
    assert flash[0] < 1.35 * flash[1], "constants do not grow with the strips"
    assert flash[0] <= flash[2]


@pytest.mark.parametrize("halo", HALOS)
def test_keyword_spotting(shared_models: Path, halo: str) -> None:
    """Through the whole chain, up to the pool, of which only the sums are kept."""
    graph = tflite.read_file(str(shared_models / "kws_ref_model.tflite"))
    patched = apply(graph, 8, halo)
    assert patched.patches.region.mean is not None
    sample = inputs_for(graph, np.random.default_rng(0), random=1)[-1]
    (want,), (have,) = graph.run(*sample), patched.graph.run(*sample)
    assert np.array_equal(want, have)
    assert arrange(patched.graph, "cortex-m4").plan.arena_bytes < 9000
