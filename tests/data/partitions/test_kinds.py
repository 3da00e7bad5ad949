"""What each kind of partition promises, against definitions and independent computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import tinykit as tk
from tinykit.data import DataError, Federation, Split
from tinykit.data.partitions import (
    IID,
    Dirichlet,
    DirichletByClass,
    FewClasses,
    LogNormal,
    PermutedLabels,
    Shards,
    Users,
    partition,
)
from tinykit.data.partitions.base import apportion
from tinykit.data.partitions.dirichlet import share_out
from tinykit.data.partitions.few_classes import evenly


def balanced(each: int = 500, classes: int = 10) -> Split:
    """`each` examples of every class, shuffled; an example is its own number."""
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(classes), each))
    return Split(np.arange(len(y), dtype=np.float32).reshape(-1, 1, 1, 1), y)


def p_uniform(counts: np.ndarray) -> float:
    """Probability of counts this uneven if devices had no influence on the class."""
    return float(stats.chi2_contingency(counts).pvalue)


def test_iid_and_large_alpha_are_as_even_as_chance() -> None:
    for how in (IID(), Dirichlet(1e6)):
        federation = partition(balanced(), how, devices=20, samples=100)
        assert p_uniform(federation.counts()) > 0.01
    by_class = partition(balanced(), DirichletByClass(1e6), devices=20).counts()
    assert np.abs(by_class - 25).max() <= 2


@pytest.mark.parametrize("how", [Dirichlet(0.1), DirichletByClass(0.1), Shards(2), FewClasses()])
def test_skewed_ones_are_not(how: tk.data.partitions.Partition) -> None:
    counts = partition(balanced(), how, devices=20).counts()
    assert p_uniform(counts) < 1e-100
    even = partition(balanced(), IID(), devices=20).counts()
    main = counts.max(axis=1) / counts.sum(axis=1)
    assert main.mean() > 1.5 * (even.max(axis=1) / even.sum(axis=1)).mean()


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 10.0])
def test_mixes_of_devices_follow_the_distribution(alpha: float) -> None:
    """With stock enough, counts are Dirichlet-multinomial; their variance is known."""
    classes, size, devices = 10, 50, 4000
    rng = np.random.default_rng(0)
    mix = rng.dirichlet(np.full(classes, alpha), devices)
    stock = np.full(classes, devices * size)
    counts = share_out(mix, np.full(devices, size), stock, rng)
    expected = stats.dirichlet_multinomial(np.full(classes, alpha), size)
    assert counts.mean(axis=0) == pytest.approx(expected.mean(), rel=0.15)
    assert counts.var(axis=0) == pytest.approx(np.diag(expected.cov()), rel=0.2)


def test_a_class_that_is_used_up_is_shared_by_chance() -> None:
    mix = np.tile([1.0, 0.0], (100, 1))  # everybody wants what there is 300 of
    counts = share_out(mix, np.full(100, 6), np.array([300, 900]), np.random.default_rng(0))
    assert counts.sum(axis=0).tolist() == [300, 300]
    assert (counts.sum(axis=1) == 6).all()
    # each asked for 6 of 600, half are granted: hypergeometric
    law = stats.hypergeom(600, 300, 6)
    assert counts[:, 0].var() == pytest.approx(law.var(), rel=0.4)


def test_alpha_may_be_tiny() -> None:
    counts = partition(balanced(), Dirichlet(1e-4), devices=50, samples=40).counts()
    assert np.median((counts > 0).sum(axis=1)) == 1


def by_class_in_plain_python(
    stock: np.ndarray, devices: int, alpha: float, capped: bool, rng: np.random.Generator
) -> list[list[int]]:
    """The rule of NIID-Bench, from the same draws, one device after the other."""
    held = [[0] * len(stock) for _ in range(devices)]
    for label, size in enumerate(stock):
        if size == 0:
            continue
        share = list(rng.dirichlet([alpha] * devices))
        if capped:
            share = [s if sum(held[d]) < sum(stock) / devices else 0.0 for d, s in enumerate(share)]
        whole, given, running = sum(share), 0, 0.0
        last = max(d for d in range(devices) if share[d] > 0)
        for device in range(devices):
            running += share[device] / whole
            end = size if device >= last else int(running * size)
            held[device][label] = end - given
            given = end
    return held


@pytest.mark.parametrize("capped", [True, False])
def test_classes_are_cut_as_an_independent_computation_does(capped: bool) -> None:
    stock = np.array([100, 57, 0, 300, 12])
    for seed in range(20):
        got = DirichletByClass(0.5, capped=capped).draw(stock, 7, np.random.default_rng(seed))
        want = by_class_in_plain_python(stock, 7, 0.5, capped, np.random.default_rng(seed))
        assert got.tolist() == want
        assert got.sum(axis=0).tolist() == stock.tolist()


def test_shares_of_a_class_have_the_variance_of_the_distribution() -> None:
    devices, alpha = 10, 0.5
    rng = np.random.default_rng(0)
    how = DirichletByClass(alpha, capped=False)
    shares = np.concatenate(
        [how.draw(np.full(10, 10**6), devices, rng).T / 10**6 for _ in range(300)]
    )
    law = stats.dirichlet(np.full(devices, alpha))
    assert shares.mean(axis=0) == pytest.approx(law.mean(), rel=0.1)
    assert shares.var(axis=0) == pytest.approx(law.var(), rel=0.15)


def test_by_class_keeps_its_minimum() -> None:
    federation = partition(balanced(), DirichletByClass(0.1, minimum=10), devices=10)
    assert federation.sizes.min() >= 10
    with pytest.raises(DataError, match=r"fewer than 90 examples in each of 200 draws.*larger"):
        partition(balanced(100), DirichletByClass(0.01, 90, capped=False), devices=10)
    with pytest.raises(DataError, match="at most 100 devices"):
        partition(balanced(100), DirichletByClass(1.0, minimum=10), devices=101)
    with pytest.raises(DataError, match=r"leaves \d+ of 40 devices empty.*allow_empty"):
        partition(balanced(5), DirichletByClass(0.01, minimum=0), devices=40)
    let = partition(
        balanced(5), DirichletByClass(0.01, minimum=0), devices=40, test=0.5, allow_empty=True
    )
    assert let.sizes.min() == 0
    assert sum(map(len, (*let.train, *let.test))) == 50


def test_shards_are_runs_of_the_sorted_labels() -> None:
    federation = partition(balanced(), Shards(2), devices=50)  # 100 shards of 50, ten a class
    counts = federation.counts()
    assert set(np.unique(counts)) <= {0, 50, 100}
    assert (federation.sizes == 100).all()
    one = partition(balanced(), Shards(1), devices=10).counts()
    assert np.array_equal(np.sort(one, axis=1)[:, -1], np.full(10, 500))
    uneven = partition(balanced(), LogNormal(1.0, Shards(2)), devices=50)
    spans = [np.unique(uneven.device(d).y).size for d in range(50)]
    # a shard of at most 500 lies over two classes at most
    assert max(spans) <= 4 + 2 * (uneven.sizes.max() > 1000)


@pytest.mark.parametrize("over", [IID(), Dirichlet(0.3), Shards(2), FewClasses((3, 5))])
@pytest.mark.parametrize("samples", [None, 20])
def test_lognormal_sizes(over: tk.data.partitions.Partition, samples: int | None) -> None:
    federation = partition(balanced(), LogNormal(1.0, over), devices=200, samples=samples)
    mean = samples or 25
    assert federation.sizes.sum() == 200 * mean
    assert federation.sizes.min() >= 1
    logs = np.log(federation.sizes[federation.sizes > 5])
    assert 0.5 < logs.std() < 1.2
    if isinstance(over, IID):
        # one is given to each; the rest is log-normal, which its logarithm shows
        assert stats.kstest(stats.zscore(np.log(federation.sizes - 0.5)), "norm").pvalue > 0.01
        narrow = partition(balanced(), LogNormal(0.0), devices=200, samples=samples)
        assert set(narrow.sizes) == {mean}


@pytest.mark.parametrize("samples", [None, 20, 45])
@pytest.mark.parametrize("limits", [(1, 1), (2, 2), (3, 5), (4, 20)])
def test_few_classes(limits: tuple[int, int], samples: int | None) -> None:
    federation = partition(balanced(), FewClasses(limits), devices=100, samples=samples)
    counts = federation.counts()
    held = (counts > 0).sum(axis=1)
    assert held.min() >= limits[0]
    assert held.max() <= min(limits[1], 10)
    if samples is None:
        assert counts.sum() == 5000  # every class has an owner
        for column in counts.T:
            assert column.sum() == 500
        if limits[0] == limits[1]:  # in equal parts to those who hold it
            assert all(np.ptp(column[column > 0]) <= 1 for column in counts.T)
    else:
        assert (federation.sizes == samples).all()
        if samples == 20:  # plenty left: all classes of a device alike
            assert all(np.ptp(row[row > 0]) <= 1 for row in counts)
    if limits == (3, 5):
        assert set(held) == {3, 4, 5}


def test_few_classes_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"device \d+ needs 150 examples of at most 1 classes"):
        partition(balanced(100), FewClasses((1, 1)), devices=5, samples=150)
    with pytest.raises(DataError, match="cannot hold 11 classes, there are 10"):
        partition(balanced(100), FewClasses((11, 12)), devices=5)
    # more classes than it drew, where those alone do not have enough
    counts = partition(balanced(100), FewClasses((1, 3)), devices=3, samples=250).counts()
    assert (counts.sum(axis=1) == 250).all()
    assert ((counts > 0).sum(axis=1) == 3).all()


def brute_even(stock: list[int], total: int) -> int:
    """The least difference that any way to take `total` leaves between what was not emptied."""
    level = 0
    while sum(min(s, level + 1) for s in stock) <= total:
        level += 1
    return level


@pytest.mark.parametrize("seed", range(30))
def test_evenly_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    stock = rng.integers(0, 12, rng.integers(1, 7))
    total = int(rng.integers(0, stock.sum() + 1))
    if total == stock.sum():
        assert evenly(stock, total).tolist() == stock.tolist()
        return
    taken = evenly(stock, total)
    assert taken.sum() == total
    level = brute_even(stock.tolist(), total)
    assert np.all((taken == np.minimum(stock, level)) | (taken == np.minimum(stock, level + 1)))


@pytest.mark.parametrize("seed", range(30))
def test_apportion_is_within_one_of_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.exponential(size=rng.integers(1, 9))
    total = int(rng.integers(0, 50))
    got = apportion(weights, total)
    assert got.sum() == total
    assert np.all(np.abs(got - weights / weights.sum() * total) < 1)


@pytest.mark.parametrize("over", [IID(), FewClasses(), LogNormal(0.5, Shards(3))])
def test_permuted_labels_lead_back(over: tk.data.partitions.Partition) -> None:
    source = balanced()
    plain = partition(source, over, devices=30, test=0.3, seed=4)
    permuted = partition(source, PermutedLabels(over), devices=30, test=0.3, seed=4)
    assert permuted.label_maps is not None
    differ = 0
    for device in range(30):
        for part in ("train", "test"):
            own = getattr(permuted, part)[device]
            # who holds what is not changed by what it is called
            assert np.array_equal(own, getattr(plain, part)[device])
            there = permuted.device(device, part)
            back = np.argsort(permuted.label_maps[device])
            assert np.array_equal(back[there.y], source.y[own])
            assert np.array_equal(there.x, source.x[own])
            differ += int((there.y != source.y[own]).any())
    assert differ > 50
    assert len({tuple(row) for row in permuted.label_maps}) > 25
    # who is on no device keeps its label
    rest = np.setdiff1d(np.arange(5000), np.concatenate([*permuted.train, *permuted.test]))
    assert np.array_equal(permuted.pool.y[rest], source.y[rest])


def test_labels_are_permuted_once() -> None:
    with pytest.raises(DataError, match="permuted twice"):
        partition(balanced(), PermutedLabels(PermutedLabels()), devices=3)


def with_users() -> Split:
    source = balanced(20)
    users = np.repeat([7, 3, 11, 40], [80, 60, 40, 20])
    return Split(source.x, source.y, users)


def test_users_are_devices() -> None:
    federation = partition(with_users(), Users())
    assert federation.groups == ("user 3", "user 7", "user 11", "user 40")
    assert federation.sizes.tolist() == [60, 80, 40, 20]
    for device, person in enumerate([3, 7, 11, 40]):
        users = federation.device(device).users
        assert users is not None
        assert set(users) == {person}
    some = partition(with_users(), Users(), devices=2, samples=20, seed=1)
    assert some.sizes.tolist() == [20, 20]
    assert len(set(some.groups)) == 2
    named = partition(with_users(), PermutedLabels(Users()))
    assert named.groups == federation.groups


def test_users_that_are_not_there() -> None:
    with pytest.raises(DataError, match="who made which"):
        partition(balanced(), Users())
    with pytest.raises(DataError, match="4 people"):
        partition(with_users(), Users(), devices=5)
    with pytest.raises(DataError, match="user 40 made 20 examples, not 30"):
        partition(with_users(), Users(), samples=30)


def test_what_has_its_own_sizes_gets_no_others() -> None:
    for over in (DirichletByClass(0.1), PermutedLabels(Users()), LogNormal(1.0)):
        with pytest.raises(DataError, match="sizes of its own"):
            LogNormal(1.0, over)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: Dirichlet(0.0), "positive alpha"),
        (lambda: Dirichlet(float("nan")), "positive alpha"),
        (lambda: DirichletByClass(-1.0), "positive alpha"),
        (lambda: DirichletByClass(1.0, minimum=-1), "fewer than 0"),
        (lambda: Shards(0), "at least 1"),
        (lambda: LogNormal(-1.0), "0 .equal sizes. or more"),
        (lambda: FewClasses((5, 3)), "least, most"),
        (lambda: FewClasses((0, 3)), "at least 1"),
    ],
)
def test_parameters_out_of_range(make: object, why: str) -> None:
    assert callable(make)
    with pytest.raises(DataError, match=why):
        make()


def test_names_are_what_one_writes() -> None:
    federation: Federation = partition(balanced(), LogNormal(1.0, Dirichlet(0.1)), devices=3)
    assert federation.name == "a split, LogNormal(1.0, over=Dirichlet(0.1))"
    assert str(FewClasses((3, 5))) == "FewClasses()"
