"""The accountant against integrals and closed forms, the noise against its definition."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats
from torch import nn

from tests.federated.uplink_cases import DATA, FEDERATION, federation, simulation
from tinykit.federated import (
    Cohort,
    Faults,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedBN,
    FedDyn,
    FedProx,
    Guard,
    KBit,
    Local,
    Masking,
    Privacy,
    Replies,
    Scaffold,
    Simulation,
    TopK,
    noise_for,
)
from tinykit.federated.errors import FederatedError
from tinykit.federated.privacy import clip_rows, epsilon
from tinykit.graph.errors import MissingToolError

POISSON = Cohort(share=0.5, sampling="poisson")


# -- the accountant -------------------------------------------------------------------------------


def _divergence(order: float, share: float, noise: float) -> float:
    """Rényi divergence of (1 − q)·N(0, σ²) + q·N(1, σ²) from N(0, σ²), by quadrature."""

    def inner(x: float) -> float:
        log_ratio = special.logsumexp(
            [math.log1p(-share) if share < 1 else -math.inf, (x - 0.5) / noise**2],
            b=[1, share],
        )
        return math.exp(order * log_ratio - x**2 / (2 * noise**2)) / (
            noise * math.sqrt(2 * math.pi)
        )

    ends = 12 * noise + order
    value, _ = integrate.quad(inner, -ends, ends, points=[0, order], limit=400)
    return math.log(value) / (order - 1)


@pytest.mark.parametrize(("share", "noise", "rounds"), [(0.01, 4.0, 10_000), (0.2, 1.1, 30)])
def test_epsilon_is_what_integrals_give(share: float, noise: float, rounds: int) -> None:
    delta = 1e-5
    orders = [1 + x / 4 for x in range(1, 40)] + list(range(11, 40))
    rdp = np.array([rounds * _divergence(order, share, noise) for order in orders])
    a = np.array(orders)
    # Balle et al. 2020, theorem 21
    tight = (rdp - (np.log(delta) + np.log(a)) / (a - 1) + np.log((a - 1) / a)).min()
    assert epsilon(noise, rounds, share, delta) == pytest.approx(tight, rel=0.01)


def test_the_moments_accountant_s_published_figure() -> None:
    # Abadi et al., CCS 2016, section 3.2: q = 0.01, σ = 4, δ = 1e-5, 10,000 steps: ε ≈ 1.26,
    # with moments up to 32 and ε = min over λ of (α(λ) + ln(1/δ)) / λ
    moments = range(1, 33)
    published = min(
        (10_000 * lam * _divergence(lam + 1, 0.01, 4.0) + math.log(1e5)) / lam for lam in moments
    )
    assert published == pytest.approx(1.26, abs=0.005)
    # the same divergences, turned into ε without loss (2020), give less
    assert 0.9 < epsilon(4.0, 10_000, 0.01, 1e-5) < published


@pytest.mark.parametrize(("noise", "rounds"), [(1.0, 1), (4.0, 20), (20.0, 100)])
def test_everybody_takes_part_is_the_gaussian_mechanism(noise: float, rounds: int) -> None:
    delta, mu = 1e-4, math.sqrt(rounds) / noise

    def excess(eps: float) -> float:
        # Balle and Wang, ICML 2018, theorem 8
        above = stats.norm.cdf(mu / 2 - eps / mu)
        return above - math.exp(eps) * stats.norm.cdf(-mu / 2 - eps / mu) - delta

    exact = optimize.brentq(excess, 1e-6, 60)
    by_orders = epsilon(noise, rounds, 1.0, delta)
    by_integral = epsilon(noise, rounds, 1.0, delta, "prv")
    assert exact <= by_integral <= exact + 0.03
    assert exact <= by_orders <= 1.25 * exact


def test_more_rounds_or_less_noise_cost_more() -> None:
    of_rounds = [epsilon(1.0, rounds, 0.1, 1e-4) for rounds in (0, 1, 5, 50)]
    of_noise = [epsilon(noise, 10, 0.1, 1e-4) for noise in (100.0, 3.0, 1.0, 0.5, 0.0)]
    assert of_rounds == sorted(of_rounds)
    assert of_rounds[0] == 0
    assert of_noise == sorted(of_noise)
    assert of_noise[-1] == math.inf


@settings(max_examples=6)
@given(st.floats(0.5, 10), st.integers(1, 100), st.sampled_from([0.02, 0.3, 1.0]))
def test_noise_for_is_the_inverse(target: float, rounds: int, share: float) -> None:
    noise = noise_for(target, rounds, share, 1e-4)
    assert epsilon(noise, rounds, share, 1e-4) <= target
    if noise > 0.301:  # what is searched from
        assert epsilon(noise * 0.998, rounds, share, 1e-4) > target


def test_the_accountant_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opacus.accountants", None)
    with pytest.raises(MissingToolError, match=r"tinyml-kit\[privacy\]"):
        Privacy(clip=1.0, noise=1.0)
    Privacy(clip=1.0, noise=0.0)  # nothing to account for


# -- clipping and noise ---------------------------------------------------------------------------


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=6, max_size=6),
    st.floats(1e-3, 1e3),
)
def test_no_row_is_longer_than_it_may_be(values: list[float], most: float) -> None:
    rows = torch.tensor(values, dtype=torch.float32).reshape(2, 3)
    short = clip_rows(rows, most).double()
    before, after = rows.double().norm(dim=1), short.norm(dim=1)
    assert (after <= most).all()
    for row, new, old_norm in zip(rows, short, before, strict=True):
        if old_norm <= most * (1 - 1e-6):
            assert torch.equal(row.double(), new), "short ones stay as they are"
        elif most > 1e-2:
            expected = row.double() * (most / old_norm)
            assert torch.allclose(new, expected, rtol=1e-4, atol=1e-6 * most)


def _private(noise: float = 1.0, **settings: object) -> Simulation:
    given = {"cohort": POISSON, "privacy": Privacy(clip=0.5, noise=noise), **settings}
    return simulation(FedAvg(weighted=False), **given)


def test_noise_has_the_variance_it_should() -> None:
    run = _private(noise=1.3)
    nobody = [run.uplink.mean(r, [], None, [])[0].double().numpy() for r in range(60)]
    drawn = np.concatenate(nobody)
    expected = 1.3 * 0.5 / (0.5 * 10)  # z·C / qm
    # the variance of n normal numbers lies within these with probability 1 − 1e-6
    low, high = stats.chi2.interval(1 - 1e-6, len(drawn))
    assert low <= (drawn**2).sum() / expected**2 <= high
    assert stats.kstest(drawn / expected, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(nobody[0], nobody[1])[0, 1]) < 0.15, "rounds have noise of their own"


def test_a_device_moves_the_sum_by_at_most_the_clip() -> None:
    run = _private()
    start = run.server["model"]
    rng = torch.Generator().manual_seed(0)
    models = start + 3 * torch.randn(4, len(start), generator=rng)
    for compression in (None, TopK(0.1), KBit(2)):
        run.uplink.compression = compression
        for number in range(3):  # error feedback makes messages longer, round by round
            one = torch.ones(4)
            replies = Replies(
                (0, 2, 5, 6), models, torch.zeros(4, 0), {}, {}, one.long(), one.long(), one, 0.1
            )
            sent = run.uplink.send(number, replies, start)
            run.uplink.keep(sent)
            whole, _ = run.uplink.mean(0, [0, 2, 5, 6], sent, [])
            less, _ = run.uplink.mean(0, [0, 2, 5], sent.take([0, 1, 2]), [])
            moved = (whole - less).double().norm() * 5  # qm
            assert 0.15 < moved <= 0.5 * (1 + 1e-4)


def test_an_empty_cohort_still_adds_noise() -> None:
    rare = Cohort(share=0.05, sampling="poisson")
    seed = next(seed for seed in range(100) if not rare.draw(FEDERATION, seed, 0))
    run = _private(cohort=rare, seed=seed)
    before = run.server["model"].clone()
    run.run(1)
    row = run.history[0]
    assert (row.asked, row.answered, row.bytes_up) == (0, 0, 0)
    noise = Privacy(clip=0.5, noise=1.0).noise_in(0, len(before), seed=seed) / (0.05 * 10)
    assert torch.allclose(run.server["model"] - before, torch.from_numpy(noise).float(), atol=1e-6)
    assert row.epsilon > 0


@pytest.mark.parametrize(
    "strategy", [FedAvg(weighted=False), FedAvgM(weighted=False), FedProx(weighted=False)], ids=repr
)
def test_without_noise_and_clipping_it_is_the_strategy_itself(strategy: object) -> None:
    plain = simulation(strategy, cohort=1.0, guard=Guard(outlier=None))
    private = simulation(strategy, cohort=1.0, privacy=Privacy(clip=1e6, noise=0.0))
    plain.run(3)
    private.run(3)
    assert (plain.server["model"] - private.server["model"]).abs().max() < 1e-5
    assert private.history[-1].epsilon == math.inf


def test_epsilon_is_shown_and_a_resumed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, first, second = (_private() for _ in range(3))
    whole.run(5)
    first.run(2, checkpoint=tmp_path / "run")
    second.run(5, checkpoint=tmp_path / "run")
    assert whole.fingerprint() == second.fingerprint()
    spent = [r.epsilon for r in second.history]
    assert spent == [epsilon(1.0, r, 0.5, 10**-1.1) for r in range(1, 6)]
    assert f"ε = {spent[-1]:.3g}" in repr(second.history)
    other = _private(noise=2.0)
    with pytest.raises(FederatedError, match="other privacy"):
        other.run(5, checkpoint=tmp_path / "run")


def test_faulty_devices_do_not_break_it() -> None:
    run = _private(faults=Faults(nan=0.3, huge=0.2, dropout=0.2), test=DATA.test)
    run.run(6)
    assert torch.isfinite(run.server["model"]).all()
    assert any("NaN" in why for row in run.history for why in row.failed.values())


def test_private_and_masked_is_private() -> None:
    runs = [
        _private(cohort=1.0, masking=masking, faults=Faults(nan=0.2, dropout=0.2))
        for masking in (None, Masking())
    ]
    for run in runs:
        run.run(3)
    # the same noise, sums equal up to fixed point
    assert (runs[0].server["model"] - runs[1].server["model"]).abs().max() < 1e-6


# -- claims that would be false -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategy": Scaffold()}, "Scaffold needs more"),
        ({"strategy": FedDyn()}, "FedDyn needs more"),
        ({"strategy": FedAvg()}, r"FedAvg\(weighted=False\)"),
        ({"strategy": FedAdam()}, r"FedAdam\(weighted=False\)"),
        ({"cohort": 5}, r"Cohort\(share=0.5, sampling=\"poisson\"\)"),
        ({"guard": Guard()}, r"Guard\(outlier=None\)"),
        ({"privacy": Privacy(clip=1.0, noise=1.0, delta=0.2)}, "below 1/10"),
        ({"masking": Masking(), "compression": TopK(0.1)}, "cannot be compressed"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_would_claim_too_much_is_refused(settings: dict, words: str) -> None:
    given = {
        "strategy": FedAvg(weighted=False),
        "cohort": POISSON,
        "privacy": Privacy(clip=1.0, noise=1.0),
        **settings,
    }
    with pytest.raises(FederatedError, match=words):
        simulation(**given)


def test_statistics_of_batch_norm_are_refused_unless_they_stay() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    given = {"privacy": Privacy(clip=1.0, noise=1.0), "local": Local(steps=2)}
    with pytest.raises(FederatedError, match="FedBN"):
        Simulation(net, federation(4), FedAvg(weighted=False), **given)
    run = Simulation(net, federation(4), FedBN(weighted=False), engine="sequential", **given)
    norm = run.setting.net.where()
    run.run(2)
    assert torch.equal(run.server["model"][norm], run.setting.net.start[norm])
    assert torch.isfinite(run.server["model"]).all()


def test_a_strategy_that_sends_more_than_it_said_is_caught() -> None:
    class Leaky(Scaffold):
        mean_only = True

    run = simulation(
        Leaky(), cohort=POISSON, privacy=Privacy(clip=1.0, noise=1.0), evaluate_every=100
    )
    with pytest.raises(FederatedError, match="sends control"):
        run.run(3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Privacy(clip=0.0, noise=1.0), "above 0"),
        (lambda: Privacy(clip=1.0, noise=-1.0), "multiple of clip"),
        (lambda: Privacy(clip=1.0, noise=1.0, delta=1.0), "probability"),
        (lambda: Privacy(clip=1.0, noise=1.0, accountant="gdp"), "'rdp' and 'prv'"),
        (lambda: epsilon(1.0, 5, 0.0, 1e-5), "share in"),
        (lambda: epsilon(0.1, 5, 0.1, 1e-5, "prv"), "takes minutes"),
        (lambda: noise_for(0.0, 5, 0.1, 1e-5), "above 0"),
        (lambda: Privacy(clip=1.0, noise=1.0).delta_for(1), "nobody to hide"),
    ],
)
def test_what_cannot_be_meant_is_refused(make: object, words: str) -> None:
    with pytest.raises(FederatedError, match=words):
        make()  # type: ignore[operator]
