"""Messages against their definitions; error feedback; compressed federations."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tests.federated.uplink_cases import (
    CONTRACTIONS,
    DATA,
    EVERY,
    UNBIASED,
    federation,
    generators,
    mlp,
    simulation,
)
from tinykit.federated import Faults, FedAvg, FedBN, FedDyn, Local, Scaffold, Simulation
from tinykit.federated.compression import Compression, Float32, KBit, RandomK, Sign, TopK
from tinykit.federated.compression.packing import Field, nbytes, pack, positions, unpack
from tinykit.federated.errors import FederatedError
from tinykit.federated.randomness import Purpose, generator

each = pytest.mark.parametrize("method", EVERY, ids=repr)
floats = st.floats(-1e3, 1e3, width=32, allow_subnormal=False)


@st.composite
def vectors(draw: st.DrawFn) -> tuple[torch.Tensor, list[int]]:
    """Rows (n, P) with zeros and ties, and how P divides into tensors."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=4))
    rows = draw(st.integers(1, 3))
    values = draw(
        st.lists(
            st.one_of(st.sampled_from([0.0, 1.0, -1.0]), floats),
            min_size=rows * sum(sizes),
            max_size=rows * sum(sizes),
        )
    )
    return torch.tensor(values, dtype=torch.float32).reshape(rows, -1), sizes


# -- messages -------------------------------------------------------------------------------------


@each
@settings(max_examples=25, deadline=None)
@given(case=vectors())
def test_a_message_read_back_is_what_the_fast_path_says(
    method: Compression, case: tuple[torch.Tensor, list[int]]
) -> None:
    x, sizes = case
    fast = method(x, sizes, generators(len(x)))
    for row, alone, one, same in zip(x, fast, generators(len(x)), generators(len(x)), strict=True):
        data = method.encode(row, sizes, one)
        assert len(data) == method.nbytes(sizes)
        assert torch.equal(method.decode(data, sizes, same), alone)


@pytest.mark.parametrize(
    ("method", "bits"),
    [
        (Float32(), 32 * 4810),
        (TopK(0.01), 48 * (32 + 13)),
        # above 1 in 13 entries a bitmap is smaller than a list of 13 bits each
        (TopK(0.1), 481 * 32 + 4810),
        (RandomK(0.01), 48 * 32),
        (KBit(4), 4810 * 4 + 32),
        (KBit(3, scale="tensor"), 4810 * 3 + 4 * 32),
        (Sign(), 4810 + 4 * 32),
        (TopK(0.01) + KBit(4), 48 * (13 + 4) + 32),
    ],
    ids=repr,
)
def test_bytes_are_what_the_formula_says(method: Compression, bits: int) -> None:
    assert method.nbytes((4096, 64, 640, 10)) == math.ceil(bits / 8)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fields_of_any_width_are_packed_without_loss(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 300))
    chosen = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=1)))
    width = data.draw(st.integers(1, 32))
    codes = data.draw(st.lists(st.integers(0, 2**width - 1), max_size=40))
    scales = data.draw(st.lists(floats, max_size=3))
    fields = (
        positions(len(chosen), size),
        Field("codes", len(codes), "uint", width),
        Field("scales", len(scales)),
    )
    message = pack(
        fields,
        {
            "positions": np.array(chosen),
            "codes": np.array(codes, dtype=np.int64),
            "scales": np.array(scales, dtype=np.float32),
        },
    )
    assert len(message) == nbytes(fields)
    # never more than the dearer way to write positions
    assert fields[0].bits <= min(size, len(chosen) * max(1, math.ceil(math.log2(size))))
    read = unpack(fields, message)
    assert read["positions"].tolist() == chosen
    assert read["codes"].tolist() == codes
    assert read["scales"].tolist() == scales


def test_a_message_of_another_model_is_not_read() -> None:
    message = TopK(0.5).encode(torch.arange(8.0), [8], generators(1)[0])
    with pytest.raises(FederatedError, match="were expected"):
        TopK(0.5).decode(message, [64], generators(1)[0])


# -- what methods promise -------------------------------------------------------------------------


@pytest.mark.parametrize("method", UNBIASED, ids=repr)
def test_right_on_average(method: Compression) -> None:
    sizes, draws = [7, 1, 4], 6000
    x = torch.from_numpy(np.random.default_rng(3).normal(size=12)).float()
    x[2] = 0.0
    found = method(x.expand(draws, -1), sizes, generators(draws)).double()
    error = (found.mean(0) - x).abs()
    # four standard errors; entries that are always right have none
    assert (error <= 4.5 * found.std(0) / draws**0.5 + 1e-6).all(), error


@pytest.mark.parametrize("method", CONTRACTIONS, ids=repr)
@settings(max_examples=60, deadline=None)
@given(case=vectors())
def test_contractions_contract(method: Compression, case: tuple[torch.Tensor, list[int]]) -> None:
    x, sizes = case
    size = x.shape[1]
    lost = ((x - method(x, sizes, generators(len(x)))).double() ** 2).sum(1)
    whole = (x.double() ** 2).sum(1)
    # each of them keeps the largest entry whole, or (signs) ‖x‖₁²/P of each tensor
    delta = 1 / size
    if isinstance(method, TopK):
        delta = max(1, round(method.share * size)) / size
    assert (lost <= (1 - delta) * whole * (1 + 1e-5) + 1e-9).all()


def test_signs_lose_what_lemma_8_says() -> None:
    x = torch.randn(1, 50, generator=torch.Generator().manual_seed(0)).double().float()
    y = Sign("vector")(x, [50], generators(1))
    lost = float(((x - y) ** 2).sum())
    kept = float(x.abs().sum() ** 2 / 50)
    assert lost == pytest.approx(float((x**2).sum()) - kept, rel=1e-5)


def test_random_entries_contract_on_average() -> None:
    x = torch.randn(1, 40, generator=torch.Generator().manual_seed(1)).expand(4000, -1)
    y = RandomK(0.25)(x, [40], generators(4000))
    assert float(((x - y) ** 2).sum(1).mean() / (x[0] ** 2).sum()) == pytest.approx(0.75, abs=0.02)


def test_top_k_is_the_nearest_vector_with_k_entries() -> None:
    x = torch.tensor([[3.0, -5.0, 1.0, 0.5, -2.0]])
    assert TopK(0.4)(x, [5], generators(1)).tolist() == [[3.0, -5.0, 0.0, 0.0, 0.0]]


def test_zeros_stay_zero() -> None:
    x = torch.zeros(3, 4000)
    x[:, 0] = 1.0
    for bits in range(2, 9):
        assert torch.equal(KBit(bits)(x, [4000], generators(3)), x)
    assert torch.equal(KBit(4)(torch.zeros(2, 9), [9], generators(2)), torch.zeros(2, 9))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TopK(0.0), "above 0"),
        (lambda: RandomK(1.5), "up to 1"),
        (lambda: KBit(9), "1 to 8"),
        (lambda: KBit(1, error_feedback=True), "Sign"),
        (lambda: TopK(0.1) + KBit(1), "Sign"),
        (lambda: TopK(0.1) + Sign(), "vector"),
        (lambda: KBit(4, scale="layer"), "'tensor' or 'vector'"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_meant_is_refused(make: object, words: str) -> None:
    with pytest.raises(FederatedError, match=words):
        make()  # type: ignore[operator]


# -- in a federation ------------------------------------------------------------------------------


def test_the_identity_changes_no_bit() -> None:
    plain, identity = simulation(), simulation(compression=Float32())
    plain.run(3)
    identity.run(3)
    assert plain.fingerprint() == identity.fingerprint()
    assert [r.bytes_up for r in plain.history] == [r.bytes_up for r in identity.history]


@pytest.mark.parametrize("method", [TopK(0.05), TopK(0.1) + KBit(3), Sign()], ids=repr)
def test_what_was_decoded_is_what_was_meant_but_for_the_residual(method: Compression) -> None:
    run = simulation(compression=method, cohort=1.0)
    start, size = run.server["model"], run.setting.net.size
    rng = torch.Generator().manual_seed(0)
    meant, decoded = torch.zeros(3, size).double(), torch.zeros(3, size).double()
    replies = _replies(start, torch.zeros(3, size))
    for number in range(12):
        updates = torch.randn(3, size, generator=rng)
        sent = run.uplink.send(number, _replies(start, updates), start)
        run.uplink.keep(sent)
        meant += (start + updates - start).double()
        decoded += sent.updates.double()
    residuals = torch.stack([run.uplink.residuals.get(d, {})["model"] for d in replies.devices])
    assert (decoded - (meant - residuals)).abs().max() < 1e-4
    assert residuals.abs().max() > 0.1, "the test compares something"


def _replies(start: torch.Tensor, updates: torch.Tensor):
    from tinykit.federated import Replies

    n = len(updates)
    one = torch.ones(n)
    return Replies(
        (1, 4, 7), start + updates, torch.zeros(n, 0), {}, {}, one.long(), one.long(), one, 0.1
    )


def test_one_round_is_what_the_definition_says() -> None:
    method = KBit(3, scale="tensor")
    raw, run = (
        simulation(FedAvg(weighted=False)),
        simulation(FedAvg(weighted=False), compression=method),
    )
    start = raw.server["model"].clone()
    seen = {}
    original = raw.uplink.send

    def spy(number: int, replies: object, start: torch.Tensor):
        seen["replies"] = replies
        return original(number, replies, start)  # type: ignore[arg-type]

    raw.uplink.send = spy  # type: ignore[method-assign]
    raw.run(1)
    run.run(1)
    replies = seen["replies"]
    sizes = [p.numel() for p in mlp().parameters()]
    total = torch.zeros_like(start)
    for device, model in zip(replies.devices, replies.model, strict=True):
        message = method.encode(model - start, sizes, generator(0, Purpose.COMPRESSION, 0, device))
        assert 5 * len(message) == run.history[0].bytes_up
        back = method.decode(message, sizes, generator(0, Purpose.COMPRESSION, 0, device))
        total += start + back
    assert (run.server["model"] - total / 5).abs().max() < 1e-6


@pytest.mark.parametrize("strategy", [Scaffold(), FedDyn(alpha=0.1)], ids=repr)
def test_strategies_that_remember_learn_as_well(strategy: object) -> None:
    settings = {"test": DATA.test, "cohort": 1.0, "local": Local(steps=10, batch=10, lr=0.2)}
    plain = simulation(strategy, **settings)
    run = simulation(strategy, compression=TopK(0.25), **settings)
    plain.run(20)
    run.run(20)
    assert run.history[-1].accuracy > max(0.7, plain.history[-1].accuracy - 0.08)
    vectors = 2 if isinstance(strategy, Scaffold) else 1
    each = TopK(0.25).nbytes(run.setting.net.sizes)
    assert run.history[0].bytes_up == 10 * vectors * each
    names = {"model", "control"} if vectors == 2 else {"model"}
    assert set(run.uplink.residuals.get(0, {})) == names


def test_batch_norm_that_stays_on_the_device_does_not_travel() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
    settings = {"local": Local(steps=3), "engine": "sequential", "cohort": 4}
    run = Simulation(net, federation(4), FedBN(), compression=Sign(), **settings)
    run.run(2)
    assert run.history[0].bytes_up == 4 * Sign().nbytes((512, 8, 80, 10))
    shared = run.setting.net.where()
    assert torch.equal(run.server["model"][shared], run.setting.net.start[shared])
    plain = Simulation(net, federation(4), FedAvg(), compression=Sign(), **settings)
    plain.run(1)
    # its 16 statistics travel as they are
    assert plain.history[0].bytes_up == 4 * (Sign().nbytes((512, 8, 8, 8, 80, 10)) + 64)


def test_a_device_that_sends_nan_keeps_what_it_had() -> None:
    run = simulation(compression=TopK(0.05), cohort=1.0)
    run.run(1)
    before = copy.deepcopy(run.uplink.residuals.state())
    run.faults = Faults(nan=0.5)
    row = run._round(lambda b, w: run.engine.train(run.setting, b, w), last=False)
    assert row.failed, "the seed spoils somebody"
    assert row.answered == 10 - len(row.failed)
    for device in range(10):
        (old,) = (before["tables"]["model"][before["devices"].index(device)],)
        now = run.uplink.residuals.get(device, {})["model"]
        assert torch.isfinite(now).all()
        assert torch.equal(now, old) == (device in row.failed)
    assert torch.isfinite(run.server["model"]).all()


@pytest.mark.parametrize("method", [TopK(0.02), RandomK(0.1) + KBit(3), KBit(2)], ids=repr)
def test_a_resumed_run_ends_with_the_same_bits(method: Compression, tmp_path: Path) -> None:
    whole, first, second = (simulation(Scaffold(), compression=method) for _ in range(3))
    whole.run(6)
    first.run(3, checkpoint=tmp_path / "run")
    second.run(6, checkpoint=tmp_path / "run")
    assert second.fingerprint() == whole.fingerprint()
    other = simulation(Scaffold(), compression=TopK(0.03))
    with pytest.raises(FederatedError, match="other compression"):
        other.run(6, checkpoint=tmp_path / "run")


def test_both_engines_send_the_same_messages() -> None:
    runs = [
        simulation(compression=TopK(0.1) + KBit(4), engine=e) for e in ("sequential", "vectorised")
    ]
    for run in runs:
        run.run(3)
    assert (runs[0].server["model"] - runs[1].server["model"]).abs().max() < 1e-5


def test_fedavg_learns_digits_from_few_entries() -> None:
    settings = {"test": DATA.test, "cohort": 1.0, "local": Local(steps=10, batch=10, lr=0.2)}
    plain = simulation(**settings)
    small = simulation(compression=TopK(0.05), **settings)
    plain.run(30)
    small.run(30)
    assert small.history[-1].bytes_up < plain.history[-1].bytes_up / 12
    assert small.history[-1].accuracy > plain.history[-1].accuracy - 0.08
    assert small.history[-1].accuracy > 0.75
