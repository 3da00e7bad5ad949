"""The light `grad_and_value` against torch's own, and that it waits for no compiler."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import vmap

from tinykit.federated import gradient
from tinykit.federated.gradient import grad_and_value


def cubes(w: Tensor, scale: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    return (scale * w**3).sum(), (w * 2, scale)


@pytest.mark.parametrize("further", [False, True])
def test_it_is_torchs(further: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    w, scale = torch.rand(2, 5, 7, generator=generator)

    def ours(w: Tensor, scale: Tensor) -> Any:
        return grad_and_value(cubes, w, scale, further=further)

    theirs = torch.func.grad_and_value(cubes, has_aux=True)
    with torch.no_grad():
        for got, expected in ((ours, theirs), (vmap(ours), vmap(theirs))):
            a, b = (w, scale) if got is not ours else (w[0], scale[0])
            torch.testing.assert_close(got(a, b), expected(a, b), rtol=0, atol=0)
    assert not w.requires_grad


def test_further_goes_through_the_gradient() -> None:
    w = torch.tensor([1.0, -2.0, 0.5])

    def after_a_step(v: Tensor) -> tuple[Tensor, Tensor]:
        inner, _ = grad_and_value(cubes, v, torch.ones(3), further=True)
        return ((v - 0.1 * inner) ** 2).sum(), inner

    got, _ = grad_and_value(after_a_step, w)
    # d/dw (w − 0.3w²)² = 2(w − 0.3w²)(1 − 0.6w)
    torch.testing.assert_close(got, 2 * (w - 0.3 * w**2) * (1 - 0.6 * w))


def test_what_does_not_depend_has_no_gradient() -> None:
    w = torch.ones(4)
    for function in (lambda v: (torch.tensor(2.0), v), lambda v: (v.detach().sum(), v)):
        got, _ = grad_and_value(function, w)
        assert torch.equal(got, torch.zeros(4))


def test_a_torch_with_other_insides_gets_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    w, scale = torch.arange(3.0), torch.ones(3)
    expected = grad_and_value(cubes, w, scale)
    monkeypatch.setattr(gradient, "LIGHT", False)
    torch.testing.assert_close(grad_and_value(cubes, w, scale), expected, rtol=0, atol=0)


def test_a_first_round_does_not_import_torchs_compiler() -> None:
    source = """
import sys
import numpy as np
from torch import nn
import tinykit as tk
from tinykit.data.federation import Federation
from tinykit.federated import MAML, FedAvg, Simulation
data = tk.data.load("digits")
parts = tuple(np.arange(20 * k, 20 * k + 20) for k in range(4))
federation = Federation("four", data.spec, data.train, parts)
model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
for engine in ("sequential", "vectorised"):
    Simulation(model, federation, FedAvg(customise=MAML()), engine=engine).run(1)
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", source], check=True)
