"""The lessons on what devices send and on engines: their tables, explorers and exercises."""

from __future__ import annotations

import itertools
import math
from statistics import mean

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from tinykit.course import EnginesExplorer, UplinkExplorer
from tinykit.course.engines import CORES, ROUNDS, WORKS
from tinykit.course.exercise import load_exercise
from tinykit.course.uplink import WHOLE, called
from tinykit.explore._shipped import stored
from tinykit.explore.sweep import engines as engines_sweep
from tinykit.explore.sweep import uplink as uplink_sweep
from tinykit.federated import TopK
from tinykit.federated.privacy import clip_rows

UPLINK, ENGINES = stored("uplink"), stored("engines")


@pytest.fixture(scope="module")
def uplink() -> UplinkExplorer:
    return UplinkExplorer()


@pytest.fixture(scope="module")
def engines() -> EnginesExplorer:
    return EnginesExplorer()


def test_every_compressed_and_private_run_is_there_once() -> None:
    less = sorted((r["bits"], r["kept"], r["feedback"], r["asked"], r["seed"])
                  for r in UPLINK["less"])  # fmt: skip
    grid = itertools.product(
        uplink_sweep.BITS, uplink_sweep.KEPT, (True, False), uplink_sweep.ROUNDS, uplink_sweep.SEEDS
    )
    assert less == sorted(key for key in grid if key[:3] != (32, 1.0, True))
    noisy = sorted((r["devices"], r["epsilon"] or math.inf, r["seed"]) for r in UPLINK["noisy"])
    assert noisy == sorted(
        itertools.product(uplink_sweep.POPULATIONS, uplink_sweep.BUDGETS, uplink_sweep.SEEDS)
    )
    assert UPLINK["format"] == uplink_sweep.FORMAT
    now = uplink_sweep._about(uplink_sweep.SEEDS)
    assert {k: v for k, v in UPLINK["about"].items() if k != "versions"} == {
        k: v for k, v in now.items() if k != "versions"
    }


def test_bytes_of_messages_are_those_of_encoded_ones() -> None:
    sizes = [p.numel() for p in uplink_sweep.network(0).parameters()]
    x = torch.randn(sum(sizes), generator=torch.Generator().manual_seed(0))
    for row in UPLINK["less"]:
        if row["seed"] or row["asked"] == 1.0:
            continue
        method = uplink_sweep.method(row["bits"], row["kept"], row["feedback"])
        message = method.encode(x, sizes, np.random.default_rng(0))
        assert len(message) == row["bytes_each"], row


def test_epsilon_is_spent_and_no_more() -> None:
    for row in UPLINK["noisy"]:
        if row["epsilon"] is None:
            assert row["noise"] == 0
            assert row["spent"] is None
        else:
            assert 0.98 * row["epsilon"] < row["spent"] <= row["epsilon"]


def test_one_compressed_run_again() -> None:
    """Of the cheap ones; another processor rounds its way elsewhere."""
    row = uplink_sweep.compressed(2, 1.0, False, 0.1, 0)
    keys = ("bits", "kept", "feedback", "asked", "seed")
    (known,) = [r for r in UPLINK["less"] if all(r[k] == row[k] for k in keys)]
    assert row["bytes_each"] == known["bytes_each"]
    assert row["accuracy"][-1] == pytest.approx(known["accuracy"][-1], abs=0.05)


def test_words_of_the_uplink_are_those_of_the_table(uplink: UplinkExplorer) -> None:
    for bits, kept, feedback, asked in itertools.product(
        (32, 2, 1), (1.0, 0.05), (True, False), (0.1, 1.0)
    ):
        settings = {"bits": bits, "kept": kept, "feedback": feedback, "asked": asked}
        shown = uplink.compute(settings)
        text = uplink.text(shown)
        hidden = uplink.labels(uplink.settings(settings))["feedback"] is None
        assert hidden == ((bits, kept) == (32, 1.0))
        rows = [
            r for r in UPLINK["less"]
            if (r["bits"], r["kept"], r["asked"]) == (bits, kept, asked)
            and r["feedback"] == (feedback and not hidden)
        ]  # fmt: skip
        assert f"{100 * mean(r['accuracy'][-1] for r in rows):.1f} %" in text
        assert f"{rows[0]['bytes_each']:,} bytes" in text
        figure = go.Figure(uplink.figures(shown)["bytes"].to_plotly_json())
        assert len(figure.data) == (1 if hidden else 3)
        whole = figure.data[0]
        cohort = round(asked * uplink_sweep.DEVICES)
        sent = uplink.table.bytes_each(WHOLE) * cohort * uplink_sweep.ROUNDS[asked]
        assert whole.x[-1] == pytest.approx(sent / 1024)


def test_noise_of_every_position_is_said(uplink: UplinkExplorer) -> None:
    for devices, epsilon in itertools.product(uplink_sweep.POPULATIONS, uplink_sweep.BUDGETS):
        shown = uplink.compute({"devices": devices, "epsilon": epsilon})
        z = uplink.table.noise(devices, epsilon)
        sigma = z * uplink_sweep.CLIP / (uplink_sweep.SHARE * devices)
        assert f"{sigma:.4f} on each entry of the mean" in uplink.text(shown)
        figure = go.Figure(uplink.figures(shown)["epsilon"].to_plotly_json())
        assert figure.layout.xaxis.categoryarray[-1] == "∞"


def test_methods_of_a_pair_have_one_name_up_to_the_comma(uplink: UplinkExplorer) -> None:
    for bits, kept, feedback in uplink.table.methods():
        if feedback:
            plain = called((bits, kept, False))
            assert plain == f"{called((bits, kept, True))}, no error feedback"


def test_engines_agree_and_their_rows_are_whole() -> None:
    keys = [(r["work"], r["engine"]) for r in ENGINES["rows"]]
    assert sorted(keys) == sorted(itertools.product(engines_sweep.WORK, engines_sweep.ENGINES))
    sha = {(r["work"], r["engine"]): r["sha256"] for r in ENGINES["rows"]}
    for work in engines_sweep.WORK:
        assert len(sha[work, "sequential"]) == 1  # on every try
        assert sha[work, "sequential"] == sha[work, "flower"]
    assert {"flwr", "ray", "torch"} <= set(ENGINES["about"]["versions"])


def test_seconds_of_every_position_add_up(engines: EnginesExplorer) -> None:
    for work, cores, rounds in itertools.product(WORKS, CORES, ROUNDS):
        shown = engines.compute({"work": work, "cores": cores, "rounds": rounds})
        text = engines.text(shown)
        assert ("(measured):" in text) == (cores == engines.table.cores and work != "more")
        first, each = shown.engines["flower"]
        assert shown.total("flower") == pytest.approx(first + (rounds - 1) * each)
        go.Figure(engines.figures(shown)["seconds"].to_plotly_json())
    mlp = engines.compute({"work": "mlp", "cores": engines.table.cores})
    for engine, (first, each) in mlp.engines.items():
        assert each == engines.table.round("mlp", engine)
        assert first == pytest.approx(engines.table.first("mlp", engine), rel=0.5)


def test_more_cores_never_take_longer(engines: EnginesExplorer) -> None:
    took = [engines.table.modelled(1.0, cores) for cores in (1, *CORES, 1000)]
    assert took == sorted(took, reverse=True)
    nothing = engines.table.round("nothing", "flower")
    assert took[0] == pytest.approx(nothing + engines.table.devices)
    assert took[-1] == pytest.approx(nothing + 1)


def test_the_private_mean_is_the_kits_server() -> None:
    """Rows clipped as by `Privacy`, which needs opacus for more than that."""
    exercise = load_exercise("private_mean")
    for updates, clip, noise, normal, expected in exercise.cases:
        rows = clip_rows(torch.from_numpy(updates), clip).numpy()
        kit = (rows.sum(0) + noise * clip * normal) / expected
        assert exercise.solve(updates, clip, noise, normal, expected) == pytest.approx(
            kit, rel=1e-5, abs=1e-5
        )


def test_what_is_said_and_kept_is_what_the_kits_top_k_says() -> None:
    rng = np.random.default_rng(3)
    solve = load_exercise("say_and_keep").solve
    residual, kept = np.zeros(40), torch.zeros(1, 40)
    for _ in range(5):
        update = rng.normal(size=40)
        message, residual = solve(update, residual, 4)
        x = torch.from_numpy(update).float()[None] + kept
        said = TopK(0.1)(x, [40], [rng])
        kept = x - said
        assert message == pytest.approx(said[0].numpy(), abs=1e-5)
        assert residual == pytest.approx(kept[0].numpy(), abs=1e-5)
