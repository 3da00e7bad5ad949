"""Kinds of quantizer: gradients by the papers' formulas, values by brute force, modes by name."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from tinykit.graph import TinykitError
from tinykit.quant import Grid, NotExportable, Quantizer, quantizer, quantizers
from tinykit.quant.observers import OBSERVERS, observer
from tinykit.quant.quantizers.fewbits import Binary, DoReFa, Ternary
from tinykit.quant.quantizers.learned import Codebook, Lsq, Pact, TrainedTernary
from tinykit.quant.quantizers.uniform import Fixed, Identity, Stochastic, Uniform

AFFINE = Grid(4, symmetric=False, narrow=False)


def weights(seed: int = 0, shape: tuple[int, ...] = (4, 6)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def gradient(q: Quantizer, x: Tensor) -> tuple[Tensor, Tensor]:
    """(a random gradient of the output, what it becomes for x)."""
    out = q(x)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(9))
    (out * upstream).sum().backward()
    assert x.grad is not None
    return upstream, x.grad


def started(q: Quantizer, x: Tensor) -> Quantizer:
    return q.start(x.detach())


# -- straight-through rules ------------------------------------------------------------------------


def test_identity_passes_everything() -> None:
    x = weights()
    q = started(Identity(Grid(3)), x.detach() / 4)  # three quarters of the range are clipped
    upstream, got = gradient(q, x)
    assert torch.equal(got, upstream)


@pytest.mark.parametrize("grid", [Grid(3), Grid(3, axis=0), Grid(3, axis=0, group=2), AFFINE])
def test_clipped_passes_what_was_not_clipped(grid: Grid) -> None:
    x = weights()
    q = started(Uniform(grid), x.detach() / 3)
    assert isinstance(q, Uniform)
    upstream, got = gradient(q, x)
    low = (grid.low - q.zero_point - 0.5) * q.scale
    high = (grid.high - q.zero_point + 0.5) * q.scale
    if grid.group:
        low, high = (v.repeat_interleave(2, 1) for v in (low, high))
    elif grid.axis == 0:
        low, high = low[:, None], high[:, None]
    inside = (x > low) & (x < high)
    assert 0 < inside.sum() < x.numel()
    assert torch.equal(got, upstream * inside)


def test_stochastic_rounds_at_random_in_training_alone() -> None:
    x = weights()
    q, nearest = started(Stochastic(Grid(4)), x), started(Uniform(Grid(4)), x)
    assert not torch.equal(q(x), q(x))
    mean = torch.stack([q(x).detach() for _ in range(4000)]).mean(0)
    clipped = x.detach().clamp(-float(q.scale) * 7, float(q.scale) * 7)  # type: ignore[arg-type]
    assert (mean - clipped).abs().max() < float(q.scale) * 4 * 0.5 / np.sqrt(4000)  # type: ignore[arg-type]
    with torch.no_grad():
        assert not torch.equal(q(x), q(x)), "training is said by the module, not by gradients"
    torch.manual_seed(3)
    before, first = torch.get_rng_state(), q(x)
    torch.manual_seed(3)
    assert torch.equal(q(x), first)
    torch.set_rng_state(before)
    q.eval()
    assert torch.equal(q(x), nearest(x))
    q.train()
    q.generator = torch.Generator().manual_seed(5)  # type: ignore[assignment]
    assert not torch.equal(q(x), q(x))
    assert torch.equal(torch.get_rng_state(), before), "neither drew from torch's own"


def test_pact_is_its_formula() -> None:
    """y = (|x| - |x - a| + a) / 2 (eq. 1), rounded; the gradient is that of y."""
    x = (weights(shape=(400,)).detach() * 3).requires_grad_()
    q = started(Pact(AFFINE), torch.tensor([-1.0, 2.0]))
    assert isinstance(q, Pact)
    assert float(q.alpha.detach()) == pytest.approx(2)
    upstream, got = gradient(q, x)
    a = torch.tensor([2.0], requires_grad=True)
    other = x.detach().clone().requires_grad_()
    y = (other.abs() - (other - a).abs() + a) / 2
    (y * upstream).sum().backward()
    assert torch.equal(got, other.grad)  # type: ignore[arg-type]
    np.testing.assert_allclose(q.alpha.grad, a.grad, rtol=1e-5)
    step = 2 / 15
    np.testing.assert_allclose(q(x).detach(), (y / step).round().detach() * step, atol=1e-5)


def test_affine_learned_step() -> None:
    """LSQ's formulas with a zero point, element by element."""
    x = (weights(shape=(50,)).detach() * 2 + 0.7).requires_grad_()
    q = started(Lsq(AFFINE), torch.tensor([-0.5, 2.0]))
    assert isinstance(q, Lsq)
    upstream, got = gradient(q, x)
    step, zero = float(q.scale.detach()), int(q.zero_point)
    total, by_x = 0.0, []
    for value, up in zip(x.tolist(), upstream.tolist(), strict=True):
        v = value / step
        if -8 - zero <= v <= 7 - zero:
            slope, passes = round(v) - v, 1
        else:
            slope, passes = (-8 - zero if v < 0 else 7 - zero), 0
        total += up * slope / np.sqrt(50 * 7)
        by_x.append(up * passes)
    np.testing.assert_allclose(got, by_x, rtol=1e-5)
    np.testing.assert_allclose(q.log_step.grad, [total * step], rtol=1e-4)  # dl/dlog s = s·dl/ds


def numeric(function: Callable[[np.ndarray], float], x: Tensor) -> np.ndarray:
    """Central differences in double precision."""
    at = x.detach().double().numpy()
    found = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        for sign in (1, -1):
            moved = at.copy()
            moved[index] += sign * 1e-6
            found[index] += sign * function(moved) / 2e-6
    return found


@pytest.mark.parametrize("axis", [None, 0])
def test_dorefa(axis: int | None) -> None:
    x = weights()
    q = started(DoReFa(Grid(3, axis=axis)), x)
    assert isinstance(q, DoReFa)
    upstream, got = gradient(q, x)
    gain = q.gain.numpy().reshape(-1, 1) if axis == 0 else q.gain.numpy()

    def smooth(w: np.ndarray) -> float:  # eq. 9 without its rounding
        t = np.tanh(w)
        return float((gain * (2 * (t / (2 * np.abs(t).max()) + 0.5) - 1) * upstream.numpy()).sum())

    np.testing.assert_allclose(got, numeric(smooth, x), rtol=1e-3, atol=1e-4)
    t = np.tanh(x.detach().numpy())
    want = gain * (2 * np.round((t / (2 * np.abs(t).max()) + 0.5) * 7) / 7 - 1)
    np.testing.assert_allclose(q(x).detach(), want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("axis", [None, 0])
def test_binary(axis: int | None) -> None:
    x = weights()
    q = started(Binary(Grid(axis=axis)), x)
    upstream, got = gradient(q, x)
    w, up = x.detach().numpy(), upstream.numpy()
    mean = np.abs(w).mean(1, keepdims=True) if axis == 0 else np.abs(w).mean()
    count = 6 if axis == 0 else 24
    share = (np.sign(w) * up).sum(1, keepdims=True) if axis == 0 else (np.sign(w) * up).sum()
    want = up * mean * (np.abs(w) <= 1) + np.sign(w) * share / count
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    # the scale of least squared error, by brute force
    row = w[0] if axis == 0 else w.ravel()
    sizes = np.linspace(0.01, 3, 3000)
    best = sizes[((np.abs(row) - sizes[:, None]) ** 2).sum(1).argmin()]
    assert abs(float(q(x)[0, 0].detach().abs())) == pytest.approx(best, abs=2e-3)
    assert float(Binary()(torch.zeros(3)).abs().sum()) == 0


@pytest.mark.parametrize("axis", [None, 0])
def test_ternary(axis: int | None) -> None:
    x = weights(shape=(3, 40))
    q = started(Ternary(Grid(axis=axis)), x)
    upstream, got = gradient(q, x)
    assert torch.equal(got, upstream)
    values = q(x).detach().numpy()
    for rows, real in (
        zip(values, x.detach().numpy(), strict=True)
        if axis == 0
        else [(values.ravel(), x.detach().numpy().ravel())]
    ):
        delta = 0.7 * np.abs(real).mean()
        size = np.abs(real)[np.abs(real) > delta].mean()
        np.testing.assert_allclose(rows, np.sign(real) * size * (np.abs(real) > delta), rtol=1e-5)


def test_trained_ternary() -> None:
    """TTQ's eqs. 7 and 8."""
    x = weights(shape=(30,))
    q = started(TrainedTernary(), x)
    assert isinstance(q, TrainedTernary)
    with torch.no_grad():
        q.positive.fill_(0.9)
        q.negative.fill_(0.4)
    upstream, got = gradient(q, x)
    w, up = x.detach().numpy(), upstream.numpy()
    delta = 0.05 * np.abs(w).max()
    np.testing.assert_allclose(
        got, up * np.select([w > delta, w < -delta], [0.9, 0.4], 1.0), rtol=1e-5
    )
    np.testing.assert_allclose(q.positive.grad, [up[w > delta].sum()], rtol=1e-5)
    np.testing.assert_allclose(q.negative.grad, [-up[w < -delta].sum()], rtol=1e-5)


def test_codebook() -> None:
    x = weights(shape=(200,))
    q = started(Codebook(count=5), x)
    assert isinstance(q, Codebook)
    w, levels = x.detach().numpy(), q.levels.detach().numpy()
    at = np.abs(w[:, None] - levels).argmin(1)
    upstream, got = gradient(q, x)
    np.testing.assert_array_equal(q(x).detach(), levels[at])
    assert torch.equal(got, upstream)
    want = [upstream.numpy()[at == k].sum() for k in range(5)]
    np.testing.assert_allclose(q.levels.grad, want, rtol=1e-4, atol=1e-5)
    # each level is the mean of its weights, as k-means leaves them
    np.testing.assert_allclose(levels, [w[at == k].mean() for k in range(5)], atol=2e-2)
    best = KMeans(5, n_init=20, random_state=0).fit(w[:, None])
    assert ((w - levels[at]) ** 2).sum() <= best.inertia_ * 1.1


# -- state -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(n for n in quantizers() if n not in ("pact",)))
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_every_kind_keeps_its_promises(name: str, bits: int) -> None:
    x = weights(shape=(4, 3, 3, 3))
    q = quantizer(name, Grid(bits, axis=0))
    assert q.mode == "observe"
    assert torch.equal(q(x), x)
    q.mode = "quantize"
    q.eval()
    with torch.no_grad():
        made = q(x)
        assert made.shape == x.shape
        assert torch.equal(q(x), made), "evaluation is repeatable"
        if name != "stochastic":
            q.train()
            assert torch.equal(q(x), made), "values do not depend on train or eval"
        assert torch.equal(q.eval()(x), made)
        q.mode = "off"
        assert torch.equal(q(x), x)
        q.mode = "quantize"
        assert torch.equal(q(x), made)
        # the state travels
        other = quantizer(name, Grid(bits, axis=0))
        other.load_state_dict(q.state_dict())
        assert torch.equal(other.eval()(x), made)
        try:
            scale, low, high = q.whole(x)
        except NotExportable:
            return
        whole = made / scale.reshape(-1, 1, 1, 1)
        assert (whole - whole.round()).abs().max() < 1e-4
        assert low <= whole.round().min()
        assert whole.round().max() <= high


def test_modes_are_said() -> None:
    q = Uniform(Grid())
    with pytest.raises(TinykitError, match="one of off, observe, quantize, follow"):
        q.mode = "train"
    with pytest.raises(TinykitError, match="'clipped' has seen no values"):
        q.mode = "quantize"
    q(torch.tensor([1.0]))
    q(torch.tensor([-2.0]))
    q.mode = "quantize"
    assert float(q.scale) == pytest.approx(2 / 127)
    q(torch.tensor([50.0]))
    assert float(q.scale) == pytest.approx(2 / 127)
    q.mode = "observe"  # afresh
    q(torch.tensor([1.0]))
    q.mode = "off"
    assert float(q.scale) == pytest.approx(1 / 127)


@pytest.mark.parametrize("name", sorted(OBSERVERS))
@pytest.mark.parametrize("grid", [Grid(4, axis=1), Grid(4, axis=0, group=3)])
def test_observers_per_channel_and_group(name: str, grid: Grid) -> None:
    x = weights(shape=(2, 6, 50)).detach()
    q = Uniform(grid, observer=name)
    q(x[:, :, :20])
    q(x[:, :, 20:])
    q.mode = "quantize"
    for k in range(q.scale.numel()):
        one = observer(name, 15, symmetric=True)
        rows = x.permute(1, 0, 2) if grid.group is None else x.reshape(2 * 2, 3, 50)
        for part in (slice(0, 20), slice(20, 50)):
            one.update(rows[k][:, part].numpy())
        low, high = one.range()
        want = max(-low, high) / 7
        assert float(q.scale.reshape(-1)[k]) == pytest.approx(want, rel=1e-5)


def test_fixed_ranges() -> None:
    assert float(Fixed("softmax", Grid(8, False, False)).scale) == 1 / 256
    four = Fixed("tanh", AFFINE)
    assert (float(four.scale), int(four.zero_point)) == (1 / 8, 0)
    assert float(Fixed("softmax", AFFINE)(torch.tensor(0.5))) == 0.5
    assert float(Fixed("logistic", Grid(16)).scale) == 1 / 32768


def test_mistakes_are_told() -> None:
    with pytest.raises(TinykitError, match=r"no quantizer 'none'.*binary.*lsq"):
        quantizer("none")
    with pytest.raises(TinykitError, match="by its name or class"):
        quantizer(3)  # type: ignore[arg-type]
    with pytest.raises(TinykitError, match="which is no Quantizer"):
        quantizer(lambda grid: torch.nn.Identity())  # type: ignore[arg-type,return-value]
    with pytest.raises(TinykitError, match="whole bits from 1 to 16"):
        Grid(0)
    with pytest.raises(TinykitError, match=r"shape \(0, 4\) is empty"):
        Uniform(Grid()).start(torch.zeros(0, 4))
    with pytest.raises(TinykitError, match="NaN or infinity"):
        Lsq(Grid()).start(torch.tensor([1.0, float("nan")]))
    with pytest.raises(TinykitError, match="NaN or infinity"):
        observer("mse").update(np.float32([np.inf]))
    with pytest.raises(TinykitError, match="it is for activations"):
        Pact(Grid())
    with pytest.raises(TinykitError, match="2 to 256 levels"):
        Codebook(count=1)


def test_the_page_that_shows_a_new_quantizer_runs(root: Path) -> None:
    text = (root / "docs" / "quantizers.md").read_text(encoding="utf-8")
    first, second = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(first.strip().splitlines()) < 20
    space: dict[str, object] = {}
    try:
        exec(first, space)
        assert quantizers()["powers-of-two"] is space["PowersOfTwo"]
        exec(second.replace("print(", "found = ("), space)
        assert space["found"] > 0.8  # type: ignore[operator]
        values = next(m for m in space["small"].modules() if isinstance(m, Quantizer)  # type: ignore[attr-defined]
                      and m.name == "powers-of-two")  # fmt: skip
        powers = values(torch.tensor([0.3, -0.1])).abs().log2()
        assert torch.equal(powers, powers.round())
        # each row of the page's table is a kind, and each kind has a row
        kinds = set(re.findall(r"^\| `([a-z]+)` \|.*\|.*\|.*\|.*\|$", text, re.M))
        assert kinds == set(quantizers()) - {"powers-of-two"}
    finally:
        quantizers().pop("powers-of-two", None)
