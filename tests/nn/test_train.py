from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import tinykit as tk
from tinykit.data import Dataset, Split
from tinykit.nn import History, TrainingError, accuracy, predict
from tinykit.nn.train import one_cycle


@pytest.fixture(scope="module")
def data() -> Dataset:
    return tk.data.load("digits")


def test_digits_are_learnt(data: Dataset) -> None:
    model = tk.zoo.ds_cnn(data.spec)
    history = tk.fit(model, data)
    assert accuracy(model, *data.test) >= 0.98
    assert history.accuracy[-1] == accuracy(model, *data.val)
    assert history.loss[-1] < 0.6 < history.loss[0]
    assert not model.training


def test_same_seed_same_weights(data: Dataset) -> None:
    small = data.subset(200)

    def run(seed: int) -> dict[str, torch.Tensor]:
        model = nn.Sequential(tk.zoo.lenet(data.spec, width=0.5), nn.Dropout(0.2))
        torch.manual_seed(int(np.random.default_rng().integers(1000)))  # outer state is no matter
        tk.fit(model, small, epochs=2, seed=seed)
        return model.state_dict()

    one, same, other = run(0), run(0), run(1)
    assert all(torch.equal(one[k], same[k]) for k in one)
    assert any(not torch.equal(one[k], other[k]) for k in one)


def test_callbacks(data: Dataset) -> None:
    model = tk.zoo.mlp(data.spec, width=0.25)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    seen: list[tuple[int, int]] = []
    steps: list[int] = []
    history = tk.fit(
        model,
        data.subset(128),
        epochs=3,
        batch_size=32,
        on_epoch=lambda epoch, h: seen.append((epoch, len(h))),
        on_step=lambda: steps.append(1),
    )
    assert isinstance(history, History)
    assert seen == [(0, 1), (1, 2), (2, 3)]
    assert len(steps) == 3 * 4
    assert not torch.equal(before["1.weight"], model.state_dict()["1.weight"])


def test_zero_epochs_change_nothing(data: Dataset) -> None:
    model = tk.zoo.mlp(data.spec, width=0.25)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert len(tk.fit(model, data, epochs=0)) == 0
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_divergence_is_told(data: Dataset) -> None:
    class Explode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(64, 10))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ self.w * float("inf")

    with pytest.raises(TrainingError, match=r"diverged in epoch 1 of 2.*lower lr"):
        tk.fit(Explode(), data.subset(64), epochs=2)


@pytest.mark.parametrize(
    "wrong", [{"epochs": -1}, {"lr": 0}, {"lr": float("nan")}, {"batch_size": -2}]
)
def test_arguments_out_of_range(data: Dataset, wrong: dict[str, float]) -> None:
    with pytest.raises(TrainingError, match="fit needs"):
        tk.fit(tk.zoo.mlp(data.spec), data, **wrong)


def test_bar_only_when_asked(data: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    model = tk.zoo.mlp(data.spec, width=0.1)
    tk.fit(model, data.subset(64), epochs=1)
    assert capsys.readouterr() == ("", "")
    tk.fit(model, data.subset(64), epochs=1, progress=True)
    assert "fit" in capsys.readouterr().err


def test_predict_is_the_module_on_nchw(data: Dataset) -> None:
    model = tk.zoo.ds_cnn(data.spec, width=0.25).train()
    x = data.test.x[:37]
    got = predict(model, x, batch=8)
    assert model.training
    with torch.no_grad():
        want = model.eval()(torch.tensor(x.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)


def test_one_cycle_rises_and_falls() -> None:
    rates = [one_cycle(t) for t in np.linspace(0, 1, 101)]
    top = int(np.argmax(rates))
    assert top == 10
    assert rates[top] == pytest.approx(1)
    assert rates[-1] == pytest.approx(0)
    assert np.all(np.diff(rates[:top]) > 0)
    assert np.all(np.diff(rates[top:]) < 0)


@pytest.mark.parametrize("part", ["train", "val"])
def test_an_empty_split_is_told(data: Dataset, part: str) -> None:
    nothing = Split(data.test.x[:0], data.test.y[:0])
    model = tk.zoo.mlp(data.spec, width=0.1)
    with pytest.raises(TrainingError, match="examples to train on"):
        tk.fit(model, replace(data, **{part: nothing}), 1, progress=False)
    with pytest.raises(tk.TinykitError, match="at least one example"):
        accuracy(model, nothing.x, nothing.y)
