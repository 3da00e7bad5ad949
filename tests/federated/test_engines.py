"""The sequential engine gives the same bits again and again; the vectorised one agrees with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tests.federated.world import ALGORITHMS, SIZES, cnn, digits, federation, mlp, normed
from tinykit import zoo
from tinykit.federated import (
    MAML,
    FedAvg,
    FedBN,
    FedDyn,
    FederatedError,
    Local,
    Prototypes,
    Sequential,
    Simulation,
    Strategy,
    Vectorised,
)
from tinykit.federated.engines import Engine

LOCAL = Local(steps=3, batch=8, lr=0.1, decay=0.9, weight_decay=1e-3, clip=1.5)
CLOSE = 1e-6
EVEN = (16, 8, 24, 16, 8)


def ended(
    model: nn.Module,
    strategy: Strategy,
    engine: str | Engine,
    sizes: Sequence[int] = SIZES,
    rounds: int = 3,
    local: Local = LOCAL,
    cohort: int = 4,
    test: int = 0,
) -> Simulation:
    simulation = Simulation(
        model, federation(sizes, test), strategy, local=local, cohort=cohort, seed=7, engine=engine,
        evaluate_devices=None if test else 0,
    )  # fmt: skip
    simulation.run(rounds, progress=False)
    return simulation


def gap(a: Simulation, b: Simulation) -> float:
    """The largest difference in anything that server or devices hold."""
    assert a.memories.rows == b.memories.rows
    pairs = [(a.server[name], b.server[name]) for name in a.server]
    pairs += [(a.statistics, b.statistics)]
    rows = len(a.memories)
    pairs += [(t[:rows], b.memories._table[n][:rows]) for n, t in a.memories._table.items()]
    return max(float((x - y).abs().max()) for x, y in pairs if x.numel())


class TestSequential:
    @pytest.mark.parametrize("make", [mlp, cnn, normed])
    def test_same_bits_for_any_number_of_workers_and_threads(
        self, make: Callable[[], nn.Module]
    ) -> None:
        before = torch.get_num_threads()
        marks = set()
        try:
            for workers, threads in ((1, 1), (1, 2), (2, 1), (3, 2), (None, 2)):
                torch.set_num_threads(threads)
                run = ended(make(), FedDyn(), Sequential(workers), EVEN)
                marks.add((run.fingerprint(), str(run.history.to_state())))
                assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        assert len(marks) == 1

    def test_other_seeds_other_bits(self) -> None:
        a = Simulation(mlp(), federation(), local=LOCAL, seed=1, engine="sequential")
        b = Simulation(mlp(), federation(), local=LOCAL, seed=2, engine="sequential")
        a.run(1, progress=False)
        b.run(1, progress=False)
        assert a.fingerprint() != b.fingerprint()

    def test_in_pieces(self) -> None:
        whole = ended(mlp(), FedDyn(), "sequential", rounds=4)
        piece = ended(mlp(), FedDyn(), "sequential", rounds=1)
        for rounds in (2, 2, 4):
            piece.run(rounds, progress=False)
        assert whole.fingerprint() == piece.fingerprint()


def test_vectorised_same_bits_again() -> None:
    """For a number of threads; another number may add in another order."""
    runs = [ended(cnn(), FedDyn(), "vectorised") for _ in range(2)]
    assert runs[0].fingerprint() == runs[1].fingerprint()


class TestAgreement:
    @pytest.mark.parametrize("name", ALGORITHMS)
    def test_algorithms_with_padding(self, name: str) -> None:
        """Devices with fewer examples than a minibatch, and last ones of a pass that are short."""
        strategy = ALGORITHMS[name]
        one, many = (ended(mlp(), strategy, e) for e in ("sequential", Vectorised(2)))
        assert gap(one, many) <= CLOSE * (10 if "control" in one.server else 1)
        for a, b in zip(one.history, many.history, strict=True):
            assert a.loss == pytest.approx(b.loss, rel=1e-5)
            assert a.drift == pytest.approx(b.drift, rel=1e-5)

    @pytest.mark.parametrize("name", ALGORITHMS)
    def test_algorithms_with_convolutions(self, name: str) -> None:
        strategy = ALGORITHMS[name]
        one, many = (ended(cnn(), strategy, e) for e in ("sequential", "vectorised"))
        assert (one.weights() - many.weights()).abs().max() <= CLOSE

    @pytest.mark.parametrize("chunk", [1, 2, 3, None])
    def test_chunks(self, chunk: int | None) -> None:
        local = Local(epochs=1, batch=8, lr=0.1)  # devices of different numbers of steps
        one = ended(mlp(), FedDyn(), "sequential", local=local)
        many = ended(mlp(), FedDyn(), Vectorised(chunk), local=local)
        assert one.history[0].loss == pytest.approx(many.history[0].loss, rel=1e-6)
        assert gap(one, many) <= CLOSE

    @pytest.mark.parametrize(
        "strategy",
        [FedAvg(), FedDyn(), FedBN(), FedAvg(customise=MAML()), FedDyn(customise=Prototypes())],
        ids=["FedAvg", "FedDyn", "FedBN", "Per-FedAvg", "PFLDyn-prototypes"],
    )
    def test_batch_norm(self, strategy: Strategy) -> None:
        local = Local(epochs=1, batch=8, lr=0.05)  # full minibatches, of another number each
        one, many = (
            ended(normed(), strategy, e, EVEN, local=local, test=6)
            for e in ("sequential", "vectorised")
        )
        assert gap(one, many) <= CLOSE
        assert one.history[-1].device_accuracy.keys() == set(range(len(EVEN)))

    @pytest.mark.parametrize("net", ["ds_cnn", "resnet8"])
    def test_networks_of_the_zoo(self, net: str) -> None:
        model = getattr(zoo, net)(digits().spec, width=0.25)
        local = Local(steps=2, batch=8, lr=0.05)
        one, many = (
            ended(model, FedAvg(), e, EVEN, local=local, cohort=3)
            for e in ("sequential", "vectorised")
        )
        assert gap(one, many) <= CLOSE

    def test_batch_norm_refuses_padding(self) -> None:
        with pytest.raises(FederatedError, match="batch norm would count the padding"):
            ended(normed(), FedAvg(), "vectorised", SIZES)

    @settings(max_examples=15)
    @given(
        sizes=st.lists(st.integers(0, 20), min_size=1, max_size=6).filter(any),
        steps=st.one_of(st.integers(1, 4), st.none()),
        batch=st.integers(1, 12),
        chunk=st.integers(1, 4),
        name=st.sampled_from(["FedAvg", "FedDyn", "PFLScaf", "PFLDyn-prototypes"]),
        data=st.data(),
    )
    def test_any_division(
        self, sizes: list[int], steps: int | None, batch: int, chunk: int, name: str, data
    ) -> None:
        cohort = data.draw(st.integers(1, sum(size > 0 for size in sizes)))
        local = Local(steps=steps, batch=batch, lr=0.1)
        one, many = (
            ended(mlp(4), ALGORITHMS[name], e, sizes, 2, local, cohort)
            for e in ("sequential", Vectorised(chunk))
        )
        assert gap(one, many) <= 10 * CLOSE  # controls are updates over the step size


class Fancy(nn.Module):
    """Dropout by a function, which the types of its modules do not tell."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = mlp()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(F.dropout(x, 0.3, self.training))


@pytest.mark.parametrize("make", [lambda: mlp(12, 0, nn.Dropout(0.3)), Fancy])
@pytest.mark.parametrize("engine", [Sequential(3), Vectorised(2)], ids=["sequential", "vectorised"])
def test_dropout_is_drawn_from_the_seed(make: Callable[[], nn.Module], engine: Engine) -> None:
    def run() -> tuple[str, torch.Tensor, str]:
        simulation = ended(make(), FedAvg(customise=MAML()), engine, test=5)
        return simulation.fingerprint(), simulation.weights(), str(simulation.history.to_state())

    model = make()
    torch.manual_seed(11)
    first = run()
    after = torch.rand(1)
    torch.manual_seed(12)
    again = run()
    assert first[0] == again[0]
    assert first[2] == again[2]  # accuracies of devices too: they customise in training mode
    torch.manual_seed(11)
    make()
    assert torch.equal(after, torch.rand(1)) or isinstance(model, Fancy)
    dry = ended(mlp(), FedAvg(customise=MAML()), engine).weights()
    assert (first[1] - dry).abs().max() > 1e-4


class Partly(nn.Module):
    """A frozen layer, one that is used twice, and two that share their weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.look = nn.Linear(64, 12).requires_grad_(False)
        self.twice = nn.Linear(12, 12)
        self.again = self.twice
        self.tied = nn.Linear(12, 12, bias=False)
        self.tied.weight = self.twice.weight
        self.last = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.tied(self.again(torch.tanh(self.twice(self.look(x.flatten(1)))))))


@pytest.mark.parametrize("engine", ["sequential", "vectorised"])
def test_frozen_parameters_stay_and_do_not_travel(engine: str) -> None:
    model = Partly()
    run = ended(model, FedAvg(), engine)
    after = run.model()
    assert torch.equal(after.look.weight, model.look.weight)
    assert not after.look.weight.requires_grad
    assert after.last.weight.requires_grad
    assert not torch.equal(after.twice.weight, model.twice.weight)
    learned = 12 * 12 + 12 + 12 * 10 + 10
    assert run.history[0].bytes_down == 4 * learned * 4  # float32, to four devices
    # and against autograd: one device, one step of it
    one = Simulation(
        model, federation((8,)), local=Local(steps=1, batch=8, lr=0.1), engine=engine
    )  # fmt: skip
    one.run(1, progress=False)
    own = federation((8,)).device(0)
    F.cross_entropy(model(torch.tensor(own.x).permute(0, 3, 1, 2)), torch.tensor(own.y)).backward()
    for name in ("twice", "last"):
        was = getattr(model, name).weight
        got = getattr(one.model(), name).weight
        assert (was - 0.1 * was.grad - got).abs().max() <= CLOSE
